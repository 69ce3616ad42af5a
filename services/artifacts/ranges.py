"""The arithmetic of HTTP range and validator headers (RFC 9110)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes\s*+=\s*+(\d*+)\s*+-\s*+(\d*+)\s*+$", re.IGNORECASE | re.ASCII)

MAX_DIGITS = 18
"""Longer numbers are past the end of anything, and not worth the arithmetic."""


class Unsatisfiable(Exception):
    """The range lies outside the bytes there are."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Part of some bytes: from `start` up to, without, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start


def parse(header: str | None, size: int) -> Span | None:
    """The one range that is asked for; None for the whole, also where several are asked for or the header is no range
    (it may then be ignored: RFC 9110, 14.2). Raises Unsatisfiable."""
    match = _RANGE.match(header.strip()) if header else None
    if match is None:
        return None
    first, last = (None if text == "" else int(text[:MAX_DIGITS]) for text in match.groups())
    if first is None:
        if last is None:
            return None
        if last == 0 or size == 0:
            raise Unsatisfiable
        return Span(start=max(size - last, 0), end=size)
    if last is not None and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return Span(start=first, end=size if last is None else min(last + 1, size))


def matches(header: str | None, etag: str, *, absent: bool = False) -> bool:
    """Whether an If-None-Match or If-Range header names this ETag; `absent` is the answer when there is no header."""
    if header is None:
        return absent
    candidates = [candidate.strip().removeprefix("W/") for candidate in header.split(",")]
    return header.strip() == "*" or etag in candidates
