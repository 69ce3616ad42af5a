"""Makes the server's memory cheap to fork: huge pages, so that a fork copies few page table entries."""

from __future__ import annotations

import ctypes

MADV_COLLAPSE = 25
"""Put a range into huge pages now (madvise(2), Linux 6.1); older kernels refuse it."""

HUGE_BYTES = 1 << 21
"""Size and alignment of a huge page."""


def collapse() -> int:
    """Put private memory into huge pages where the system allows it; gives how many there are now. A fork splits only
    those it writes to. Called once, when everything is imported."""
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    collapsed = 0
    with open("/proc/self/maps", encoding="utf-8") as maps:
        ranges = [_range(line) for line in maps if _is_heap(line)]
    for first, end in ranges:
        for start in range(-(-first // HUGE_BYTES) * HUGE_BYTES, end - HUGE_BYTES + 1, HUGE_BYTES):
            collapsed += madvise(ctypes.c_void_p(start), ctypes.c_size_t(HUGE_BYTES), MADV_COLLAPSE) == 0
    return collapsed


def _is_heap(line: str) -> bool:
    """Whether a line of /proc/self/maps is of writable memory that belongs to no file."""
    fields = line.split()
    return fields[1] == "rw-p" and (len(fields) == 5 or fields[5] == "[heap]")


def _range(line: str) -> tuple[int, int]:
    first, end = (int(number, 16) for number in line.split(maxsplit=1)[0].split("-"))
    return first, end
