"""Where data came from and went: lineage of datasets and executions, and results that become datasets."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from services.gateway import examples
from services.gateway.bodies import LineageQuery
from services.gateway.calls import SCOPE, Answered, Asked, Call, Json
from services.gateway.model import Role
from services.gateway.routes.executions import EXECUTION
from shared.contracts.datasets import AdoptedArtifact, Dataset, DatasetOrigin, GetDataset, OpenDatasetUpload
from shared.contracts.lineage import (
    AdoptionRequest,
    DatasetLineage,
    ExecutionLineage,
    GetDatasetOrigins,
    LineageRun,
    ListProducts,
    RunRef,
    RunTrace,
    TraceDataset,
    TraceExecution,
)
from shared.contracts.results import ArtifactEntry, GetArtifact
from shared.errors import Conflict, Fault, Invalid, NotFound

ADOPTABLE = (".parquet", ".csv", ".csv.gz", ".xes", ".xes.gz")
"""Files that can become datasets."""


async def get_dataset_lineage(asked: Asked) -> DatasetLineage:
    """`GET dataset/{datasetId}/lineage`."""
    query: LineageQuery = asked.query
    who: dict[str, Any] = {"scope": asked.scope, "caller": asked.caller}
    found = await asked.ask(GetDatasetOrigins(**who, dataset_id=asked.dataset_id, version=query.version))
    page = await asked.ask(
        TraceDataset(
            **who,
            dataset_id=asked.dataset_id,
            version=query.version,
            page=query.page,
            page_size=query.page_size,
            cursor=query.cursor,
        )
    )
    return DatasetLineage(
        **page.model_dump(exclude={"runs"}),
        dataset_id=found.dataset_id,
        dataset_name=found.dataset_name,
        version=found.version,
        origins=found.origins,
        used_by=await _with_products(asked, page.runs),
    )


async def get_execution_lineage(asked: Asked) -> ExecutionLineage:
    """`GET …/execution/{executionId}/lineage`."""
    trace = await _trace(asked)
    (run,) = await _with_products(asked, [trace])
    return ExecutionLineage(**run.model_dump(), origins=await _origins(asked, trace))


async def create_dataset_from_artifact(asked: Asked) -> Answered:
    """`POST …/artifacts/{artifactId}/dataset`."""
    body: AdoptionRequest = asked.body
    who: dict[str, Any] = {"scope": asked.scope, "caller": asked.caller}
    trace = await _trace(asked)
    if trace.status == "Running":
        raise Conflict("The execution has not ended; its results may still change.")
    entry = await _artifact(asked, trace)
    if not entry.file_name.lower().endswith(ADOPTABLE):
        message = "is no table: an enriched dataset, or a file that is CSV, Parquet or XES, can become a dataset"
        raise Invalid(f"The artifact {message}.", faults=[Fault(path="artifactId", message=message)])
    read = await _dataset_read(asked, trace)
    where = await asked.ask(
        OpenDatasetUpload(
            **who,
            idempotency=asked.idempotency(body),
            dataset_id=body.dataset_id or uuid4(),
            dataset_name=body.dataset_name or ("" if body.dataset_id else entry.name),
            file_name=entry.file_name,
            purpose="replace" if body.dataset_id else "create",
            **_roles(body, entry, read),
            artifact=AdoptedArtifact(
                execution_id=trace.execution_id,
                epoch=trace.epoch or 0,
                artifact_id=entry.artifact_id,
                origin=DatasetOrigin(
                    execution_id=trace.execution_id,
                    notebook_id=trace.notebook_id,
                    notebook_version=trace.notebook_version,
                    artifact_id=entry.artifact_id,
                    artifact_name=entry.name,
                    dataset_id=trace.dataset_id,
                    dataset_name=read.dataset_name if read else None,
                    dataset_version=trace.dataset_version,
                ),
            ),
        )
    )
    dataset = await asked.gateway.transfers.adopt(where)
    return Answered(model=dataset, location=asked.address("dataset", dataset.dataset_id), etag=dataset.etag)


def _roles(body: AdoptionRequest, entry: ArtifactEntry, read: Dataset | None) -> dict[str, str | None]:
    """The columns that the caller names, else those of the dataset that the run read, where they are still there."""
    columns = set(entry.details.get("columns") or [])
    roles = {}
    for name in ("case_id_column", "activity_column", "time_column"):
        inherited = getattr(read, name) if read is not None else None
        roles[name] = getattr(body, name) or (inherited if inherited in columns else None)
    return roles


async def see_artifact(asked: Asked) -> None:
    """Raise NotFound unless the execution has the artifact."""
    await _artifact(asked, await _trace(asked))


async def _artifact(asked: Asked, trace: RunTrace) -> ArtifactEntry:
    if trace.epoch is None:
        raise NotFound("The execution has no such artifact.")
    return await asked.ask(
        GetArtifact(
            scope=asked.scope,
            caller=asked.caller,
            execution_id=trace.execution_id,
            epoch=trace.epoch,
            artifact_id=asked.ids["artifactId"],
        )
    )


async def _trace(asked: Asked) -> RunTrace:
    return await asked.ask(
        TraceExecution(
            scope=asked.scope, caller=asked.caller, execution_id=asked.execution_id, notebook_id=asked.notebook_id
        )
    )


async def _dataset_read(asked: Asked, trace: RunTrace) -> Dataset | None:
    """The dataset version that a run read; None without one, and when it is gone."""
    if trace.dataset_id is None:
        return None
    try:
        return await asked.ask(
            GetDataset(
                scope=asked.scope, caller=asked.caller, dataset_id=trace.dataset_id, version=trace.dataset_version
            )
        )
    except NotFound:
        return None


async def _origins(asked: Asked, trace: RunTrace) -> list[DatasetOrigin]:
    if trace.dataset_id is None:
        return []
    try:
        found = await asked.ask(
            GetDatasetOrigins(
                scope=asked.scope, caller=asked.caller, dataset_id=trace.dataset_id, version=trace.dataset_version
            )
        )
    except NotFound:
        return []  # the dataset is gone, and with it where it came from
    return found.origins


async def _with_products(asked: Asked, traces: list[RunTrace]) -> list[LineageRun]:
    if not traces:
        return []
    refs = [RunRef(execution_id=trace.execution_id, epoch=trace.epoch) for trace in traces]
    products = await asked.ask(ListProducts(scope=asked.scope, caller=asked.caller, runs=refs))
    return [
        LineageRun(
            **trace.model_dump(exclude={"epoch"}),
            enriched_datasets=product.enriched_datasets,
            datasets=product.datasets,
        )
        for trace, product in zip(traces, products.runs, strict=True)
    ]


CALLS = (
    Call(
        method="GET",
        path=f"{SCOPE}/dataset/{{datasetId}}/lineage",
        tag="Datasets",
        summary="Read where a dataset came from and what was made of it",
        handler=get_dataset_lineage,
        role=Role.viewer,
        query=LineageQuery,
        reply=DatasetLineage,
        example=examples.DATASET_LINEAGE,
        notes="`origins` are those of the present version, or of `version`; `usedBy` are the executions that read the "
        "dataset, or that version of it, newest first.",
    ),
    Call(
        method="GET",
        path=f"{EXECUTION}/lineage",
        tag="Results",
        summary="Read what an execution read and what was made of it",
        handler=get_execution_lineage,
        role=Role.viewer,
        reply=ExecutionLineage,
        example=examples.EXECUTION_LINEAGE,
    ),
    Call(
        method="POST",
        path=f"{EXECUTION}/artifacts/{{artifactId}}/dataset",
        tag="Results",
        summary="Make a dataset of a result",
        handler=create_dataset_from_artifact,
        sight=see_artifact,
        role=Role.editor,
        body=Json(model=AdoptionRequest, optional=True, example=examples.ADOPTION),
        reply=Dataset,
        status=201,
        example=examples.DATASET,
        creates=True,
        streams=True,
        refusals=(413,),
        notes="An enriched dataset, or a file that is CSV, Parquet or XES. The bytes do not pass through the client. "
        "With `datasetId` they become the next version of that dataset.",
    ),
)
