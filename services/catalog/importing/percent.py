"""Scripts in percent format: `# %%` begins a cell, as Jupytext, VS Code and Spyder write them; templates are such too.

A marker reads `# %% title [markdown] key=value …`; values are JSON, as Jupytext writes them, or Python's literals. Text
cells are comments or one triple-quoted string.
"""

from __future__ import annotations

import ast
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
from shared.errors import MOST_FAULTS

_MARKER = re.compile(r"^#\s?%%+(?=\s|$)(?P<rest>.*)$")
_TYPE = re.compile(r"\[(?P<type>markdown|md|raw|code)\]")
_OPTION = re.compile(r"(?P<key>[A-Za-z_][\w.-]*)\s*=\s*(?=[\"'\[{(\d\-]|(?:[tT]rue|[fF]alse|null|None)\b)")
_TYPES: dict[str, CellType] = {"markdown": "markdown", "md": "markdown", "raw": "raw", "code": "code"}
_MAGIC = re.compile(
    r"^(\s*)# ?(%{1,2}[A-Za-z].*|(?<= )[!?]\s*[A-Za-z.~$\\/{}].*|(?<= )[A-Za-z_]\w*\s*=\s*[%!][A-Za-z].*)$"
)
_KERNEL_ENTRY = re.compile(r"(?<!\w)(?P<key>name|language)\s*:\s*[\"']?(?P<value>[^\"',}\n]+)")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")  # Python's; str.splitlines would also break texts at form feeds and separators
_QUOTES = ('"""', "'''")

LONGEST_OPTION = 2_000
"""Characters of an option that is tried as a literal of Python, whose parser is slow on nonsense."""


@dataclass(kw_only=True)
class ScriptCell:
    """A cell of a script."""

    cell_type: CellType
    source: str
    metadata: Json = field(default_factory=dict)
    unread: str = ""  # what of the marker's options could not be read


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
    preamble, header = _without_header(script.preamble)
    if header:
        warnings.append("The script's Jupytext header was left out, but for its kernel.")
    if not script.cells:
        warnings.append("The script has no # %% marker; it became one cell.")
    cells = [ScriptCell(cell_type="code", source=preamble)] if preamble else []
    numbering = Numbering()
    body = empty()
    body["cells"] = document_cells([*cells, *script.cells], numbering)
    body["metadata"] = _metadata(header)
    for number, cell in enumerate(script.cells, start=len(body["cells"]) - len(script.cells)):
        if cell.unread and len(warnings) < MOST_FAULTS:
            warnings.append(f"Options of cells[{number}] could not be read and were left out: {cell.unread[:80]}")
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
    title, cell_type, metadata, unread = _options(match["rest"] if match else "")
    if title:
        metadata = {"title": title, **metadata}
    source = _code(lines) if cell_type == "code" else _text(lines)
    return ScriptCell(cell_type=cell_type, source=source, metadata=metadata, unread=unread)


def _options(rest: str) -> tuple[str, CellType, Json, str]:
    """Title, type and metadata from what follows a marker's percent signs, and what cannot be read of it."""
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
        end, value = _leading_value(tail[option.end() :])
        if end == 0:
            break
        metadata[option["key"]] = value
        tail = tail[option.end() + end :].lstrip()
    return head.strip(), cell_type, metadata, tail.strip()


def _leading_value(text: str) -> tuple[int, Any]:
    """How far the value reaches that `text` begins with, and the value: JSON or a literal of Python; 0 without one."""
    ends = [match.end() for match in re.finditer(r"[\"'\]})\w](?=\s|$)", text)]
    for end in ends:
        try:
            return end, orjson.loads(text[:end])
        except orjson.JSONDecodeError:
            continue
    for end in ends:
        if end > LONGEST_OPTION:
            break
        try:
            return end, orjson.loads(orjson.dumps(ast.literal_eval(text[:end])))
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, orjson.JSONEncodeError):
            continue
    return 0, None


def _code(lines: list[str]) -> str:
    """A code cell's source. Jupytext writes magics as comments, because a script could not run them."""
    return _trimmed([_MAGIC.sub(r"\1\2", line) for line in lines])


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


def _without_header(preamble: str) -> tuple[str, list[str]]:
    """The preamble without Jupytext's header (`# ---` … `# ---`), and the header's lines."""
    lines = preamble.splitlines()
    if not lines or lines[0].rstrip() != "# ---":
        return preamble, []
    end = next((n for n, line in enumerate(lines[1:], start=1) if line.rstrip() == "# ---"), None)
    return (preamble, []) if end is None else (_trimmed(lines[end + 1 :]), lines[: end + 1])


def _metadata(header: list[str]) -> Json:
    """The notebook's metadata: the kernel that the header names, else Python's."""
    named = _kernelspec(header)
    found = {"kernelspec": {"display_name": named["name"], **named}} if "name" in named else {}
    said = kernels.recognise(found)
    return found if said.fault else dict(kernels.SPECS[said.kernel_type or "python3"])


def _kernelspec(header: list[str]) -> dict[str, str]:
    """The entries of `kernelspec` in a header, which is YAML behind `#`, in lines or in braces."""
    start = next((number for number, line in enumerate(header) if "kernelspec:" in line), None)
    if start is None:
        return {}
    lines = [line.removeprefix("#") for line in header[start:]]
    depth = _indent(lines[0])
    end = next((number for number, line in enumerate(lines[1:], start=1) if _indent(line) <= depth), len(lines))
    block = "\n".join(lines[:end]).partition("kernelspec:")[2]
    found: dict[str, str] = {}
    for entry in _KERNEL_ENTRY.finditer(block):
        found.setdefault(entry["key"], entry["value"].strip())
    return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
