"""Depth and number of values of JSON text, found without parsing: no parser meets text that is made to exhaust it."""

from __future__ import annotations

MAX_NESTING = 100
"""Levels of objects and arrays that a body may have. The deepest honest ones, notebook metadata, have about ten."""

MAX_VALUES = 300_000
"""Values that a body may hold, members and items of every level counted: about 70 MB of Python objects at worst. The
largest honest body, a PUT of 10,000 cells, has 200,000."""

PIECE_BYTES = 256 * 1024
"""Text is looked at in pieces, in bytes: between them other threads get their turn, and little memory is needed."""

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_PLAIN = bytes(byte for byte in range(256) if byte not in b'[]{},"')


def skeleton(text: bytes) -> bytes:
    """Return the brackets and commas of JSON `text` outside its strings, braces as square brackets."""
    found, at, inside = bytearray(), 0, False
    while at < len(text):
        piece = text[at : at + PIECE_BYTES]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2 and at + len(piece) < len(text):
            piece = piece[:-1]  # what it escapes is in the next piece
        at += len(piece)
        # Outside of strings no parser reads on after a backslash, or after one string that follows another.
        marks = piece.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_BRACKETS, _PLAIN)
        parts = (b'"' + marks if inside else marks).replace(b'""', b"").split(b'"')
        inside = len(parts) % 2 == 0
        found += b"".join(parts[::2])
    return bytes(found)


def value_count(skeleton: bytes) -> int:
    """Return the most values that text with this `skeleton` can hold: one for each comma and container, and one."""
    return skeleton.count(b",") + skeleton.count(b"[") + 1


def too_deep(text: bytes, limit: int = MAX_NESTING) -> bool:
    """Whether `text` has more than `limit` levels. Text whose brackets do not balance, which no parser accepts, counts
    as too deep when more than `limit` of them stay open.

    Peels off the innermost pairs once a level, each time in one pass that runs in C.
    """
    return brackets_too_deep(skeleton(text), limit)


def brackets_too_deep(skeleton: bytes, limit: int = MAX_NESTING) -> bool:
    """Return whether text with this `skeleton` is nested deeper than `limit` levels; see `too_deep`."""
    brackets = skeleton.replace(b",", b"")
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
