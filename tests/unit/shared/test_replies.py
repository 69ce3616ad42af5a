"""Replies: an error crosses the bus in one message, however much is wrong with a request, and whatever it echoes."""

from __future__ import annotations

import pytest

from shared import replies
from shared.errors import MOST_FAULTS, Fault, Invalid
from shared.payloads import BUS_BODY_LIMIT


def test_an_error_with_many_long_faults_fits_the_bus_and_keeps_their_number() -> None:
    count = 5_000
    faults = [Fault(path="parameters." + "é" * 3_000, message="ü" * 10_000) for _ in range(count)]
    body = replies.Reply.of_error(Invalid("ü" * 3_000_000, faults=faults)).encode()
    assert len(body) < BUS_BODY_LIMIT
    with pytest.raises(Invalid) as caught:
        replies.decode(body).raise_error()
    assert len(caught.value.faults) == count
    assert caught.value.faults[MOST_FAULTS - 1].path.startswith("parameters.é")
    assert caught.value.detail.startswith("ü")
