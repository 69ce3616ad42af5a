"""Sends StartExecution for fires, from their rows, under the fire's own id, until executor has answered.

A fire that is being sent when its process dies is sent again by another after a short while: executor carries a command
out once, and an execution of that id once, so that no run is lost and none is doubled.
"""

from __future__ import annotations

import asyncio
import random
from typing import Literal

import asyncpg
import orjson
import structlog

from services.catalog.automation import fires
from services.catalog.automation.fires import queries
from shared.background import Background
from shared.contracts.base import Caller, Scope
from shared.contracts.executions import Execution, ExecutionRequest, StartExecution
from shared.contracts.schedules import Trigger
from shared.database import Database, Transaction
from shared.errors import (
    AtelierError,
    Conflict,
    DeadlineExceeded,
    Invalid,
    NotFound,
    OutcomeUnknown,
    TooManyRequests,
    Unavailable,
)
from shared.requests import Requests

log = structlog.get_logger(__name__)

POLL_S = 1.0
"""How often a replica looks for fires to send of its own accord, in seconds."""

TAKEN_S = 6.0
"""How long others leave a fire alone that a replica has taken, in seconds. Sending one twice does no harm."""

AT_ONCE = 8
"""Fires that a replica sends at the same time."""

WAIT_QUEUE_S, WAIT_REPLACE_S, WAIT_QUOTA_S = 5.0, 0.3, 10.0
"""How soon a fire is tried again: while an earlier run goes on (its end is told sooner), while one is being cancelled,
and while the tenant's queue is full, in seconds."""

LONGEST_PAUSE_S = 30.0
"""Longest pause while executor does not answer, in seconds."""

MOST_FAILURES = 20
"""After so many attempts that failed within executor a fire is given up."""

REASON_LENGTH = 1_000
"""Characters kept of a refusal."""

_OVERLAPS: dict[str, Literal["allow", "refuse", "replace"]] = {
    "skip": "refuse",
    "queue": "refuse",
    "replace": "replace",
    "allow": "allow",
}


class Starter(Background):
    """One background task a process, and one for each fire in its hands."""

    def __init__(self, database: Database, requests: Requests) -> None:
        super().__init__()
        self._database = database
        self._requests = requests
        self._sending: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Take no more; what is in hand is finished, or sent again by another."""
        await super().close()
        if self._sending:
            await asyncio.wait(self._sending)

    async def work(self) -> float:
        """See Background."""
        while await self._take():
            continue
        return POLL_S * random.uniform(0.5, 1.0)  # noqa: S311 - replicas should not march in step

    async def _take(self) -> bool:
        """Take what there is room for; whether there may be more."""
        room = AT_ONCE - len(self._sending)
        if room <= 0:
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
            return True
        async with self._database.transaction() as transaction:
            taken = await transaction.fetch(queries.take_open, TAKEN_S, room)
        for fire in taken:
            task = asyncio.create_task(self._send_logged(fire))
            self._sending.add(task)
            task.add_done_callback(self._sent)
        return len(taken) == room

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self.wake()

    async def _send_logged(self, fire: asyncpg.Record) -> None:
        try:
            await self._send(fire)
        except AtelierError as error:
            log.warning("what became of a fire is written later", fire_id=str(fire["fire_id"]), reason=error.detail)
        except Exception:
            # The row is taken up again; the log says why.
            log.exception("fire not sent", fire_id=str(fire["fire_id"]))

    async def _send(self, fire: asyncpg.Record) -> None:
        trigger = Trigger.model_validate_json(fire["trigger"])
        if fire["parameters"] is None:
            await self._skip(fire, "the notebook has been deleted")
            return
        if fire["kind"] == "dataset" and fire["dataset_id"] != trigger.dataset_id:
            await self._skip(fire, "autoExecution was switched off, or another dataset was bound")
            return
        command = StartExecution(
            scope=Scope(tenant_id=fire["tenant_id"], project_id=fire["project_id"]),
            caller=Caller(subject=fire["subject"], role="runner"),
            execution_id=fire["fire_id"],
            notebook_id=fire["notebook_id"],
            request=ExecutionRequest(parameters=orjson.loads(fire["parameters"])),
            trigger=trigger,
            overlap=_OVERLAPS[fire["overlap"]],
        )
        try:
            await self._note_started(fire, await self._requests.ask(command, identity=fire["fire_id"]))
        except Conflict as error:
            await self._on_conflict(fire, trigger, error)
        except NotFound:
            await self._skip(fire, "the notebook is being deleted")
        except Invalid as error:
            faults = "; ".join(f"{fault.path}: {fault.message}" for fault in error.faults)
            await self._skip(fire, f"refused: {error.detail} {faults}".strip()[:REASON_LENGTH])
        except TooManyRequests as error:
            await self._put_off(fire, error.detail, WAIT_QUOTA_S, "waiting")
        except (Unavailable, OutcomeUnknown, DeadlineExceeded) as error:
            pause = min(2.0 ** min(fire["attempts"], 10) / 2, LONGEST_PAUSE_S)
            await self._put_off(fire, error.detail, pause, "sending")
        except AtelierError as error:
            if fire["attempts"] >= MOST_FAILURES:
                await self._skip(fire, f"refused: {error.detail}"[:REASON_LENGTH])
            else:
                await self._put_off(fire, error.detail, LONGEST_PAUSE_S, "sending")

    async def _on_conflict(self, fire: asyncpg.Record, trigger: Trigger, error: Conflict) -> None:
        running = error.extra.get("running")
        if error.extra.get("deleting"):
            await self._put_off(fire, error.detail, WAIT_QUEUE_S, "waiting")
        elif not running:  # started, and removed by somebody since
            async with self._database.transaction() as transaction:
                await fires.started(transaction, fire, trigger)
        elif fire["overlap"] == "skip":
            await self._skip(fire, f"the execution {running[0]} had not ended (scheduleOverlap: skip)")
        elif fire["overlap"] == "replace":
            await self._put_off(fire, f"the execution {running[0]} is being cancelled", WAIT_REPLACE_S, "waiting")
        else:
            await self._put_off(fire, f"waits for the end of the execution {running[0]}", WAIT_QUEUE_S, "waiting")

    async def _note_started(self, fire: asyncpg.Record, execution: Execution) -> None:
        trigger = execution.trigger
        async with self._database.transaction() as transaction:
            if trigger.kind == "dataset" and trigger.dataset_version is not None:
                await transaction.row(queries.lock, fire["notebook_id"])
                await self._note_read(transaction, fire, execution)
            await fires.started(transaction, fire, trigger)

    async def _note_read(self, transaction: Transaction, fire: asyncpg.Record, execution: Execution) -> None:
        """The run reads the newest data: what waits because of that version need not run again."""
        version = execution.trigger.dataset_version or 0
        await transaction.execute(queries.heard_of_data, fire["notebook_id"], version)
        waiting = await transaction.row(queries.waiting_for_data, fire["notebook_id"])
        if waiting is not None and waiting["fire_id"] != fire["fire_id"]:
            wanted = Trigger.model_validate_json(waiting["trigger"]).dataset_version or 0
            if wanted <= version:
                reason = f"the execution {execution.execution_id} reads version {version} already"
                await fires.skip(transaction, waiting, reason)

    async def _skip(self, fire: asyncpg.Record, reason: str) -> None:
        async with self._database.transaction() as transaction:
            await fires.skip(transaction, fire, reason)

    async def _put_off(self, fire: asyncpg.Record, reason: str, seconds: float, state: str) -> None:
        async with self._database.transaction() as transaction:
            await transaction.execute(queries.put_off, fire["fire_id"], reason[:REASON_LENGTH], seconds, state)
