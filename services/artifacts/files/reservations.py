"""Gives up contents that were uploaded for a notebook and never became part of a version of it.

A gateway that dies between the upload and catalog's commit, or an upload that catalog refuses, leaves such a content.
Catalog is asked before anything goes: it alone knows what versions have.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from services.artifacts.files import commands
from services.artifacts.removals import Removals
from services.artifacts.store import queries
from shared.background import Background
from shared.contracts.base import Caller, Scope
from shared.contracts.files import FindUsedContents
from shared.database import Database
from shared.requests import Requests

log = structlog.get_logger(__name__)

BATCH = 50
"""Notebooks that catalog is asked about in one go."""

MYSELF = Caller(subject="artifacts")


class Reservations(Background):
    """The worker. Every process has one; what two do at once, they do as well as one."""

    def __init__(
        self, database: Database, requests: Requests, removals: Removals, *, every_s: float, after_s: float
    ) -> None:
        super().__init__()
        self._database, self._requests, self._removals = database, requests, removals
        self._every_s, self._age = every_s, timedelta(seconds=after_s)

    async def settle(self, now: datetime) -> int:
        """Confirm or give up what was reserved too long before `now`; returns how many notebooks had something. Raises
        Unavailable while catalog cannot be asked."""
        before = now - self._age
        async with self._database.connection() as connection:
            rows = await connection.fetch(queries.old_reservations, before, BATCH)
        for row in rows:
            scope = Scope(tenant_id=row["tenant_id"], project_id=row["project_id"])
            await self._settle_one(scope, row["notebook_id"], row["sha256s"], before)
        return len(rows)

    async def _settle_one(self, scope: Scope, notebook_id: UUID, sha256s: list[str], before: datetime) -> None:
        command = FindUsedContents(scope=scope, caller=MYSELF, notebook_id=notebook_id, sha256s=sha256s)
        used = set((await self._requests.ask(command)).sha256s)
        about: tuple[Any, ...] = (scope.tenant_id, scope.project_id, notebook_id)
        async with self._database.transaction() as tx:
            await commands.lock(tx, scope)
            await tx.execute(queries.confirm_contents, *about, sorted(used))
            unused = [one for one in sha256s if one not in used]
            if unused:
                gone = await tx.execute(queries.give_up_contents, *about, unused, before)
                await tx.execute(queries.remove_unused_contents, scope.tenant_id, scope.project_id)
                log.info("contents of no version given up", notebook_id=str(notebook_id), count=gone)
        self._removals.wake()

    async def work(self) -> float:
        """See Background."""
        while await self.settle(datetime.now(UTC)) == BATCH:
            continue
        return self._every_s
