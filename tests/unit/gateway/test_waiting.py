"""A status read that waits answers with the change, not before and not much later."""

from __future__ import annotations

import asyncio
import time

import pytest

from services.gateway.feed import Listener, LiveEvent
from services.gateway.waiting import STATUS_PATIENCE_S
from shared.contracts.executions import Execution, GetExecution, GetLatestExecution
from shared.errors import Unavailable
from tests.unit.gateway.fake_ports import EXECUTION, NOTEBOOK, RUNNING, Api

PATH = f"notebook/{NOTEBOOK.notebook_id}/execution/{EXECUTION.execution_id}"
EVENT = LiveEvent(sequence=1, type="execution.cell_completed", body=b"{}")


class Status:
    """The run's status as executor would tell it, one answer after the other; the last one stays."""

    def __init__(self, *answers: Execution | Exception) -> None:
        self.answers = list(answers)

    def __call__(self, _command: object) -> Execution | Exception:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def telling(times: int, pause_s: float = 0.0) -> object:
    def on_listen(listener: Listener) -> None:
        for number in range(times):
            asyncio.get_running_loop().call_later(pause_s * number, listener.tell, EVENT)

    return on_listen


async def test_the_next_change_is_answered_at_once(api: Api) -> None:
    api.requests.on(GetExecution, Status(RUNNING, EXECUTION))
    api.feeds.on_listen = telling(1)  # type: ignore[assignment]
    began = time.monotonic()
    answer = await api.call("GET", f"{PATH}?wait=20")
    assert answer.json["status"] == "Completed"
    assert time.monotonic() - began < 5


async def test_a_moving_clock_is_no_change(api: Api) -> None:
    later = RUNNING.model_copy(update={"total_duration": "18 minutes", "total_duration_seconds": 1080.0})
    api.requests.on(GetExecution, Status(RUNNING, later, later, EXECUTION))
    api.feeds.on_listen = telling(3)  # type: ignore[assignment]
    assert (await api.call("GET", f"{PATH}?wait=20")).json["status"] == "Completed"


async def test_an_ended_run_is_not_waited_for(api: Api) -> None:
    api.requests.on(GetExecution, EXECUTION)
    began = time.monotonic()
    assert (await api.call("GET", f"{PATH}?wait=20")).status == 200
    assert time.monotonic() - began < 5
    assert len(api.requests.asked) == 1


async def test_the_wait_ends_when_nothing_happens(api: Api) -> None:
    api.requests.on(GetExecution, RUNNING)
    began = time.monotonic()
    answer = await api.call("GET", f"{PATH}?wait=1")
    assert answer.json["status"] == "Running"
    assert 0.9 < time.monotonic() - began < 5


async def test_what_was_read_is_answered_when_it_cannot_be_read_again(api: Api) -> None:
    api.requests.on(GetExecution, Status(RUNNING, Unavailable("Executor is away.")))
    api.feeds.on_listen = telling(1)  # type: ignore[assignment]
    answer = await api.call("GET", f"{PATH}?wait=20")
    assert (answer.status, answer.json["status"]) == (200, "Running")


async def test_without_the_broker_the_status_is_read_all_the_same(api: Api) -> None:
    api.feeds.error = Unavailable("The broker is away.")
    api.requests.on(GetExecution, RUNNING)
    assert (await api.call("GET", f"{PATH}?wait=20")).status == 200


@pytest.mark.parametrize(
    "path", [PATH, f"execution/status/{EXECUTION.execution_id}", f"notebook/{NOTEBOOK.notebook_id}/execution-status"]
)
async def test_status_reads_are_patient(api: Api, path: str) -> None:
    api.requests.on(GetExecution, RUNNING)
    api.requests.on(GetLatestExecution, RUNNING)
    assert (await api.call("GET", path)).status == 200
    assert api.requests.patience == [STATUS_PATIENCE_S]


@pytest.mark.parametrize("wait", ["-1", "21", "x", "1.5"])
async def test_the_wait_is_bounded(api: Api, wait: str) -> None:
    answer = await api.call("GET", f"{PATH}?wait={wait}")
    assert answer.faults == {"wait": "must be a whole number from 0 to 20"}
