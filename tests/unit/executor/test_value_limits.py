"""How many values a kernel's messages may have: counted before they are read, and while they are kept."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from jupyter_client.session import Session

from services.executor.kernels import value_limits
from services.executor.kernels.session import MAX_HEADERS_BYTES, RunSession
from services.executor.kernels.value_limits import MAX_RUN_VALUES, MAX_VALUES, TOO_MANY, ValueTally

KEY = b"k" * 32


def received(kind: str, content: bytes) -> dict[str, Any]:
    """A message with this content as text, as a run's session reads it."""
    sender = Session(key=KEY)
    headers: list[Any] = [sender.msg(kind, {})["header"], {}, {}]
    parts = [*map(sender.pack, headers), content]
    return RunSession(key=KEY).deserialize([sender.sign(parts), *parts])


@pytest.mark.parametrize("value", [b'{"a":1}', b"{}", b"[]", b"1", b'""'])
def test_a_message_with_too_many_values_is_never_read(value: bytes) -> None:
    text = b'{"data":{"application/json":[' + b",".join([value] * (MAX_VALUES + 1)) + b']},"metadata":{}}'
    tracemalloc.start()
    try:
        content = received("display_data", text)["content"]
        assert tracemalloc.get_traced_memory()[1] < 64_000_000
    finally:
        tracemalloc.stop()
    assert content == {"data": {"text/plain": TOO_MANY}, "metadata": {}}


@pytest.mark.parametrize("text", ["[," * MAX_VALUES, '\\"{' * MAX_VALUES])
def test_marks_in_strings_are_no_values(text: str) -> None:
    message = received("display_data", b'{"data":{"text/plain":"%s"},"metadata":{}}' % text.encode())
    assert len(message["content"]["data"]["text/plain"]) >= 2 * MAX_VALUES


def test_as_many_values_as_may_be_are_read() -> None:
    content = received("display_data", b'{"data":{"application/json":[%s1]}}' % (b"1," * (MAX_VALUES - 10)))["content"]
    assert len(content["data"]["application/json"]) == MAX_VALUES - 9


def test_a_message_of_another_kind_says_nothing_then() -> None:
    assert received("comm_msg", b"[" + b"1," * MAX_VALUES + b"1]")["content"] == {"status": "ok"}


def test_headers_have_a_size() -> None:
    sender = Session(key=KEY)
    headers: list[Any] = [sender.msg("status", {})["header"], {}, {"a": [[]] * MAX_HEADERS_BYTES}, {}]
    parts = list(map(sender.pack, headers))
    with pytest.raises(ValueError, match="headers"):
        RunSession(key=KEY).deserialize([sender.sign(parts), *parts])


def test_what_a_run_keeps_is_counted_and_what_is_gone_counts_no_more() -> None:
    kept: list[Any] = []
    tally = ValueTally(lambda: kept)
    part = MAX_RUN_VALUES // 3
    for _ in range(9):  # each takes the place of the one before
        assert tally.admits(part)
        kept[:] = [[1] * part]
    kept[:] = [[1] * part] * 3
    assert not tally.admits(part)
    assert not tally.admits(part)


def test_many_small_messages_count_too() -> None:
    kept: list[Any] = []
    tally = ValueTally(lambda: kept)
    admitted = 0
    while tally.admits(9_000):
        kept.append({"a": [1] * 9_000})
        admitted += 1
    assert admitted == pytest.approx(MAX_RUN_VALUES / 9_000, rel=0.01)


def test_values_that_json_has_not_are_counted() -> None:
    assert value_limits._count([2**70, "\ud800"]) >= 2
