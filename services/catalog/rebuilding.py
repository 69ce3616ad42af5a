"""Rebuilds what lists show of runs from executor's history: `python -m services.catalog rebuild-projection`.

It may run beside the services. A fact that is heard while it runs is newer than the history it has read, and is left
alone: a run that has ended does not become active again, and one accepted since is not removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.catalog.store import queries
from shared.contracts.base import Caller, Scope
from shared.contracts.history import GetRunHistory, PastRun, PastRuns
from shared.database import Database, Transaction
from shared.requests import Requests

BATCH = 100
"""Notebooks whose history is asked for at once."""

PATIENCE_S = 60.0
"""How long a question may wait for executor, in seconds."""

FIRST = (datetime.min.replace(tzinfo=UTC), UUID(int=0))
"""Before every notebook of a project."""

MARGIN = timedelta(seconds=60)
"""A run this much older than the history and not in it has been removed; a younger one may have been accepted since."""


@dataclass
class Tally:
    """What was rebuilt."""

    notebooks: int = 0
    runs: int = 0


async def rebuild(database: Database, requests: Requests) -> Tally:
    """Bring every notebook's state, counts, times and cells in line with executor's history."""
    tally = Tally()
    async for scope, notebook_ids in _batches(database):
        command = GetRunHistory(scope=scope, caller=Caller(subject="rebuild-projection"), notebook_ids=notebook_ids)
        history = await requests.ask(command, patience_s=PATIENCE_S)
        found = {past.notebook_id: past for past in history.notebooks}
        for notebook_id in notebook_ids:
            past = found.get(notebook_id) or PastRuns(
                notebook_id=notebook_id, runs=[], more=False, last_ended_at=None, cells={}
            )
            runs = past.runs + await _older(requests, command, past)
            async with database.transaction() as transaction:
                if await _rebuild_one(transaction, past, runs, history.as_of - MARGIN):
                    tally.notebooks += 1
                    tally.runs += len(runs)
    return tally


async def _batches(database: Database) -> AsyncIterator[tuple[Scope, list[UUID]]]:
    """Every notebook, project by project."""
    after: tuple[datetime, UUID] | None = None
    place: tuple[UUID, UUID] | None = None
    while True:
        async with database.connection() as connection:
            if after is None:
                project = await connection.fetchrow(queries.next_project, *(place or (None, None)))
                if project is None:
                    return
                place = project["tenant_id"], project["project_id"]
            assert place is not None  # noqa: S101 - it was set with the first project
            rows = await connection.fetch(queries.notebooks_of_project, *place, *(after or FIRST), BATCH)
        if not rows:
            after = None
            continue
        after = rows[-1]["created_at"], rows[-1]["notebook_id"]
        yield Scope(tenant_id=place[0], project_id=place[1]), [row["notebook_id"] for row in rows]


async def _older(requests: Requests, command: GetRunHistory, past: PastRuns) -> list[PastRun]:
    """The runs that did not fit into the first answer."""
    found: dict[UUID, PastRun] = {}
    known = {run.execution_id for run in past.runs}
    more, before = past.more, past.runs[-1].accepted_at if past.runs else None
    while more:
        question = command.model_copy(update={"notebook_ids": [past.notebook_id], "before": before})
        (page,) = (await requests.ask(question, patience_s=PATIENCE_S)).notebooks
        new = [run for run in page.runs if run.execution_id not in known]  # pages meet in a millisecond
        found.update({run.execution_id: run for run in new})
        known |= found.keys()
        more, before = page.more and bool(new), page.runs[-1].accepted_at
    return list(found.values())


async def _rebuild_one(transaction: Transaction, past: PastRuns, runs: list[PastRun], removed_before: datetime) -> bool:
    """False when the notebook is gone meanwhile."""
    notebook_id = past.notebook_id
    if await transaction.row(queries.lock_known, notebook_id) is None:
        return False
    ids = [run.execution_id for run in runs]
    await transaction.execute(queries.mark_removed_runs, notebook_id, ids, removed_before)
    await transaction.execute(
        queries.put_past_runs,
        notebook_id,
        ids,
        [run.last_seq for run in runs],
        [run.accepted_at for run in runs],
        [run.ended_at for run in runs],
        [run.outcome for run in runs],
        [run.notebook_status for run in runs],
    )
    if not await transaction.value(queries.ended_after, notebook_id, past.last_ended_at):
        cells = list(past.cells.items())
        await transaction.execute(queries.clear_cells, notebook_id)
        await transaction.execute(
            queries.tell_cells,
            notebook_id,
            past.last_ended_at,
            [cell_id for cell_id, _ in cells],
            [cell.execution_count for _, cell in cells],
            [cell.has_output for _, cell in cells],
            [cell.last_executed for _, cell in cells],
            [cell.execution_status for _, cell in cells],
        )
    await transaction.execute(queries.recount_state, notebook_id, past.execution_count)
    return True
