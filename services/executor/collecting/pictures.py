"""How large a picture is in pixels, from its own header: PNG, GIF, JPEG, WebP and SVG."""

from __future__ import annotations

import re
import struct

HEAD_BYTES = 256 * 1024
"""What of a picture is looked at: a JPEG may carry that much of other things before its size."""

MAX_SIDE = 2**31 - 1
"""The longest side that a PNG may have, in pixels, and that fits an integer of the database. Headers can claim more."""

Size = tuple[int | None, int | None]

_PIXELS = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}
"""Pixels a unit of length has (CSS Values, absolute lengths)."""

MAX_SVG_TAG = 10_000
"""Characters of an SVG picture's first tag that are looked at."""

_SVG_LENGTH = re.compile(r"\b(width|height)\s*+=\s*+[\"']\s*+([\d.]{1,30})\s*+([a-z]{0,20})\s*+[\"']")
_SVG_VIEW = re.compile(r"\bviewBox\s*+=\s*+[\"']([^\"'<>]{1,200})[\"']")

_NO_SIZE_MARKERS = frozenset({0xC4, 0xC8, 0xCC})
"""JPEG markers between SOF0 and SOF15 that begin no frame."""


def size_of(content_type: str, head: bytes) -> Size:
    """Width and height of a picture that begins with `head`; None where its header does not tell, or no sense."""
    try:
        width, height = _READERS[content_type](head)
    except (KeyError, struct.error, IndexError, ValueError, OverflowError):
        return None, None
    return plausible(width), plausible(height)


def plausible(side: object) -> int | None:
    """A side as somebody claims it; None where it makes no sense."""
    return side if type(side) is int and 0 < side <= MAX_SIDE else None


def _png(head: bytes) -> Size:
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return None, None
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _gif(head: bytes) -> Size:
    if head[:4] != b"GIF8":
        return None, None
    width, height = struct.unpack("<HH", head[6:10])
    return width, height


def _jpeg(head: bytes) -> Size:
    position = 2
    while head[position] == 0xFF:
        marker = head[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE_MARKERS:
            height, width = struct.unpack(">HH", head[position + 5 : position + 9])
            return width, height
        position += 2 + int.from_bytes(head[position + 2 : position + 4], "big")
    return None, None


def _webp(head: bytes) -> Size:
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None, None
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _svg(head: bytes) -> Size:
    text = head.decode(errors="ignore")
    start = text.find("<svg")
    tag = text[start : start + MAX_SVG_TAG].partition(">")[0] if start >= 0 else ""
    sides: dict[str, int] = {}
    for name, number, unit in _SVG_LENGTH.findall(tag):
        if unit in _PIXELS:
            sides.setdefault(name, round(float(number) * _PIXELS[unit]))
    view = _SVG_VIEW.search(tag)
    if view is not None and not sides:
        _, _, width, height = view[1].replace(",", " ").split()
        return round(float(width)), round(float(height))
    return sides.get("width"), sides.get("height")


_READERS = {
    "image/png": _png,
    "image/gif": _gif,
    "image/jpeg": _jpeg,
    "image/webp": _webp,
    "image/svg+xml": _svg,
}
