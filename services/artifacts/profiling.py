"""Computes the profiles of dataset versions, one at a time, after they have become visible.

A version waits in its own row; a process claims it for a while, so that another one takes it up when this one dies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import structlog

from services.artifacts.metrics import PROFILE_SECONDS
from services.artifacts.store import queries
from services.artifacts.workspace import Workspace
from shared.background import Background
from shared.child_exchange import Limits
from shared.child_pool import ChildPool
from shared.database import Database
from shared.errors import AtelierError, NotFound
from shared.objects import ObjectStore

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 5.0
"""How often versions without a profile are looked for when nobody calls, in seconds."""

CLAIM_S = 1_800.0
"""How long a version is left to the process that claimed it, in seconds: far longer than a profile takes."""

LIMITS = Limits(processor_s=1_500, wall_s=1_500.0, memory_bytes=768 * 1024 * 1024)
"""What a profile may cost; it ends before its claim runs out."""

PATIENCE_S = 300.0
"""How long a profile waits for its process, in seconds."""

FUNCTION = "services.artifacts.child_functions:profile_table"
"""What the process runs; not imported here, since it brings pyarrow along."""

MOST_TRIES = 3
"""A version whose profile was begun so often and never finished has none: it may be what ended the processes."""


class Profiling(Background):
    """The worker. Opened after database, object store, workspace and children. A profile in hand when it closes is
    dropped, and begun anew when its claim has run out."""

    def __init__(self, database: Database, objects: ObjectStore, workspace: Workspace, children: ChildPool) -> None:
        super().__init__()
        self._children = children
        self._database = database
        self._objects = objects
        self._workspace = workspace

    async def work_off(self) -> bool:
        """Make one profile; returns whether there was one to make."""
        async with self._database.transaction() as tx:
            row = await tx.row(queries.claim_profile, CLAIM_S, MOST_TRIES)
        if row is None:
            return False
        if row["profile_state"] == "Pending":
            try:
                await self._profile(row)
            except NotFound:
                log.info("dataset deleted before its profile", dataset_id=str(row["dataset_id"]))
            except AtelierError:
                raise  # a dependency is away: the claim runs out, and it is tried again
            except Exception:
                await self._give_up(row)
        return True

    async def _profile(self, row: asyncpg.Record) -> None:
        columns = [(column["name"], column["type"]) for column in orjson.loads(row["columns"])]
        with self._workspace.folder() as folder:
            path: Path = folder / "data.parquet"
            await self._objects.get_file(row["object_key"], path)
            with PROFILE_SECONDS.time():
                found = await self._children.call(
                    FUNCTION,
                    orjson.dumps({"path": str(path), "columns": columns}),
                    owner="profiles",
                    limits=LIMITS,
                    patience_s=PATIENCE_S,
                )
        async with self._database.connection() as connection:
            await connection.execute(queries.keep_profile, row["dataset_id"], row["version"], found.decode())

    async def _give_up(self, row: asyncpg.Record) -> None:
        names = {"dataset_id": str(row["dataset_id"]), "version": row["version"]}
        log.exception("no profile of a dataset", **names)
        async with self._database.connection() as connection:
            await connection.execute(queries.fail_profile, row["dataset_id"], row["version"])

    async def work(self) -> float:
        """See Background."""
        while await self.work_off():
            continue
        return LOOK_EVERY_S
