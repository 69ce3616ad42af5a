"""Where a CSV file breaks: its rows are read again, slowly, to say line, column and reason."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain

from services.artifacts.formats.csv_dialect import MAX_RECORD_BYTES, Dialect
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.streams import Chunks, Undecodable
from shared.errors import Invalid

CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x19\x1b-\x1f]")
"""What no text table holds."""

UNCLOSED = "a quoted value that begins here is not closed, or a value is too long"

_MARK = "x"
"""Put where the rows break off, so that the value in hand is there, even an empty one."""


def control_character(rows: Chunks, dialect: Dialect) -> Invalid:
    """The refusal of rows with a control character."""
    byte = 0

    def before() -> Chunks:
        nonlocal byte
        for chunk in rows:
            found = CONTROL.search(chunk)
            yield chunk[: found.start()] if found else chunk
            if found:
                byte = found[0][0]
                return

    line, column = _end(before(), dialect)
    return refuse(controlled(byte), line=line, column=column)


def controlled(byte: int) -> str:
    """The reason to refuse a text with such a byte."""
    what = "a NUL byte" if byte == 0 else f"the control character 0x{byte:02x}"
    return f"there is {what}: the file is not a text table"


def undecodable(rows: Chunks, dialect: Dialect) -> Invalid:
    """The refusal of rows that are not in their encoding: reading them raises Undecodable."""
    reason = ""

    def before() -> Chunks:
        nonlocal reason
        try:
            yield from rows
        except Undecodable as error:
            reason = str(error)

    line, column = _end(before(), dialect)
    return refuse(reason, line=line, column=column)


def in_header(before: bytes, reason: str) -> Invalid:
    """The refusal of a file whose header breaks behind these bytes."""
    last = before.rpartition(b"\n")[2].decode("utf-8", "replace")
    return refuse(reason, line=before.count(b"\n") + 1, character=len(last) + 1)


def broken(rows: Chunks, dialect: Dialect) -> Invalid | None:
    """The refusal of rows that are no table; None when nothing is wrong with them."""
    width, lines = len(dialect.names), _Lines(rows)
    reader = csv.reader(lines, delimiter=dialect.delimiter, strict=True)
    while True:
        start = dialect.first_line + lines.count
        lines.begin()
        try:
            record = next(reader, None)
        except csv.Error as error:
            if "unexpected end" in str(error):
                return _open_quote(lines.begun, start, dialect)
            return refuse(f"the quotes are not right ({error})", line=dialect.first_line + lines.count - 1)
        except _TooLong:
            return _too_long(lines.begun, start, dialect)
        if record is None:
            return None
        if record and len(record) != width:
            column = dialect.names[len(record)] if len(record) < width else None
            return refuse(_ragged(len(record), width), line=start, column=column)


def _open_quote(begun: str, start: int, dialect: Dialect) -> Invalid:
    cells = _cells(begun, dialect)
    line = start + begun.count("\n") - cells[-1].count("\n")
    return refuse(UNCLOSED, line=line, column=_named(cells, dialect))


def _too_long(begun: str, start: int, dialect: Dialect) -> Invalid:
    cells = _cells(begun, dialect)
    if "\n" not in begun:
        reason = f"the line is longer than {MAX_RECORD_BYTES} bytes"
        return refuse(reason, line=start, column=_named(cells, dialect))
    if cells[-1].count("\n") == begun.count("\n"):
        return _open_quote(begun, start, dialect)
    reason = f"the record that begins here, with values of several lines, is longer than {MAX_RECORD_BYTES} bytes"
    return refuse(reason, line=start, column=_named(cells, dialect))


def _end(rows: Chunks, dialect: Dialect) -> tuple[int, str | None]:
    """Line and column of the value in which the rows break off."""
    lines = _Lines(chain(rows, (_MARK.encode(),)), most=2 * MAX_RECORD_BYTES)
    last: list[str] = []
    try:
        for record in csv.reader(lines, delimiter=dialect.delimiter):
            last = record
            lines.begin()
    except (csv.Error, _TooLong):
        last = []  # the column cannot be told
        for _ in lines:
            continue
    return dialect.first_line + lines.count - 1, _named(last, dialect)


def _cells(begun: str, dialect: Dialect) -> list[str]:
    return next(csv.reader([begun + _MARK], delimiter=dialect.delimiter), [_MARK])


def _named(cells: list[str], dialect: Dialect) -> str | None:
    return dialect.names[len(cells) - 1] if 0 < len(cells) <= len(dialect.names) else None


def _ragged(found: int, wanted: int) -> str:
    values = "there is 1 value" if found == 1 else f"there are {found} values"
    return f"{values}, but the header names {wanted} column{'' if wanted == 1 else 's'}"


class _TooLong(Exception):
    """A record is over the limit."""


class _Lines:
    """Lines for csv.reader, which counts them and keeps those of the record in hand; raises _TooLong."""

    def __init__(self, chunks: Chunks, *, most: int = MAX_RECORD_BYTES) -> None:
        self._lines = _split(chunks, most)
        self._most = most
        self._held: list[str] = []
        self._size = 0
        self.count = 0

    @property
    def begun(self) -> str:
        """The record in hand, as far as it was read."""
        return "".join(self._held)

    def begin(self) -> None:
        """The next record begins."""
        self._held, self._size = [], 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += 1
        self._size += len(line)
        text = line.decode("utf-8", "replace")
        self._held.append(text)
        if self._size > self._most:
            raise _TooLong
        return text


def _split(chunks: Chunks, most: int) -> Iterator[bytes]:
    """The lines, with their ends; a longer one than `most` as far as it was read."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).splitlines(keepends=True) if chunk else [rest]
        rest = lines.pop() if lines and (not lines[-1].endswith(b"\n") or len(lines[-1]) > most) else b""
        yield from lines
        if len(rest) > most:
            yield rest[: most + 1]
            return
    if rest:
        yield rest
