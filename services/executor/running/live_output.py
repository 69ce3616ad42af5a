"""Output of the running cell for events: joined, cut to a size, and sent at most ten times a second for a run."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.executor.kernels import terminal
from shared.contracts.execution_events import NewOutput

FIRST_S = 0.1
"""A cell that ends within this time has no output event of its own, in seconds: its end tells what it put out."""

PAUSE_S = 0.125
"""Shortest time between two output events of a running cell, in seconds."""

LONGEST_PAUSE_S = 2.0
"""What that time grows to in a run of hours, in seconds, which bounds the events that its database row collects."""

PAUSE_SHARE = 1_000
"""The pause is at least this part of the run's time so far: 1 s after 1,000 s."""

EVENTS_A_SECOND = 10
"""Output events of a run in any second at most."""

EVENT_CHARACTERS = 16_000
"""Text of one event at most, in characters."""

RUN_CHARACTERS = 10_000_000
"""Text of all output events of a run at most, in characters: each is stored and sent. Later ones tell sizes alone."""

MAX_OUTPUTS = 20
"""Outputs that one event lists at most; it has the newest."""

PLAIN_CHARACTERS = 2_000
"""Plain form of one output that is shown in full, in characters."""

MAX_MIME_TYPES = 20
"""Forms of one output that are named at most."""

MIME_CHARACTERS = 200
"""Longest name of a form, in characters."""


@dataclass
class _Part:
    """An output, or what was added to a stream, while it waits to be told."""

    output_type: str
    name: str | None = None
    display_id: str | None = None
    mime_types: list[str] = field(default_factory=list)
    size: int = 0
    pieces: list[str] = field(default_factory=list)
    held: int = 0
    cut: int = 0

    def add(self, text: str) -> None:
        """Add to the stream. What is held stays bounded, in time linear in all that is added."""
        self.pieces.append(text)
        self.size += len(text)
        self.held += len(text)
        if self.held > 2 * EVENT_CHARACTERS:
            joined = "".join(self.pieces)
            # Backspaces are taken one by one: in a flood of them that would take longer than reading it.
            self._keep_end(joined if "\b" in joined else terminal.continued(joined), EVENT_CHARACTERS)

    def text(self, most: int) -> str:
        """The end of the text, at most so long, as a terminal shows it."""
        joined = "".join(self.pieces)
        return self._keep_end(terminal.continued(joined) if self.output_type == "stream" else joined, most)

    def _keep_end(self, text: str, most: int) -> str:
        left_out = max(len(text) - most, 0)
        self.cut += left_out
        text = text[left_out:]
        self.pieces, self.held = [text], len(text)
        return text


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an event says of a cell's output."""

    outputs: list[NewOutput] = field(default_factory=list)
    cleared: bool = False
    omitted: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.outputs or self.cleared or self.omitted)

    @property
    def needs_link(self) -> bool:
        """Whether a reader would have to look elsewhere for a part of it."""
        return bool(self.omitted) or any(part.text is None or part.cut_characters for part in self.outputs)


class LiveOutput:
    """One per run; hears of every output of the cell that runs. `send` is called with what one event tells.

    Nothing is heard before `begin` and after `end`: replayed cells and injected parameters have no events.
    """

    def __init__(self, send: Callable[[Told], None], *, enabled: bool) -> None:
        self._send = send
        self._enabled = enabled
        self._began = time.monotonic()
        self._left = RUN_CHARACTERS
        self._sent: deque[float] = deque(maxlen=EVENTS_A_SECOND)
        self._active = self._has_told = False
        self._cell_began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._parts: deque[_Part] = deque()
        self._cleared = False
        self._omitted = 0

    def begin(self) -> None:
        """A cell begins."""
        self._active, self._has_told = self._enabled, False
        self._cell_began = time.monotonic()

    def end(self) -> Told:
        """The cell has ended. Returns what no event has told: for a short cell everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._active = False
        if self._has_told and self._parts and self._wait_s() <= 0:
            self._tell()
        return self._take()

    def stream(self, name: str, text: str) -> None:
        """Text was added to `stdout` or `stderr`."""
        if not self._active:
            return
        last = self._parts[-1] if self._parts else None
        if last is None or last.name != name:
            last = self._put(_Part("stream", name=name))
        last.add(text)
        self._schedule()

    def shown(self, kind: str, content: dict[str, Any], size: int) -> None:
        """An output of another kind was put out, or put in place of an earlier one."""
        if not self._active:
            return
        display_id = (content.get("transient") or {}).get("display_id")
        last = self._parts[-1] if self._parts else None
        if last is not None and kind == "update_display_data" == last.output_type and last.display_id == display_id:
            self._parts.pop()
        part = self._put(_Part(kind, display_id=display_id, size=size))
        if kind == "error":
            part.pieces = [f"{content['ename'][:MIME_CHARACTERS]}: {content['evalue'][:PLAIN_CHARACTERS]}"]
        else:
            data = content["data"]
            part.mime_types = [mime[:MIME_CHARACTERS] for mime, _ in zip(data, range(MAX_MIME_TYPES), strict=False)]
            plain = data.get("text/plain")
            part.pieces = [plain] if isinstance(plain, str) and len(plain) <= PLAIN_CHARACTERS else []
        self._schedule()

    def cleared(self) -> None:
        """All output of the cell was taken away."""
        if self._active:
            self._parts.clear()
            self._cleared, self._omitted = True, 0
            self._schedule()

    def _put(self, part: _Part) -> _Part:
        if len(self._parts) == MAX_OUTPUTS:
            self._parts.popleft()
            self._omitted += 1
        self._parts.append(part)
        return part

    def _schedule(self) -> None:
        if self._timer is None:
            now = time.monotonic()
            due = max(self._cell_began + FIRST_S, (self._sent[-1] + self._pause_s(now)) if self._sent else 0.0)
            self._timer = asyncio.get_running_loop().call_later(max(due - now, self._wait_s()), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._has_told = True
        self._tell()

    def _tell(self) -> None:
        told = self._take()
        if not told.is_empty:
            self._sent.append(time.monotonic())
            self._send(told)

    def _pause_s(self, now: float) -> float:
        return min(max(PAUSE_S, (now - self._began) / PAUSE_SHARE), LONGEST_PAUSE_S)

    def _wait_s(self) -> float:
        """How long no event may be sent, so that there are not too many in a second."""
        if len(self._sent) < EVENTS_A_SECOND:
            return 0.0
        return max(self._sent[0] + 1.0 - time.monotonic(), 0.0)

    def _take(self) -> Told:
        """What waits to be told, which then is told."""
        if not (self._parts or self._cleared):
            return Told()
        left = min(EVENT_CHARACTERS, self._left)
        outputs = []
        for part in reversed(self._parts):
            text = part.text(left) if part.pieces else None
            left -= len(text or "")
            self._left -= len(text or "")
            outputs.append(
                NewOutput.model_validate(
                    {
                        "output_type": part.output_type,
                        "name": part.name,
                        "text": text,
                        "cut_characters": part.cut,
                        "mime_types": part.mime_types,
                        "size_bytes": part.size,
                    }
                )
            )
        told = Told(outputs=outputs[::-1], cleared=self._cleared, omitted=self._omitted)
        self._parts.clear()
        self._cleared, self._omitted = False, 0
        return told
