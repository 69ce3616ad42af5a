"""What runs leave behind: results, single artifacts, the executed notebook, and the signed links to all of it."""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import web

from services.gateway import examples, results, transfers
from services.gateway.bodies import AttemptQuery, ResultsQuery
from services.gateway.calls import OF_DOWNLOADS, Asked, Call
from services.gateway.model import Role
from services.gateway.routes.executions import EXECUTION
from shared import ops
from shared.contracts.executions import GetExecutionNotebook, LocateResults, ResultsLocation
from shared.contracts.notebooks import IpynbFile
from shared.contracts.results import (
    ArtifactEntry,
    ArtifactKind,
    ArtifactList,
    GetArtifact,
    ListArtifacts,
    ListedAfter,
    Results,
)
from shared.contracts.transfers import ARCHIVE_DOWNLOAD, ARTIFACT_DOWNLOAD, ArchiveDownload, ArtifactDownload
from shared.errors import Fault, Invalid, NotFound

PAGE_PATIENCE_S = 30.0
"""How long the rest of an answer that has begun may wait for a service that is away or busy, in seconds: it cannot turn
into a 503 any more."""


async def get_results(asked: Asked) -> Any:
    """`GET …/execution/{executionId}/results`."""
    query: ResultsQuery = asked.query
    location = await _location(asked)
    if query.cell_id is not None and query.cell_id not in location.cell_ids:
        fault = Fault(path="cellId", message="names no cell of this execution")
        raise Invalid(f"cellId {fault.message}.", faults=[fault])
    if query.format == "download":
        return await _archive(asked, location, query)
    links, base_url, scope, epoch = asked.gateway.links, asked.base_url, asked.scope, location.epoch or 0

    def link(entry: ArtifactEntry) -> str:
        return entry.public_url or links.sign(base_url, scope, location.execution_id, epoch, entry)

    async def page(kinds: list[ArtifactKind] | None, after: ListedAfter | None) -> ArtifactList:
        if location.epoch is None:
            return ArtifactList(artifacts=[])
        return await asked.ask(
            ListArtifacts(
                scope=asked.scope,
                caller=asked.caller,
                execution_id=location.execution_id,
                epoch=location.epoch,
                output_type=query.output_type,
                cell_id=query.cell_id,
                kinds=kinds,
                with_content=query.format == "detailed",
                with_links=True,
                after=after,
                limit=results.PAGE_ENTRIES,
            ),
            patience_s=PAGE_PATIENCE_S if ops.has_begun(asked.request) else 0.0,
        )

    first = await page(None, None)
    if not first.more:
        return results.results_object(location, first.artifacts, link)
    response = web.StreamResponse(headers={"Cache-Control": "no-store"})
    response.content_type, response.charset = "application/json", "utf-8"
    await response.prepare(asked.request)
    if asked.request.method == "HEAD":
        return response
    async for piece in results.results_in_pieces(location, page, link):
        await response.write(piece)
    await response.write_eof()
    return response


async def get_artifact(asked: Asked) -> Any:
    """`GET …/execution/{executionId}/artifacts/{artifactId}`."""
    location = await _location(asked)
    if location.epoch is None:
        raise NotFound("The execution has no such artifact.")
    artifact_id = asked.ids["artifactId"]
    entry = await asked.ask(
        GetArtifact(
            scope=asked.scope,
            caller=asked.caller,
            execution_id=location.execution_id,
            epoch=location.epoch,
            artifact_id=artifact_id,
        )
    )
    return await _bytes(asked, location, entry)


async def get_executed_notebook(asked: Asked) -> Any:
    """`GET …/execution/{executionId}/notebook`: while the run goes on, what there is so far."""
    while True:
        location = await _location(asked)
        found = await _entries(asked, location, kind="notebook")
        if found:
            return await _bytes(asked, location, found[-1], content_type=transfers.IPYNB)
        if asked.query.attempt is not None and location.is_earlier_attempt:
            raise NotFound("This attempt left no executed notebook.")
        notebook = await asked.ask(
            GetExecutionNotebook(
                scope=asked.scope, caller=asked.caller, execution_id=asked.execution_id, notebook_id=asked.notebook_id
            )
        )
        if location.status != "Running" or not notebook.ended:
            return await transfers.notebook_response(IpynbFile(file_name=notebook.file_name, content=notebook.content))
        # It has ended in between: now its notebook is among the results, if it got that far.


async def download(asked: Asked) -> Any:
    """`GET /downloads/{ticket}/{fileName}`: the bytes behind a signed link."""
    claims = asked.gateway.links.read(asked.request.match_info["ticket"])
    return await asked.gateway.transfers.download(
        asked.request,
        path=f"internal/artifacts/{claims.a}",
        purpose=ARTIFACT_DOWNLOAD,
        claims=claims.download,
        file_name=claims.n,
    )


async def _location(asked: Asked) -> ResultsLocation:
    return await asked.ask(
        LocateResults(
            scope=asked.scope,
            caller=asked.caller,
            execution_id=asked.execution_id,
            notebook_id=asked.notebook_id,
            attempt=asked.query.attempt,
        )
    )


async def _entries(
    asked: Asked,
    location: ResultsLocation,
    *,
    kind: Literal["notebook"],
) -> list[ArtifactEntry]:
    if location.epoch is None:
        return []
    listed = await asked.ask(
        ListArtifacts(
            scope=asked.scope,
            caller=asked.caller,
            execution_id=location.execution_id,
            epoch=location.epoch,
            kind=kind,
            with_content=False,
        )
    )
    return listed.artifacts


async def _bytes(
    asked: Asked, location: ResultsLocation, entry: ArtifactEntry, *, content_type: str | None = None
) -> Any:
    claims = ArtifactDownload(
        scope=asked.scope,
        execution_id=location.execution_id,
        epoch=location.epoch or 0,
        artifact_id=entry.artifact_id,
    )
    return await asked.gateway.transfers.download(
        asked.request,
        path=f"internal/artifacts/{entry.artifact_id}",
        purpose=ARTIFACT_DOWNLOAD,
        claims=claims,
        file_name=entry.file_name,
        content_type=content_type,
    )


async def _archive(asked: Asked, location: ResultsLocation, query: ResultsQuery) -> Any:
    claims = ArchiveDownload(
        scope=asked.scope,
        execution_id=location.execution_id,
        epoch=location.epoch or 0,
        output_type=query.output_type,
        cell_id=query.cell_id,
    )
    return await asked.gateway.transfers.download(
        asked.request,
        path=f"internal/executions/{location.execution_id}/archive",
        purpose=ARCHIVE_DOWNLOAD,
        claims=claims,
        file_name=f"results-{location.execution_id}.zip",
        content_type="application/zip",
    )


CALLS = (
    Call(
        method="GET",
        path=f"{EXECUTION}/results",
        tag="Results",
        summary="Read an execution's results",
        handler=get_results,
        role=Role.viewer,
        query=ResultsQuery,
        reply=Results,
        forms={"application/zip": examples.ZIP},
        example=examples.RESULTS,
        streams=True,
        notes="`format=download` answers with one zip instead. Each `downloadUrl` works for 15 minutes. "
        "`attempt` asks for what an earlier attempt left behind.",
    ),
    Call(
        method="GET",
        path=f"{EXECUTION}/notebook",
        tag="Results",
        summary="Get the executed notebook",
        handler=get_executed_notebook,
        role=Role.viewer,
        query=AttemptQuery,
        media_type="application/x-ipynb+json",
        example=examples.IPYNB,
        streams=True,
        also=OF_DOWNLOADS,
        notes="While the execution goes on: with the outputs so far, those of the running cell included.",
    ),
    Call(
        method="GET",
        path=f"{EXECUTION}/artifacts/{{artifactId}}",
        tag="Results",
        summary="Get an artifact's bytes",
        handler=get_artifact,
        role=Role.viewer,
        query=AttemptQuery,
        media_type="*/*",
        example=examples.ROWS,
        streams=True,
        also=OF_DOWNLOADS,
        notes="In the artifact's own media type. `Range` is honoured.",
    ),
    Call(
        method="GET",
        path="/downloads/{ticket}/{fileName}",
        tag="Results",
        summary="Follow a download link",
        handler=download,
        role=None,
        media_type="*/*",
        example=examples.ROWS,
        streams=True,
        also=OF_DOWNLOADS,
        refusals=(404, 503),
        notes="The address comes from a `downloadUrl`. `Range` is honoured.",
    ),
)
