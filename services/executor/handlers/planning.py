"""What a run will be: the notebook and dataset versions it reads, its cells, its parameters, all checked at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from services.executor import model, parameter_rules, schema_check, store
from services.executor.parameter_rules import DATASET_PARAMETER
from services.executor.store import queries
from services.executor.views import request_of
from shared.contracts.base import Caller, Scope
from shared.contracts.datasets import GetDataset, PinDataset, PinnedDataset
from shared.contracts.executions import DryRun, ExecutionRequest, RerunRequest
from shared.contracts.notebooks import PinnedNotebook, PinNotebook
from shared.errors import Conflict, Fault, Invalid, NotFound

if TYPE_CHECKING:
    from services.executor.app import ControlApp


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked request: what will run on what."""

    request: ExecutionRequest
    notebook: PinnedNotebook
    dataset: PinnedDataset | None
    cell_ids: list[str]
    warnings: list[str]
    rerun_of: UUID | None = None
    from_cell: str | None = None

    def dry_run(self) -> DryRun:
        """The plan as `dryRun` answers it, defaults included."""
        values = {**parameter_rules.defaults(self.notebook.parameters), **self.request.parameters}
        return DryRun(valid=True, parameters=values, warnings=self.warnings, total_cells=len(self.cell_ids))


async def plan_start(
    app: ControlApp, scope: Scope, caller: Caller, notebook_id: UUID, request: ExecutionRequest
) -> Plan:
    """Ask catalog and artifacts at once and check the request against both; raises NotFound, or Invalid with all
    faults."""
    faults: list[Fault] = []
    chosen = _chosen_dataset(request.parameters, faults)
    notebook, dataset = await asyncio.gather(
        _pin_notebook(
            app, PinNotebook(scope=scope, caller=caller, notebook_id=notebook_id, version=request.version), faults
        ),
        _pin_chosen(app, scope, caller, chosen, faults),
    )
    if notebook is None:
        raise _refusal(faults)
    warnings: list[str] = []
    if chosen is None:
        dataset = await _pin_bound(app, scope, caller, notebook, warnings)
    return await _checked(app, scope, notebook, dataset, request, faults, warnings)


async def plan_rerun(
    app: ControlApp, scope: Scope, caller: Caller, notebook_id: UUID, rerun_of: UUID, wanted: RerunRequest
) -> Plan:
    """The plan of a run that was accepted before, with what `wanted` changes. Its notebook and dataset versions stay
    pinned, unless `wanted` names a dataset. Raises NotFound, Conflict when that dataset is gone, or Invalid."""
    async with app.database.connection() as connection:
        row = await store.find(connection, scope, rerun_of, notebook_id)
        notebook, dataset = snapshot_of(await connection.fetchrow(queries.snapshot, rerun_of))
    request = wanted.applied_to(request_of(row))
    faults: list[Fault] = []
    warnings: list[str] = []
    if DATASET_PARAMETER in (wanted.parameters or {}):
        chosen = _chosen_dataset(request.parameters, faults)
        if chosen is not None or faults:
            dataset = await _pin_chosen(app, scope, caller, chosen, faults)
        else:
            dataset = await _pin_bound(app, scope, caller, notebook, warnings)
    elif dataset is not None:
        await _check_kept(app, scope, caller, dataset)
    return await _checked(
        app, scope, notebook, dataset, request, faults, warnings, rerun_of=rerun_of, from_cell=wanted.from_cell
    )


def snapshot_of(row: Any) -> tuple[PinnedNotebook, PinnedDataset | None]:
    """What was pinned, from a row of `execution_snapshot`."""
    dataset = row["dataset"]
    return (
        PinnedNotebook.model_validate(orjson.loads(row["notebook"])),
        PinnedDataset.model_validate_json(dataset) if dataset else None,
    )


async def _checked(
    app: ControlApp,
    scope: Scope,
    notebook: PinnedNotebook,
    dataset: PinnedDataset | None,
    request: ExecutionRequest,
    faults: list[Fault],
    warnings: list[str],
    *,
    rerun_of: UUID | None = None,
    from_cell: str | None = None,
) -> Plan:
    """The plan, or Invalid with every fault of the request."""
    cells = notebook.content["cells"]
    replayed = covered = range(0)
    try:
        replayed, covered = model.cells_from(cells, model.cells_asked_for(cells, request), from_cell)
    except Invalid as error:
        faults += error.faults
    parameters = parameter_rules.fitted(notebook.parameters, request.parameters)
    request = request.model_copy(update={"parameters": parameters})
    owner = str(scope.tenant_id)
    found = await schema_check.misfits(app.children, notebook, request.parameters, owner=owner)
    findings = parameter_rules.check(notebook, request.parameters, strict=bool(request.strict_parameters), found=found)
    faults += findings.faults
    if faults:
        raise _refusal(faults)
    if dataset is None and notebook.integration.enrichment_mode and not warnings:
        warnings.append("enrichmentMode is on but no dataset is bound; the run has no dataset to enrich.")
    if replayed:
        count = "1 cell" if len(replayed) == 1 else f"{len(replayed)} cells"
        warnings.append(
            f"{count} before {from_cell} replayed to prepare: not counted, and without a place among the results."
        )
    return Plan(
        request=request.model_copy(update={"retry": request.retry or notebook.integration.retry}),
        notebook=notebook,
        dataset=dataset,
        cell_ids=[cells[position]["id"] for position in covered],
        warnings=warnings + findings.warnings,
        rerun_of=rerun_of,
        from_cell=from_cell,
    )


def _refusal(faults: list[Fault]) -> Invalid:
    if all(fault.path.startswith("parameters") for fault in faults):
        return Invalid("The parameters do not fit the notebook.", faults=faults)
    return Invalid("The request does not fit the notebook.", faults=faults)


def _chosen_dataset(parameters: dict[str, Any], faults: list[Fault]) -> UUID | None:
    """The dataset that the parameter `dataset_id` selects; empty or null selects none."""
    value = parameters.get(DATASET_PARAMETER)
    if value is None or value == "":
        return None
    try:
        return UUID(str(value))
    except ValueError:
        message = "is not a dataset id (a GUID is expected)"
        faults.append(Fault(path=f"parameters.{DATASET_PARAMETER}", message=message))
        return None


async def _pin_notebook(app: ControlApp, command: PinNotebook, faults: list[Fault]) -> PinnedNotebook | None:
    try:
        return await app.requests.ask(command)
    except Invalid as error:
        faults += error.faults
        return None


async def _pin_chosen(
    app: ControlApp, scope: Scope, caller: Caller, dataset_id: UUID | None, faults: list[Fault]
) -> PinnedDataset | None:
    if dataset_id is None:
        return None
    try:
        return await app.requests.ask(PinDataset(scope=scope, caller=caller, dataset_id=dataset_id))
    except NotFound:
        message = f"there is no dataset {dataset_id} in this project"
        faults.append(Fault(path=f"parameters.{DATASET_PARAMETER}", message=message))
        return None


async def _pin_bound(
    app: ControlApp, scope: Scope, caller: Caller, notebook: PinnedNotebook, warnings: list[str]
) -> PinnedDataset | None:
    bound = notebook.integration.dataset_binding
    if bound is None:
        return None
    try:
        return await app.requests.ask(PinDataset(scope=scope, caller=caller, dataset_id=bound))
    except NotFound:
        warnings.append(f"The bound dataset {bound} no longer exists; the run has no dataset.")
        return None


async def _check_kept(app: ControlApp, scope: Scope, caller: Caller, dataset: PinnedDataset) -> None:
    dataset_id = dataset.dataset.dataset_id
    try:
        await app.requests.ask(GetDataset(scope=scope, caller=caller, dataset_id=dataset_id))
    except NotFound:
        raise Conflict(
            f"The dataset {dataset_id} that this execution read has been deleted; choose another with the parameter "
            f"{DATASET_PARAMETER}."
        ) from None
