"""Lineage as far as artifacts knows it: what came of runs, and which results became datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from services.artifacts import datasets, store
from services.artifacts.store import queries
from shared.contracts.datasets import DatasetOrigin, GetDataset
from shared.contracts.lineage import (
    DatasetOrigins,
    EnrichedResult,
    GetDatasetOrigins,
    ListProducts,
    MadeDataset,
    ProductsOfRuns,
    RunProducts,
)
from shared.contracts.results import ArtifactEntry, ListArtifacts
from shared.responder import Context

if TYPE_CHECKING:
    from services.artifacts.app import App

LONGEST_CHAIN = 50
"""Origins of one dataset that are followed at most: a dataset may feed the notebook that renews it."""


async def get_dataset_origins(app: App, command: GetDatasetOrigins, context: Context) -> DatasetOrigins:
    """The chain of runs behind a dataset version; raises NotFound. It ends at an upload, at a dataset that is gone, and
    where it comes back to itself."""
    members = command.model_dump(include={"scope", "caller", "dataset_id", "version"})
    dataset = await datasets.get_dataset(app, GetDataset.model_validate(members), context)
    origins: list[DatasetOrigin] = []
    step: tuple[UUID | None, int | None] = (dataset.dataset_id, dataset.version)
    seen = set()
    scope = command.scope
    async with app.database.connection() as connection:
        while step[0] is not None and step not in seen and len(origins) < LONGEST_CHAIN:
            seen.add(step)
            text = await connection.fetchval(queries.origin_of_version, *step, scope.tenant_id, scope.project_id)
            if text is None:
                break
            origins.append(DatasetOrigin.model_validate_json(text))
            step = (origins[-1].dataset_id, origins[-1].dataset_version)
    return DatasetOrigins(
        dataset_id=dataset.dataset_id, dataset_name=dataset.dataset_name, version=dataset.version, origins=origins
    )


async def list_products(app: App, command: ListProducts, _context: Context) -> ProductsOfRuns:
    """What came of each run."""
    scope = command.scope
    products = []
    async with app.database.connection() as connection:
        ids = [run.execution_id for run in command.runs]
        rows = await connection.fetch(queries.datasets_made_by_runs, ids, scope.tenant_id, scope.project_id)
        for run in command.runs:
            entries: list[ArtifactEntry] = []
            if run.epoch is not None:
                ask = ListArtifacts(
                    scope=scope,
                    caller=command.caller,
                    execution_id=run.execution_id,
                    epoch=run.epoch,
                    kind="enriched_dataset",
                    with_content=False,
                )
                entries = (await store.list_artifacts(connection, ask)).artifacts
            made = [_made(row) for row in rows if row["origin_execution_id"] == run.execution_id]
            products.append(
                RunProducts(execution_id=run.execution_id, enriched_datasets=_results(entries), datasets=made)
            )
    return ProductsOfRuns(runs=products)


def _results(entries: list[ArtifactEntry]) -> list[EnrichedResult]:
    """One for each name, whatever its forms."""
    found: dict[str, EnrichedResult] = {}
    for entry in entries:
        details: dict[str, Any] = entry.details
        known = found.get(entry.name)
        found[entry.name] = EnrichedResult(
            name=entry.name,
            record_count=int(details.get("recordCount") or 0),
            new_columns=list(details.get("newColumns") or []),
            artifact_ids={**(known.artifact_ids if known else {}), str(details.get("form")): entry.artifact_id},
        )
    return list(found.values())


def _made(row: Any) -> MadeDataset:
    return MadeDataset(
        dataset_id=row["dataset_id"],
        dataset_name=row["dataset_name"],
        version=row["version"],
        artifact_id=UUID(orjson.loads(row["origin"])["artifactId"]),
    )
