"""Accepting a run: pin what it reads, check what it is given, queue it with its first fact."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import jsonschema
import orjson

from services.executor import model, store
from services.executor.store import dumps, queries
from shared import telemetry
from shared.contracts.base import Caller, Scope
from shared.contracts.datasets import PinDataset, PinnedDataset
from shared.contracts.execution_events import ExecutionQueued
from shared.contracts.executions import (
    CheckExecution,
    DryRun,
    Execution,
    ExecutionRequest,
    StartExecution,
)
from shared.contracts.notebooks import PinnedNotebook, PinNotebook
from shared.errors import Fault, Invalid, NotFound, TooManyRequests
from shared.responder import Context

if TYPE_CHECKING:
    from services.executor.app import ControlApp

RETRY_AFTER_S = 10
"""When a tenant whose queue is full should try again, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked request: what will run on what."""

    notebook: PinnedNotebook
    dataset: PinnedDataset | None
    cell_ids: list[str]
    warnings: list[str]
    parameters: dict[str, Any]


async def start_execution(app: ControlApp, command: StartExecution, context: Context) -> Execution:
    """Queue a run of the pinned version; the first fact, number 1, commits with it."""
    plan = await make_plan(app, command.scope, command.caller, command.notebook_id, command.request)
    scope, request = command.scope, command.request
    async with context.transaction() as transaction:
        sql = transaction.sql
        notebook = await sql.row(queries.lock_notebook, command.notebook_id, scope.tenant_id, scope.project_id)
        if notebook is None or notebook["blocked_at"] is not None:
            raise NotFound("There is no such notebook.")
        if await sql.value(queries.count_in, scope.tenant_id, app.settings.max_queued_runs) is None:
            raise TooManyRequests(
                "Too many runs of this tenant are waiting; try again later.", extra={"retryAfter": RETRY_AFTER_S}
            )
        cells = model.pending_cells(plan.cell_ids)
        row = await sql.row(
            queries.insert_execution,
            command.execution_id,
            scope.tenant_id,
            scope.project_id,
            command.notebook_id,
            plan.notebook.version,
            model.PRIORITY[request.priority],
            request.queue_timeout,
            command.caller.subject,
            dumps(request),
            dumps(plan.warnings),
            dumps(model.progress_of(cells, None, completed=False)),
            telemetry.traceparent(),
            context.envelope.correlationid,
        )
        assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
        await sql.execute(
            queries.insert_snapshot,
            command.execution_id,
            plan.notebook.model_dump_json(by_alias=True).encode(),
            dumps(plan.dataset) if plan.dataset else None,
        )
        await sql.execute(
            queries.insert_cells,
            command.execution_id,
            list(range(len(cells))),
            plan.cell_ids,
            [dumps(cell) for cell in cells],
        )
        await sql.execute(queries.note_accepted, command.notebook_id, row["accepted_at"])
        envelope = transaction.emit(
            ExecutionQueued(
                scope=scope,
                execution_id=command.execution_id,
                notebook_id=command.notebook_id,
                notebook_version=plan.notebook.version,
                total_cells=len(cells),
                priority=request.priority,
                accepted_at=row["accepted_at"],
                created_by=command.caller.subject,
            ),
            sequence=1,
        )
        await store.put_events(sql, command.execution_id, [envelope])
        answer = transaction.reply(await store.view(sql.connection, row))
    await app.broker.publish_hint()
    return answer


async def check_execution(app: ControlApp, command: CheckExecution, _context: Context) -> DryRun:
    """Everything that `start_execution` checks; nothing is kept."""
    plan = await make_plan(app, command.scope, command.caller, command.notebook_id, command.request)
    return DryRun(valid=True, parameters=plan.parameters, warnings=plan.warnings, total_cells=len(plan.cell_ids))


async def make_plan(
    app: ControlApp, scope: Scope, caller: Caller, notebook_id: UUID, request: ExecutionRequest
) -> Plan:
    """Ask catalog and artifacts at once and check the request against both; raises NotFound or Invalid."""
    chosen = _chosen_dataset(request.parameters)
    pin_notebook = app.requests.ask(
        PinNotebook(scope=scope, caller=caller, notebook_id=notebook_id, version=request.version)
    )
    if chosen is None:
        notebook, dataset = await pin_notebook, None
    else:
        notebook, dataset = await asyncio.gather(pin_notebook, _pin_chosen(app, scope, caller, chosen))
    bound = notebook.integration.dataset_binding
    warnings: list[str] = []
    if dataset is None and bound is not None:
        try:
            dataset = await app.requests.ask(PinDataset(scope=scope, caller=caller, dataset_id=bound))
        except NotFound:
            warnings.append(f"The bound dataset {bound} no longer exists; the run has no dataset.")
    if dataset is None and notebook.integration.enrichment_mode and not warnings:
        warnings.append("enrichmentMode is on but no dataset is bound; the run has no dataset to enrich.")
    wanted = request.cell_range if request.execution_mode == "range" else None
    if request.execution_mode == "range" and wanted is None:
        fault = Fault(path="cellRange", message="executionMode range needs startCell and endCell")
        raise Invalid("The cell range is missing.", faults=[fault])
    covered = model.cells_in_range(notebook.content["cells"], wanted)
    warnings += _check_parameters(notebook, request)
    properties = notebook.parameters.get("properties", {})
    defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    return Plan(
        notebook=notebook,
        dataset=dataset,
        cell_ids=[notebook.content["cells"][position]["id"] for position in covered],
        warnings=warnings,
        parameters={**defaults, **request.parameters},
    )


def _chosen_dataset(parameters: dict[str, Any]) -> UUID | None:
    """The dataset that the parameter `dataset_id` selects; empty or null selects none."""
    value = parameters.get("dataset_id")
    if value is None or value == "":
        return None
    try:
        return UUID(str(value))
    except ValueError:
        fault = Fault(path="parameters.dataset_id", message="not a dataset id (a GUID is expected)")
        raise Invalid("The parameters do not fit the notebook.", faults=[fault]) from None


async def _pin_chosen(app: ControlApp, scope: Scope, caller: Caller, dataset_id: UUID) -> PinnedDataset:
    try:
        return await app.requests.ask(PinDataset(scope=scope, caller=caller, dataset_id=dataset_id))
    except NotFound:
        fault = Fault(path="parameters.dataset_id", message=f"there is no dataset {dataset_id} in this project")
        raise Invalid("The parameters do not fit the notebook.", faults=[fault]) from None


def _check_parameters(notebook: PinnedNotebook, request: ExecutionRequest) -> list[str]:
    """Check declared parameters by type; name undeclared ones in warnings, or refuse them when strict."""
    declared: dict[str, Any] = notebook.parameters.get("properties", {})
    faults = []
    for name, value in request.parameters.items():
        if name in declared:
            for problem in jsonschema.Draft202012Validator(declared[name]).iter_errors(value):
                path = ".".join(["parameters", name, *map(str, problem.absolute_path)])
                faults.append(Fault(path=path, message=problem.message))
    undeclared = sorted(set(request.parameters) - set(declared) - {"dataset_id"})
    settings = notebook.content.get("metadata", {}).get("atelier", {})
    strict = request.strict_parameters
    if strict is None:
        strict = bool(isinstance(settings, dict) and settings.get("strictParameters"))
    if strict:
        known = ", ".join(sorted(declared)) or "none"
        faults += [
            Fault(path=f"parameters.{name}", message=f"the notebook does not declare it; it declares: {known}")
            for name in undeclared
        ]
        undeclared = []
    if faults:
        raise Invalid("The parameters do not fit the notebook.", faults=faults)
    return [
        f"The notebook does not declare the parameter {name!r}; it is injected all the same." for name in undeclared
    ]


def snapshot_of(row: Any) -> tuple[PinnedNotebook, PinnedDataset | None]:
    """What was pinned, from a row of `execution_snapshot`."""
    dataset = row["dataset"]
    return (
        PinnedNotebook.model_validate(orjson.loads(row["notebook"])),
        PinnedDataset.model_validate_json(dataset) if dataset else None,
    )
