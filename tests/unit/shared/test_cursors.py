"""Cursors: what a page gave out is read back, and nothing else."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import cursors
from shared.errors import Invalid

MOMENT, IDENTITY = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), UUID(int=7)


def forged(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


def test_a_key_comes_back() -> None:
    mark = cursors.cursor(MOMENT, IDENTITY)
    assert cursors.place(mark, datetime, UUID) == (MOMENT, IDENTITY)
    assert "=" not in mark
    assert cursors.place(mark + "=" * (-len(mark) % 4), datetime, UUID) == (MOMENT, IDENTITY)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), st.integers(0, cursors.LARGEST), st.booleans())
def test_any_text_number_and_flag(text: str, number: int, flag: bool) -> None:
    assert cursors.place(cursors.cursor(text, number, flag), str, int, bool) == (text, number, flag)


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("", (int,)),
        ("nonsense", (int,)),
        ("äöü", (int,)),
        ("%%%", (str,)),
        (forged({"a": 1}), (str,)),
        (forged(7), (int,)),
        (forged([7, 8]), (int,)),
        (forged([]), (int,)),
        (forged([-1]), (int,)),
        (forged([2**63]), (int,)),
        (forged([True]), (int,)),
        (forged([1]), (bool,)),
        (forged(["\x00"]), (str,)),
        (forged([5]), (str,)),
        (forged([5]), (UUID,)),
        (forged(["not-an-id"]), (UUID,)),
        (forged(["2026-01-02T03:04:05"]), (datetime,)),
        (forged(["0001-01-01T00:00:00+23:00"]), (datetime,)),
        (forged([5]), (datetime,)),
    ],
)
def test_what_no_page_gave_out_is_refused(text: str, types: tuple[type, ...]) -> None:
    with pytest.raises(Invalid) as raised:
        cursors.place(text, *types)
    assert [fault.path for fault in raised.value.faults] == ["cursor"]
