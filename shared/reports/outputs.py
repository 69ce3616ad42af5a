"""The one form in which a report shows each output: charts to be drawn by scripts of our own, formulas as MathML."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode

from shared.reports import formulas, widgets

PLOTLY = re.compile(r"^application/vnd\.plotly\.")
VEGA = re.compile(r"^application/vnd\.vega(lite)?\.")
_USES_PLOTLY = re.compile(r"\bPlotly\.(newPlot|react|plot)\b")
_PLOTLY_PROGRAM = re.compile(r"<script[^<>]*+>\s*+/\*\*\s*+\* plotly\.js")
_PROGRAM_END = "</script>"

MAX_TEXT = 2_000_000
"""Characters of one stream or text that are shown; the rest is in the results."""

FORMS = (
    "text/html",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "text/latex",
    "text/markdown",
    "application/json",
    "application/geo+json",
    "text/plain",
)
"""Of an output that is no chart or widget, the first of these is shown."""


@dataclass
class Shown:
    """Goes through a notebook's outputs and remembers which programs its charts need."""

    states: dict[str, dict[str, Any]]
    plotly: bool = False
    vega: bool = False
    charts: int = 0
    budget: widgets.Budget = field(default_factory=widgets.Budget)
    within: int = 0  # Output widgets, one in another, that are being shown

    def simplify(self, cell: NotebookNode) -> None:
        """Leave each output of a cell with the form that is shown."""
        cell.outputs = [self._simple(output) for output in cell.get("outputs", [])]

    def _simple(self, output: NotebookNode) -> NotebookNode:
        if output.output_type == "stream":
            output.text = _cut(_joined(output.text))
            return output
        if output.output_type == "error":
            return output
        data = output.get("data", {})
        output.data = NotebookNode(self._form(data if isinstance(data, dict) else {}))
        output.metadata = NotebookNode()
        return output

    def _form(self, data: dict[str, Any]) -> dict[str, str]:
        for mime, value in data.items():
            if PLOTLY.match(mime) and isinstance(value, dict):
                self.plotly = True
                return {"text/html": self._chart("plotly", value)}
            if VEGA.match(mime) and isinstance(value, dict):
                self.vega = True
                return {"text/html": self._chart("vega", value)}
        if widgets.VIEW in data:
            shown = widgets.of_view(data[widgets.VIEW], self.states, self._gathered, self.budget)
            if shown is not None:
                return {"text/html": shown}
        for mime in FORMS:
            if mime in data:
                return self._plain(mime, data[mime])
        return {"text/plain": ", ".join(sorted(data)) or ""}

    def _plain(self, mime: str, value: Any) -> dict[str, str]:
        if mime.endswith("json"):
            return {"text/html": f'<pre class="json">{html.escape(_cut(_json(value)))}</pre>'}
        text = _joined(value)
        if mime == "text/latex":
            return {"text/html": f'<div class="formula">{formulas.of_latex(_cut(text))}</div>'}
        if mime == "text/html":
            # The program that Plotly puts into the first output of a notebook: ours is there already.
            shown = _without_plotly_program(text)
            self.plotly = self.plotly or shown != text
            text = shown
            self.plotly = self.plotly or _USES_PLOTLY.search(text) is not None
        if mime in ("image/gif", "image/webp"):
            return {"text/html": f'<img alt="" src="data:{mime};base64,{html.escape(text)}">'}
        return {mime: _cut(text) if mime == "text/plain" else text}

    def _chart(self, kind: str, spec: dict[str, Any]) -> str:
        """A place for a chart and the description to draw it from."""
        self.charts += 1
        # "</" and "<!--" would end or hide the script element around the JSON.
        text = json.dumps(spec, ensure_ascii=False).replace("<", "\\u003c")
        return (
            f'<div class="chart" data-chart="{kind}" id="chart-{self.charts}"></div>'
            f'<script type="application/json" data-of="chart-{self.charts}">{text}</script>'
        )

    def _gathered(self, outputs: list[Any]) -> str:
        """The outputs inside an Output widget, which may hold a view of itself."""
        if self.within >= widgets.MAX_DEPTH:
            return ""
        self.within += 1
        try:
            return self._in_widget(outputs)
        finally:
            self.within -= 1

    def _in_widget(self, outputs: list[Any]) -> str:
        shown = []
        for output in outputs:
            if not isinstance(output, dict):
                continue
            if output.get("output_type") == "stream":
                shown.append(f"<pre>{html.escape(_cut(_joined(output.get('text', ''))))}</pre>")
            elif output.get("output_type") == "error":
                words = f"{output.get('ename')}: {output.get('evalue')}"
                shown.append(f'<pre class="failed">{html.escape(words)}</pre>')
            elif isinstance(data := output.get("data"), dict):
                shown.extend(_as_html(mime, text) for mime, text in self._form(data).items())
        return "".join(shown)


def _as_html(mime: str, text: str) -> str:
    if mime == "text/html":
        return text
    if mime.startswith("image/") and mime != "image/svg+xml":
        return f'<img alt="" src="data:{mime};base64,{html.escape(text)}">'
    if mime == "image/svg+xml":
        return text
    return f"<pre>{html.escape(text)}</pre>"


def _without_plotly_program(text: str) -> str:
    """`text` without the scripts that are Plotly's own program."""
    parts, at = [], 0
    for program in _PLOTLY_PROGRAM.finditer(text):
        end = text.find(_PROGRAM_END, program.end())
        if end < 0:
            break  # nor is there an end for any later one
        if program.start() >= at:
            parts.append(text[at : program.start()])
            at = end + len(_PROGRAM_END)
    return "".join([*parts, text[at:]])


def _joined(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _json(value: Any) -> str:
    """JSON with line ends, of a large value the beginning: all of it would take fifty times its size."""
    parts, length = list[str](), 0
    for part in json.JSONEncoder(indent=2, ensure_ascii=False, default=str).iterencode(value):
        parts.append(part)
        length += len(part)
        if length > MAX_TEXT:
            break
    return "".join(parts)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n… (cut; the results have all of it)"
