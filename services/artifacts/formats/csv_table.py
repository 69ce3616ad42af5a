"""CSV files as batches of texts, read by pyarrow in bounded memory, with the place of every fault."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import pyarrow as pa
import pyarrow.csv as arrow_csv

from services.artifacts.formats import csv_dialect, kinds, streams
from services.artifacts.formats.conversion import Writing
from services.artifacts.formats.csv_dialect import MAX_RECORD_BYTES, Dialect
from services.artifacts.formats.detection import HEAD_BYTES, Detected
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.streams import Chunks, OpenChunks
from services.artifacts.formats.tables import TextBatch
from services.artifacts.formats.text_forms import Form
from shared.errors import Invalid

NOTHING_SAID = Writing()

SHOWN_CHARACTERS = 40
"""How much of a value an error shows."""

UNCLOSED = "a quoted value that begins here is not closed, or a value is too long"


class NotUtf8(Exception):
    """The file looked like UTF-8 at first and turned out not to be."""


class CsvTable:
    """A CSV file; see TextTable. Reads as UTF-8 first and, when that fails without a byte order mark, as
    Windows-1252."""

    def __init__(
        self, open_chunks: OpenChunks, detected: Detected, *, max_columns: int, writing: Writing = NOTHING_SAID
    ) -> None:
        self._open_chunks = open_chunks
        self._encoding = detected.encoding
        self._bom = detected.bom
        self._max_columns = max_columns
        self._writing = writing
        self._dialect: Dialect | None = None

    @property
    def commas_are_decimal(self) -> bool:
        """Not where they divide the values: `1,234` is a thousand there as often as not."""
        return self._dialect is not None and self._dialect.delimiter != ","

    def description(self) -> dict[str, Any]:
        """See TextTable."""
        delimiter = self._dialect.delimiter if self._dialect else None
        return {"format": "csv", "encoding": self._encoding, "delimiter": delimiter}

    def batches(self) -> Iterator[TextBatch]:
        """See TextTable; raises NotUtf8 when the file must be read again in another encoding."""
        head, complete = streams.take(self._text(), HEAD_BYTES)
        while not complete and b"\n" not in head[HEAD_BYTES // 2 :] and len(head) < MAX_RECORD_BYTES:
            head, complete = streams.take(self._text(), len(head) * 2)
        text = head.decode("utf-8", errors="replace")
        dialect = csv_dialect.sniff(
            text, complete=complete, max_columns=self._max_columns, wished=self._writing.delimiter
        )
        self._dialect = dialect
        return self._rows(dialect)

    def read_as_western(self) -> bool:
        """Take the file for Windows-1252 from now on; returns whether that is worth a try."""
        changed = self._encoding == "utf-8" and not self._bom and self._writing.encoding is None
        self._encoding = streams.WESTERN if changed else self._encoding
        return changed

    def _text(self) -> Chunks:
        chunks = self._open_chunks()
        if self._bom:
            chunks = streams.without_bom(chunks, self._bom)
        return chunks if self._encoding == "utf-8" else streams.to_utf8(chunks, self._encoding)

    def _rows(self, dialect: Dialect) -> Iterator[TextBatch]:
        count = 0
        for batch in self._filled(dialect):
            yield batch
            count += 1
        if count == 0:
            yield _batch(dialect, [pa.array([], pa.string()) for _ in dialect.names], 0)

    def _filled(self, dialect: Dialect) -> Iterator[TextBatch]:
        rows = streams.skip(self._text(), dialect.data_offset)
        first = next((chunk for chunk in rows if chunk), b"")
        if not first:
            return
        watch = _Watch()
        try:
            file = streams.ChunkFile(watch.passing(chain((first,), rows)))
            yield from self._parse(pa.PythonFile(cast(Any, file), mode="r"), dialect)
        except _NulByte as error:
            raise self._nul(dialect) from error
        except pa.ArrowInvalid as error:
            message = str(error)
            if "invalid UTF8" in message:
                raise NotUtf8 from error
            if message.startswith("Empty CSV file"):
                return
            raise self._diagnosed(dialect) or refuse(f"the file could not be read as CSV ({message})") from error
        if watch.quotes % 2:  # pyarrow takes the end of the file for the closing quote
            fault = self._diagnosed(dialect)
            if fault is not None:
                raise fault

    def _parse(self, source: pa.PythonFile, dialect: Dialect) -> Iterator[TextBatch]:
        reader = arrow_csv.open_csv(
            source,
            read_options=arrow_csv.ReadOptions(column_names=dialect.names, block_size=MAX_RECORD_BYTES),
            parse_options=arrow_csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in dialect.names},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield _batch(dialect, batch.columns, batch.num_rows)

    def _nul(self, dialect: Dialect) -> Invalid:
        """The refusal of a file with a NUL byte, with its place."""
        line, begun = 1, b""
        for chunk in self._text():
            before, nul, _ = chunk.partition(b"\0")
            line += before.count(b"\n")
            begun = (begun + before).rpartition(b"\n")[2][-MAX_RECORD_BYTES:]
            if nul:
                break
        cells = next(csv.reader([begun.decode("utf-8", "replace")], delimiter=dialect.delimiter), None) or [""]
        column = dialect.names[len(cells) - 1] if len(cells) <= len(dialect.names) else None
        return refuse("there is a NUL byte: the file is not a text table", line=line, column=column)

    def misfit(self, name: str, form: Form) -> Invalid | None:
        """Where a column's value is not written in this form; None when each is."""
        if self._dialect is None:
            return None
        position = self._dialect.names.index(name)
        reader = csv.reader(self._lines(self._dialect), delimiter=self._dialect.delimiter)
        start = self._dialect.first_line
        for record in reader:
            value = record[position] if position < len(record) else ""
            plain = form.plain(pa.array([value], pa.string()))
            if value and (plain is None or not kinds.is_time(plain)):
                shown = value if len(value) <= SHOWN_CHARACTERS else value[:SHOWN_CHARACTERS] + "…"
                reason = f"{shown!r} is not a time written as {form.time_format!r}"
                return refuse(reason, line=start, column=name)
            start = self._dialect.first_line + reader.line_num
        return None

    def _lines(self, dialect: Dialect) -> Iterator[str]:
        return _lines(streams.skip(self._text(), dialect.data_offset))

    def _diagnosed(self, dialect: Dialect) -> Invalid | None:
        """Read again, slowly, to say where the table breaks; None when it does not."""
        csv.field_size_limit(MAX_RECORD_BYTES)
        width = len(dialect.names)
        reader = csv.reader(self._lines(dialect), delimiter=dialect.delimiter, strict=True)
        start = dialect.first_line
        try:
            for record in reader:
                if record and len(record) != width:
                    column = dialect.names[len(record)] if len(record) < width else None
                    return refuse(_ragged(len(record), width), line=start, column=column)
                start = dialect.first_line + reader.line_num
        except csv.Error as error:
            if "limit" in str(error) or "unexpected end" in str(error):
                return refuse(UNCLOSED, line=start)
            return refuse(f"the quotes are not right ({error})", line=start)
        except _LineTooLong:
            line = dialect.first_line + reader.line_num
            return refuse(f"the line is longer than {MAX_RECORD_BYTES} bytes", line=line)
        return None


def _ragged(found: int, wanted: int) -> str:
    values = "there is 1 value" if found == 1 else f"there are {found} values"
    return f"{values}, but the header names {wanted} column{'' if wanted == 1 else 's'}"


class _NulByte(Exception):
    """There is one in the text."""


class _Watch:
    """Looks at the text on its way to pyarrow, which would take NUL bytes and unclosed quotes for good."""

    def __init__(self) -> None:
        self.quotes = 0

    def passing(self, chunks: Chunks) -> Chunks:
        """The chunks as they are; raises _NulByte."""
        for chunk in chunks:
            if b"\0" in chunk:
                raise _NulByte
            self.quotes += chunk.count(b'"')
            yield chunk


class _LineTooLong(Exception):
    """A line is over MAX_RECORD_BYTES."""


def _lines(chunks: Chunks) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if len(line) > MAX_RECORD_BYTES:
                raise _LineTooLong
            yield line.decode("utf-8", "replace") + "\n"
        if len(rest) > MAX_RECORD_BYTES:
            raise _LineTooLong
    if rest:
        yield rest.decode("utf-8", "replace")


def _batch(dialect: Dialect, columns: list[pa.Array], row_count: int) -> TextBatch:
    return TextBatch(names=dialect.names, columns=columns, row_count=row_count)
