"""XES event logs (IEEE 1849) as batches of texts, parsed as they stream by, without entities or a DTD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

import pyarrow as pa

from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.streams import Chunks, OpenChunks
from services.artifacts.formats.tables import TextBatch

BATCH_EVENTS = 20_000
"""Events of one batch."""

FEED_BYTES = 64 * 1024
"""How much the parser gets at once, in bytes."""

MAX_TOKEN_BYTES = 4 * 1024 * 1024
"""The longest single tag or value, in bytes: what bounds the parser's memory."""

MAX_DEPTH = 200
"""How deep elements may be nested."""

CASE_PREFIX = "case:"
"""Before the names of trace attributes, as process-mining tools write them in tables."""

TEXT_TAGS = frozenset({"string", "id"})
VALUE_TAGS = TEXT_TAGS | {"date", "int", "float", "boolean"}
"""The attribute elements of IEEE 1849, section 4.3, that hold one value; `list` and `container` hold others."""


class XesTable:
    """An XES file; see TextTable. One row an event; nested attributes and log attributes are left out."""

    def __init__(self, open_chunks: OpenChunks, *, max_columns: int) -> None:
        self._open_chunks = open_chunks
        self._max_columns = max_columns

    @property
    def commas_are_decimal(self) -> bool:
        """See TextTable."""
        return False

    def description(self) -> dict[str, Any]:
        """See TextTable."""
        return {"format": "xes"}

    def batches(self) -> Iterator[TextBatch]:
        """See TextTable."""
        parser = _Parser(self._max_columns)
        for piece in _pieces(self._open_chunks()):
            parser.feed(piece)
            if parser.event_count >= BATCH_EVENTS:
                yield parser.take()
        parser.finish()
        yield parser.take()


def _pieces(chunks: Chunks) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), FEED_BYTES):
            yield chunk[start : start + FEED_BYTES]


class _Parser:
    """Collects the events of a log column by column."""

    def __init__(self, max_columns: int) -> None:
        self._max_columns = max_columns
        self._path: list[str] = []
        self._trace: dict[str, str] = {}
        self._event: dict[str, str] = {}
        self._columns: dict[str, list[str | None]] = {}
        self._texts: set[str] = set()
        self._fed = 0
        self.event_count = 0
        self._expat = expat.ParserCreate(namespace_separator=" ")
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.StartDoctypeDeclHandler = self._doctype

    def feed(self, data: bytes) -> None:
        """Parse some more; raises Invalid."""
        self._parse(data, final=False)
        self._fed += len(data)
        if self._fed - max(self._expat.CurrentByteIndex, 0) > MAX_TOKEN_BYTES:
            raise refuse(f"a value is longer than {MAX_TOKEN_BYTES} bytes", line=self._expat.CurrentLineNumber)

    def finish(self) -> None:
        """The file is over; raises Invalid when it should not be."""
        self._parse(b"", final=True)
        if not self._columns:
            raise refuse("there are no events in the log")

    def take(self) -> TextBatch:
        """The events since the last call."""
        batch = TextBatch(
            names=list(self._columns),
            columns=[pa.array(values, pa.string()) for values in self._columns.values()],
            row_count=self.event_count,
            texts=frozenset(self._texts),
        )
        self._columns = {name: [] for name in self._columns}
        self.event_count = 0
        return batch

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._expat.Parse(data, final)
        except expat.ExpatError as error:
            raise refuse(f"the XML is not well-formed ({expat.ErrorString(error.code)})", line=error.lineno) from error

    def _doctype(self, *_: object) -> None:
        raise refuse("a document type declaration is not allowed", line=self._expat.CurrentLineNumber)

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        tag = qualified.rpartition(" ")[2]
        if not self._path and tag != "log":
            raise refuse(f"the XML is not an XES log: it begins with <{tag}>", line=self._expat.CurrentLineNumber)
        self._path.append(tag)
        if len(self._path) > MAX_DEPTH:
            raise refuse("the XML is nested too deep", line=self._expat.CurrentLineNumber)
        if tag in VALUE_TAGS:
            self._attribute(tag, attributes)

    def _attribute(self, tag: str, attributes: dict[str, str]) -> None:
        if self._path[:-1] == ["log", "trace"]:
            self._set(self._trace, CASE_PREFIX, tag, attributes)
        elif self._path[:-1] == ["log", "trace", "event"]:
            self._set(self._event, "", tag, attributes)

    def _set(self, owner: dict[str, str], prefix: str, tag: str, attributes: dict[str, str]) -> None:
        key, value = attributes.get("key"), attributes.get("value")
        if not key or value is None:
            raise refuse(f"a <{tag}> has no key or no value", line=self._expat.CurrentLineNumber)
        name = prefix + key
        owner[name] = value
        if tag in TEXT_TAGS:
            self._texts.add(name)

    def _end(self, qualified: str) -> None:
        tag = qualified.rpartition(" ")[2]
        self._path.pop()
        if tag == "event" and self._path == ["log", "trace"]:
            self._add(self._trace | self._event)
            self._event = {}
        elif tag == "trace" and self._path == ["log"]:
            self._trace = {}

    def _add(self, row: dict[str, str]) -> None:
        for name in row:
            if name not in self._columns:
                self._columns[name] = [None] * self.event_count
        if len(self._columns) > self._max_columns:
            raise refuse(f"there are more than {self._max_columns} attributes", line=self._expat.CurrentLineNumber)
        for name, values in self._columns.items():
            values.append(row.get(name))
        self.event_count += 1
