"""Whole numbers that JSON readers round: held against Python's own reader, which does not."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.exact_numbers import large_integers

MOST = 100

numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, -(10**40)]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["99999999999999999999999", 'a"9999999999999999999999', "\\", "", "é"]),
    st.none(),
)
values = st.recursive(numbers, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=3), inner)))


def rounded(exact: Any, read: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where orjson made something else of a whole number than Python did."""
    if isinstance(exact, dict):
        return [found for name in exact for found in rounded(exact[name], read[name], (*place, name))]
    if isinstance(exact, list):
        return [
            found
            for number, (one, other) in enumerate(zip(exact, read, strict=True))
            for found in rounded(one, other, (*place, number))
        ]
    return [place] if isinstance(exact, int) and not isinstance(read, int) else []


@given(values)
def test_every_number_that_is_rounded_is_found_and_no_other(value: Any) -> None:
    raw = json.dumps(value).encode()
    assert large_integers(raw, MOST) == rounded(value, orjson.loads(raw))[:MOST]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("123456789012345678901234567890", [()]),
        ("-123456789012345678901234567890", [()]),
        ("1.123456789012345678901234567890", []),
        ("123456789012345678901234567890.5", []),
        ("123456789012345678901234567890e1", []),
        ("1e0000000000000000000000000000001", []),
        ('{"a":[1,99999999999999999999],"b":{"c":99999999999999999999}}', [("a", 1), ("b", "c")]),
        ('{"99999999999999999999": "99999999999999999999"}', []),
        ('{"a\\"99999999999999999999": 99999999999999999999}', [('a"99999999999999999999',)]),
        ("[" + ",".join(["9" * 20] * 150) + "]", [(number,) for number in range(MOST)]),
        ("9" * 10_000, [()]),  # more digits than Python converts
    ],
)
def test_places(text: str, places: list[tuple[str | int, ...]]) -> None:
    assert large_integers(text.encode(), MOST) == places
