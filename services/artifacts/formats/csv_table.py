"""CSV files as batches of texts, read by pyarrow in bounded memory, with the place of every fault."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from services.artifacts.formats import csv_dialect, csv_places, kinds, streams
from services.artifacts.formats.conversion import Writing
from services.artifacts.formats.csv_dialect import MAX_RECORD_BYTES, Dialect
from services.artifacts.formats.detection import HEAD_BYTES, Detected
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.streams import Chunks, OpenChunks, Undecodable
from services.artifacts.formats.tables import TextBatch
from services.artifacts.formats.text_forms import Form
from shared.errors import Invalid

NOTHING_SAID = Writing()

FEW_COLUMNS = 200
"""For each column pyarrow takes the size of a block and gives most of it back. What the C library then has left are
pieces, each a little too small for the next: 16 GB of addresses for 9,000 columns, with which no process can be started
any more."""

SHOWN_CHARACTERS = 40
"""How much of a value an error shows."""


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
        head, complete = self._head(HEAD_BYTES)
        while not complete and b"\n" not in head[HEAD_BYTES // 2 :] and len(head) < MAX_RECORD_BYTES:
            head, complete = self._head(len(head) * 2)
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(head, final=complete)
        except UnicodeDecodeError as error:
            before = head[: error.start].decode()
            self._dialect = self._sniffed(before, complete=False) if "\n" in before else None
            raise NotUtf8 from error
        dialect = self._sniffed(text, complete=complete)
        fault = csv_places.CONTROL.search(head, 0, dialect.data_offset)
        if fault:
            raise csv_places.in_header(head[: fault.start()], csv_places.controlled(fault[0][0]))
        self._dialect = dialect
        return self._rows(dialect)

    def _sniffed(self, text: str, *, complete: bool) -> Dialect:
        return csv_dialect.sniff(text, complete=complete, max_columns=self._max_columns, wished=self._writing.delimiter)

    def _head(self, size: int) -> tuple[bytes, bool]:
        """The first bytes; where they are not in their encoding the header must be before that, or it is refused."""
        chunks, head = self._text(), bytearray()
        try:
            for chunk in chunks:
                head += chunk
                if len(head) >= size:
                    return bytes(head), False
        except Undecodable as error:
            if b"\n" not in head:
                raise csv_places.in_header(bytes(head), str(error)) from error
            return bytes(head[: head.rindex(b"\n") + 1]), True
        return bytes(head), True

    def not_utf8(self) -> Invalid:
        """The refusal, with its place, when nothing else is worth a try."""
        rows = streams.to_utf8(streams.without_bom(self._open_chunks(), self._bom), "utf-8")
        if self._dialect is None:
            head = bytearray()
            try:
                for chunk in rows:
                    head += chunk
            except Undecodable as error:
                return csv_places.in_header(bytes(head), str(error))
        assert self._dialect is not None  # noqa: S101 - the header was in order
        return csv_places.undecodable(streams.skip(rows, self._dialect.data_offset), self._dialect)

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
        watch = _Watch()
        try:
            rows = self._data(dialect)
            first = next((chunk for chunk in rows if chunk), b"")
            if not first:
                return
            file = streams.ChunkFile(watch.passing(chain((first,), rows)))
            yield from self._parse(pa.PythonFile(cast(Any, file), mode="r"), dialect)
        except _ControlCharacter as error:
            raise csv_places.control_character(self._data(dialect), dialect) from error
        except Undecodable as error:
            raise csv_places.undecodable(self._data(dialect), dialect) from error
        except pa.ArrowInvalid as error:
            message = str(error)
            if "invalid UTF8" in message:
                raise NotUtf8 from error
            if message.startswith("Empty CSV file"):
                return
            raise csv_places.broken(self._data(dialect), dialect) or refuse(
                f"the file could not be read as CSV ({message})"
            ) from error
        if watch.quotes % 2:  # pyarrow takes the end of the file for the closing quote
            fault = csv_places.broken(self._data(dialect), dialect)
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
            memory_pool=pa.mimalloc_memory_pool() if len(dialect.names) > FEW_COLUMNS else None,
        )
        for batch in reader:
            yield _batch(dialect, batch.columns, batch.num_rows)

    def misfit(self, name: str, form: Form) -> Invalid | None:
        """Where a column's value is not written in this form; None when each is."""
        if self._dialect is None:
            return None
        position = self._dialect.names.index(name)
        lines = codecs.iterdecode(self._data(self._dialect), "utf-8")
        reader = csv.reader(_lines(lines), delimiter=self._dialect.delimiter)
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

    def _data(self, dialect: Dialect) -> Chunks:
        """The text behind the header."""
        return streams.skip(self._text(), dialect.data_offset)


class _ControlCharacter(Exception):
    """There is one in the text."""


_NEXT_CONTROL = pa.scalar(14, pa.uint8())


class _Watch:
    """Looks at the text on its way to pyarrow, which would take control characters and unclosed quotes for good."""

    def __init__(self) -> None:
        self.quotes = 0

    def passing(self, chunks: Chunks) -> Chunks:
        """The chunks as they are; raises _ControlCharacter."""
        for chunk in chunks:
            if chunk:
                self._look(chunk)
                yield chunk

    def _look(self, chunk: bytes) -> None:
        codes = pa.Array.from_buffers(pa.uint8(), len(chunk), [None, pa.py_buffer(chunk)])
        self.quotes += chunk.count(b'"')
        # Below the tab, 14 to 31 (the subtraction wraps around), and 11: all of `csv_places.CONTROL`, and one more.
        suspect = pc.min(codes).as_py() < ord("\t") or pc.min(pc.subtract(codes, _NEXT_CONTROL)).as_py() < 32 - 14
        if (suspect or b"\x0b" in chunk) and csv_places.CONTROL.search(chunk):
            raise _ControlCharacter


def _lines(texts: Iterator[str]) -> Iterator[str]:
    rest = ""
    for text in texts:
        *lines, rest = (rest + text).split("\n")
        yield from (line + "\n" for line in lines)
    if rest:
        yield rest


def _batch(dialect: Dialect, columns: list[pa.Array], row_count: int) -> TextBatch:
    return TextBatch(names=dialect.names, columns=columns, row_count=row_count)
