"""Two runs of a notebook compared: executor, catalog and artifacts are asked, the gateway puts it together."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from services.gateway import history_examples
from services.gateway.calls import Asked, Call
from services.gateway.comparison import Side, compare
from services.gateway.model import Role
from services.gateway.routes.executions import EXECUTION
from shared.contracts.comparisons import ExecutionComparison, GetExecutionInputs
from shared.contracts.executions import ExecutionEnvironment, GetExecution, GetExecutionEnvironment, LocateResults
from shared.contracts.results import ListArtifacts
from shared.contracts.versions import DiffVersions
from shared.errors import NotFound


async def compare_executions(asked: Asked) -> ExecutionComparison:
    """`GET …/execution/{executionId}/compare/{otherId}`."""
    a, b = await asyncio.gather(_side(asked, asked.execution_id), _side(asked, asked.ids["otherId"]))
    diff = await asked.ask(
        DiffVersions(
            scope=asked.scope,
            caller=asked.caller,
            notebook_id=asked.notebook_id,
            a=a.inputs.notebook_version,
            b=b.inputs.notebook_version,
        )
    )
    return compare(a, b, diff)


async def _side(asked: Asked, execution_id: UUID) -> Side:
    about: dict[str, Any] = {
        "scope": asked.scope,
        "caller": asked.caller,
        "execution_id": execution_id,
        "notebook_id": asked.notebook_id,
    }
    execution = await asked.ask(GetExecution(**about))  # not found ends it here
    inputs, environment, location = await asyncio.gather(
        asked.ask(GetExecutionInputs(**about)), _environment(asked, about), asked.ask(LocateResults(**about))
    )
    artifacts = []
    if location.epoch is not None:
        listed = await asked.ask(
            ListArtifacts(
                scope=asked.scope,
                caller=asked.caller,
                execution_id=execution_id,
                epoch=location.epoch,
                with_content=False,
            )
        )
        artifacts = listed.artifacts
    return Side(execution=execution, inputs=inputs, environment=environment, artifacts=artifacts)


async def _environment(asked: Asked, about: dict[str, Any]) -> ExecutionEnvironment | None:
    """None where the run was never prepared."""
    try:
        return await asked.ask(GetExecutionEnvironment(**about))
    except NotFound:
        return None


CALLS = (
    Call(
        method="GET",
        path=f"{EXECUTION}/compare/{{otherId}}",
        tag="Executions",
        summary="Compare two executions",
        handler=compare_executions,
        role=Role.viewer,
        reply=ExecutionComparison,
        example=history_examples.COMPARISON,
        notes="Both are of this notebook. Compared are source, parameters, environment, dataset version, outputs (by "
        "their bytes) and timings.",
    ),
)
