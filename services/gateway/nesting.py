"""How deeply JSON text is nested, found without parsing it, so that no parser meets text made to exhaust it."""

from __future__ import annotations

import re

MAX_NESTING = 100
"""Levels of objects and arrays that a body may have. The deepest honest ones, notebook metadata, have about ten."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)
"""A JSON string, or the rest of the text after an unclosed quote; it never looks at a byte twice."""

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def too_deep(text: bytes, limit: int = MAX_NESTING) -> bool:
    """Whether `text` has more than `limit` levels. Text whose brackets do not balance, which no parser accepts, counts
    as too deep when more than `limit` of them stay open.

    Peels off the innermost pairs once a level, each time in one pass that runs in C.
    """
    brackets = _STRING.sub(b"", text).translate(_BRACKETS, _OTHERS)
    for _ in range(limit):
        if not brackets:
            return False
        peeled = brackets.replace(b"[]", b"")
        if len(peeled) == len(brackets):
            return _open_at_most(peeled) > limit
        brackets = peeled
    return bool(brackets)


def _open_at_most(brackets: bytes) -> int:
    """How many brackets are open at once in text of the form `]]][[[`, where no pair is left."""
    return brackets.count(b"[")
