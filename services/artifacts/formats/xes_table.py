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
from typing import Any, NoReturn
from xml.parsers import expat

import orjson

from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.streams import Chunks, OpenChunks
from services.artifacts.formats.tables import TextBatch
from services.artifacts.formats.xes_events import LATE_EVENTS, Events, Record

FEED_BYTES = 64 * 1024
"""How much the parser gets at once, in bytes."""

MAX_TOKEN_BYTES = 4 * 1024 * 1024
"""The longest single tag or value, in bytes: what bounds the parser's memory."""

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

    owner: Record | None = None  # a trace or an event
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
            while parser.events.are_many:
                yield parser.events.take()
        parser.finish()
        yield parser.events.take()
        while parser.events.held:
            yield parser.events.take()


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
        self._trace, self._event = Record(), Record()
        self._no_trace = Record()
        self._list_bytes = 0
        self.events = Events()
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
            self._refuse(f"a value is longer than {MAX_TOKEN_BYTES} bytes")

    def finish(self) -> None:
        """The file is over; raises Invalid when it should not be."""
        self._parse(b"", final=True)
        self.events.end_trace(self._no_trace)
        if not self.events.columns:
            raise refuse("there are no events in the log")

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._expat.Parse(data, final)
        except expat.ExpatError as error:
            reason = f"the XML is not well-formed ({expat.ErrorString(error.code)})"
            raise refuse(reason, line=error.lineno, character=error.offset + 1) from error

    def _refuse(self, reason: str) -> NoReturn:
        """At the place where the parser is."""
        line, character = self._expat.CurrentLineNumber, self._expat.CurrentColumnNumber + 1
        raise refuse(reason, line=line, character=character)

    def _doctype(self, *_: object) -> None:
        self._refuse("a document type declaration is not allowed")

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        tag = qualified.rpartition(" ")[2]
        if not self._path and tag != "log":
            self._refuse(f"the XML is not an XES log: it begins with <{tag}>")
        self._path.append(tag)
        if len(self._path) > MAX_DEPTH:
            self._refuse("the XML is nested too deep")
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
                self.events.texts.add(name)
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
            self._refuse(f"a list is longer than {MAX_TOKEN_BYTES} bytes")
        if isinstance(parent.into, dict):
            parent.into[key] = item
        elif parent.into is not None:
            parent.into.append(item)
        return _PASSED_OVER if tag in VALUE_TAGS else _Scope(into=item)

    def _refuse_attribute(self, tag: str) -> NoReturn:
        self._refuse(f"a <{tag}> has no key or no value")

    def _set(self, owner: Record, name: str, value: str) -> None:
        owner.set(name, value)
        self._check_count(owner.values)
        if owner.size > MAX_TOKEN_BYTES:
            self._refuse(f"the attributes of a trace or an event are longer than {MAX_TOKEN_BYTES} bytes")
        if owner is self._trace and self.events.some_are_gone:
            self._refuse(
                f"an attribute of a trace comes after more than {LATE_EVENTS} of its events, or very long ones"
            )

    def _check_count(self, names: dict[str, Any]) -> None:
        if len(names) > self._max_columns:
            self._refuse(f"there are more than {self._max_columns} attributes")

    def _end(self, _qualified: str) -> None:
        scope = self._scopes.pop()
        if scope.name and scope.owner is not None:
            self._set(scope.owner, scope.name, orjson.dumps(scope.into).decode())
            self.events.texts.add(scope.name)
            self._list_bytes = 0
        if self._path == ["log", "trace", "event"]:
            self._add(self._trace)
        elif self._path == ["log", "event"]:  # of a stream: there are no cases
            self._add(self._no_trace)
            self.events.end_trace(self._no_trace)
        elif self._path == ["log", "trace"]:
            self.events.end_trace(self._trace)
            self._check_count(self.events.columns)
            self._trace = Record()
        self._path.pop()

    def _add(self, trace: Record) -> None:
        self.events.add(trace, self._event)
        self._check_count(self.events.columns)
        self._event = Record()
