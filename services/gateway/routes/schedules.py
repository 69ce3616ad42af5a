"""Schedules of notebooks: look, pause, resume, run now, and the history of fires."""

from __future__ import annotations

from typing import Any

from services.gateway import examples
from services.gateway.bodies import FiresQuery, NoMembers
from services.gateway.calls import SCOPE, Answered, Asked, Call, Json
from services.gateway.model import Role
from shared.contracts.schedules import (
    Fire,
    FirePage,
    GetSchedule,
    ListFires,
    PauseSchedule,
    ResumeSchedule,
    RunSchedule,
    Schedule,
)

SCHEDULE = f"{SCOPE}/notebook/{{notebookId}}/schedule"
"""Where a notebook's schedule is found."""

NOTHING: Any = Json(model=NoMembers, optional=True)


async def get_schedule(asked: Asked) -> Schedule:
    """`GET notebook/{notebookId}/schedule`."""
    return await asked.ask(GetSchedule(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id))


async def pause_schedule(asked: Asked) -> Schedule:
    """`POST notebook/{notebookId}/schedule/pause`."""
    return await asked.ask(PauseSchedule(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id))


async def resume_schedule(asked: Asked) -> Schedule:
    """`POST notebook/{notebookId}/schedule/resume`."""
    return await asked.ask(ResumeSchedule(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id))


async def run_schedule(asked: Asked) -> Answered:
    """`POST notebook/{notebookId}/schedule/run`."""
    command = RunSchedule(
        scope=asked.scope,
        caller=asked.caller,
        idempotency=asked.idempotency(NoMembers()),
        notebook_id=asked.notebook_id,
    )
    fire = await asked.ask(command)
    started = fire.execution_id
    where = ("execution", started) if started is not None else ("schedule", "fires")  # until executor has answered
    return Answered(model=fire, location=asked.address("notebook", fire.notebook_id, *where))


async def list_fires(asked: Asked) -> FirePage:
    """`GET notebook/{notebookId}/schedule/fires`."""
    query: FiresQuery = asked.query
    return await asked.ask(
        ListFires(
            scope=asked.scope,
            caller=asked.caller,
            notebook_id=asked.notebook_id,
            state=query.state,
            page=query.page,
            page_size=query.page_size,
            cursor=query.cursor,
        )
    )


CALLS = (
    Call(
        method="GET",
        path=SCHEDULE,
        tag="Schedules",
        summary="Read when a notebook runs by itself",
        handler=get_schedule,
        role=Role.viewer,
        reply=Schedule,
        example=examples.SCHEDULE,
        notes="The next ten times of `integration.scheduleExecution` in `scheduleTimeZone`, the last ten fires, and "
        "what `integration.runAfter` waits for.",
    ),
    Call(
        method="GET",
        path=f"{SCHEDULE}/fires",
        tag="Schedules",
        summary="List a notebook's fires",
        handler=list_fires,
        role=Role.viewer,
        query=FiresQuery,
        reply=FirePage,
        example=examples.FIRE_PAGE,
        notes="Every time that the notebook was to run by itself, newest first: what became of it and why.",
    ),
    Call(
        method="POST",
        path=f"{SCHEDULE}/pause",
        tag="Schedules",
        summary="Pause a schedule",
        handler=pause_schedule,
        role=Role.editor,
        body=NOTHING,
        reply=Schedule,
        example={**examples.SCHEDULE, "state": "Paused"},
        refusals=(409,),
        notes="No time fires until it is resumed. The notebook's version stays as it is.",
    ),
    Call(
        method="POST",
        path=f"{SCHEDULE}/resume",
        tag="Schedules",
        summary="Resume a schedule",
        handler=resume_schedule,
        role=Role.editor,
        body=NOTHING,
        reply=Schedule,
        example=examples.SCHEDULE,
        refusals=(409,),
        notes="The next time fires again; those that passed meanwhile do not.",
    ),
    Call(
        method="POST",
        path=f"{SCHEDULE}/run",
        tag="Schedules",
        summary="Execute a schedule now",
        handler=run_schedule,
        role=Role.runner,
        body=NOTHING,
        reply=Fire,
        status=202,
        example=examples.MANUAL_FIRE,
        creates=True,
        refusals=(409,),
        notes="Starts a run with `scheduleParameters`, whatever else runs. `state` is `Pending` while executor does "
        "not answer: `Location` is the list of fires then, and the execution's id will be `fireId`.",
    ),
)
