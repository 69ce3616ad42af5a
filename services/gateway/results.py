"""The results object: what executor knows of a run and what artifacts keeps of it, in the reference's shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.contracts.executions import ResultsLocation
from shared.contracts.results import ArtifactEntry, Dimensions, EnrichedDataset, Model, Output, Report, Results

Link = Callable[[ArtifactEntry], str]
"""Makes an artifact's download address."""

OUTPUT_KINDS = frozenset({"output", "value"})
"""Kinds of artifacts that are listed under `outputs`."""

DATA_FRAME = "pandas_dataframe"
"""The `format` of an enriched dataset whose notebook asks for `enriched_dataframe` (SPEC.md: Results)."""


def results_object(location: ResultsLocation, entries: list[ArtifactEntry], link: Link) -> Results:
    """All of a run's results, in the order in which they were made."""
    ordered = sorted(entries, key=lambda entry: entry.position)
    return Results(
        execution_id=location.execution_id,
        notebook_id=location.notebook_id,
        status=location.status,
        outputs=[_output(entry, link) for entry in ordered if entry.kind in OUTPUT_KINDS],
        enriched_datasets=_enriched(ordered, link),
        models=[_model(entry, link) for entry in ordered if entry.kind == "model"],
        reports=[_report(entry, link) for entry in ordered if entry.kind == "report"],
    )


def _output(entry: ArtifactEntry, link: Link) -> Output:
    sized = entry.width is not None and entry.height is not None
    return Output(
        artifact_id=entry.artifact_id,
        cell_id=entry.cell_id,
        output_type=entry.output_type or entry.content_type,
        content_type=entry.content_type,
        title=entry.title or (entry.name if entry.kind == "value" else None),
        content=entry.content,
        content_truncated=entry.content_truncated,
        dimensions=Dimensions(width=entry.width or 0, height=entry.height or 0) if sized else None,
        size_bytes=entry.size_bytes,
        sha256=entry.sha256,
        download_url=link(entry),
    )


def _enriched(entries: list[ArtifactEntry], link: Link) -> list[EnrichedDataset]:
    """One object per name; the forms that it is stored in (CSV, Parquet) are its `downloadUrls`."""
    forms: dict[str, dict[str, ArtifactEntry]] = {}
    for entry in entries:
        if entry.kind == "enriched_dataset":
            form = str(entry.details.get("form", "csv"))
            forms.setdefault(entry.name, {})[form] = entry
    return [_enriched_dataset(name, of_name, link) for name, of_name in forms.items()]


def _enriched_dataset(name: str, forms: dict[str, ArtifactEntry], link: Link) -> EnrichedDataset:
    some = next(iter(forms.values()))
    details: dict[str, Any] = some.details
    shown = str(details.get("format") or details.get("form") or "csv")
    wanted = "csv" if shown == DATA_FRAME else shown
    main = forms.get(wanted, some)
    urls = {form: link(entry) for form, entry in forms.items()}
    return EnrichedDataset(
        name=name,
        record_count=int(details.get("recordCount") or 0),
        columns=list(details.get("columns") or []),
        new_columns=list(details.get("newColumns") or []),
        format=shown,
        size_bytes=main.size_bytes,
        cell_id=main.cell_id,
        download_url=urls.get(wanted, next(iter(urls.values()))),
        download_urls=urls,
    )


def _model(entry: ArtifactEntry, link: Link) -> Model:
    details = entry.details
    return Model(
        artifact_id=entry.artifact_id,
        name=entry.name,
        model_type=details.get("modelType"),
        framework=details.get("framework"),
        accuracy=details.get("accuracy"),
        metrics=details.get("metrics") or {},
        features=details.get("features") or [],
        size_bytes=entry.size_bytes,
        sha256=entry.sha256,
        cell_id=entry.cell_id,
        download_url=link(entry),
    )


def _report(entry: ArtifactEntry, link: Link) -> Report:
    return Report(
        artifact_id=entry.artifact_id,
        name=entry.name,
        format=str(entry.details.get("format") or "html"),
        size_bytes=entry.size_bytes,
        sha256=entry.sha256,
        cell_id=entry.cell_id,
        download_url=link(entry),
    )
