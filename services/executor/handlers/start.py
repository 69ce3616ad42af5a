"""Accepting a run: queue what was planned, with its first fact."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from services.executor import model, store
from services.executor.handlers import stopping
from services.executor.handlers.planning import Plan, plan_rerun, plan_start
from services.executor.store import dumps, queries
from shared import telemetry
from shared.command_log import WriteTransaction
from shared.contracts.base import Scope
from shared.contracts.execution_events import ExecutionQueued
from shared.contracts.executions import (
    CheckExecution,
    CheckRerun,
    DryRun,
    Execution,
    RerunExecution,
    StartExecution,
)
from shared.contracts.schedules import Trigger
from shared.errors import Conflict, NotFound, TooManyRequests, Unavailable
from shared.responder import Context

if TYPE_CHECKING:
    from services.executor.app import ControlApp

RETRY_AFTER_S = 10
"""When a tenant whose queue is full should try again, in seconds."""


class Overlapping(Conflict):
    """The notebook has runs that have not ended, and the new one must not overlap them."""

    def __init__(self, running: list[UUID]) -> None:
        super().__init__(
            f"The notebook's execution {running[0]} has not ended.", extra={"running": [str(run) for run in running]}
        )
        self.running = running


async def start_execution(app: ControlApp, command: StartExecution, context: Context) -> Execution:
    """Queue a run of the pinned version; the first fact, number 1, commits with it."""
    await context.recall()
    if command.trigger.kind != "api" and (known := await _started_before(app, command)) is not None:
        return known
    plan = await plan_start(app, command.scope, command.caller, command.notebook_id, command.request)
    try:
        return await _accept(app, context, plan, command)
    except Overlapping as error:
        if command.overlap == "replace":
            await stopping.cancel_all(app, error.running)
        raise


async def rerun_execution(app: ControlApp, command: RerunExecution, context: Context) -> Execution:
    """Queue a run of what another run had pinned."""
    await context.recall()
    plan = await plan_rerun(app, command.scope, command.caller, command.notebook_id, command.rerun_of, command.request)
    return await _accept(app, context, plan, command)


async def check_execution(app: ControlApp, command: CheckExecution, _context: Context) -> DryRun:
    """Everything that `start_execution` checks; nothing is kept."""
    plan = await plan_start(app, command.scope, command.caller, command.notebook_id, command.request)
    return plan.dry_run()


async def check_rerun(app: ControlApp, command: CheckRerun, _context: Context) -> DryRun:
    """Everything that `rerun_execution` checks; nothing is kept."""
    plan = await plan_rerun(app, command.scope, command.caller, command.notebook_id, command.rerun_of, command.request)
    return plan.dry_run()


async def _started_before(app: ControlApp, command: StartExecution) -> Execution | None:
    """The run of a command that is repeated long after it took effect. Raises Conflict when that run was removed."""
    async with app.database.connection() as connection:
        row = await connection.fetchrow(queries.started_before, command.execution_id)
        if row is None:
            return None
        if not row["kept"]:
            raise Conflict("This execution was started before and has been removed since.")
        found = await store.find(connection, command.scope, command.execution_id, command.notebook_id)
        return await store.view(connection, found, app.settings)


async def _accept(app: ControlApp, context: Context, plan: Plan, command: StartExecution | RerunExecution) -> Execution:
    """Write the run into its tenant's queue. Raises NotFound for a blocked notebook, Overlapping, TooManyRequests."""
    execution_id, scope, caller = command.execution_id, command.scope, command.caller
    trigger = _trigger_of(command, plan)
    async with context.transaction() as transaction:
        await _lock_notebook(transaction, plan.notebook.notebook_id, scope)
        if isinstance(command, StartExecution):
            await _mind_others(transaction, command)
        await _count_in(app, transaction, scope)
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
            dumps(model.Tally(cells).progress()),
            telemetry.traceparent(),
            context.envelope.correlationid,
            plan.rerun_of,
            plan.from_cell,
            dumps(trigger),
            plan.dataset.dataset.dataset_id if plan.dataset else None,
            plan.dataset.dataset.version if plan.dataset else None,
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
                trigger=trigger,
            ),
            sequence=1,
        )
        await store.put_events(sql, execution_id, [envelope])
        view = await store.view(sql.connection, row, app.settings)
        answer = transaction.reply(view, subject=execution_id)
    await app.broker.publish_hint()
    return answer


def _trigger_of(command: StartExecution | RerunExecution, plan: Plan) -> Trigger:
    """Why the run is started; one on new data names the version that it will read."""
    if isinstance(command, RerunExecution):
        return Trigger()
    if command.trigger.kind == "dataset" and plan.dataset is not None:
        return command.trigger.model_copy(update={"dataset_version": plan.dataset.dataset.version})
    return command.trigger


async def _lock_notebook(transaction: WriteTransaction, notebook_id: UUID, scope: Scope) -> None:
    """Raises NotFound when the notebook is deleted, Conflict while its runs are being stopped for that."""
    notebook = await transaction.sql.row(queries.lock_notebook, notebook_id, scope.tenant_id, scope.project_id)
    if notebook is None or notebook["blocked_at"] is not None:
        raise NotFound("There is no such notebook.")
    if notebook["closing"]:
        raise Conflict("The notebook is being deleted; no new run may start.", extra={"deleting": True})


async def _mind_others(transaction: WriteTransaction, command: StartExecution) -> None:
    """What a run that starts by itself heeds, under the notebook's lock: runs before it, and its own first start."""
    sql = transaction.sql
    if command.overlap != "allow":
        running = await sql.fetch(queries.active_runs_of_notebook, command.notebook_id)
        if running:
            raise Overlapping([row["execution_id"] for row in running])
    if command.trigger.kind != "api":
        noted = await sql.value(queries.note_automatic_start, command.execution_id, command.notebook_id)
        if noted is None:
            raise Unavailable("This execution is being started by another command; ask again.")


async def _count_in(app: ControlApp, transaction: WriteTransaction, scope: Scope) -> None:
    """Lock the tenant, and count the run among those that wait."""
    sql = transaction.sql
    if await sql.value(queries.count_in, scope.tenant_id, app.settings.max_queued_runs) is None:
        quota = await store.quota(sql.connection, scope.tenant_id, app.settings)
        raise TooManyRequests(
            f"{quota.queued} runs of this tenant are waiting, which is its limit; try again later.",
            extra={"retryAfter": RETRY_AFTER_S},
        )
