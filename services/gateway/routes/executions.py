"""Executions: follow, cancel, remove."""

from __future__ import annotations

from typing import Any

from services.gateway import event_stream, examples, standing
from services.gateway.bodies import EventsQuery, ExecutionsQuery, NoMembers, RemoveExecutionQuery, StatusQuery
from services.gateway.calls import SCOPE, Also, Answered, Asked, Call, Json
from services.gateway.dispatch import json_response
from services.gateway.model import Role
from services.gateway.waiting import status_after_change
from shared.contracts.executions import (
    CancelExecution,
    Execution,
    ExecutionEnvironment,
    ExecutionPage,
    GetExecution,
    GetExecutionEnvironment,
    ListExecutions,
    PurgeExecution,
)
from shared.contracts.notebooks import CheckNotebook

EXECUTION = f"{SCOPE}/notebook/{{notebookId}}/execution/{{executionId}}"
"""Where a run is found."""


async def get_execution(asked: Asked) -> Execution:
    """`GET notebook/{notebookId}/execution/{executionId}`."""
    query: StatusQuery = asked.query
    command = GetExecution(
        scope=asked.scope, caller=asked.caller, execution_id=asked.execution_id, notebook_id=asked.notebook_id
    )
    return await status_after_change(asked, command, query.wait)


async def list_executions(asked: Asked) -> ExecutionPage:
    """`GET notebook/{notebookId}/executions`."""
    query: ExecutionsQuery = asked.query
    about: dict[str, Any] = {"scope": asked.scope, "caller": asked.caller, "notebook_id": asked.notebook_id}
    page = await asked.ask(
        ListExecutions(**about, status=query.status, page=query.page, page_size=query.page_size, cursor=query.cursor)
    )
    if page.total_count == 0:  # executor does not know whether there is such a notebook
        await asked.ask(CheckNotebook(**about))
    return page


async def cancel_execution(asked: Asked) -> Execution:
    """`POST …/execution/{executionId}/cancel`."""
    return await asked.ask(
        CancelExecution(
            scope=asked.scope, caller=asked.caller, execution_id=asked.execution_id, notebook_id=asked.notebook_id
        )
    )


async def remove_execution(asked: Asked) -> Any:
    """`DELETE …/execution/{executionId}`: cancels; with `purge=true` removes an ended run and all it stored."""
    query: RemoveExecutionQuery = asked.query
    if not query.purge:
        return await cancel_execution(asked)
    await standing.require(asked, Role.editor)
    done = await asked.ask(
        PurgeExecution(
            scope=asked.scope, caller=asked.caller, execution_id=asked.execution_id, notebook_id=asked.notebook_id
        )
    )
    return json_response(Answered(model=done), 204)


async def get_environment(asked: Asked) -> ExecutionEnvironment:
    """`GET …/execution/{executionId}/environment`."""
    return await asked.ask(
        GetExecutionEnvironment(
            scope=asked.scope, caller=asked.caller, execution_id=asked.execution_id, notebook_id=asked.notebook_id
        )
    )


async def stream_events(asked: Asked) -> Any:
    """`GET …/execution/{executionId}/events`."""
    query: EventsQuery = asked.query
    after = event_stream.resume_point(asked.request.headers.get("Last-Event-ID"), query.last_event_id)
    return await event_stream.stream(asked, asked.notebook_id, asked.execution_id, after=after)


CALLS = (
    Call(
        method="GET",
        path=f"{SCOPE}/notebook/{{notebookId}}/executions",
        tag="Executions",
        summary="List a notebook's executions",
        handler=list_executions,
        role=Role.viewer,
        query=ExecutionsQuery,
        reply=ExecutionPage,
        example=examples.EXECUTION_PAGE,
    ),
    Call(
        method="GET",
        path=EXECUTION,
        tag="Executions",
        summary="Read an execution's status",
        handler=get_execution,
        role=Role.viewer,
        is_poll=True,
        query=StatusQuery,
        reply=Execution,
        example=examples.EXECUTION,
    ),
    Call(
        method="DELETE",
        path=EXECUTION,
        tag="Executions",
        summary="Cancel an execution, or remove an ended one",
        handler=remove_execution,
        role=Role.runner,
        query=RemoveExecutionQuery,
        body=Json(model=NoMembers, optional=True),
        reply=Execution,
        status=202,
        example=examples.STARTED_EXECUTION,
        also=(Also(status=204, meaning="With `purge=true`: the ended execution was removed."),),
        notes="202 with the status object when it cancels; with `purge=true` (role editor) 204 without a body.",
    ),
    Call(
        method="POST",
        path=f"{EXECUTION}/cancel",
        tag="Executions",
        summary="Cancel an execution",
        handler=cancel_execution,
        role=Role.runner,
        body=Json(model=NoMembers, optional=True),
        reply=Execution,
        status=202,
        example=examples.STARTED_EXECUTION,
    ),
    Call(
        method="GET",
        path=f"{EXECUTION}/environment",
        tag="Executions",
        summary="Read what an execution ran in",
        handler=get_environment,
        role=Role.viewer,
        reply=ExecutionEnvironment,
        example=examples.EXECUTION_ENVIRONMENT,
        notes="404 until the environment is prepared, and where it could not be.",
    ),
    Call(
        method="GET",
        path=f"{EXECUTION}/events",
        tag="Executions",
        summary="Follow an execution's events",
        handler=stream_events,
        role=Role.viewer,
        query=EventsQuery,
        media_type="text/event-stream",
        example=examples.EVENT_STREAM,
        streams=True,
        also=(Also(status=204, meaning="The stream was resumed after its last event."),),
        notes="Server-Sent Events from the first event, then live, until the last one; `Last-Event-ID` resumes.",
    ),
)
