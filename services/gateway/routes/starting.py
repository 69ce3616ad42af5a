"""Executions that begin: execute a notebook, repeat an execution, or check either."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from services.gateway import examples
from services.gateway.calls import SCOPE, Also, Answered, Asked, Call, Json
from services.gateway.model import Role
from services.gateway.routes.executions import EXECUTION
from shared.contracts.executions import (
    CheckExecution,
    CheckRerun,
    DryRun,
    Execution,
    ExecutionRequest,
    RerunExecution,
    RerunRequest,
    StartExecution,
)

CHECKED = (
    Also(
        status=200,
        meaning="With `dryRun`: what would run.",
        model=DryRun,
        example={"valid": True, "parameters": {"include_weekends": False}, "warnings": [], "totalCells": 12},
    ),
)
"""What a call that starts runs answers when it is only to check."""


async def start_execution(asked: Asked) -> Answered:
    """`POST notebook/{notebookId}/execute`."""
    request: ExecutionRequest = asked.body
    if request.dry_run:
        return Answered(model=await check_start(asked), status=200)
    execution = await accepted(asked, request)
    location = asked.address("notebook", execution.notebook_id, "execution", execution.execution_id)
    return Answered(model=execution, location=location)


async def accepted(asked: Asked, request: ExecutionRequest) -> Execution:
    """Have the notebook in the address run; return the execution as executor has accepted it."""
    return await asked.ask(
        StartExecution(
            scope=asked.scope,
            caller=asked.caller,
            idempotency=asked.idempotency(request),
            execution_id=uuid4(),
            notebook_id=asked.notebook_id,
            request=request,
        )
    )


async def check_start(asked: Asked) -> DryRun:
    """What a run would do. Raises Invalid with what executor finds wrong with the body."""
    return await asked.ask(
        CheckExecution(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id, request=asked.body)
    )


async def check_rerun(asked: Asked) -> DryRun:
    """What a rerun would do. Raises Invalid with what executor finds wrong with the body."""
    return await asked.ask(
        CheckRerun(
            scope=asked.scope,
            caller=asked.caller,
            notebook_id=asked.notebook_id,
            rerun_of=asked.execution_id,
            request=asked.body,
        )
    )


async def rerun_execution(asked: Asked) -> Answered:
    """`POST …/execution/{executionId}/rerun`."""
    request: RerunRequest = asked.body
    who: dict[str, Any] = {"scope": asked.scope, "caller": asked.caller, "notebook_id": asked.notebook_id}
    if request.dry_run:
        return Answered(model=await check_rerun(asked), status=200)
    command = RerunExecution(
        **who,
        idempotency=asked.idempotency(request),
        execution_id=uuid4(),
        rerun_of=asked.execution_id,
        request=request,
    )
    execution = await asked.ask(command)
    location = asked.address("notebook", execution.notebook_id, "execution", execution.execution_id)
    return Answered(model=execution, location=location)


CALLS = (
    Call(
        method="POST",
        path=f"{SCOPE}/notebook/{{notebookId}}/execute",
        tag="Executions",
        summary="Execute a notebook",
        handler=start_execution,
        check=check_start,
        role=Role.runner,
        body=Json(model=ExecutionRequest, optional=True, example=examples.EXECUTION_REQUEST),
        reply=Execution,
        status=202,
        example=examples.STARTED_EXECUTION,
        creates=True,
        refusals=(409, 429),
        also=CHECKED,
        notes="With `dryRun: true` nothing runs: 200 with `valid`, `parameters`, `warnings`, `totalCells`.",
    ),
    Call(
        method="POST",
        path=f"{EXECUTION}/rerun",
        tag="Executions",
        summary="Repeat an execution",
        handler=rerun_execution,
        check=check_rerun,
        role=Role.runner,
        body=Json(model=RerunRequest, optional=True, example=examples.RERUN_REQUEST),
        reply=Execution,
        status=202,
        example=examples.RERUN,
        creates=True,
        refusals=(409, 429),
        also=CHECKED,
        notes="Runs the same notebook version on the same dataset version. Members that are given replace those of the "
        "execution; `parameters` are merged by name, and `dataset_id` among them chooses another dataset. The cells "
        "before `fromCell` are replayed to prepare: they do not count, and their output is not among the results. With "
        "`dryRun: true` nothing runs: 200, as for `execute`.",
    ),
)
