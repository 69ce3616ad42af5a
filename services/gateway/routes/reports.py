"""Reports of ended runs: rendered from the executed notebook when they are asked for, in the profile of the asker."""

from __future__ import annotations

from typing import Any

from services.gateway import examples
from services.gateway.bodies import ReportQuery
from services.gateway.calls import OF_DOWNLOADS, SCOPE, Asked, Call
from services.gateway.model import Role
from services.gateway.routes.executions import EXECUTION
from shared.contracts.base import rfc3339
from shared.contracts.executions import Execution, GetExecution, ListExecutions, LocateResults
from shared.contracts.notebooks import CheckNotebook
from shared.contracts.transfers import REPORT_DOWNLOAD, ReportDownload
from shared.errors import Conflict, NotFound
from shared.reports.page_policy import SANDBOXED

_NOTES = (
    "A self-contained page, or a PDF where the installation has a Chromium (400 otherwise). The tags `remove-cell`, "
    "`remove-input` and `remove-output` of cells are honoured in every profile. A report that takes long to make "
    "answers 503 with `Retry-After`; it goes on being made meanwhile."
)


async def get_report(asked: Asked) -> Any:
    """`GET …/execution/{executionId}/report`."""
    execution = await asked.ask(
        GetExecution(
            scope=asked.scope, caller=asked.caller, execution_id=asked.execution_id, notebook_id=asked.notebook_id
        )
    )
    if execution.status == "Running":
        raise Conflict("The execution has not ended; its report can be made then.")
    return await _report(asked, execution)


async def get_latest_report(asked: Asked) -> Any:
    """`GET notebook/{notebookId}/report`."""
    who: dict[str, Any] = {"scope": asked.scope, "caller": asked.caller, "notebook_id": asked.notebook_id}
    page = await asked.ask(ListExecutions(**who, status="Completed", page_size=1))
    if not page.executions:
        await asked.ask(CheckNotebook(**who))
        raise NotFound("No execution of this notebook has completed yet.")
    return await _report(asked, page.executions[0])


async def _report(asked: Asked, execution: Execution) -> Any:
    query: ReportQuery = asked.query
    location = await asked.ask(
        LocateResults(
            scope=asked.scope,
            caller=asked.caller,
            execution_id=execution.execution_id,
            notebook_id=execution.notebook_id,
        )
    )
    if location.epoch is None:
        raise NotFound("This execution left no notebook to make a report of.")
    claims = ReportDownload(
        scope=asked.scope,
        execution_id=execution.execution_id,
        epoch=location.epoch,
        profile=query.profile,
        format=query.format,
        title="Notebook report",
        lines=_lines(execution),
    )
    return await asked.gateway.transfers.download(
        asked.request,
        path=f"internal/executions/{execution.execution_id}/report",
        purpose=REPORT_DOWNLOAD,
        claims=claims,
        file_name=f"report-{execution.execution_id}.{query.format}",
        policy=SANDBOXED,
        inline=query.disposition == "inline",
    )


def _lines(execution: Execution) -> list[str]:
    """What stands under the title."""
    ended = rfc3339(execution.end_time)[:16].replace("T", " ") if execution.end_time else "not ended"
    line = f"{ended} UTC · version {execution.notebook_version} · {execution.status} · {execution.total_duration}"
    return [line, f"{execution.error_type}: {execution.error_message}"[:500]] if execution.error_type else [line]


CALLS = (
    Call(
        method="GET",
        path=f"{EXECUTION}/report",
        tag="Results",
        summary="Get a report of an execution",
        handler=get_report,
        role=Role.viewer,
        query=ReportQuery,
        media_type="text/html",
        forms={"application/pdf": examples.PDF},
        example="<!doctype html>…",
        streams=True,
        also=OF_DOWNLOADS,
        refusals=(409,),
        notes=_NOTES,
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/notebook/{{notebookId}}/report",
        tag="Results",
        summary="Get the report of a notebook's latest successful execution",
        handler=get_latest_report,
        role=Role.viewer,
        query=ReportQuery,
        media_type="text/html",
        forms={"application/pdf": examples.PDF},
        example="<!doctype html>…",
        streams=True,
        also=OF_DOWNLOADS,
        notes=f"An address that stays the same. {_NOTES}",
    ),
)
