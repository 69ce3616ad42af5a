"""XES event logs (IEEE 1849) as batches of texts, parsed as they stream by, without entities or a DTD.

One row an event, with the attributes of its trace. An attribute within an attribute or container becomes a column named
by the way to it (`org:resource/department`), a list a text in JSON. Left out knowingly: attributes of the log, which
describe the file; those within a list's values; classifiers, which only name columns; and the defaults of globals: a
log has every global attribute in place (section 4.3), and where one is missing all the same, `__INVALID__` or
1 January 1970 is no value that anybody observed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

import orjson
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

LATE_EVENTS = 50_000
"""Events of an unfinished trace that are kept back at most: an attribute of the trace may follow them."""

MAX_DEPTH = 200
"""How deep elements may be nested."""

CASE_PREFIX = "case:"
"""Before the names of trace attributes, as process-mining tools write them in tables."""

NESTING = "/"
"""Between the keys of an attribute and of one within it."""

TEXT_TAGS = frozenset({"string", "id"})
VALUE_TAGS = TEXT_TAGS | {"date", "int", "float", "boolean"}
"""The attribute elements of IEEE 1849, section 4.3, that hold one value; `list` and `container` hold others."""


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """What the children of an open element belong to. Nothing, where all is None: they are passed over."""

    owner: dict[str, str] | None = None  # attributes of a trace or an event
    prefix: str = ""  # of their names
    into: list[Any] | dict[str, Any] | None = None  # the list or record that they are values of
    name: str = ""  # of the column that the list becomes


_PASSED_OVER = _Scope()


class XesTable:
    """An XES file; see TextTable."""

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
            if parser.is_full:
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
        self._scopes: list[_Scope] = []
        self._trace: dict[str, str] = {}
        self._event: dict[str, str] = {}
        self._late: dict[str, str] = {}  # attributes of the trace that came after an event of it
        self._trace_events = 0
        self._columns: dict[str, list[str | None]] = {}
        self._texts: set[str] = set()
        self._list_bytes = 0
        self._event_count = 0
        self._finished = 0  # of these, so many belong to traces that have ended
        self._fed = 0
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

    @property
    def is_full(self) -> bool:
        """Whether it is time to take a batch."""
        return self._finished >= BATCH_EVENTS or self._event_count - self._finished >= LATE_EVENTS

    def take(self) -> TextBatch:
        """The events of the traces that have ended since the last call; of the trace in hand when that is very long."""
        count = self._finished if self._event_count - self._finished < LATE_EVENTS else self._event_count
        batch = TextBatch(
            names=list(self._columns),
            columns=[pa.array(values[:count], pa.string()) for values in self._columns.values()],
            row_count=count,
            texts=frozenset(self._texts),
        )
        self._columns = {name: values[count:] for name, values in self._columns.items()}
        self._event_count -= count
        self._finished = 0
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
        self._scopes.append(self._scope(tag, attributes))

    def _scope(self, tag: str, attributes: dict[str, str]) -> _Scope:
        """Take in what the element says; returns what its children belong to."""
        if self._path == ["log", "trace"]:
            return _Scope(owner=self._trace, prefix=CASE_PREFIX)
        if self._path in (["log", "trace", "event"], ["log", "event"]):
            return _Scope(owner=self._event)
        parent = self._scopes[-1] if self._scopes else _PASSED_OVER
        if parent.into is not None:
            return self._value(parent, tag, attributes)
        if parent.owner is None or tag not in VALUE_TAGS | {"list", "container"}:
            return _PASSED_OVER
        name = parent.prefix + (attributes.get("key") or self._refuse_attribute(tag))
        if tag == "list":
            return _Scope(owner=parent.owner, into=[], name=name)
        if tag in VALUE_TAGS:
            value = attributes.get("value")
            self._set(parent.owner, name, self._refuse_attribute(tag) if value is None else value)
            if tag in TEXT_TAGS:
                self._texts.add(name)
        return _Scope(owner=parent.owner, prefix=name + NESTING)

    def _value(self, parent: _Scope, tag: str, attributes: dict[str, str]) -> _Scope:
        """A value of a list or a record."""
        key, value = attributes.get("key", ""), attributes.get("value", "")
        if tag == "values":
            return _Scope(into=parent.into)
        if tag not in VALUE_TAGS | {"list", "container"}:
            return _PASSED_OVER
        item: Any = [] if tag == "list" else {} if tag == "container" else value
        self._list_bytes += len(key) + len(value) + 1
        if self._list_bytes > MAX_TOKEN_BYTES:
            raise refuse(f"a list is longer than {MAX_TOKEN_BYTES} bytes", line=self._expat.CurrentLineNumber)
        if isinstance(parent.into, dict):
            parent.into[key] = item
        elif parent.into is not None:
            parent.into.append(item)
        return _PASSED_OVER if tag in VALUE_TAGS else _Scope(into=item)

    def _refuse_attribute(self, tag: str) -> str:
        raise refuse(f"a <{tag}> has no key or no value", line=self._expat.CurrentLineNumber)

    def _set(self, owner: dict[str, str], name: str, value: str) -> None:
        owner[name] = value
        self._check_count(owner)
        if owner is self._trace and self._trace_events:
            if self._trace_events > self._event_count - self._finished:
                reason = f"an attribute of a trace comes after more than {LATE_EVENTS} of its events"
                raise refuse(reason, line=self._expat.CurrentLineNumber)
            self._late[name] = value

    def _check_count(self, names: dict[str, Any]) -> None:
        if len(names) > self._max_columns:
            reason = f"there are more than {self._max_columns} attributes"
            raise refuse(reason, line=self._expat.CurrentLineNumber)

    def _end(self, _qualified: str) -> None:
        scope = self._scopes.pop()
        if scope.name and scope.owner is not None:
            self._set(scope.owner, scope.name, orjson.dumps(scope.into).decode())
            self._texts.add(scope.name)
            self._list_bytes = 0
        if self._path == ["log", "trace", "event"]:
            self._add(self._trace | self._event)
            self._trace_events += 1
            self._event = {}
        elif self._path == ["log", "event"]:  # of a stream: there are no cases
            self._add(self._event)
            self._finished = self._event_count
            self._event = {}
        elif self._path == ["log", "trace"]:
            self._end_trace()
        self._path.pop()

    def _end_trace(self) -> None:
        for name, value in self._late.items():
            values = self._column(name)
            for row in range(self._finished, self._event_count):
                values[row] = value
        self._trace, self._late, self._trace_events = {}, {}, 0
        self._finished = self._event_count

    def _column(self, name: str) -> list[str | None]:
        if name not in self._columns:
            self._columns[name] = [None] * self._event_count
            self._check_count(self._columns)
        return self._columns[name]

    def _add(self, row: dict[str, str]) -> None:
        for name in row:
            self._column(name)
        for name, values in self._columns.items():
            values.append(row.get(name))
        self._event_count += 1
