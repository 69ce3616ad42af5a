"""Facts that start notebooks: new data of a bound dataset, and notebooks before them in a chain that completed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from services.catalog.automation import fires
from services.catalog.automation.fires import queries
from shared.contracts.datasets import DatasetUpdated
from shared.contracts.schedules import Trigger
from shared.database import Transaction
from shared.envelope import Envelope

if TYPE_CHECKING:
    from services.catalog.app import Catalog

PAUSE_S = 3.0
"""How long new data is waited upon for more of it before the notebook runs, in seconds."""

LONGEST_PAUSE_S = 60.0
"""The pause ends so long after the first of the data even when more keeps coming, in seconds."""


async def on_dataset_updated(app: Catalog, event: DatasetUpdated, envelope: Envelope) -> None:
    """Each notebook that runs on new data of the dataset runs once the data has come to rest; the newest data wins."""
    scope = event.scope
    async with app.database.transaction(cause=envelope) as transaction:
        rows = await transaction.fetch(
            queries.on_dataset, scope.tenant_id, scope.project_id, event.dataset_id, event.version
        )
        for row in rows:
            await _hear_of_data(transaction, row, event)
    if rows:
        app.starter.wake()


async def _hear_of_data(transaction: Transaction, automation: asyncpg.Record, event: DatasetUpdated) -> None:
    notebook_id = automation["notebook_id"]
    trigger = Trigger(kind="dataset", dataset_id=event.dataset_id, dataset_version=event.version)
    waiting = await transaction.row(queries.waiting_for_data, notebook_id)
    before = Trigger.model_validate_json(waiting["trigger"]) if waiting is not None else None
    if waiting is not None and before is not None and before.dataset_id == event.dataset_id:
        joined = trigger.model_copy(update={"fire_id": waiting["fire_id"], "fire_time": waiting["fire_at"]})
        await transaction.execute(
            queries.join_data, waiting["fire_id"], joined.model_dump_json(by_alias=True), PAUSE_S, LONGEST_PAUSE_S
        )
    else:
        now: datetime = await transaction.value(queries.now)
        await fires.make(
            transaction,
            automation,
            "dataset",
            now,
            due_at=now + timedelta(seconds=PAUSE_S),
            trigger=trigger,
            subject="autoExecution",
            overlap="queue",
        )
    await transaction.execute(queries.heard_of_data, notebook_id, event.version)


async def on_completed(transaction: Transaction, notebook_id: UUID) -> bool:
    """A run of the notebook completed: start those after it whose others have completed as well, since they were last
    started. Returns whether there is anything to send. In the transaction that writes the end down."""
    made = False
    for row in await transaction.fetch(queries.downstream, notebook_id):
        since = await transaction.value(queries.last_start, row["notebook_id"])
        upstream = await transaction.fetch(queries.upstream, row["notebook_id"], since)
        if any(entry["execution_id"] is None for entry in upstream):
            continue
        if await transaction.value(queries.chain_waits, row["notebook_id"]):
            continue  # the run that waits comes after this one, too
        ended_at = max(entry["ended_at"] for entry in upstream)  # ends are not always heard in their order
        made |= await fires.make(
            transaction,
            row,
            "chain",
            ended_at,
            due_at=await transaction.value(queries.now),
            trigger=Trigger(kind="chain", executions=[entry["execution_id"] for entry in upstream]),
            subject="runAfter",
            overlap="queue",
        )
        await transaction.execute(queries.chained, row["notebook_id"], ended_at)
    return made
