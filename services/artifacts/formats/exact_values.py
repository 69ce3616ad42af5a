"""Values of a stored table as JSON, exactly: what a double cannot hold is written as text."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shared.tabular import csv_out
from shared.tabular.time_layout import THREES, Layout, render

LARGEST_EXACT = 2**53 - 1
"""The largest whole number that every reader of JSON keeps (RFC 8259, section 6)."""

_RFC3339 = Layout(separator="T", digits=THREES)


def exact(column: pa.Array) -> list[Any]:
    """The values of a column; None where there is none."""
    if pa.types.is_timestamp(column.type):
        return list(render(column, _RFC3339).to_pylist())
    if pa.types.is_duration(column.type):
        return list(csv_out.lengths(column).to_pylist())
    if pa.types.is_date(column.type) or pa.types.is_time(column.type):
        return list(pc.cast(column, pa.string()).to_pylist())
    return [_plain(value) for value in column.to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= LARGEST_EXACT else str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return str(value) if isinstance(value, Decimal) else value
