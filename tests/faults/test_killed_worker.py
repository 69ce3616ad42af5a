"""kill -9 of the worker alone: every kernel, whatever its kind, is gone with all that it started."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local import Stack
from tests.support import languages, vanishing
from tests.support.api import Api
from tests.support.runs import address

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow(reason="kernels of every kind start, and a lease runs out")]

GONE_S = 30.0
"""When a kernel counts as having outlived its worker, on a busy machine; `make promises` measures how soon they end."""


@pytest.mark.parametrize("kinds", [["forked", "environment"], ["r"], ["scala"]], ids="-".join)
async def test_no_kernel_outlives_its_worker(fault_stack: Stack, fault_api: Api, kinds: list[str]) -> None:
    for kind in kinds:
        if kind in {"r", "scala"}:
            languages.command(kind)  # skips, or fails in CI, without that kernel
    runs, processes = await vanishing.at_work(fault_stack, fault_api, kinds)
    assert len(processes) > 1 + 2 * len(kinds)  # the server, and a keeper, a kernel and its child each
    try:
        await vanishing.kill_worker(fault_stack, processes, within_s=GONE_S)
    finally:
        await asyncio.to_thread(fault_stack.worker.start)
    for run in runs:
        assert (await fault_api.post(f"{address(run)}/cancel"))[0] == 202
        ended = await fault_api.wait(run["notebookId"], run["executionId"])
        assert ended["status"] == "Cancelled"
