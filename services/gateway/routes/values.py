"""Notebooks as functions: the values of the newest successful run, or of one that is made for the asking."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.gateway import examples
from services.gateway.bodies import ValueQuery
from services.gateway.calls import SCOPE, Also, Answered, Asked, Call, Json
from services.gateway.model import Role
from services.gateway.results import PAGE_ENTRIES
from services.gateway.routes.starting import accepted, check_start
from services.gateway.waiting import status_at_end
from shared.contracts.executions import Execution, ExecutionRequest, LocateValue, ValueSource
from shared.contracts.notebooks import CheckNotebook
from shared.contracts.results import ArtifactEntry, LargeValue, ListArtifacts, ListedAfter, NotebookValue
from shared.errors import ExecutionFailed, NotFound

MAX_INLINE_BYTES = 4_000_000
"""Values that one answer holds, in bytes of JSON; those beyond are named with their links."""

MESSAGE_LENGTH = 2_000
"""Longest error message of a failed run in a problem, in characters; the status object has all of it."""

ADDRESS = f"{SCOPE}/notebook/{{notebookId}}/value"


async def get_value(asked: Asked) -> NotebookValue:
    """`GET notebook/{notebookId}/value`."""
    try:
        return await _value(asked, await _source(asked, None))
    except NotFound:
        # Executor does not know whether there is such a notebook.
        await asked.ask(CheckNotebook(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id))
        raise


async def call_notebook(asked: Asked) -> Any:
    """`POST notebook/{notebookId}/value`."""
    request: ExecutionRequest = asked.body
    if request.dry_run:
        return Answered(model=await check_start(asked), status=200)
    query: ValueQuery = asked.query
    execution = await status_at_end(asked, await accepted(asked, request), query.wait)
    location = asked.address("notebook", execution.notebook_id, "execution", execution.execution_id)
    if execution.status == "Running":
        return Answered(model=execution, status=202, location=location)
    if execution.status == "Completed":
        value = await _value(asked, await _source(asked, execution.execution_id))
        return Answered(model=value, status=200, location=location)
    raise _failure(execution)


def _failure(execution: Execution) -> ExecutionFailed:
    """The problem that tells of a run without a value."""
    message = (execution.error_message or "")[:MESSAGE_LENGTH] or None
    where = f" in {execution.failed_cell}" if execution.failed_cell else ""
    how = (
        "was cancelled" if execution.status == "Cancelled" else f"failed with {execution.error_type}{where}: {message}"
    )
    return ExecutionFailed(
        f"The execution {how}",
        extra={
            "executionId": str(execution.execution_id),
            "executionStatus": execution.status,
            "errorType": execution.error_type,
            "errorMessage": message,
            "failedCell": execution.failed_cell,
        },
    )


async def _source(asked: Asked, execution_id: UUID | None) -> ValueSource:
    return await asked.ask(
        LocateValue(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id, execution_id=execution_id)
    )


async def _value(asked: Asked, source: ValueSource) -> NotebookValue:
    """The saved values of a run: content as far as an answer may hold it, links for the rest."""
    values: dict[str, Any] = {}
    large: dict[str, LargeValue] = {}
    inline_bytes = 0
    after: ListedAfter | None = None
    more = source.epoch is not None
    while more:
        with_content = inline_bytes < MAX_INLINE_BYTES
        page = await asked.ask(
            ListArtifacts(
                scope=asked.scope,
                caller=asked.caller,
                execution_id=source.execution_id,
                epoch=source.epoch or 0,
                kinds=["value"],
                with_content=with_content,
                with_links=True,
                after=after,
                limit=PAGE_ENTRIES,
            )
        )
        for entry in page.artifacts:
            values.pop(entry.name, None)  # of one name the last counts
            large.pop(entry.name, None)
            fits = with_content and not entry.content_truncated
            if fits and inline_bytes + entry.size_bytes <= MAX_INLINE_BYTES:
                values[entry.name] = entry.content
                inline_bytes += entry.size_bytes
            else:
                large[entry.name] = _link(asked, source, entry)
        if page.artifacts:
            last = page.artifacts[-1]
            after = ListedAfter(position=last.position, artifact_id=last.artifact_id)
        more = page.more and bool(page.artifacts)
    return NotebookValue(
        execution_id=source.execution_id,
        notebook_id=source.notebook_id,
        notebook_version=source.notebook_version,
        date_ended=source.date_ended,
        values=values,
        large_values=large,
        parameters=source.parameters,
    )


def _link(asked: Asked, source: ValueSource, entry: ArtifactEntry) -> LargeValue:
    links = asked.gateway.links
    url = entry.public_url or links.sign(asked.base_url, asked.scope, source.execution_id, source.epoch or 0, entry)
    return LargeValue(size_bytes=entry.size_bytes, download_url=url)


CALLS = (
    Call(
        method="GET",
        path=ADDRESS,
        tag="Results",
        summary="Read a notebook's values",
        handler=get_value,
        role=Role.viewer,
        reply=NotebookValue,
        example=examples.NOTEBOOK_VALUE,
        notes="What the newest completed execution saved with `save_value`, or glued with scrapbook, and the "
        "parameters that it ran with, defaults included. 404 before there is one. A value over 1 MiB, and those beyond "
        "4 MB together, are in `largeValues`.",
    ),
    Call(
        method="POST",
        path=ADDRESS,
        tag="Executions",
        summary="Execute a notebook and read its values",
        handler=call_notebook,
        check=check_start,
        role=Role.runner,
        query=ValueQuery,
        body=Json(model=ExecutionRequest, optional=True, example=examples.EXECUTION_REQUEST),
        reply=NotebookValue,
        example=examples.NOTEBOOK_VALUE,
        creates=True,
        refusals=(409, 422, 429),
        also=(
            Also(
                status=202,
                meaning="The execution has not ended within `wait` seconds; `Location` is where it is found.",
                model=Execution,
                example=examples.STARTED_EXECUTION,
            ),
        ),
        notes="The body is that of `execute`. 200 with the values when the execution completes within `wait` seconds, "
        "202 with the execution when it takes longer, 422 with `errorType`, `errorMessage`, `failedCell` and "
        "`executionId` when it fails. With `dryRun: true` nothing runs: 200, as for `execute`.",
    ),
)
