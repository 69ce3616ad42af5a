"""The ZIP format (PKWARE's APPNOTE 6.3) as a stream of files that are stored as they are.

Python's `zipfile` takes the checksum of all that passes through it, and cannot tell how long an archive will be. Here a
checksum may be known beforehand, and the length is, so that a reader learns it before the first byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime

ZIP64, PLAIN = 45, 20
"""Versions of the format that a reader must know: 4.5 for sizes from 4 GiB on."""

MAX_32, MAX_16 = 0xFFFF_FFFF, 0xFFFF
"""Standing in a field, it means that the number is in the ZIP64 part."""

UNIX_FILE = 0o100644 << 16
"""A plain file, readable by everybody."""

_MADE_ON_UNIX = 3 << 8
_UTF8_NAME, _CHECKSUM_FOLLOWS = 0x800, 0x08
_ZIP64_EXTRA = 1

_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR, _DESCRIPTOR_64 = struct.Struct("<4s3L"), struct.Struct("<4sL2Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END_64, _LOCATOR_64, _END = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL"), struct.Struct("<4s4H2LH")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of an archive; `crc32` is None where it is known only after the last byte."""

    name: str
    size: int
    crc32: int | None


class ZipStream:
    """Gives what stands before, between and after the files' bytes; `length` is the archive's so far, in bytes."""

    def __init__(self, made: datetime) -> None:
        made = made.astimezone(UTC)
        self.length = 0
        self._date = (max(made.year, 1980) - 1980) << 9 | made.month << 5 | made.day
        self._time = made.hour << 11 | made.minute << 5 | made.second // 2
        self._directory: list[bytes] = []
        self._begun: tuple[Member, int] | None = None

    def begin(self, file: Member) -> bytes:
        """What stands before a file's bytes."""
        self._begun = (file, self.length)
        large, name = file.size >= MAX_32, file.name.encode()
        extra = struct.pack("<2H2Q", _ZIP64_EXTRA, 16, file.size, file.size) if large else b""
        follows = file.crc32 is None
        sizes = (0, 0) if follows else (file.size, file.size)
        head = _LOCAL.pack(
            b"PK\3\4",
            *self._shared(large=large, follows=follows),
            file.crc32 or 0,
            *((MAX_32, MAX_32) if large else sizes),
            len(name),
            len(extra),
        )
        whole = head + name + extra
        self.length += len(whole) + file.size
        return whole

    def end(self, crc32: int | None = None) -> bytes:
        """What stands after the bytes of the file that was begun last, whose checksum is this where it was not known.
        Raises ValueError without a file or a checksum."""
        if self._begun is None:
            raise ValueError("no file was begun")
        (file, offset), self._begun = self._begun, None
        known = file.crc32 if crc32 is None else crc32
        if known is None:
            raise ValueError("the file has no checksum")
        self._directory.append(self._entry(file, offset, known))
        if file.crc32 is not None:
            return b""
        form = _DESCRIPTOR_64 if file.size >= MAX_32 else _DESCRIPTOR
        tail = form.pack(b"PK\7\x08", known, file.size, file.size)
        self.length += len(tail)
        return tail

    def close(self) -> bytes:
        """What stands at the archive's end."""
        directory = b"".join(self._directory)
        count, start = len(self._directory), self.length
        tail = b""
        if count >= MAX_16 or start >= MAX_32 or len(directory) >= MAX_32:
            end = start + len(directory)
            tail = _END_64.pack(b"PK\6\6", 44, ZIP64, ZIP64, 0, 0, count, count, len(directory), start)
            tail += _LOCATOR_64.pack(b"PK\6\7", 0, end, 1)
        counts, sizes = (min(count, MAX_16),) * 2, (min(len(directory), MAX_32), min(start, MAX_32))
        whole = directory + tail + _END.pack(b"PK\5\6", 0, 0, *counts, *sizes, 0)
        self.length += len(whole)
        return whole

    def _entry(self, file: Member, offset: int, crc32: int) -> bytes:
        """The file's line in the directory at the end."""
        name, extra = file.name.encode(), b""
        size, start = min(file.size, MAX_32), min(offset, MAX_32)
        if size == MAX_32:
            extra += struct.pack("<2Q", file.size, file.size)
        if start == MAX_32:
            extra += struct.pack("<Q", offset)
        if extra:
            extra = struct.pack("<2H", _ZIP64_EXTRA, len(extra)) + extra
        shared = self._shared(large=bool(extra), follows=file.crc32 is None)
        numbers = (crc32, size, size, len(name), len(extra), 0, 0, 0, UNIX_FILE, start)
        return _CENTRAL.pack(b"PK\1\2", _MADE_ON_UNIX | ZIP64, *shared, *numbers) + name + extra

    def _shared(self, *, large: bool, follows: bool) -> tuple[int, int, int, int, int]:
        """Version, flags, method (stored), time and date, which stand in both places that describe a file."""
        flags = _UTF8_NAME | (_CHECKSUM_FOLLOWS if follows else 0)
        return ZIP64 if large else PLAIN, flags, 0, self._time, self._date


def length_of(files: list[Member]) -> int:
    """How long an archive of these files is, in bytes."""
    stream = ZipStream(datetime.now(UTC))
    for file in files:
        stream.begin(file)
        stream.end(0)
    stream.close()
    return stream.length
