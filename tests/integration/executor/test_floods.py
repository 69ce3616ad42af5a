"""Kernels that put out more than is read: they wait, lose nothing, and stay small; a whole run has a limit, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.executor.kernels import output_list, recorder
from services.executor.kernels.forkserver import outlet
from services.executor.kernels.output_limits import OutputLimits
from services.executor.kernels.port import KernelRequest
from tests.support.kernels import Session, forked_source

PUT_OUT = 5_000
"""Many more messages than may wait anywhere on their way."""


@pytest.fixture
async def session(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Session]:
    kernels = forked_source(tmp_path_factory.mktemp("k"))
    await kernels.open()
    kernel = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path_factory.mktemp("r") / "run"))
    yield Session(kernel)
    await kernel.close()
    await kernels.close()


async def until_still(counter: Path) -> int:
    """What stands in the file once it no longer changes."""
    before, now = "", " "
    while not now.strip() or now != before:
        await asyncio.sleep(0.5)
        before, now = now, counter.read_text() if counter.exists() else ""
    return int(now)


async def test_a_kernel_waits_while_nobody_reads_and_then_nothing_is_missing(session: Session) -> None:
    client, counter = session.kernel.client, session.run_dir / "work" / "counter"
    request = client.execute(
        "from IPython.display import display\n"
        f"for number in range({PUT_OUT}):\n"
        "    display(number)\n"
        "    with open('counter', 'w') as file: file.write(str(number))"
    )
    assert await until_still(counter) < PUT_OUT - 1
    read: list[str] = []
    while True:
        message = await client.get_iopub_msg()
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] == "display_data":
            read.append(message["content"]["data"]["text/plain"])
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
    assert read == [str(number) for number in range(PUT_OUT)]


async def test_text_waits_too(session: Session) -> None:
    client, counter = session.kernel.client, session.run_dir / "work" / "counter"
    client.execute(
        "for number in range(1_000_000):\n"
        "    print('x' * 10_000)\n"
        "    with open('counter', 'w') as file: file.write(str(number))"
    )
    written = 10_000 * await until_still(counter)
    assert written < 10 * outlet.MOST_MESSAGES * outlet.MOST_CHARACTERS
    await session.kernel.interrupt()
    while True:
        message = await client.get_iopub_msg()
        if message["msg_type"] == "error":
            assert message["content"]["ename"] == "KeyboardInterrupt"
            break


async def test_a_flood_comes_to_its_end(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_list, "MAX_CELL_OUTPUTS", 4_000)
    (outcome,) = await session.run("while True: display(1)")
    assert outcome.error_type == "OutputLimitError", outcome
    assert not outcome.kernel_died


async def test_all_cells_of_a_run_have_a_limit_together(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = OutputLimits(output_bytes=5_000, traffic_bytes=1_000_000, messages=1_000)
    monkeypatch.setattr(recorder, "RUN_LIMITS", limits)
    few, too_many = await session.run("print('x' * 3_000)", "print('x' * 3_000)")
    assert (few.status, few.ends_run) == ("Success", False)
    assert (too_many.error_type, too_many.ends_run) == ("OutputLimitError", True)
    assert too_many.error_message is not None
    assert "for all cells of a run was reached in" in too_many.error_message
