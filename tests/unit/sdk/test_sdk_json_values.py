"""What notebooks hold becomes strict JSON, or a clear refusal."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import re
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mindzie_sdk import NotSavableError
from mindzie_sdk.json_values import to_json


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (np.bool_(True), True),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (math.nan, None),
        (-math.inf, None),
        (np.float64("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (np.datetime64("NaT"), None),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.0, np.nan]), [1.0, None]),
        (pd.Timestamp("2024-01-01T10:00", tz="Europe/Amsterdam"), "2024-01-01T09:00:00Z"),
        (pd.Timestamp("2024-01-01").to_pydatetime(), "2024-01-01T00:00:00"),
        (dt.date(2024, 1, 1), "2024-01-01"),
        (np.datetime64("2024-01-01T10:00"), "2024-01-01T10:00"),
        (pd.Timedelta(hours=1), 3600.0),
        (np.timedelta64(90, "s"), 90.0),
        (decimal.Decimal("1.5"), 1.5),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (Colour.RED, "red"),
        (Point(1, math.nan), {"x": 1, "y": None}),
        ({3, 1, 2}, [1, 2, 3]),
        ((1, "a"), [1, "a"]),
        ({1: "a", None: "b", np.float64(2.5): "c"}, {"1": "a", "null": "b", "2.5": "c"}),
        ({("a", 1): 2}, {"a / 1": 2}),
        ("lone \ud800 surrogate", "lone ? surrogate"),
        (pd.Series([1, None], index=["a", "b"]), {"a": 1.0, "b": None}),
        (pd.DataFrame({"a": [1], "b": ["x"]}), [{"a": 1, "b": "x"}]),
        (pd.Index([1, 2]), [1, 2]),
        (pd.Period("2024-01", freq="M"), "2024-01"),
        (pd.Categorical(["a", "b"]), ["a", "b"]),
        (pd.DataFrame({"n": [1, 2, 3]})["n"].describe()[["count"]], {"count": 3.0}),
    ],
)
def test_conversion(value: Any, expected: Any) -> None:
    converted = to_json(value)
    assert converted == expected
    assert type(converted) is type(expected)
    json.dumps(converted, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {"b": [object()]}}, r"value\.a\.b\[0\] is a object"),
        (b"bytes", "value is a bytes"),
        (1j, "value is a complex"),
        (np.complex128(1), "value is a complex128"),
        ({1: "a", "1": "b"}, "two keys that both become '1'"),
    ],
)
def test_refusal_names_the_place(value: Any, message: str) -> None:
    with pytest.raises(NotSavableError, match=message):
        to_json(value)


def test_a_value_that_contains_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotSavableError, match="does it contain itself"):
        to_json(loop)


@pytest.mark.parametrize(
    ("value", "place"), [(2**64, "value"), ({"a": [1, {"b": -(2**63) - 1}]}, "value.a[1].b"), ((2**200,), "value[0]")]
)
def test_whole_numbers_that_readers_would_round_are_refused_with_their_place(value: Any, place: str) -> None:
    with pytest.raises(NotSavableError, match=re.escape(f"{place} is a whole number of more than 64 bits")):
        to_json(value)


def test_the_largest_whole_numbers_and_any_as_a_key_are_kept() -> None:
    assert to_json([2**64 - 1, -(2**63)]) == [2**64 - 1, -(2**63)]
    assert to_json({2**70: 1}) == {str(2**70): 1}
