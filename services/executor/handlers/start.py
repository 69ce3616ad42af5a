"""Accepting a run: queue what was planned, with its first fact."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from services.executor import model, store
from services.executor.handlers.planning import Plan, plan_rerun, plan_start
from services.executor.store import dumps, queries
from shared import telemetry
from shared.contracts.base import Caller, Scope
from shared.contracts.execution_events import ExecutionQueued
from shared.contracts.executions import (
    CheckExecution,
    CheckRerun,
    DryRun,
    Execution,
    RerunExecution,
    StartExecution,
)
from shared.errors import NotFound, TooManyRequests
from shared.responder import Context, WriteTransaction

if TYPE_CHECKING:
    from services.executor.app import ControlApp

RETRY_AFTER_S = 10
"""When a tenant whose queue is full should try again, in seconds."""


async def start_execution(app: ControlApp, command: StartExecution, context: Context) -> Execution:
    """Queue a run of the pinned version; the first fact, number 1, commits with it."""
    await context.recall()
    plan = await plan_start(app, command.scope, command.caller, command.notebook_id, command.request)
    return await _accept(app, context, plan, command.execution_id, command.scope, command.caller)


async def rerun_execution(app: ControlApp, command: RerunExecution, context: Context) -> Execution:
    """Queue a run of what another run had pinned."""
    await context.recall()
    plan = await plan_rerun(app, command.scope, command.caller, command.notebook_id, command.rerun_of, command.request)
    return await _accept(app, context, plan, command.execution_id, command.scope, command.caller)


async def check_execution(app: ControlApp, command: CheckExecution, _context: Context) -> DryRun:
    """Everything that `start_execution` checks; nothing is kept."""
    plan = await plan_start(app, command.scope, command.caller, command.notebook_id, command.request)
    return plan.dry_run()


async def check_rerun(app: ControlApp, command: CheckRerun, _context: Context) -> DryRun:
    """Everything that `rerun_execution` checks; nothing is kept."""
    plan = await plan_rerun(app, command.scope, command.caller, command.notebook_id, command.rerun_of, command.request)
    return plan.dry_run()


async def _accept(
    app: ControlApp, context: Context, plan: Plan, execution_id: UUID, scope: Scope, caller: Caller
) -> Execution:
    """Write the run into its tenant's queue. Raises NotFound for a blocked notebook, TooManyRequests."""
    async with context.transaction() as transaction:
        await _count_in(app, transaction, plan.notebook.notebook_id, scope)
        sql = transaction.sql
        cells = model.pending_cells(plan.cell_ids)
        row = await sql.row(
            queries.insert_execution,
            execution_id,
            scope.tenant_id,
            scope.project_id,
            plan.notebook.notebook_id,
            plan.notebook.version,
            model.PRIORITY[plan.request.priority],
            plan.request.queue_timeout,
            caller.subject,
            dumps(plan.request),
            dumps(plan.warnings),
            dumps(model.progress_of(cells, None, completed=False)),
            telemetry.traceparent(),
            context.envelope.correlationid,
            plan.rerun_of,
            plan.from_cell,
        )
        assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
        await sql.execute(
            queries.insert_snapshot,
            execution_id,
            plan.notebook.model_dump_json(by_alias=True).encode(),
            dumps(plan.dataset) if plan.dataset else None,
        )
        await sql.execute(
            queries.insert_cells,
            execution_id,
            list(range(len(cells))),
            plan.cell_ids,
            [dumps(cell) for cell in cells],
        )
        await sql.execute(queries.note_accepted, plan.notebook.notebook_id, row["accepted_at"])
        envelope = transaction.emit(
            ExecutionQueued(
                scope=scope,
                execution_id=execution_id,
                notebook_id=plan.notebook.notebook_id,
                notebook_version=plan.notebook.version,
                total_cells=len(cells),
                priority=plan.request.priority,
                accepted_at=row["accepted_at"],
                created_by=caller.subject,
            ),
            sequence=1,
        )
        await store.put_events(sql, execution_id, [envelope])
        answer = transaction.reply(await store.view(sql.connection, row, app.settings.max_active_runs))
    await app.broker.publish_hint()
    return answer


async def _count_in(app: ControlApp, transaction: WriteTransaction, notebook_id: UUID, scope: Scope) -> None:
    """Lock notebook and tenant, and count the run among those that wait."""
    sql = transaction.sql
    notebook = await sql.row(queries.lock_notebook, notebook_id, scope.tenant_id, scope.project_id)
    if notebook is None or notebook["blocked_at"] is not None:
        raise NotFound("There is no such notebook.")
    if await sql.value(queries.count_in, scope.tenant_id, app.settings.max_queued_runs) is None:
        quota = await store.quota(sql.connection, scope.tenant_id, app.settings)
        raise TooManyRequests(
            f"{quota.queued} runs of this tenant are waiting, which is its limit; try again later.",
            extra={"retryAfter": RETRY_AFTER_S},
        )
