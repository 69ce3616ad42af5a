"""The size that a picture's header claims is told where it makes sense: any notebook can write a header."""

from __future__ import annotations

import struct

import pytest

from services.executor.collecting.pictures import MAX_SIDE, Size, plausible, size_of

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


@pytest.mark.parametrize(
    ("content_type", "head", "size"),
    [
        ("image/png", PNG + struct.pack(">II", 640, 480), (640, 480)),
        ("image/png", PNG + struct.pack(">II", MAX_SIDE, 1), (MAX_SIDE, 1)),
        ("image/png", PNG + struct.pack(">II", 3_928_002_127, 2**32 - 1), (None, None)),
        ("image/png", PNG + struct.pack(">II", 0, 480), (None, 480)),
        ("image/png", PNG[:20], (None, None)),
        ("image/gif", b"GIF89a" + struct.pack("<HH", 5, 65_535), (5, 65_535)),
        ("image/jpeg", b"\xff\xd8\xff", (None, None)),
        ("image/svg+xml", b'<svg width="2in" height="10">', (192, 10)),
        ("image/svg+xml", b'<svg width="' + b"9" * 400 + b'" height="10">', (None, 10)),
        ("image/svg+xml", b"<svg width='1" + b" " * 250_000 + b"x'>", (None, None)),
        ("image/svg+xml", b"<svg viewBox='" + b", " * 120_000 + b"x'>", (None, None)),
        ("image/svg+xml", b'<svg viewBox="0 0 99999999999 7">', (None, 7)),
        ("image/bmp", b"BM", (None, None)),
    ],
)
def test_sizes(content_type: str, head: bytes, size: Size) -> None:
    assert size_of(content_type, head) == size


@pytest.mark.parametrize("claimed", [10**12, -1, 0, True, 1.5, "640", None])
def test_what_metadata_claims_may_be_anything(claimed: object) -> None:
    assert plausible(claimed) is None
    assert plausible(640) == 640
