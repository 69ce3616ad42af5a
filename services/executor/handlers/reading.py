"""Questions about runs: status, history, events, where the results are, what a notebook's runs amount to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from services.executor import model, parameter_rules, store
from services.executor.environments import rules
from services.executor.handlers.planning import snapshot_of
from services.executor.store import queries
from services.executor.views import request_of
from shared.contracts.comparisons import DatasetVersion, ExecutionInputs, GetExecutionInputs
from shared.contracts.executions import (
    BasePython,
    CellActivity,
    Execution,
    ExecutionEnvironment,
    ExecutionEventPage,
    ExecutionPage,
    GetBasePython,
    GetExecution,
    GetExecutionEnvironment,
    GetLatestExecution,
    GetNotebookActivity,
    GetQuota,
    InstalledPackage,
    ListExecutionEvents,
    ListExecutions,
    LocateResults,
    NotebookActivity,
    Quota,
    ResultsLocation,
)
from shared.errors import Fault, Invalid, NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from services.executor.app import ControlApp

EVENT_PAGE = 500
"""The most events in one answer; larger histories are read page by page."""

EVENT_PAGE_BYTES = 512 * 1024
"""An event page stops growing at this size, in bytes."""


async def get_execution(app: ControlApp, command: GetExecution, _context: Context) -> Execution:
    """The status object."""
    async with app.database.connection() as connection:
        row = await store.find(connection, command.scope, command.execution_id, command.notebook_id)
        return await store.view(connection, row, app.settings)


async def get_latest_execution(app: ControlApp, command: GetLatestExecution, _context: Context) -> Execution:
    """The status object of the notebook's newest run."""
    scope = command.scope
    async with app.database.connection() as connection:
        row = await connection.fetchrow(queries.find_latest, command.notebook_id, scope.tenant_id, scope.project_id)
        if row is None:
            raise NotFound("This notebook has not been executed.")
        return await store.view(connection, row, app.settings)


async def list_executions(app: ControlApp, command: ListExecutions, _context: Context) -> ExecutionPage:
    """A page of runs, newest first."""
    scope = command.scope
    after, after_id = store.read_cursor(command.cursor)
    states: list[str] | None = None  # null: all
    if command.status is not None:
        active: list[str] = sorted(model.ACTIVE | model.WAITING)
        states = active if command.status == "Running" else [command.status]
    elif command.active is not None:
        states = sorted(model.ACTIVE | model.WAITING)
        if not command.active:
            states = [*sorted(model.ENDED)]
    offset = 0 if command.cursor else (command.page - 1) * command.page_size
    async with app.database.connection() as connection:
        total = await connection.fetchval(
            queries.count_executions, scope.tenant_id, scope.project_id, command.notebook_id, states
        )
        rows = await connection.fetch(
            queries.list_executions,
            scope.tenant_id,
            scope.project_id,
            command.notebook_id,
            states,
            after,
            after_id,
            command.page_size + 1,
            offset,
        )
        shown = rows[: command.page_size]
        more = len(rows) > len(shown)
        return ExecutionPage(
            executions=await store.view_all(connection, shown, app.settings),
            total_count=total,
            page=command.page,
            page_size=command.page_size,
            has_next_page=more,
            next_cursor=store.cursor_of(shown[-1]) if more else None,
        )


async def get_quota(app: ControlApp, command: GetQuota, _context: Context) -> Quota:
    """The tenant's numbers in force."""
    async with app.database.connection() as connection:
        return await store.quota(connection, command.scope.tenant_id, app.settings)


async def get_base_python(app: ControlApp, _command: GetBasePython, _context: Context) -> BasePython:
    """The Python that a notebook runs on which asks for none."""
    async with app.database.connection() as connection:
        return BasePython(python_version=await connection.fetchval(queries.base_python))


async def get_notebook_activity(app: ControlApp, command: GetNotebookActivity, _context: Context) -> NotebookActivity:
    """The run members of a notebook object, never behind an execution's own status (decision 9)."""
    scope = command.scope
    async with app.database.connection() as connection:
        row = await connection.fetchrow(queries.notebook_facts, command.notebook_id, scope.tenant_id, scope.project_id)
    if row is None:
        return NotebookActivity(status="Ready", execution_count=0, last_execution_date=None, cells={})
    return NotebookActivity(
        status="Running" if row["running"] else row["status"],
        execution_count=row["execution_count"],
        last_execution_date=row["last_accepted_at"],
        cells={name: CellActivity.model_validate(cell) for name, cell in orjson.loads(row["cells"]).items()},
    )


async def list_execution_events(app: ControlApp, command: ListExecutionEvents, _context: Context) -> ExecutionEventPage:
    """The run's facts after a number, as they were published."""
    async with app.database.connection() as connection:
        row = await store.find(connection, command.scope, command.execution_id, command.notebook_id)
        rows = await connection.fetch(
            queries.events_after, command.execution_id, command.after, min(command.limit, EVENT_PAGE)
        )
    events: list[dict[str, Any]] = []
    size = 0
    for record in rows:
        size += len(record["body"])
        if events and size > EVENT_PAGE_BYTES:
            break
        events.append(orjson.loads(record["body"]))
    last = events[-1]["sequence"] if events else command.after
    return ExecutionEventPage(events=events, ended=row["state"] in model.ENDED and last >= row["last_seq"])


async def get_execution_environment(
    app: ControlApp, command: GetExecutionEnvironment, _context: Context
) -> ExecutionEnvironment:
    """What the run runs (or ran) in."""
    async with app.database.connection() as connection:
        row = await store.find(connection, command.scope, command.execution_id, command.notebook_id)
        found = await connection.fetchrow(queries.environment, row["environment_id"])
    if found is None:
        raise NotFound("This execution has no environment: it has not been prepared yet, or could not be.")
    return ExecutionEnvironment(
        execution_id=row["execution_id"],
        notebook_id=row["notebook_id"],
        environment_id=found["environment_id"],
        source=found["source"],
        python_version=found["python_version"] or None,
        preparation_seconds=row["preparation_seconds"],
        packages=[InstalledPackage(name=pin.name, version=pin.version) for pin in rules.pins(found["lock"])],
        lock=found["lock"],
    )


async def get_execution_inputs(app: ControlApp, command: GetExecutionInputs, _context: Context) -> ExecutionInputs:
    """What the run was given: versions and parameters, defaults included."""
    async with app.database.connection() as connection:
        row = await store.find(connection, command.scope, command.execution_id, command.notebook_id)
        notebook, dataset = snapshot_of(await connection.fetchrow(queries.snapshot, command.execution_id))
    given = request_of(row).parameters
    return ExecutionInputs(
        execution_id=row["execution_id"],
        notebook_version=notebook.version,
        parameters={**parameter_rules.defaults(notebook.parameters), **given},
        dataset=None if dataset is None else DatasetVersion.model_validate(dataset.dataset.model_dump()),
    )


async def locate_results(app: ControlApp, command: LocateResults, _context: Context) -> ResultsLocation:
    """The epoch whose manifest is this run's; null while nothing is registered."""
    async with app.database.connection() as connection:
        row = await store.find(connection, command.scope, command.execution_id, command.notebook_id)
        cells = await store.cells(connection, command.execution_id)
        epoch = await _epoch_of(connection, row, command.attempt)
    return ResultsLocation(
        execution_id=row["execution_id"],
        notebook_id=row["notebook_id"],
        status=model.status_of(row["state"]),
        epoch=epoch,
        cell_ids=[cell.cell_id for cell in cells],
        is_earlier_attempt=_is_earlier(row, command.attempt),
    )


def _is_earlier(row: asyncpg.Record, attempt: int | None) -> bool:
    return attempt is not None and (attempt != row["attempt"] or row["started_at"] is None)


async def _epoch_of(connection: asyncpg.Connection, row: asyncpg.Record, attempt: int | None) -> int | None:
    """Under which epoch the results of an attempt, or those of the run, are registered. Raises Invalid."""
    if not _is_earlier(row, attempt):
        return _epoch_in(row)
    found = await connection.fetchrow(queries.attempt, row["execution_id"], attempt)
    if found is None:
        message = f"names no attempt of this execution, which was begun {row['attempt']} times"
        raise Invalid(f"attempt {message}.", faults=[Fault(path="attempt", message=message)])
    return _epoch_in(found)


def _epoch_in(row: asyncpg.Record) -> int | None:
    epoch: int | None = row["manifest_epoch"]
    return epoch
