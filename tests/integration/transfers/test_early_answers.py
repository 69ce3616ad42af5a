"""A file that is refused is answered at once, whether its sender goes on for ever or says nothing more."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local import Stack
from services.artifacts.formats.csv_dialect import MAX_RECORD_BYTES
from tests.integration.transfers.sending import PATIENCE_S, Sender, sender, stored
from tests.support.api import Api
from tests.support.long import others_are_long

HEADER = b"case,activity,time\n"
GOOD = b"1,a,2024-01-01\n"
FILL = b"x" * 65_536
MUCH = b"y" * (5 * MAX_RECORD_BYTES)

REFUSED = {
    "a header without an end": (b"", FILL, "the first line is too long"),
    "a line without an end": (HEADER + GOOD, FILL, "Line 3"),
    "a quote without an end": (HEADER + GOOD + b'2,"', b"text\n" * 10_000, "Line 3"),
    "NUL bytes": (HEADER + GOOD * 20_000 + b"\0\n", GOOD * 5_000, "NUL"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + b"\1" * 100_000, FILL, "image"),
    "ragged lines": (HEADER + GOOD * 20_000 + b"1,2\n", GOOD * 5_000, "Line 20002"),
}
"""How each file begins, how it goes on, and a word of the refusal."""


@pytest.mark.parametrize("kind", list(REFUSED))
async def test_who_sends_for_ever_is_answered(patient: Api, kind: str) -> None:
    begin, more, word = REFUSED[kind]
    async with sender(patient) as one:
        await one.send(begin)
        answer = await one.answer_while_sending(more)
    assert answer.status == 400
    assert word in answer.problem["detail"]
    assert answer.problem["errors"][0]["path"] == "file"
    assert answer.headers["connection"] == "close"
    assert "refused" not in await stored(patient)


@pytest.mark.parametrize("kind", others_are_long(REFUSED, ["a quote without an end", "ragged lines"]))
async def test_who_says_nothing_more_is_answered(patient: Api, kind: str) -> None:
    begin, more, word = REFUSED[kind]
    async with sender(patient) as one:
        await one.send(begin + more * (len(MUCH) // len(more)))
        answer = await one.answer()
        assert answer.status == 400
        assert word in answer.problem["detail"]
        await one.closed()
    assert "refused" not in await stored(patient)


async def test_an_early_answer_leaves_no_file(transfers_stack: Stack, patient: Api) -> None:
    async with sender(patient) as one:
        await one.send(HEADER + FILL)
        await one.answer_while_sending(FILL)
        await no_file_is_left(transfers_stack)


async def no_file_is_left(stack: Stack) -> None:
    folder = stack.folder.data("artifacts", mode=0o755) / "transfers"
    async with asyncio.timeout(PATIENCE_S):
        while [path for path in folder.glob("*/*") if path.is_dir()]:
            await asyncio.sleep(0.05)


async def test_silence_ends_an_upload(transfers_stack: Stack, impatient: Api) -> None:
    async def silent(one: Sender, begin: bytes) -> None:
        await one.send(begin)
        answer = await one.answer()
        assert answer.status == 400
        assert "nothing came for 1.5 seconds" in answer.problem["detail"]
        assert answer.headers["connection"] == "close"

    async with sender(impatient) as first, sender(impatient) as second:
        await asyncio.gather(silent(first, b""), silent(second, HEADER + GOOD * 400_000))
    assert "refused" not in await stored(impatient)
    await no_file_is_left(transfers_stack)


async def test_who_pauses_for_less_is_waited_for(impatient: Api) -> None:
    async with sender(impatient, name="pausing") as one:
        await one.send(HEADER)
        for _ in range(4):
            await asyncio.sleep(0.5)
            await one.send(GOOD)
        await one.end()
        answer = await one.answer()
    assert (answer.status, answer.problem["recordCount"]) == (201, 4)


@pytest.mark.slow(reason="forty senders of 6 MB, and one of 600,000 rows")
async def test_stalled_senders_keep_nobody_waiting(transfers_stack: Stack, patient: Api) -> None:
    async with asyncio.TaskGroup() as group:
        ended = asyncio.Event()
        stalled: list[asyncio.Event] = []

        async def stall(begin: bytes) -> None:
            mine = asyncio.Event()
            stalled.append(mine)
            async with sender(patient, name="stalled") as one:
                await one.send(begin)
                mine.set()
                await ended.wait()

        for number in range(40):
            group.create_task(stall(HEADER + GOOD * (1 if number % 2 else 400_000)))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.sleep(0)
            for one in stalled:
                await one.wait()
        for rows in (3, 600_000):
            async with sender(patient, name="good") as good:
                await good.send(HEADER + GOOD * rows)
                await good.end()
                answer = await good.answer()
            assert (answer.status, answer.problem["recordCount"]) == (201, rows)
        ended.set()
    names = await stored(patient)
    assert "good" in names
    assert "stalled" not in names
    await no_file_is_left(transfers_stack)
