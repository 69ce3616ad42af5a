"""What runs by itself, against a real database, with a clock in the test's hands and executor played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from services.catalog.automation.scheduler import Scheduler
from services.catalog.automation.starter import Starter
from services.gateway import examples
from shared.contracts.datasets import DatasetUpdated
from shared.contracts.execution_events import ExecutionCompleted
from shared.contracts.executions import Execution, OutputCounts, Progress, Resources, StartExecution
from shared.contracts.notebooks import CreateNotebook, DeleteNotebook, Notebook, NotebookDraft, UpdateNotebook
from shared.contracts.schedules import (
    Fire,
    GetSchedule,
    ListFires,
    PauseSchedule,
    ResumeSchedule,
    RunSchedule,
    Schedule,
)
from shared.errors import Conflict, Invalid, NotFound, OutcomeUnknown, Unavailable
from tests.integration.catalog.conftest import Bench
from tests.support.clock import Clock

NIGHT = datetime(2026, 6, 1, 0, 30, tzinfo=UTC)
DONE = Progress.model_validate(examples.EXECUTION["progress"])


class Executor:
    """Takes runs; `running` are those that have not ended."""

    def __init__(self) -> None:
        self.accepted: dict[UUID, StartExecution] = {}
        self.running: dict[UUID, list[UUID]] = {}
        self.cancelled: list[UUID] = []
        self.answers: list[Exception] = []
        self.dataset_version = 0

    async def ask(self, command: StartExecution, *, identity: UUID | None = None) -> Execution:
        """See shared.requests.Requests."""
        command = StartExecution.model_validate_json(command.model_dump_json(by_alias=True))
        assert identity == command.execution_id
        error = self.answers.pop(0) if self.answers else None
        if error is not None and not isinstance(error, OutcomeUnknown):
            raise error
        running = self.running.setdefault(command.notebook_id, [])
        if command.execution_id not in self.accepted:
            if running and command.overlap != "allow":
                busy = Conflict("It runs.", extra={"running": [str(run) for run in running]})
                if command.overlap == "replace":
                    self.cancelled += running
                    running.clear()
                raise busy
            self.accepted[command.execution_id] = command
            running.append(command.execution_id)
        if error is not None:
            raise error  # it took effect, and its answer was lost
        trigger = command.trigger
        if trigger.kind == "dataset":
            trigger = trigger.model_copy(update={"dataset_version": self.dataset_version})
        members = {"executionId": str(command.execution_id), "notebookId": str(command.notebook_id)}
        shown = {**examples.EXECUTION, **members, "trigger": trigger.model_dump(mode="json", by_alias=True)}
        return Execution.model_validate(shown)

    def of(self, notebook_id: UUID) -> list[StartExecution]:
        return [command for command in self.accepted.values() if command.notebook_id == notebook_id]


class Town:
    """A tenant, a clock, replicas of scheduler and starter, and the executor they talk to."""

    def __init__(self, bench: Bench, clock: Clock) -> None:
        self.bench, self.clock, self.executor = bench, clock, Executor()
        database = bench.app.database
        self.schedulers = [Scheduler(database, on_fire=lambda: None) for _ in range(3)]
        self.starters = [Starter(database, self.executor) for _ in range(2)]  # type: ignore[arg-type]

    async def at(self, moment: datetime) -> None:
        """All replicas look at once, at `moment`; what there is to send is sent."""
        await self.clock.set(moment)
        await asyncio.gather(*(scheduler.fire_due() for scheduler in self.schedulers))
        await self.send()

    async def send(self) -> None:
        """Send what may be sent, however short a while ago it was tried."""
        for _ in range(3):
            async with self.bench.app.database.connection() as connection:
                await connection.execute("UPDATE fire SET try_at = '-infinity' WHERE state IN ('waiting', 'sending')")
            await asyncio.gather(*(starter._take() for starter in self.starters))
            await asyncio.gather(*(task for starter in self.starters for task in starter._sending))

    async def notebook(self, name: str = "Nightly", **integration: Any) -> Notebook:
        draft = NotebookDraft.model_validate({"notebookName": name, "integration": integration})
        notebook: Notebook = await self.bench.ask(CreateNotebook, draft=draft)
        return notebook

    async def change(self, notebook: Notebook, **integration: Any) -> Notebook:
        patch = {"integration": integration}
        changed: Notebook = await self.bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch=patch)
        return changed

    async def fires(self, notebook: Notebook) -> list[Fire]:
        """Oldest first."""
        page = await self.bench.ask(ListFires, notebook_id=notebook.notebook_id, page_size=100)
        return list(reversed(page.fires))

    async def schedule(self, notebook: Notebook) -> Schedule:
        found: Schedule = await self.bench.ask(GetSchedule, notebook_id=notebook.notebook_id)
        return found

    async def completed(self, notebook: Notebook, at: datetime, execution_id: UUID | None = None) -> None:
        """A run of the notebook completed."""
        run = execution_id or uuid4()
        if run in (running := self.executor.running.get(notebook.notebook_id, [])):
            running.remove(run)
        event = ExecutionCompleted(
            scope=self.bench.scope,
            execution_id=run,
            notebook_id=notebook.notebook_id,
            notebook_version="1.0.0",
            status="Completed",
            accepted_at=at - timedelta(minutes=1),
            ended_at=at,
            total_duration_seconds=1,
            progress=DONE,
            outputs=OutputCounts(),
            resources=Resources(),
            notebook_status="Ready",
            cells={},
        )
        await self.bench.hear(event, 3)


@pytest.fixture
async def town(bench: Bench, postgres_dsn: str) -> AsyncIterator[Town]:
    clock = Clock(postgres_dsn)
    await clock.set(NIGHT)
    yield Town(bench, clock)
    async with bench.app.database.connection() as connection:  # the next test's clock would find these overdue
        await connection.execute("DELETE FROM automation")
        await connection.execute("DELETE FROM fire")
    await clock.give_back()


def states(fires: list[Fire]) -> list[str]:
    return [fire.state for fire in fires]


async def test_a_schedule_shows_its_next_ten_times_in_its_zone(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 2 * * *", scheduleTimeZone="Europe/Amsterdam")
    shown = await town.schedule(notebook)
    assert shown.state == "Active"
    assert shown.next_times == [datetime(2026, 6, day, 0, 0, tzinfo=UTC) for day in range(2, 12)]
    assert (shown.schedule_overlap, shown.schedule_misfire, shown.schedule_jitter) == ("skip", "fire_once", 0)
    bare = await town.schedule(await town.notebook())
    assert (bare.state, bare.next_times, bare.last_fires) == ("None", [], [])


async def test_each_time_fires_once_whoever_looks(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="*/10 * * * *", scheduleParameters={"days": 7})
    times = [NIGHT + timedelta(minutes=10 * n) for n in range(1, 7)]
    for time in times:
        await town.at(time + timedelta(seconds=1))
        for run in list(town.executor.running[notebook.notebook_id]):
            await town.completed(notebook, time, run)
    fires = await town.fires(notebook)
    assert [fire.fire_time for fire in fires] == times
    assert set(states(fires)) == {"Started"}
    commands = town.executor.of(notebook.notebook_id)
    assert [command.execution_id for command in commands] == [fire.execution_id for fire in fires]
    assert {command.request.parameters["days"] for command in commands} == {7}
    assert {(command.trigger.kind, command.caller.subject) for command in commands} == {("schedule", "schedule")}
    facts = await town.bench.sent.of(notebook.notebook_id, 7)
    assert [fact.type for fact in facts] == ["notebook.created"] + ["schedule.fired"] * 6


async def test_a_schedule_that_cannot_be_moved_on_stops_no_other(town: Town) -> None:
    broken = await town.notebook("Broken", scheduleExecution="0 * * * *")
    others = [await town.notebook(scheduleExecution="0 * * * *") for _ in range(3)]
    async with town.bench.app.database.connection() as connection:
        await connection.execute("UPDATE automation SET cron = 'x' WHERE notebook_id = $1", broken.notebook_id)
    hour = NIGHT + timedelta(minutes=30)
    with capture_logs() as logs:
        await town.at(hour)
        assert [states(await town.fires(notebook)) for notebook in [broken, *others]] == [[], *[["Started"]] * 3]
        for second in (1, 3, 5, 7, 60):  # it is tried again, after longer and longer pauses
            await town.at(hour + timedelta(seconds=second))
    pauses = [entry["again_in_s"] for entry in logs if entry.get("notebook_id") == str(broken.notebook_id)]
    assert list(dict.fromkeys(pauses)) == [2, 4, 8, 16]  # two may have tried in the same moment
    async with town.bench.app.database.connection() as connection:
        await connection.execute("UPDATE automation SET cron = '0 * * * *' WHERE notebook_id = $1", broken.notebook_id)
    await town.at(hour + timedelta(seconds=90))
    assert [(fire.fire_time, fire.state) for fire in await town.fires(broken)] == [(hour, "Started")]


@pytest.mark.parametrize(("policy", "started"), [("fire_once", 1), ("skip", 0)])
async def test_missed_times_are_written_down_and_run_by_policy(town: Town, policy: str, started: int) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *", scheduleMisfire=policy)
    await town.at(NIGHT + timedelta(hours=5))  # 5:30; nobody looked since 0:30
    fires = await town.fires(notebook)
    assert [fire.fire_time.hour for fire in fires] == [1, 2, 3, 4, 5]
    assert states(fires) == ["Skipped"] * (5 - started) + ["Started"] * started
    assert all(fire.reason and "not running" in fire.reason for fire in fires if fire.state == "Skipped")
    await town.at(NIGHT + timedelta(hours=5, seconds=2))
    assert len(await town.fires(notebook)) == 5


async def test_a_long_downtime_is_summed_up(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="* * * * *", scheduleMisfire="skip")
    await town.at(NIGHT + timedelta(days=2, minutes=3))
    fires = await town.fires(notebook)
    rows = await town.bench.rows(notebook.notebook_id)
    assert rows["fire"] == 200 + 1 + 3  # the last two hundred missed, one for those before, three in time
    assert fires[-1].state in ("Started", "Skipped")
    first = (await town.bench.ask(ListFires, notebook_id=notebook.notebook_id, page=3, page_size=100)).fires[-1]
    assert first.reason is not None
    assert "stands for 2" in first.reason


async def test_skip_gives_the_run_that_was_still_going_as_the_reason(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *")
    await town.at(NIGHT + timedelta(minutes=30))
    await town.at(NIGHT + timedelta(minutes=90))
    first, second = await town.fires(notebook)
    assert (first.state, second.state) == ("Started", "Skipped")
    assert second.reason is not None
    assert str(first.execution_id) in second.reason


async def test_queue_waits_for_the_end_of_the_run_before(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *", scheduleOverlap="queue")
    for hour in range(3):
        await town.at(NIGHT + timedelta(minutes=30, hours=hour))
    first, second, third = await town.fires(notebook)
    assert [first.state, second.state, third.state] == ["Started", "Pending", "Pending"]
    assert first.execution_id is not None
    await town.completed(notebook, NIGHT + timedelta(hours=3), first.execution_id)
    await town.send()
    assert states(await town.fires(notebook)) == ["Started", "Started", "Pending"]


async def test_replace_cancels_the_run_before(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *", scheduleOverlap="replace")
    await town.at(NIGHT + timedelta(minutes=30))
    await town.at(NIGHT + timedelta(minutes=90))
    first, second = await town.fires(notebook)
    assert (first.state, second.state) == ("Started", "Started")
    assert town.executor.cancelled == [first.execution_id]


async def test_a_lost_answer_is_asked_for_again_under_the_same_id(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *")
    town.executor.answers = [OutcomeUnknown("No answer."), Unavailable("It is down.")]
    await town.at(NIGHT + timedelta(minutes=30))
    assert states(await town.fires(notebook)) == ["Started"]
    assert len(town.executor.of(notebook.notebook_id)) == 1


async def test_a_refusal_is_the_reason(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *", scheduleParameters={"days": "seven"})
    town.executor.answers = [Invalid("The parameters do not fit the notebook.")]
    await town.at(NIGHT + timedelta(minutes=30))
    (fire,) = await town.fires(notebook)
    assert (fire.state, fire.reason) == ("Skipped", "refused: The parameters do not fit the notebook.")


async def test_jitter_spreads_starts_and_keeps_the_time(town: Town) -> None:
    notebooks = [await town.notebook(scheduleExecution="0 1 * * *", scheduleJitter=600) for _ in range(8)]
    hour = NIGHT + timedelta(minutes=30)
    await town.at(hour + timedelta(seconds=600))
    fires = [(await town.fires(notebook))[0] for notebook in notebooks]
    assert {fire.fire_time for fire in fires} == {hour}
    delays = {(fire.due_time - hour).total_seconds() for fire in fires}
    assert len(delays) == 8
    assert all(0 <= delay <= 600 for delay in delays)


async def test_a_pause_lets_times_pass(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *")
    paused = await town.bench.ask(PauseSchedule, notebook_id=notebook.notebook_id)
    assert (paused.state, paused.paused_by) == ("Paused", "anna@example.org")
    await town.at(NIGHT + timedelta(hours=3))
    await town.change(notebook, scheduleTimeZone="Asia/Tokyo")  # a change of the definition does not end the pause
    await town.at(NIGHT + timedelta(hours=4))
    assert await town.fires(notebook) == []
    resumed = await town.bench.ask(ResumeSchedule, notebook_id=notebook.notebook_id)
    assert (resumed.state, resumed.paused_at) == ("Active", None)
    await town.at(NIGHT + timedelta(hours=4, minutes=30))
    assert [fire.fire_time.hour for fire in await town.fires(notebook)] == [5]
    with pytest.raises(Conflict):
        await town.bench.ask(PauseSchedule, notebook_id=(await town.notebook()).notebook_id)


async def test_run_now_is_a_fire_of_its_own(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *", scheduleParameters={"days": 7})
    asked = asyncio.create_task(town.bench.ask(RunSchedule, notebook_id=notebook.notebook_id))
    async with asyncio.timeout(20):
        while not asked.done():
            await town.send()
    fire: Fire = asked.result()
    assert (fire.state, fire.kind, fire.trigger.manual) == ("Started", "manual", True)
    (command,) = town.executor.of(notebook.notebook_id)
    assert (command.caller.subject, command.request.parameters) == ("anna@example.org", {"days": 7})
    await town.at(NIGHT + timedelta(minutes=30))
    assert states(await town.fires(notebook)) == ["Started", "Skipped"]  # the run of now had not ended


async def test_a_new_line_counts_from_now_and_null_ends_it(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *")
    await town.clock.set(NIGHT + timedelta(minutes=50))  # 1:00 has come and nobody has looked
    await town.change(notebook, scheduleExecution="15 * * * *")
    await town.at(NIGHT + timedelta(minutes=106))
    assert [fire.fire_time.minute for fire in await town.fires(notebook)] == [15]
    changed = await town.change(notebook, scheduleExecution=None, scheduleTimeZone=None, scheduleParameters=None)
    assert changed.integration.schedule_execution is None
    await town.at(NIGHT + timedelta(hours=9))
    assert len(await town.fires(notebook)) == 1


def data(town: Town, dataset_id: UUID, version: int) -> DatasetUpdated:
    return DatasetUpdated(
        scope=town.bench.scope, dataset_id=dataset_id, dataset_name="Log", version=version, record_count=1
    )


async def test_new_data_runs_the_notebook_once_it_has_come_to_rest(town: Town) -> None:
    dataset_id = uuid4()
    town.bench.datasets.existing.add(dataset_id)
    notebook = await town.notebook(datasetBinding=str(dataset_id), autoExecution=True)
    other = await town.notebook(datasetBinding=str(dataset_id))
    for version in (2, 3, 3, 2):  # twice, and out of order
        await town.bench.hear(data(town, dataset_id, version))
    await town.send()
    assert states(await town.fires(notebook)) == ["Pending"]
    town.executor.dataset_version = 3
    await town.at(NIGHT + timedelta(seconds=4))
    (fire,) = await town.fires(notebook)
    assert (fire.state, fire.trigger.dataset_version) == ("Started", 3)
    await town.bench.hear(data(town, dataset_id, 4))
    await town.bench.hear(data(town, dataset_id, 5))
    await town.at(NIGHT + timedelta(seconds=8))
    assert states(await town.fires(notebook)) == ["Started", "Pending"]  # one run at a time
    town.executor.dataset_version = 5
    await town.completed(notebook, NIGHT + timedelta(seconds=9), fire.execution_id)
    await town.send()
    assert [fire.trigger.dataset_version for fire in await town.fires(notebook)] == [3, 5]
    await town.bench.hear(data(town, dataset_id, 5))
    assert states(await town.fires(notebook)) == ["Started", "Started"]
    assert await town.fires(other) == []


async def test_data_that_a_run_has_read_already_starts_no_other(town: Town) -> None:
    dataset_id = uuid4()
    town.bench.datasets.existing.add(dataset_id)
    notebook = await town.notebook(datasetBinding=str(dataset_id), autoExecution=True)
    await town.bench.hear(data(town, dataset_id, 2))
    town.executor.dataset_version = 3  # newer data came in before the run was accepted
    await town.at(NIGHT + timedelta(seconds=4))
    await town.bench.hear(data(town, dataset_id, 3))
    assert states(await town.fires(notebook)) == ["Started"]


async def test_autoexecution_switched_off_in_the_pause(town: Town) -> None:
    dataset_id = uuid4()
    town.bench.datasets.existing.add(dataset_id)
    notebook = await town.notebook(datasetBinding=str(dataset_id), autoExecution=True)
    await town.bench.hear(data(town, dataset_id, 2))
    await town.change(notebook, autoExecution=False)
    await town.at(NIGHT + timedelta(seconds=4))
    (fire,) = await town.fires(notebook)
    assert (fire.state, fire.reason) == ("Skipped", "autoExecution was switched off, or another dataset was bound")


async def test_a_chain_runs_when_all_before_it_completed(town: Town) -> None:
    first, second = await town.notebook("First"), await town.notebook("Second")
    last = await town.notebook("Last", runAfter=[str(first.notebook_id), str(second.notebook_id)])
    await town.completed(first, NIGHT + timedelta(minutes=1))
    await town.send()
    shown = await town.schedule(last)
    assert [(entry.notebook_name, entry.completed) for entry in shown.run_after] == [("First", True), ("Second", False)]
    assert await town.fires(last) == []
    await town.completed(second, NIGHT + timedelta(minutes=2))
    await town.send()
    (fire,) = await town.fires(last)
    assert (fire.state, fire.kind, len(fire.trigger.executions or [])) == ("Started", "chain", 2)
    await town.completed(last, NIGHT + timedelta(minutes=4), fire.execution_id)
    await town.completed(second, NIGHT + timedelta(minutes=5))  # the first has not completed since
    assert len(await town.fires(last)) == 1
    await town.completed(first, NIGHT + timedelta(minutes=6))
    await town.send()
    assert states(await town.fires(last)) == ["Started", "Started"]


async def test_two_ends_at_once_start_the_chain_once(town: Town) -> None:
    first, second = await town.notebook("First"), await town.notebook("Second")
    last = await town.notebook("Last", runAfter=[str(first.notebook_id), str(second.notebook_id)])
    await asyncio.gather(
        town.completed(first, NIGHT + timedelta(minutes=1)), town.completed(second, NIGHT + timedelta(minutes=1))
    )
    await town.send()
    assert states(await town.fires(last)) == ["Started"]


async def test_ends_that_are_heard_out_of_order_count_once(town: Town) -> None:
    first, second = await town.notebook("First"), await town.notebook("Second")
    last = await town.notebook("Last", runAfter=[str(first.notebook_id), str(second.notebook_id)])
    await town.completed(first, NIGHT + timedelta(minutes=10))
    await town.completed(second, NIGHT + timedelta(minutes=5))
    await town.send()
    assert states(await town.fires(last)) == ["Started"]
    await town.completed(second, NIGHT + timedelta(minutes=20))  # the first has not completed since
    assert len(await town.fires(last)) == 1
    await town.completed(first, NIGHT + timedelta(minutes=21))
    assert len(await town.fires(last)) == 2


async def test_many_ways_through_a_chain_are_no_more_work_than_its_links(town: Town) -> None:
    bottom = await town.notebook("Bottom")
    layer = [bottom]
    for _ in range(14):  # 3 ** 14 ways to the bottom
        after = [str(notebook.notebook_id) for notebook in layer]
        layer = [await town.notebook(runAfter=after) for _ in range(3)]
    top = await town.notebook("Top", runAfter=[str(notebook.notebook_id) for notebook in layer])
    with pytest.raises(Invalid) as refused:
        await town.change(bottom, runAfter=[str(top.notebook_id)])
    names = refused.value.faults[0].message.split(" → ")
    assert (len(names), names[0], names[-2], names[-1]) == (17, "closes a cycle: 'Bottom'", "'Top'", "'Bottom'")


async def test_a_cycle_is_refused_by_name(town: Town) -> None:
    first = await town.notebook("First")
    second = await town.notebook("Second", runAfter=[str(first.notebook_id)])
    third = await town.notebook("Third", runAfter=[str(second.notebook_id)])
    with pytest.raises(Invalid) as refused:
        await town.change(first, runAfter=[str(third.notebook_id)])
    (fault,) = refused.value.faults
    assert fault.path == "integration.runAfter"
    assert fault.message == "closes a cycle: 'First' → 'Second' → 'Third' → 'First'"
    with pytest.raises(Invalid, match="chain"):
        await town.change(first, runAfter=[str(first.notebook_id)])
    one, other = await town.notebook("One"), await town.notebook("Other")
    outcomes = await asyncio.gather(
        town.change(one, runAfter=[str(other.notebook_id)]),
        town.change(other, runAfter=[str(one.notebook_id)]),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Invalid", "Notebook"]


async def test_a_notebook_that_is_gone_is_not_waited_for(town: Town) -> None:
    first, second = await town.notebook("First"), await town.notebook("Second")
    last = await town.notebook("Last", runAfter=[str(first.notebook_id), str(second.notebook_id)])
    await town.bench.ask(DeleteNotebook, notebook_id=second.notebook_id)
    await town.completed(first, NIGHT + timedelta(minutes=1))
    await town.send()
    assert states(await town.fires(last)) == ["Started"]
    assert [entry.deleted for entry in (await town.schedule(last)).run_after] == [False, True]
    renamed: Notebook = await town.bench.ask(
        UpdateNotebook, notebook_id=last.notebook_id, patch={"notebookName": "Still last"}
    )
    assert len(renamed.integration.run_after) == 2
    with pytest.raises(Invalid) as refused:
        await town.change(first, runAfter=[str(second.notebook_id)])
    assert refused.value.faults[0].path == "integration.runAfter[0]"


async def test_a_deleted_notebook_fires_no_more_and_leaves_nothing(town: Town) -> None:
    notebook = await town.notebook(scheduleExecution="0 * * * *", scheduleOverlap="queue")
    await town.at(NIGHT + timedelta(minutes=30))
    await town.at(NIGHT + timedelta(minutes=90))
    await town.bench.ask(DeleteNotebook, notebook_id=notebook.notebook_id)
    await town.at(NIGHT + timedelta(hours=9))
    await town.bench.app.purge.remove_hidden()
    assert set((await town.bench.rows(notebook.notebook_id)).values()) == {0}
    assert len(town.executor.of(notebook.notebook_id)) == 1
    with pytest.raises(NotFound):
        await town.schedule(notebook)
