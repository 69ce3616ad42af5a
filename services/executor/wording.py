"""Durations and sizes in words, as the reference writes them: `0.5 seconds`, `17 minutes`, `2.3 GB`."""

from __future__ import annotations

MINUTE_S, HOUR_S = 60.0, 3600.0

_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def duration(seconds: float | None) -> str:
    """`seconds` in words; `unknown` when there is no figure."""
    if seconds is None:
        return "unknown"
    if seconds < MINUTE_S:
        return f"{_short(seconds)} seconds"
    if seconds < HOUR_S:
        return f"{_short(seconds / MINUTE_S)} minutes"
    return f"{_short(seconds / HOUR_S)} hours"


def estimate(seconds: float | None) -> str:
    """A range around an estimate, such as `15-20 minutes`; `unknown` before the first run."""
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return "1 second"
    for unit, name in ((HOUR_S, "hours"), (MINUTE_S, "minutes")):
        if seconds >= 2 * unit:
            low, high = int(seconds * 0.9 / unit), int(seconds * 1.2 / unit) + 1
            return f"{low}-{high} {name}"
    low, high = int(seconds * 0.9), int(seconds * 1.2) + 1
    return f"{low}-{high} seconds"


def size(count: int | None) -> str:
    """Bytes in words; `unknown` when there is no figure."""
    if count is None:
        return "unknown"
    for unit, name in _SIZES:
        if count >= unit:
            return f"{_short(count / unit)} {name}"
    return f"{count} bytes"


def limit(count: int) -> str:
    """A limit in bytes, for a verdict: `2.0 GB`, `0.15 GB`."""
    whole, _, rest = f"{count / 1e9:.2f}".partition(".")
    return f"{whole}.{rest.rstrip('0') or '0'} GB"


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".") if number < 1 else f"{number:.1f}".removesuffix(".0")
