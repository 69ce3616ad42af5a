"""Rerun, limits and the notebook of a running run, as the gateway asks for them."""

from __future__ import annotations

from uuid import UUID

import pytest

from services.gateway import examples
from services.gateway.model import Role
from shared.contracts.executions import (
    CheckRerun,
    DryRun,
    Execution,
    ExecutionNotebook,
    GetExecution,
    GetExecutionNotebook,
    GetQuota,
    LocateResults,
    Quota,
    RerunExecution,
    ResultsLocation,
    RunLimits,
)
from shared.errors import TooManyRequests
from tests.unit.gateway.fake_ports import EXECUTION, OTHER_TENANT_KEY, RUNNING, Api

PATH = f"notebook/{examples.NOTEBOOK_ID}/execution/{examples.EXECUTION_ID}"
RERUN = Execution.model_validate(examples.RERUN)
RUN_LIMITS = RunLimits(
    memory_bytes=4_000, processes=100, open_files=50, file_bytes=300, disk_bytes=700, files=60, cpu_seconds=None,
    processors=1.5,
)  # fmt: skip


async def test_a_rerun_is_asked_for_and_located(api: Api) -> None:
    api.requests.on(RerunExecution, RERUN)
    answer = await api.call("POST", f"{PATH}/rerun", role=Role.runner, json=examples.RERUN_REQUEST)
    assert answer.status == 202
    assert answer.headers["Location"].endswith(str(RERUN.execution_id))
    assert answer.json == examples.RERUN
    asked = api.requests.last(RerunExecution)
    assert (asked.rerun_of, asked.notebook_id) == (UUID(examples.EXECUTION_ID), UUID(examples.NOTEBOOK_ID))
    assert asked.execution_id != asked.rerun_of
    assert (asked.request.from_cell, asked.request.parameters) == ("cell-003", {"analysis_period": "2024-02"})


@pytest.mark.parametrize("body", [None, b"", b"{}", b'{"parameters": null, "fromCell": null}'])
async def test_the_body_is_optional(api: Api, body: bytes | None) -> None:
    api.requests.on(RerunExecution, RERUN)
    answer = await api.call("POST", f"{PATH}/rerun", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 202


async def test_a_rerun_can_be_checked(api: Api) -> None:
    api.requests.on(CheckRerun, DryRun(valid=True, parameters={"x": 1}, warnings=[], total_cells=3))
    answer = await api.call("POST", f"{PATH}/rerun", json={"dryRun": True})
    assert (answer.status, answer.json["totalCells"]) == (200, 3)


async def test_viewers_may_not_repeat(api: Api) -> None:
    api.requests.on(GetExecution, EXECUTION)
    answer = await api.call("POST", f"{PATH}/rerun", role=Role.viewer)
    assert answer.status == 403


async def test_a_full_queue_says_when_to_come_back(api: Api) -> None:
    api.requests.on(RerunExecution, TooManyRequests("Full.", extra={"retryAfter": 10}))
    answer = await api.call("POST", f"{PATH}/rerun")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "10")


async def test_limits_are_the_tenants(api: Api) -> None:
    api.requests.on(GetQuota, Quota(max_active=5, max_queued=20, active=2, queued=7, run=RUN_LIMITS))
    answer = await api.call("GET", "/api/limits", role=None, headers={"Authorization": f"Bearer {OTHER_TENANT_KEY}"})
    shown = [answer.json[name] for name in ("maxConcurrentRuns", "maxQueuedRuns", "concurrentRuns", "queuedRuns")]
    assert shown == [5, 20, 2, 7]
    assert (answer.json["runDiskBytes"], answer.json["runFiles"], answer.json["runCpuSeconds"]) == (700, 60, None)
    assert answer.json["libraryFileBytes"] > 0
    assert api.requests.last(GetQuota).scope.tenant_id == UUID(int=7)


def location(status: str) -> ResultsLocation:
    return ResultsLocation.model_validate(
        {
            "executionId": examples.EXECUTION_ID,
            "notebookId": examples.NOTEBOOK_ID,
            "status": status,
            "epoch": None,
            "cellIds": [],
        }
    )


async def test_the_notebook_so_far(api: Api) -> None:
    api.requests.on(LocateResults, location(RUNNING.status))
    notebook = ExecutionNotebook(file_name="notebook.ipynb", content=examples.IPYNB, ended=False)
    api.requests.on(GetExecutionNotebook, notebook)
    answer = await api.call("GET", f"{PATH}/notebook", role=Role.viewer)
    assert (answer.status, answer.json) == (200, examples.IPYNB)


async def test_a_run_that_ends_while_its_notebook_is_asked_for_is_looked_for_again(api: Api) -> None:
    states = iter(["Running", "Completed"])
    api.requests.on(LocateResults, lambda _: location(next(states)))
    notebook = ExecutionNotebook(file_name="notebook.ipynb", content=examples.IPYNB, ended=True)
    api.requests.on(GetExecutionNotebook, notebook)
    answer = await api.call("GET", f"{PATH}/notebook", role=Role.viewer)
    assert answer.status == 200
    assert sum(isinstance(asked, LocateResults) for asked in api.requests.asked) == 2
