"""Builds a self-contained HTML report: headings, text, figures, tables and tiles; every value is escaped."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

MISSING = "\N{EN DASH}"
MAX_TABLE_ROWS = 50  # a report is read by people; the whole table is in the enriched dataset

# Headings of the measures' columns where their values are shown as durations in words.
_HEADINGS = {
    "median_hours": "median time",
    "mean_hours": "mean time",
    "p90_hours": "slowest tenth",
    "total_hours": "total time",
    "duration_hours": "duration",
    "longest_wait_hours": "longest wait",
}

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body {
  margin: 0; background: #f5f7fa; color: #1d2939;
  font: 15px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1020px; margin: 0 auto; padding: 0 24px 48px; }
header {
  background: linear-gradient(120deg, #173f6e, #2f6fb5); color: #fff; padding: 40px 24px 72px;
  margin-bottom: -44px;
}
header div { max-width: 972px; margin: 0 auto; }
h1 { margin: 0; font-size: 28px; line-height: 1.25; }
header p { margin: 6px 0 0; opacity: .85; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 0 0 4px; }
section {
  background: #fff; border: 1px solid #e4e7ec; border-radius: 12px; padding: 22px 26px;
  margin: 18px 0;
}
p { margin: 6px 0 12px; max-width: 75ch; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 0 0 18px;
}
.tile {
  background: #fff; border: 1px solid #e4e7ec; border-radius: 12px; padding: 14px 16px;
  box-shadow: 0 4px 14px rgba(16,24,40,.06);
}
.tile b { display: block; font-size: 22px; line-height: 1.3; }
.tile span { color: #667085; font-size: 13px; }
.notes { background: #fffaeb; border-color: #fedf89; }
.notes ul { margin: 4px 0 0; padding-left: 20px; }
figure { margin: 12px 0 0; text-align: center; }
img { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; margin: 8px 0 4px; }
th {
  text-align: left; color: #667085; font-weight: 600; border-bottom: 2px solid #e4e7ec;
  padding: 7px 10px; white-space: nowrap;
}
td { border-bottom: 1px solid #eef1f5; padding: 7px 10px; vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.more, footer { color: #667085; font-size: 13px; }
footer { text-align: center; margin-top: 24px; }
@media print { body { background: #fff; } section, .tile { break-inside: avoid; box-shadow: none; } }
"""


class Report:
    """Collects the parts of a report in order; `html()` gives the page. No part can inject markup."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title, self._subtitle = title, subtitle
        self._tiles: list[str] = []
        self._parts: list[str] = []
        self._open = False

    def tiles(self, values: Mapping[str, object]) -> None:
        """Adds figures that are seen first: label → value."""
        self._tiles += [
            f'<div class="tile"><b>{_escaped(value)}</b><span>{_escaped(label)}</span></div>'
            for label, value in values.items()
        ]

    def notes(self, title: str, sentences: Sequence[str]) -> None:
        """Adds a highlighted list of remarks; nothing when there are none."""
        if sentences:
            items = "".join(f"<li>{_escaped(sentence)}</li>" for sentence in sentences)
            self._close()
            self._parts.append(f'<section class="notes"><h2>{_escaped(title)}</h2><ul>{items}</ul></section>')

    def section(self, title: str, text: str = "") -> None:
        """Begins a section; what follows belongs to it."""
        self._close()
        self._open = True
        self._parts.append(f"<section><h2>{_escaped(title)}</h2>")
        if text:
            self.text(text)

    def text(self, text: str) -> None:
        """Adds a paragraph."""
        self._parts.append(f"<p>{_escaped(text)}</p>")

    def figure(self, png: bytes, description: str) -> None:
        """Adds a PNG image, inside the page; the description is for those who cannot see it."""
        data = base64.b64encode(png).decode("ascii")
        self._parts.append(f'<figure><img alt="{_escaped(description)}" src="data:image/png;base64,{data}"></figure>')

    def table(
        self, table: pd.DataFrame, formats: Mapping[str, Callable[[Any], str]] | None = None, rows: int = MAX_TABLE_ROWS
    ) -> None:
        """Adds the first rows of a table, without its index; `formats` turns the values of a column into text."""
        chosen = formats or {}
        columns = [str(column) for column in table.columns]
        numeric = [pd.api.types.is_numeric_dtype(dtype) or name in chosen
                   for name, dtype in zip(columns, table.dtypes, strict=True)]  # fmt: skip
        classes = [' class="number"' if is_number else "" for is_number in numeric]
        head = "".join(
            f"<th{kind}>{_escaped(_heading(name, name in chosen))}</th>"
            for name, kind in zip(columns, classes, strict=True)
        )
        body = [
            "".join(
                f"<td{kind}>{_escaped(_cell(value, chosen.get(name)))}</td>"
                for name, kind, value in zip(columns, classes, row, strict=True)
            )
            for row in table.head(rows).itertuples(index=False, name=None)
        ]
        lines = (
            "".join(f"<tr>{line}</tr>" for line in body) or f'<tr><td colspan="{max(1, len(columns))}">none</td></tr>'
        )
        self._parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
        )
        if len(table) > rows:
            self._parts.append(f'<p class="more">{rows:,} of {len(table):,} rows.</p>')

    def html(self) -> str:
        """The page: one file that needs no other."""
        self._close()
        tiles = f'<div class="tiles">{"".join(self._tiles)}</div>' if self._tiles else ""
        subtitle = f"<p>{_escaped(self._subtitle)}</p>" if self._subtitle else ""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_escaped(self._title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            f"<header><div><h1>{_escaped(self._title)}</h1>{subtitle}</div></header>\n"
            f"<main>{tiles}{''.join(self._parts)}</main>\n</body>\n</html>\n"
        )

    def _close(self) -> None:
        if self._open:
            self._parts.append("</section>")
            self._open = False


def _escaped(value: object) -> str:
    return html.escape(str(value), quote=True)


def _heading(name: str, formatted: bool) -> str:
    return (_HEADINGS.get(name, name) if formatted else name).replace("_", " ")


def _cell(value: Any, form: Callable[[Any], str] | None) -> str:
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    return (form or _text)(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M")
    return str(value)
