"""Reads a kernel's messages: signed, each once, and without looking for dates where nobody asks for one."""

from __future__ import annotations

from datetime import UTC, datetime
from hmac import compare_digest
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.adapter import adapt
from jupyter_client.session import Session

from services.executor.kernels import value_limits

MESSAGE_PARTS = 5
"""Signature, header, parent's header, metadata and content; buffers follow (Jupyter's messaging protocol)."""

MAX_HEADERS_BYTES = 1_000_000
"""Of a message's headers and metadata together: they have some hundreds."""

DISPLAYED = frozenset({"display_data", "execute_result", "update_display_data"})
"""Messages that show something."""


class RunSession(Session):
    """A session that reads one date of a message, the header's, which is what nbclient keeps. The base class looks for
    dates in every text of both headers, which takes as long as all the rest."""

    def send(self, stream: Any, *arguments: Any, **options: Any) -> Any:
        """See the base class, which sends past asyncio: what arrives at that moment (the reply of a cell whose widget
        is answered) would wake nobody. Asking for the events has asyncio look at them."""
        sent = super().send(stream, *arguments, **options)
        if isinstance(stream, zmq.asyncio.Socket):
            stream.get(zmq.EVENTS)
        return sent

    def deserialize(self, msg_list: list[Any], content: bool = True, copy: bool = True) -> dict[str, Any]:
        """See the base class; raises ValueError or TypeError for what this session's kernel has not signed."""
        if self.auth is None or not content or not copy:
            return super().deserialize(msg_list, content, copy)
        signature = msg_list[0]
        if not signature or signature in self.digest_history:
            raise ValueError("a message without a signature, or one that was used before")
        self._add_digest(signature)
        if not compare_digest(signature, self.sign(msg_list[1:5])):
            raise ValueError("a message with a wrong signature")
        if len(msg_list) < MESSAGE_PARTS:
            raise TypeError("a message of too few parts")
        if sum(map(len, msg_list[1 : MESSAGE_PARTS - 1])) > MAX_HEADERS_BYTES:
            raise ValueError("a message with headers that are too large")
        header, parent, metadata = (self.unpack(part) for part in msg_list[1 : MESSAGE_PARTS - 1])
        identity, kind = header["msg_id"], header["msg_type"]
        said, values = msg_list[MESSAGE_PARTS - 1], value_limits.of_text(bytes(msg_list[MESSAGE_PARTS - 1]))
        if isinstance(header.get("date"), str):
            header["date"] = _moment(header["date"])
        message = {
            "header": header,
            "msg_id": identity,
            "msg_type": kind,
            "parent_header": parent,
            "metadata": metadata,
            "content": self.unpack(said) if values <= value_limits.MAX_VALUES else _instead(kind),
            "values": values,
            "buffers": [memoryview(part) for part in msg_list[MESSAGE_PARTS:]],
        }
        return dict(adapt(message))


def _instead(kind: Any) -> dict[str, Any]:
    """The content of a message with too many values: of what is shown, a remark."""
    return {"data": {"text/plain": value_limits.TOO_MANY}, "metadata": {}} if kind in DISPLAYED else {"status": "ok"}


def _moment(text: str) -> datetime | str:
    """A date as ISO 8601 has it; what is none stays as it is. Kernels without a time zone are taken to mean UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
