"""The history of runs, for rebuilding what others project from their facts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import orjson

from services.executor import model
from services.executor.model import Verdict
from services.executor.store import queries
from shared.contracts.executions import CellActivity
from shared.contracts.history import RUNS_AT_ONCE, GetRunHistory, PastRun, PastRuns, RunHistory
from shared.responder import Context

if TYPE_CHECKING:
    from services.executor.app import ControlApp


async def get_run_history(app: ControlApp, command: GetRunHistory, _context: Context) -> RunHistory:
    """Runs of notebooks as the tables have them."""
    scope = command.scope
    async with app.database.connection() as connection, connection.transaction(isolation="repeatable_read"):
        as_of = await connection.fetchval(queries.clock)
        notebooks = await connection.fetch(
            queries.past_of_notebooks, command.notebook_ids, scope.tenant_id, scope.project_id
        )
        rows = await connection.fetch(
            queries.past_runs, [row["notebook_id"] for row in notebooks], command.before, RUNS_AT_ONCE + 1
        )
    runs: dict[UUID, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        runs[row["notebook_id"]].append(row)
    return RunHistory(
        as_of=as_of,
        notebooks=[
            PastRuns(
                notebook_id=notebook["notebook_id"],
                runs=[_past(row) for row in runs[notebook["notebook_id"]][:RUNS_AT_ONCE]],
                more=len(runs[notebook["notebook_id"]]) > RUNS_AT_ONCE,
                last_ended_at=notebook["last_ended_at"],
                execution_count=notebook["execution_count"],
                cells={
                    name: CellActivity.model_validate(cell) for name, cell in orjson.loads(notebook["cells"]).items()
                },
            )
            for notebook in notebooks
        ],
    )


def _past(row: asyncpg.Record) -> PastRun:
    if row["state"] not in model.ENDED:
        return PastRun(
            execution_id=row["execution_id"],
            last_seq=row["last_seq"],
            accepted_at=row["accepted_at"],
            ended_at=None,
            outcome=None,
            notebook_status=None,
        )
    verdict = Verdict(state=row["state"], error_type=row["error_type"])
    return PastRun(
        execution_id=row["execution_id"],
        last_seq=row["last_seq"],
        accepted_at=row["accepted_at"],
        ended_at=row["ended_at"],
        outcome=row["state"],
        notebook_status=verdict.notebook_status,
    )
