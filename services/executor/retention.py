"""Removes ended runs that a project's policy does not keep, as if their owner had: artifacts follows the fact."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter

from services.executor import model
from services.executor.store import queries
from shared.background import Background
from shared.command_log import forget_replies
from shared.contracts.base import Caller, Scope
from shared.contracts.execution_events import ExecutionPurged
from shared.contracts.storage import ListStoredRuns
from shared.database import Database, Transaction
from shared.requests import Requests

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
"""How often a control process looks whether a policy is due, in seconds; a new one waits no longer."""

APPLY_EVERY_S = 300.0
"""How often each policy is applied, in seconds."""

BATCH = 25
"""Runs removed in one transaction, and before other projects get their turn."""

RETENTION = Caller(subject="retention")

REMOVED = Counter("atelier_executions_expired_total", "Runs removed by their project's retention policy")


class RetentionKeeper(Background):
    """One per control process; a policy is taken by one of them at a time, and each removal is a transaction."""

    def __init__(self, database: Database, requests: Requests) -> None:
        super().__init__()
        self._database = database
        self._requests = requests

    async def work(self) -> float:
        """See Background. A policy that cannot be applied waits for its next turn, and keeps no other from it."""
        while await self.apply_next():
            continue
        return LOOK_EVERY_S

    async def apply_next(self) -> bool:
        """Apply the policy that waits longest; returns whether one was due."""
        async with self._database.transaction() as transaction:
            policy = await transaction.row(queries.next_retention, APPLY_EVERY_S)
        if policy is None:
            return False
        scope = Scope(tenant_id=policy["tenant_id"], project_id=policy["project_id"])
        removed = 0
        while chosen := await self._beyond(scope, policy):
            removed += await self._remove(scope, chosen)
        async with self._database.transaction() as transaction:
            await transaction.execute(queries.note_retention, scope.tenant_id, scope.project_id)
        if removed:
            log.info("runs removed by retention", project_id=str(scope.project_id), runs=removed)
        return True

    async def _beyond(self, scope: Scope, policy: asyncpg.Record) -> list[UUID]:
        """Some of the runs that the policy does not keep, oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                queries.runs_to_let_go,
                scope.tenant_id,
                scope.project_id,
                policy["max_age_days"],
                policy["max_runs_per_notebook"],
                BATCH,
            )
        if rows or policy["max_bytes"] is None:
            return [row["execution_id"] for row in rows]
        return await self._beyond_bytes(scope, policy["max_bytes"])

    async def _beyond_bytes(self, scope: Scope, max_bytes: int) -> list[UUID]:
        stored = await self._requests.ask(ListStoredRuns(scope=scope, caller=RETENTION))
        if stored.total_bytes <= max_bytes:
            return []
        ids = [run.execution_id for run in stored.oldest]
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries.runs_that_may_go, scope.tenant_id, scope.project_id, ids)
        may_go = {row["execution_id"]: row["may_go"] for row in rows}
        chosen: list[UUID] = []
        # Artifacts removes what a run stored soon after the run has gone; it counts no more.
        left = stored.total_bytes - sum(run.size_bytes for run in stored.oldest if run.execution_id not in may_go)
        for run in stored.oldest:
            if left <= max_bytes or len(chosen) == BATCH:
                break
            if may_go.get(run.execution_id):
                chosen.append(run.execution_id)
                left -= run.size_bytes
        return chosen

    async def _remove(self, scope: Scope, execution_ids: Sequence[UUID]) -> int:
        removed = 0
        async with self._database.transaction() as transaction:
            for execution_id in execution_ids:
                removed += await remove_in(transaction, scope, execution_id)
        REMOVED.inc(removed)
        return removed


async def remove_in(transaction: Transaction, scope: Scope, execution_id: UUID) -> bool:
    """Remove an ended run inside an open transaction; returns whether there was one. What it stored goes when
    artifacts hears the fact."""
    row = await transaction.row(queries.find_state, execution_id)
    if row is None or row["state"] not in model.ENDED:
        return False
    await transaction.row(queries.lock_notebook, row["notebook_id"], scope.tenant_id, scope.project_id)
    if not await transaction.execute(queries.remove_execution, execution_id):
        return False
    await transaction.execute(queries.forget_on_notebook, row["notebook_id"])
    await forget_replies(transaction, execution_id)
    transaction.emit(ExecutionPurged(scope=scope, execution_id=execution_id, notebook_id=row["notebook_id"]))
    return True
