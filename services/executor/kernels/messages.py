"""What a kernel says, made fit to be kept. A notebook can send any message in its kernel's name: what has not the shape
that Jupyter's protocol gives it is dropped, and what no store takes is replaced."""

from __future__ import annotations

import math
from typing import Any

import orjson

NOT_SHOWN = "[an output that cannot be kept: its JSON is nested too deeply, or too large and malformed]"

STREAMS = frozenset({"stdout", "stderr"})

SHOWN = frozenset({"display_data", "execute_result", "update_display_data"})

COMMS = frozenset({"comm_open", "comm_msg", "comm_close"})

NUL = "\x00"
"""PostgreSQL keeps it in no text."""

REPLACEMENT = "\ufffd"

MAX_DEPTH = 200
"""Lists and objects within one another that are kept of JSON that has to be cleaned; of other JSON, orjson's 254."""

MAX_CLEANED = 200_000
"""Values of one piece of JSON that are cleaned one by one; each costs a step of Python."""

MAX_COUNT = 2**31
"""Execution counts stay below it."""


class _TooMuch(Exception):
    """JSON is nested more deeply than MAX_DEPTH, or has more values than MAX_CLEANED."""


def complete(message: dict[str, Any]) -> None:
    """Give an error the texts that nbformat wants of it: an exception of Java's may have no message, which Toree sends
    as null, and a kernel may leave out what it has not got."""
    content = message.get("content")
    if message.get("msg_type") == "error" and isinstance(content, dict):
        for name, otherwise in (("ename", "Error"), ("evalue", ""), ("traceback", [])):
            if content.get(name) is None:
                content[name] = otherwise


def is_well_formed(message: dict[str, Any]) -> bool:
    """Whether a message of the iopub channel has the members that are relied on, in their types."""
    kind, content = message.get("msg_type"), message.get("content")
    if not isinstance(kind, str) or not isinstance(content, dict):
        return False
    count = content.get("execution_count")
    if count is not None and (type(count) is not int or not 0 <= count < MAX_COUNT):
        return False
    if kind == "stream":
        return content.get("name") in STREAMS and isinstance(content.get("text"), str)
    if kind == "error":
        words, traceback = (content.get("ename"), content.get("evalue")), content.get("traceback")
        return _are_texts(words) and isinstance(traceback, list) and _are_texts(traceback)
    if kind in SHOWN:
        transient = content.get("transient") or {}
        return (
            isinstance(content.get("data"), dict)
            and isinstance(content.get("metadata"), dict)
            and isinstance(transient, dict)
            and isinstance(transient.get("display_id"), str | None)
        )
    if kind == "status":
        return isinstance(content.get("execution_state"), str)
    if kind in COMMS:
        data = content.get("data")
        return isinstance(data, dict) and isinstance(content.get("comm_id"), str) and _is_state(data.get("state", {}))
    return True


def clean(message: dict[str, Any]) -> None:
    """Replace, in a well-formed message, what no store takes: NUL characters, halves of surrogate pairs, numbers that
    JSON does not have, and what is nested too deeply. Integers of any size stay as they are."""
    kind, content = message["msg_type"], message["content"]
    for name in ("text", "ename", "evalue"):
        if isinstance(content.get(name), str):
            content[name] = storable(content[name])
    if kind == "error":
        content["traceback"] = [storable(line) for line in content["traceback"]]
    if kind in SHOWN:
        for name in ("data", "metadata"):
            content[name] = {storable(str(key)): cleaned(value) for key, value in content[name].items()}
    if kind in COMMS:
        content["comm_id"] = storable(content["comm_id"])
        data = content["data"]
        if "state" in data:
            data["state"] = {storable(str(key)): cleaned(value) for key, value in data["state"].items()}


def storable(text: str) -> str:
    """`text` without NUL characters and without halves of surrogate pairs."""
    if NUL in text:
        text = text.replace(NUL, REPLACEMENT)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def size(content: dict[str, Any]) -> int:
    """Bytes of a message's payload, near enough for a cap."""
    if "text" in content:
        return len(content["text"])
    if "traceback" in content:
        return sum(map(len, content["traceback"])) + len(content["evalue"]) + len(content["ename"])
    data, metadata = content.get("data"), content.get("metadata")
    return _size(data or {}) + _size(metadata or {})


def size_of(value: Any) -> int:
    """Bytes of a cleaned value as JSON, near enough."""
    if isinstance(value, str):
        return len(value)
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return len(str(value))


def _size(members: dict[str, Any]) -> int:
    return sum(len(str(name)) + size_of(part) for name, part in members.items())


def cleaned(value: Any) -> Any:
    """A form of an output, fit to be kept; what cannot be made so is replaced by a remark."""
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, bool | int):
        return value
    try:
        written = orjson.dumps(value)
    except TypeError:
        pass  # half a surrogate pair, an integer of over 64 bits, or too deep
    else:
        if b"\\u0000" not in written:
            # Numbers that JSON does not have are written as null.
            return orjson.loads(written) if b"null" in written else value
    try:
        return _Cleaner().clean(value, MAX_DEPTH)
    except _TooMuch:
        return NOT_SHOWN


class _Cleaner:
    """Cleans one piece of JSON, value by value."""

    def __init__(self) -> None:
        self._left = MAX_CLEANED

    def clean(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if isinstance(value, str):
            return storable(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if not isinstance(value, dict | list):
            return value
        if depth == 0 or len(value) > self._left:
            raise _TooMuch
        if isinstance(value, dict):
            return {storable(str(key)): self.clean(item, depth - 1) for key, item in value.items()}
        return [self.clean(item, depth - 1) for item in value]


def _are_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_state(state: Any) -> bool:
    return isinstance(state, dict)
