"""The results object: what executor knows of a run and what artifacts keeps of it, in the reference's shape.

A run may have thousands of outputs. Those of a small one come in one answer of artifacts and go out in one piece; for
the others artifacts is asked page by page, and each page is written to the client before the next is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import orjson
from pydantic import BaseModel

from shared.contracts.executions import ResultsLocation
from shared.contracts.results import (
    ArtifactEntry,
    ArtifactKind,
    ArtifactList,
    Dimensions,
    EnrichedDataset,
    ListedAfter,
    Model,
    Output,
    Report,
    ResultFile,
    Results,
)

Link = Callable[[ArtifactEntry], str]
"""Makes an artifact's download address."""

SECTIONS: dict[str, list[ArtifactKind]] = {
    "outputs": ["output", "value"],
    "enrichedDatasets": ["enriched_dataset"],
    "models": ["model"],
    "reports": ["report"],
    "files": ["file"],
}
"""The arrays of the results object, and which kinds of artifacts each lists."""

PAGE_ENTRIES = 500
"""Artifacts asked for at once."""

Pages = Callable[[list[ArtifactKind] | None, ListedAfter | None], Awaitable[ArtifactList]]
"""Asks artifacts for a page of some kinds, after an artifact."""

DATA_FRAME = "pandas_dataframe"
"""The `format` of an enriched dataset whose notebook asks for `enriched_dataframe` (SPEC.md: Results)."""


def results_object(location: ResultsLocation, entries: list[ArtifactEntry], link: Link) -> Results:
    """All of a run's results, in the order in which they were made."""
    ordered = sorted(entries, key=lambda entry: entry.position)
    of_kind = {name: [entry for entry in ordered if entry.kind in kinds] for name, kinds in SECTIONS.items()}
    return Results.model_validate(
        {
            "execution_id": location.execution_id,
            "notebook_id": location.notebook_id,
            "status": location.status,
            **{name: list(_shown(name, found, link)) for name, found in of_kind.items()},
        }
    )


async def results_in_pieces(location: ResultsLocation, pages: Pages, link: Link) -> AsyncIterator[bytes]:
    """The same object as JSON, a page at a time."""
    head = orjson.dumps(
        {"executionId": location.execution_id, "notebookId": location.notebook_id, "status": location.status}
    )
    yield head[:-1]
    for name, kinds in SECTIONS.items():
        yield b',"' + name.encode() + b'":['
        first = True
        async for entries in _runs_of_entries(pages, kinds):
            shown = await asyncio.to_thread(_rendered, name, entries, link)  # hundreds of signatures
            if shown:
                yield shown if first else b"," + shown
                first = False
        yield b"]"
    yield b"}"


def _rendered(section: str, entries: list[ArtifactEntry], link: Link) -> bytes:
    return b",".join(item.model_dump_json(by_alias=True).encode() for item in _shown(section, entries, link))


async def _runs_of_entries(pages: Pages, kinds: list[ArtifactKind]) -> AsyncIterator[list[ArtifactEntry]]:
    """Pages of artifacts, cut so that the forms of one enriched dataset, which follow one another, stay together."""
    after: ListedAfter | None = None
    held: list[ArtifactEntry] = []
    more = True
    while more:
        page = await pages(kinds, after)
        entries, more = page.artifacts, page.more
        if entries:
            after = ListedAfter(position=entries[-1].position, artifact_id=entries[-1].artifact_id)
        entries = held + entries
        held = []
        while more and entries and entries[-1].kind == "enriched_dataset" and len(held) < len(entries):
            if held and entries[-1].name != held[0].name:
                break
            held.insert(0, entries.pop())
        if entries:
            yield entries
    if held:
        yield held


def _shown(section: str, entries: list[ArtifactEntry], link: Link) -> Iterator[BaseModel]:
    if section == "enrichedDatasets":
        yield from _enriched(entries, link)
        return
    make: Callable[[ArtifactEntry, Link], BaseModel] = _MAKERS[section]
    for entry in entries:
        yield make(entry, link)


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
        records_before=details.get("recordsBefore"),
        rows_lost=details.get("rowsLost"),
        rows_added=details.get("rowsAdded"),
        lost_columns=details.get("lostColumns"),
        changed_columns=details.get("changedColumns"),
        rows_aligned=details.get("rowsAligned"),
        rows_changed=details.get("rowsChanged"),
        values_changed=details.get("valuesChanged"),
        artifact_ids={form: entry.artifact_id for form, entry in forms.items()},
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
        format=str(details.get("format") or "pickle"),
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


def _file(entry: ArtifactEntry, link: Link) -> ResultFile:
    return ResultFile(
        artifact_id=entry.artifact_id,
        name=entry.name,
        content_type=entry.content_type,
        size_bytes=entry.size_bytes,
        sha256=entry.sha256,
        download_url=link(entry),
    )


_MAKERS: dict[str, Callable[[ArtifactEntry, Link], BaseModel]] = {
    "outputs": _output,
    "models": _model,
    "reports": _report,
    "files": _file,
}
