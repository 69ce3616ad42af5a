"""How a CSV file is written: its header and its delimiter, told from its first kilobytes."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

from services.artifacts.formats.refusal import refuse

DELIMITERS = ",;\t|"
"""In order of preference when several fit as well."""

SAMPLE_RECORDS = 100
"""Records looked at to choose a delimiter."""

MAX_RECORD_BYTES = 2 * 1024 * 1024
"""The longest line, header included, in bytes: what bounds the parser's memory."""

csv.field_size_limit(2 * MAX_RECORD_BYTES)  # for the whole process, once: two conversions must not change it in turn

_EXCEL_HINT = "sep="
"""A first line by which Excel is told the delimiter."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """Delimiter, column names, and where the rows begin (bytes of the UTF-8 text, and line)."""

    delimiter: str
    names: list[str]
    data_offset: int
    first_line: int


def sniff(text: str, *, complete: bool, max_columns: int, wished: str | None = None) -> Dialect:
    """The dialect of a CSV file that begins with `text`, delimited by `wished` if that is said; raises Invalid for a
    header that is none."""
    body, skipped, lines_skipped, told = _without_hint(text)
    whole = body if complete else body[: body.rfind("\n") + 1]
    if not whole.strip():
        raise refuse("the first line is too long to be a header" if not complete else "the file is empty", line=1)
    delimiter = wished or told or _best_delimiter(whole, complete=complete)
    header, length, lines = _first_record(whole, delimiter)
    if not header:
        raise refuse("there is no header", line=1)
    names = _names(header, lines_skipped + lines, max_columns)
    return Dialect(
        delimiter=delimiter,
        names=names,
        data_offset=skipped + length,
        first_line=lines_skipped + lines + 1,
    )


def _without_hint(text: str) -> tuple[str, int, int, str | None]:
    first, newline, rest = text.partition("\n")
    told = first.rstrip("\r")
    if newline and told[:-1].lower() == _EXCEL_HINT and told[-1] in DELIMITERS:
        return rest, len((first + newline).encode()), 1, told[-1]
    return text, 0, 0, None


def _best_delimiter(text: str, *, complete: bool) -> str:
    best, best_score = DELIMITERS[0], (0.0, 0)
    for delimiter in DELIMITERS:
        widths = [len(record) for record in _records(text, delimiter)]
        if not complete and len(widths) > 1:
            widths = widths[:-1]  # the last one may be cut off within quotes
        if not widths or widths[0] < 2:
            continue
        agreeing = Counter(widths)[widths[0]] / len(widths)
        score = (round(agreeing, 1), widths[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    count = 0
    try:
        for record in reader:
            if record:
                yield record
                count += 1
            if count == SAMPLE_RECORDS:
                return
    except csv.Error:
        return  # a field over the limit: the reader of the rows will say where


def _first_record(text: str, delimiter: str) -> tuple[list[str], int, int]:
    """The first record that is not empty, the bytes up to its end, and its lines with those before it."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in StringIO(text, newline=""):
            taken.append(line)
            yield line

    for record in csv.reader(lines(), delimiter=delimiter):
        if any(cell.strip() for cell in record):
            return record, len("".join(taken).encode()), len(taken)
    return [], 0, 0


def _names(header: list[str], line: int, max_columns: int) -> list[str]:
    if len(header) > max_columns:
        raise refuse(f"there are {len(header)} columns, and at most {max_columns} are allowed", line=line)
    names = [name if name.strip() else _placeholder(index, header) for index, name in enumerate(header, start=1)]
    for name, count in Counter(names).items():
        if count > 1:
            reason = f"the header names it {count} times; every column needs a name of its own"
            raise refuse(reason, line=line, column=name)
    return names


def _placeholder(index: int, header: list[str]) -> str:
    """A name for a column without one, such as the index that pandas writes."""
    name = f"column_{index}"
    while name in header:
        name += "_"
    return name
