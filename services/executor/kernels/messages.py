"""What a kernel says, made fit to be kept. A notebook can send any message in its kernel's name: what has not the shape
that Jupyter's protocol gives it is dropped, and text that no store takes is replaced."""

from __future__ import annotations

from typing import Any

import orjson

NOT_SHOWN = "[an output that cannot be kept: its text or JSON is malformed or nested too deeply]"

STREAMS = frozenset({"stdout", "stderr"})

SHOWN = frozenset({"display_data", "execute_result", "update_display_data"})

NUL = "\x00"
"""PostgreSQL keeps it in no text."""

REPLACEMENT = "\ufffd"


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
    if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
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
    if kind in ("comm_open", "comm_msg", "comm_close"):
        data = content.get("data")
        return isinstance(data, dict) and isinstance(content.get("comm_id"), str) and _is_state(data.get("state", {}))
    return True


def clean(message: dict[str, Any]) -> None:
    """Replace, in a well-formed message, what no store takes."""
    content = message["content"]
    for name in ("text", "ename", "evalue"):
        if isinstance(content.get(name), str):
            content[name] = storable(content[name])
    if message["msg_type"] == "error":
        content["traceback"] = [storable(line) for line in content["traceback"]]
    if message["msg_type"] in SHOWN:
        for name in ("data", "metadata"):
            content[name] = {storable(str(key)): _kept(value) for key, value in content[name].items()}


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


def _kept(value: Any) -> Any:
    """A form of an output: text made storable; JSON that cannot be written and read again is replaced by a remark."""
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, int) or value.bit_length() < 64 else str(value)
    try:
        written = orjson.dumps(value)
    except (TypeError, ValueError):
        return NOT_SHOWN
    return NOT_SHOWN if b"\\u0000" in written else value


def size(content: dict[str, Any]) -> int:
    """Bytes of a message's payload, near enough for a cap."""
    if "text" in content:
        return len(content["text"])
    if "traceback" in content:
        return sum(map(len, content["traceback"])) + len(content["evalue"])
    data = content.get("data") or {}
    return sum(len(part) if isinstance(part, str) else len(str(part)) for part in data.values())


def _are_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_state(state: Any) -> bool:
    return isinstance(state, dict)
