"""A status read that waits: answers as soon as the run has changed, or when the time is up."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from services.gateway.calls import Asked
from services.gateway.dispatch import ANSWER_S
from services.gateway.feed import Notice
from shared.contracts.executions import Execution, GetExecution
from shared.errors import Unavailable

STATUS_PATIENCE_S = 10.0
"""A status read waits so long for a dependency that is down, in seconds: clients poll without looking at the code."""

RESERVE_S = 0.5
"""Left to write the answer, in seconds."""

_MOVING = {"total_duration", "total_duration_seconds", "queued_seconds", "resources"}
"""Members that change by themselves as time goes by."""


async def status(asked: Asked, command: GetExecution) -> Execution:
    """The status object now."""
    return await asked.ask(command, patience_s=STATUS_PATIENCE_S)


async def status_after_change(asked: Asked, command: GetExecution, wait_s: int) -> Execution:
    """The status object when it has changed, or after `wait_s` seconds. Once it has been read, it is answered even if
    it cannot be read again in time."""
    began = time.monotonic()
    if command.notebook_id is None or wait_s == 0:
        return await status(asked, command)
    known: Execution | None = None
    try:
        async with (
            asyncio.timeout(ANSWER_S - RESERVE_S - (began - asked.began)),
            asked.gateway.feeds.listen(asked.scope, command.notebook_id, command.execution_id) as live,
        ):
            known = await status(asked, command)
            while known.status == "Running":
                heard = await live.next(wait_s - (time.monotonic() - began))
                if heard is None or heard is Notice.CLOSING:
                    return known
                newest = await asked.ask(command)
                if _steady(newest) != _steady(known):
                    return newest
            return known
    except (TimeoutError, Unavailable):
        if known is not None:
            return known
        return await status(asked, command)


async def status_at_end(asked: Asked, execution: Execution, wait_s: int) -> Execution:
    """The status object of a run that was accepted, once it has ended or `wait_s` seconds have passed. The run is under
    way: where its status cannot be read again in time, the last one known is answered."""
    began, known = time.monotonic(), execution
    command = GetExecution(
        scope=asked.scope,
        caller=asked.caller,
        execution_id=execution.execution_id,
        notebook_id=execution.notebook_id,
    )
    try:
        async with (
            asyncio.timeout(ANSWER_S - RESERVE_S - (began - asked.began)),
            asked.gateway.feeds.listen(asked.scope, execution.notebook_id, execution.execution_id) as live,
        ):
            while True:
                known = await asked.ask(command)
                if known.status != "Running":
                    return known
                heard = await live.next(wait_s - (time.monotonic() - began))
                if heard is None or heard is Notice.CLOSING:
                    return known
    except (TimeoutError, Unavailable):
        return known


def _steady(execution: Execution) -> dict[str, Any]:
    return execution.model_dump(exclude=_MOVING)
