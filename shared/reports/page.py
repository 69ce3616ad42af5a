"""The renderer's process: `python -m shared.reports.page NOTEBOOK HTML CACHE PROFILE HEADING`.

Whatever a notebook holds, the page it makes loads nothing from elsewhere: its policy forbids it, and nothing of ours
asks for it. Links can still be followed by who clicks on them.
"""

from __future__ import annotations

import html
import json
import os
import re
import resource
import sys
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from traitlets.config import Config

from shared.reports import formulas, outputs, scripts, widgets
from shared.reports.page_policy import POLICY

TEMPLATES = Path(__file__).parent / "template"

MEMORY_BYTES, CPU_S, FILE_BYTES = 2 * 1024**3, 110, 1024**3
"""Limits of the process: memory that it may write to, processor time in seconds, the size of the page."""

LEAST_BYTES, MULTIPLE = 1024 * 1024**2, 12
"""The memory that a notebook may take, in bytes, and so many bytes more for each of its own: a small notebook needs no
more, unless it is made to exhaust its reader. The program that prepares Vega's charts reserves 600 MB."""

MAX_BLANKS = 100
"""Blanks in a row of Markdown that are shown: patterns of mistune take the square of their number."""

_BLANKS = re.compile(rf"[ \t]{{{MAX_BLANKS},}}")

TAGS = {
    "remove_cell_tags": "remove-cell",
    "remove_input_tags": "remove-input",
    "remove_all_outputs_tags": "remove-output",
}
"""The tags of cells that are always honoured."""


class Exporter(HTMLExporter):
    """nbconvert's page with formulas as MathML. Pictures named by a path are not read: paths are the renderer's own."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Called by the template for every Markdown text."""
        cell = context.get("cell", {})
        renderer = _Renderer(escape=False, attachments=cell.get("attachments", {}), exclude_anchor_links=True)
        return str(MarkdownWithMath(renderer=renderer).render(_BLANKS.sub(" " * MAX_BLANKS, source)))


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return formulas.formula(_inner(body), block=True)

    def multiline_math(self, text: str) -> str:
        return formulas.formula(_inner(text), block=True)

    def inline_math(self, body: str) -> str:
        return formulas.formula(_inner(body), block=False)

    def latex_environment(self, name: str, body: str) -> str:
        return formulas.formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True)


def main(notebook: str, page: str, cache: str, profile: str, heading: str) -> None:
    """Write the page."""
    memory_bytes = min(LEAST_BYTES + MULTIPLE * Path(notebook).stat().st_size, MEMORY_BYTES)
    _limit(memory_bytes)
    try:
        body = render(nbformat.read(notebook, as_version=4), Path(cache), profile, json.loads(heading))
        Path(page).write_text(body, encoding="utf-8", errors="replace")
    except MemoryError:
        sys.exit(f"it needs more than {memory_bytes // 1024**2} MB of memory")


def render(notebook: NotebookNode, cache: Path, profile: str, heading: dict[str, Any]) -> str:
    """The page of a notebook."""
    shown = outputs.Shown(widgets.states_of(notebook.metadata))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown.simplify(cell)
    notebook.metadata.pop("widgets", None)
    title = str(notebook.metadata.get("title") or heading["title"])
    notebook.metadata["title"] = title
    config = Config()
    config.TemplateExporter.extra_template_basedirs = [str(TEMPLATES)]
    config.HTMLExporter.template_name = "atelier"
    config.TemplateExporter.exclude_input = profile == "no-code"
    config.TemplateExporter.exclude_input_prompt = config.TemplateExporter.exclude_output_prompt = True
    config.TagRemovePreprocessor.enabled = True
    for name, tag in TAGS.items():
        setattr(config.TagRemovePreprocessor, name, {tag})
    resources = {
        "atelier": {
            "policy": html.escape(POLICY, quote=True),
            "title": html.escape(title),
            "lines": [html.escape(line) for line in heading["lines"]],
            "profile": profile,
        }
    }
    exporter: Any = Exporter(config=config)  # type: ignore[no-untyped-call]
    body, _ = exporter.from_notebook_node(notebook, resources=resources)
    return _with_scripts(str(body), shown, cache)


def _with_scripts(body: str, shown: outputs.Shown, cache: Path) -> str:
    """The page with the programs that its charts need: before any output, since outputs may call them."""
    programs = [scripts.plotly()] if shown.plotly else []
    if shown.vega:
        programs.append(scripts.vega(cache))
    if programs:
        elements = "".join(f"<script>{program}</script>" for program in programs)
        body = body.replace("</head>", f"{elements}</head>", 1)
    before, _, after = body.rpartition("</body>")
    return f"{before}<script>{scripts.START}</script></body>{after}"


def _inner(body: str) -> str:
    """A formula without the marks around it."""
    for opening, closing in (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$")):
        if body.startswith(opening) and body.endswith(closing) and len(body) >= len(opening) + len(closing):
            return body[len(opening) : -len(closing)]
    return body


def _limit(memory_bytes: int) -> None:
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))


if __name__ == "__main__":
    main(*sys.argv[1:])
