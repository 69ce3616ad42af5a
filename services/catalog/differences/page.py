"""A diff as a page to read: one HTML file, no script, nothing fetched, everything of the notebook's escaped."""

from __future__ import annotations

from html import escape

import orjson

from shared.contracts.versions import CellDifference, FileContent, NotebookDiff

CONTEXT = 3
"""Unchanged lines shown around a change."""

_STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #f6f8fa; --text: #1f2328; --back: #fff; --dim: #59636e;
  --plus: #dafbe1; --minus: #ffebe9; }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --soft: #151b23; --text: #f0f6fc; --back: #0d1117;
  --dim: #9198a1; --plus: #12361f; --minus: #471d1f; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.dim { color: var(--dim); }
section { border: 1px solid var(--line); border-radius: 6px; margin: 1rem 0; overflow: hidden; }
section > header { background: var(--soft); padding: .4rem .8rem; border-bottom: 1px solid var(--line); }
section > p { margin: .5rem .8rem; }
.word { font-weight: 600; } code, pre, td.value { font-family: ui-monospace, monospace; font-size: 13px; }
pre { margin: 0; overflow-x: auto; padding: .4rem 0; }
pre span { display: block; padding: 0 .8rem; white-space: pre-wrap; overflow-wrap: anywhere; min-height: 1.5em; }
.plus { background: var(--plus); } .minus { background: var(--minus); } .gap { color: var(--dim); }
table { border-collapse: collapse; width: 100%; } td, th { border: 1px solid var(--line); padding: .3rem .6rem;
  text-align: left; vertical-align: top; overflow-wrap: anywhere; }
"""

_KINDS = {"+": "plus", "-": "minus", " ": "", "\\": "gap"}

_VISIBLE: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) != "\t"},
    **dict.fromkeys((0x85, 0x2028, 0x2029), "\N{SYMBOL FOR NEWLINE}"),
}
"""Line ends and other characters that show nothing, with the symbols for them."""


def render(diff: NotebookDiff, name: str) -> str:
    """The page. `name` is the notebook's."""
    title = f"{name}: {diff.a} → {diff.b}"
    parts = [f"<h1>{escape(name)}</h1>", f'<p class="dim">Version {escape(diff.a)} → {escape(diff.b)}</p>']
    if diff.equal:
        parts.append("<p>The two versions are equal.</p>")
    else:
        parts.append(f"<p>{_summary(diff)}</p>")
    if diff.settings:
        rows = "".join(
            f'<tr><td><code>{escape(setting.path)}</code></td><td class="value minus">{_value(setting.a)}</td>'
            f'<td class="value plus">{_value(setting.b)}</td></tr>'
            for setting in diff.settings
        )
        head = f"<tr><th>member</th><th>{escape(diff.a)}</th><th>{escape(diff.b)}</th></tr>"
        parts.append(f"<h2>Settings</h2><table>{head}{rows}</table>")
    if diff.files:
        rows = "".join(
            f"<tr><td><code>{escape(file.path.translate(_VISIBLE))}</code></td><td>{file.change}</td>"
            f'<td class="value">{_content(file.a)}</td><td class="value">{_content(file.b)}</td></tr>'
            for file in diff.files
        )
        head = f"<tr><th>file</th><th></th><th>{escape(diff.a)}</th><th>{escape(diff.b)}</th></tr>"
        parts.append(f"<h2>Files</h2><table>{head}{rows}</table>")
    if diff.cells:
        parts.append("<h2>Cells</h2>")
        parts += [_cell(cell) for cell in diff.cells]
    elif diff.diff:
        parts.append("<p>Only metadata of the notebook differ.</p>")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _summary(diff: NotebookDiff) -> str:
    words = []
    for change in ("added", "removed", "changed", "moved"):
        count = sum(cell.change == change for cell in diff.cells)
        if count:
            words.append(f"{count} cell{'s' if count > 1 else ''} {change}")
    if diff.files:
        count = len(diff.files)
        words.append(f"{count} file{'s' if count > 1 else ''} changed")
    if diff.settings:
        count = len(diff.settings)
        words.append(f"{count} setting{'s' if count > 1 else ''} changed")
    return ", ".join(words) + "." if words else ""


def _cell(cell: CellDifference) -> str:
    place = cell.index_b if cell.index_b is not None else cell.index_a
    where = f"{cell.cell_type} cell {(place or 0) + 1}"
    if cell.change == "moved":
        where += f", was {(cell.index_a or 0) + 1}"
    head = (
        f'<header><span class="word">{cell.change}</span> <span class="dim">{escape(where)}</span> '
        f"<code>{escape(cell.cell_id)}</code></header>"
    )
    others = [part for part in cell.parts if part != "source"]
    note = f'<p class="dim">Changed as well: {", ".join(others)}.</p>' if others else ""
    return f"<section>{head}{note}{_source(cell.lines) if cell.lines is not None else ''}</section>"


def _source(lines: list[str]) -> str:
    """The lines that changed, with a few around them."""
    shown: set[int] = set()
    for number, line in enumerate(lines):
        if not line.startswith(" "):
            shown |= set(range(number - CONTEXT, number + CONTEXT + 1))
    out = []
    skipped = False
    for number, line in enumerate(lines):
        if number in shown:
            out.append(f'<span class="{_KINDS[line[:1]]}">{escape(line.translate(_VISIBLE))}</span>')
            skipped = False
        elif not skipped:
            out.append('<span class="gap">⋯</span>')
            skipped = True
    return f"<pre>{''.join(out)}</pre>"


def _content(content: FileContent | None) -> str:
    return "" if content is None else f"{content.size_bytes:,} bytes, SHA-256 {content.sha256[:16]}…"


def _value(value: object) -> str:
    return escape(value if isinstance(value, str) else orjson.dumps(value).decode())
