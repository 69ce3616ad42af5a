"""Tells the platform how far a cell is, as a display message that no notebook shows."""

from __future__ import annotations

import math
import sys
import time

PROGRESS_MIME = "application/vnd.atelier.progress+json"
MIN_INTERVAL_S = 0.1
"""Seconds between two reports that are sent: a loop may report every row, and people cannot read faster."""


class ProgressReporter:
    """Sends fractions, at most ten a second; the first, a new message and the last always go out."""

    def __init__(self) -> None:
        self._sent_at = -math.inf
        self._message: str | None = None

    def report(self, fraction: float, message: str) -> None:
        """Sends one report. Fractions outside 0..1 are moved to the nearer end. Raises ValueError for NaN."""
        done = float(fraction)
        if math.isnan(done):
            raise ValueError("progress needs a fraction from 0 to 1, not NaN")
        done = min(1.0, max(0.0, done))
        now = time.monotonic()
        if done < 1.0 and message == self._message and now - self._sent_at < MIN_INTERVAL_S:
            return
        self._sent_at, self._message = now, message
        _send(done, message)


def _send(fraction: float, message: str) -> None:
    # Inside a kernel IPython is loaded already; importing it here would cost a plain script half a second.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and hasattr(shell, "kernel"):
        shell.display_pub.publish(data={PROGRESS_MIME: {"fraction": fraction, "message": message}})
    else:
        print(f"{fraction:4.0%} {message}".rstrip(), file=sys.stderr)
