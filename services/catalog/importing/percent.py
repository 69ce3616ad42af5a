"""Scripts in percent format: `# %%` begins a cell, as Jupytext, VS Code and Spyder write them; templates are such too.

A marker reads `# %% title [markdown] key=value …`; values are JSON, as Jupytext writes them. Text cells are comments or
one triple-quoted string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.catalog import cell_ids, kernels, validity
from services.catalog.cell_ids import Numbering
from services.catalog.document import Document, Json, empty, new_cell
from services.catalog.faults import refuse
from services.catalog.importing.parsed import Parsed
from shared.contracts.notebooks import CellType

_MARKER = re.compile(r"^#\s?%%+(?=\s|$)(?P<rest>.*)$")
_TYPE = re.compile(r"\[(?P<type>markdown|md|raw|code)\]")
_OPTION = re.compile(r"(?P<key>[A-Za-z_][\w.-]*)\s*=\s*(?=[\"\[{\d\-tfn])")
_TYPES: dict[str, CellType] = {"markdown": "markdown", "md": "markdown", "raw": "raw", "code": "code"}
_MAGIC = re.compile(r"^# ?(%{1,2}[A-Za-z]\w*.*)$")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")  # Python's; str.splitlines would also break texts at form feeds and separators
_QUOTES = ('"""', "'''")


@dataclass(kw_only=True)
class ScriptCell:
    """A cell of a script."""

    cell_type: CellType
    source: str
    metadata: Json = field(default_factory=dict)


@dataclass(kw_only=True)
class Script:
    """A script taken apart: the lines before its first marker, and its cells."""

    preamble: str
    cells: list[ScriptCell]


def split(text: str) -> Script:
    """Take a script apart at its markers."""
    lines = _LINE_ENDS.split(text)
    starts = [number for number, line in enumerate(lines) if _MARKER.match(line)]
    ends = [*starts, len(lines)][1:]
    cells = [_cell(lines[start], lines[start + 1 : end]) for start, end in zip(starts, ends, strict=True)]
    return Script(preamble=_trimmed(lines[: starts[0]] if starts else lines), cells=cells)


def read(text: str) -> Parsed:
    """A script as a notebook. Raises Invalid when a cell's options make no valid cell."""
    script = split(text)
    warnings = []
    preamble, had_header = _without_header(script.preamble)
    if had_header:
        warnings.append("The script's Jupytext header was left out.")
    if not script.cells:
        warnings.append("The script has no # %% marker; it became one cell.")
    cells = [ScriptCell(cell_type="code", source=preamble)] if preamble else []
    numbering = Numbering()
    body = empty()
    body["cells"] = document_cells([*cells, *script.cells], numbering)
    body["metadata"] = dict(kernels.SPECS["python3"])
    refuse(validity.faults_of(body, "file"), "The script")
    return Parsed(
        document=Document(body=body), nbformat="percent", warnings=warnings, highest_cell_number=numbering.highest
    )


def document_cells(cells: list[ScriptCell], numbering: Numbering) -> list[Json]:
    """The cells of an nbformat document. An `id` option is kept where it is valid and not taken."""
    wanted = [cell.metadata.get("id") for cell in cells]
    own = [
        cell_id if cell_ids.is_valid(cell_id) and cell_id not in wanted[:number] else None
        for number, cell_id in enumerate(wanted)
    ]
    for cell_id in own:
        numbering.see(cell_id or "")
    return [
        new_cell(
            cell_id or numbering.give(),
            cell.cell_type,
            cell.source,
            {name: value for name, value in cell.metadata.items() if name != "id"},
        )
        for cell, cell_id in zip(cells, own, strict=True)
    ]


def _cell(marker: str, lines: list[str]) -> ScriptCell:
    match = _MARKER.match(marker)
    title, cell_type, metadata = _options(match["rest"] if match else "")
    if title:
        metadata = {"title": title, **metadata}
    source = _code(lines) if cell_type == "code" else _text(lines)
    return ScriptCell(cell_type=cell_type, source=source, metadata=metadata)


def _options(rest: str) -> tuple[str, CellType, Json]:
    """Title, type and metadata from what follows a marker's percent signs."""
    cell_type: CellType = "code"
    first = _OPTION.search(rest)
    head, tail = (rest[: first.start()], rest[first.start() :]) if first else (rest, "")
    kind = _TYPE.search(head)
    if kind:
        cell_type = _TYPES[kind["type"]]
        head = head[: kind.start()] + head[kind.end() :]
    metadata: Json = {}
    while tail:
        option = _OPTION.match(tail)
        if option is None:
            break
        value, tail = _leading_json(tail[option.end() :])
        if value is not None:
            metadata[option["key"]] = value
    return head.strip(), cell_type, metadata


def _leading_json(text: str) -> tuple[Any, str]:
    """The JSON value that `text` begins with, and what follows it; None where there is none."""
    ends = [match.end() for match in re.finditer(r"[\"\]}\w](?=\s|$)", text)]
    for end in ends:
        try:
            return orjson.loads(text[:end]), text[end:].lstrip()
        except orjson.JSONDecodeError:
            continue
    return None, ""


def _code(lines: list[str]) -> str:
    """A code cell's source. Jupytext writes magics as comments, because a script could not run them."""
    return _trimmed([_MAGIC.sub(r"\1", line) for line in lines])


def _text(lines: list[str]) -> str:
    source = _trimmed(lines)
    for quotes in _QUOTES:
        for opening in (quotes, f"r{quotes}"):
            if source.startswith(opening) and source.endswith(quotes) and len(source) >= len(opening) + len(quotes):
                return source[len(opening) : -len(quotes)].strip("\r\n")
    return _trimmed([line.removeprefix("# ") if line.startswith("# ") else line.removeprefix("#") for line in lines])


def _trimmed(lines: list[str]) -> str:
    """The lines without empty ones at either end."""
    kept = list(lines)
    while kept and not kept[-1].strip():
        kept.pop()
    while kept and not kept[0].strip():
        kept.pop(0)
    return "\n".join(kept)


def _without_header(preamble: str) -> tuple[str, bool]:
    """The preamble without Jupytext's header (`# ---` … `# ---`), and whether there was one."""
    lines = preamble.splitlines()
    if not lines or lines[0].rstrip() != "# ---":
        return preamble, False
    end = next((n for n, line in enumerate(lines[1:], start=1) if line.rstrip() == "# ---"), None)
    return (preamble, False) if end is None else (_trimmed(lines[end + 1 :]), True)
