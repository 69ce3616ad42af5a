"""What runs do to notebooks: in order, out of order, twice, against a real database."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest

from shared.contracts.execution_events import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEnded,
    ExecutionEvent,
    ExecutionFailed,
    ExecutionPurged,
    ExecutionQueued,
    ExecutionStarted,
)
from shared.contracts.executions import CellActivity, OutputCounts, Progress, Resources
from shared.contracts.notebooks import (
    CreateNotebook,
    DeleteNotebook,
    GetNotebook,
    ListNotebooks,
    Notebook,
    NotebookDraft,
)
from shared.envelope import Undecodable
from tests.integration.catalog.conftest import Bench

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DONE = Progress(
    total_cells=1,
    completed_cells=1,
    successful_cells=1,
    failed_cells=0,
    current_cell_index=None,
    percent_complete=100,
)

Outcome = Literal["Completed", "Error", "Cancelled"]


class Run:
    """The facts of one run of a notebook; times in minutes after noon."""

    def __init__(self, bench: Bench, notebook: Notebook, accepted: int) -> None:
        self.bench, self.notebook, self.accepted = bench, notebook, NOON + timedelta(minutes=accepted)
        self.execution_id: UUID = uuid4()

    @property
    def about(self) -> dict[str, Any]:
        return {
            "scope": self.bench.scope,
            "execution_id": self.execution_id,
            "notebook_id": self.notebook.notebook_id,
        }

    def queued(self) -> tuple[ExecutionEvent, int]:
        event = ExecutionQueued(
            **self.about,
            notebook_version="1.0.0",
            total_cells=1,
            priority="Normal",
            accepted_at=self.accepted,
            created_by="anna",
        )
        return event, 1

    def started(self) -> tuple[ExecutionEvent, int]:
        at = self.accepted + timedelta(seconds=30)
        event = ExecutionStarted(**self.about, attempt=1, started_at=at, queued_seconds=30)
        return event, 2

    def ended(self, minute: int, outcome: Outcome = "Completed", count: int = 1) -> tuple[ExecutionEvent, int]:
        at = NOON + timedelta(minutes=minute)
        kinds: dict[str, type[ExecutionEnded]] = {
            "Completed": ExecutionCompleted,
            "Error": ExecutionFailed,
            "Cancelled": ExecutionCancelled,
        }
        status = "Success" if outcome == "Completed" else outcome
        cell = CellActivity(execution_count=count, has_output=True, last_executed=at, execution_status=status)
        event = kinds[outcome](
            **self.about,
            notebook_version="1.0.0",
            status=outcome,
            accepted_at=self.accepted,
            ended_at=at,
            total_duration_seconds=1.0,
            progress=DONE,
            outputs=OutputCounts(),
            resources=Resources(),
            notebook_status="Error" if outcome == "Error" else "Ready",
            cells={"cell-001": cell, "cell-999": cell},
        )
        return event, 9


@pytest.fixture
async def notebook(bench: Bench) -> Notebook:
    draft = {"notebookName": "Runs", "initialCells": [{"cellType": "code", "content": "1"}]}
    created: Notebook = await bench.ask(CreateNotebook, draft=NotebookDraft.model_validate(draft))
    return created


async def seen(bench: Bench, notebook: Notebook) -> Notebook:
    present: Notebook = await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)
    return present


async def test_a_run_from_acceptance_to_end(bench: Bench, notebook: Notebook) -> None:
    run = Run(bench, notebook, accepted=0)
    await bench.hear(*run.queued())
    running = await seen(bench, notebook)
    assert (running.status, running.execution_count, running.last_execution_date) == ("Running", 1, NOON)
    await bench.hear(*run.started())
    await bench.hear(*run.ended(5, count=3))
    ready = await seen(bench, notebook)
    assert (ready.status, ready.execution_count, ready.last_execution_date) == ("Ready", 1, NOON)
    cell = ready.cells[0]
    assert (cell.execution_count, cell.has_output, cell.execution_status) == (3, True, "Success")
    assert cell.last_executed == NOON + timedelta(minutes=5)
    assert (ready.etag, ready.date_modified) == (notebook.etag, notebook.date_modified)
    page = await bench.ask(ListNotebooks, status="Ready")
    assert (page.total_count, page.notebooks[0].last_execution_date) == (1, NOON)


async def test_a_failure_shows_until_the_next_good_run(bench: Bench, notebook: Notebook) -> None:
    outcomes: list[tuple[Outcome, int, str]] = [("Error", 1, "Error"), ("Completed", 2, "Ready")]
    for outcome, minute, status in outcomes:
        run = Run(bench, notebook, accepted=minute)
        await bench.hear(*run.queued())
        await bench.hear(*run.ended(minute, outcome))
        assert (await seen(bench, notebook)).status == status
        assert (await bench.ask(ListNotebooks, status=status)).total_count == 1


async def test_any_order_and_any_repetition_end_alike(bench: Bench) -> None:
    """Two overlapping runs: the one accepted later fails first, the other ends well. Every interleaving agrees."""
    outcomes = set()
    for number, order in enumerate(itertools.permutations(range(5))):
        draft = {"notebookName": str(number), "initialCells": [{"cellType": "code"}]}
        notebook = await bench.ask(CreateNotebook, draft=NotebookDraft.model_validate(draft))
        first, second = Run(bench, notebook, accepted=0), Run(bench, notebook, accepted=1)
        facts = [first.queued(), first.started(), first.ended(9, count=1), second.queued(), second.ended(5, "Error", 2)]
        for index in (*order, order[0]):
            await bench.hear(*facts[index])
        now = await seen(bench, notebook)
        cell = now.cells[0]
        outcomes.add(
            (now.status, now.execution_count, now.last_execution_date, cell.execution_count, cell.execution_status)
        )
    assert outcomes == {("Ready", 2, NOON + timedelta(minutes=1), 1, "Success")}


async def test_it_is_running_while_any_run_is(bench: Bench, notebook: Notebook) -> None:
    first, second = Run(bench, notebook, accepted=0), Run(bench, notebook, accepted=1)
    await bench.hear(*first.queued())
    await bench.hear(*second.queued())
    await bench.hear(*second.ended(2, "Error"))
    assert (await seen(bench, notebook)).status == "Running"
    await bench.hear(*first.ended(3, "Cancelled"))
    assert (await seen(bench, notebook)).status == "Ready"


async def test_a_removed_run_decides_nothing_any_more_but_counts(bench: Bench, notebook: Notebook) -> None:
    good, bad = Run(bench, notebook, accepted=0), Run(bench, notebook, accepted=1)
    for fact in (good.queued(), good.ended(1), bad.queued(), bad.ended(2, "Error")):
        await bench.hear(*fact)
    assert (await seen(bench, notebook)).status == "Error"
    for _ in range(2):
        await bench.hear(ExecutionPurged(**bad.about))
    await bench.hear(*bad.ended(2, "Error"))
    now = await seen(bench, notebook)
    assert (now.status, now.execution_count, now.last_execution_date) == ("Ready", 2, NOON)
    early = Run(bench, notebook, accepted=2)
    await bench.hear(ExecutionPurged(**early.about))
    await bench.hear(*early.queued())
    assert (await seen(bench, notebook)).execution_count == 3


async def test_facts_about_a_deleted_notebook_mean_nothing(bench: Bench, notebook: Notebook) -> None:
    run = Run(bench, notebook, accepted=0)
    await bench.hear(*run.queued())
    await bench.ask(DeleteNotebook, notebook_id=notebook.notebook_id)
    await bench.hear(*run.ended(1))
    await bench.app.purge.remove_hidden()
    await bench.hear(*run.ended(1))
    assert set((await bench.rows(notebook.notebook_id)).values()) == {0}


async def test_a_fact_without_a_number_is_set_aside(bench: Bench, notebook: Notebook) -> None:
    with pytest.raises(Undecodable):
        await bench.hear(Run(bench, notebook, accepted=0).queued()[0])
    assert (await seen(bench, notebook)).status == "Ready"
