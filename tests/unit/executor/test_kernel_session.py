"""A kernel's messages are read as jupyter_client reads them, and refused where it refuses them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from jupyter_client.session import Session

from services.executor.kernels.client import RunClient
from services.executor.kernels.session import RunSession

KEY = b"k" * 32


def wire(sender: Session, text: str = "x") -> list[Any]:
    asked = sender.msg("execute_request", {"code": "1"})
    said = sender.msg("stream", {"name": "stdout", "text": text}, parent=asked)
    return list(sender.serialize(said)[1:])


def test_a_message_reads_as_in_the_base_class() -> None:
    sender, ours, base = Session(key=KEY), RunSession(key=KEY), Session(key=KEY)
    frames = [*wire(sender), b"a buffer"]
    mine, theirs = ours.deserialize(frames), base.deserialize(frames)
    assert isinstance(mine["header"]["date"], datetime)
    assert bytes(mine.pop("buffers")[0]) == bytes(theirs.pop("buffers")[0]) == b"a buffer"
    assert isinstance(mine["parent_header"].pop("date"), str)
    assert isinstance(theirs["parent_header"].pop("date"), datetime)
    assert mine.pop("values") == 1 + 2  # what its marks allow: three members at most
    assert mine == theirs


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frames: [b"", *frames[1:]],
        lambda frames: [b"0" * 64, *frames[1:]],
        lambda frames: [*frames[:4], frames[4].replace(b"x", b"y")],
        lambda frames: frames[:4],
    ],
)
def test_what_the_kernel_has_not_signed_is_refused(spoil: Any) -> None:
    frames = wire(Session(key=KEY))
    with pytest.raises((ValueError, TypeError)):
        RunSession(key=KEY).deserialize(spoil(frames))
    with pytest.raises((ValueError, TypeError)):
        Session(key=KEY).deserialize(spoil(frames))


def test_a_message_counts_once() -> None:
    session, frames = RunSession(key=KEY), wire(Session(key=KEY))
    session.deserialize(frames)
    with pytest.raises(ValueError, match="used before"):
        session.deserialize(frames)


@pytest.mark.parametrize(
    ("date", "read"),
    [
        ("2024-01-02T03:04:05.000006Z", datetime(2024, 1, 2, 3, 4, 5, 6, UTC)),
        ("2024-01-02T03:04:05", datetime(2024, 1, 2, 3, 4, 5, 0, UTC)),
        ("yesterday", "yesterday"),
        (5, 5),
    ],
)
def test_a_date_that_is_none_stays_what_it_is(date: Any, read: Any) -> None:
    sender = Session(key=KEY)
    message = sender.msg("status", {"execution_state": "idle"})
    message["header"]["date"] = date
    assert RunSession(key=KEY).deserialize(list(sender.serialize(message)[1:]))["header"]["date"] == read


def test_a_client_of_a_run_has_such_a_session() -> None:
    assert isinstance(RunClient().session, RunSession)
