"""The worker's lease: renewed by a thread with a connection of its own, whatever the worker's event loop is doing."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter

from services.executor.store import queries
from shared import database
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

RETRY_S = 0.25
"""Pause before another attempt when the database did not answer, in seconds."""

STATEMENTS_PER_LEASE = 4
"""A statement that takes longer than this part of a lease is given up and sent again on a new connection."""

MISSED = Counter("atelier_worker_heartbeats_missed_total", "Heartbeats that the database did not answer in time")


@dataclass(frozen=True, kw_only=True)
class Held:
    """What the database says of a worker's runs."""

    rows: list[asyncpg.Record]
    asked_at: float  # by time.monotonic(); runs claimed later may be missing


class Lease:
    """One per worker process. `on_held` is called in the event loop that opened the lease, after each heartbeat."""

    def __init__(
        self,
        dsn: str,
        worker_id: UUID,
        *,
        slots: int,
        lease_s: float,
        heartbeat_s: float,
        on_held: Callable[[Held], None],
    ) -> None:
        self._dsn, self._worker_id, self._slots = dsn, worker_id, slots
        self._lease_s, self._heartbeat_s = lease_s, heartbeat_s
        self._on_held = on_held
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._worker_loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._begun: asyncio.Future[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Take the lease; returns after the first heartbeat, however long the database takes to answer."""
        self._worker_loop = asyncio.get_running_loop()
        self._begun = self._worker_loop.create_future()
        self._thread.start()
        await self._begun

    def renew_soon(self) -> None:
        """Renew it now and look at the runs: somebody may have asked for something."""
        if self._own_loop is not None:
            self._own_loop.call_soon_threadsafe(self._wake.set)

    def take_no_more(self) -> None:
        """Tell the others that this worker has no free slots any more."""
        self._slots = 0
        self.renew_soon()

    async def close(self) -> None:
        """Give the lease up."""
        self._closing = True
        self.renew_soon()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        asyncio.run(self._renewing())

    async def _renewing(self) -> None:
        self._own_loop = asyncio.get_running_loop()
        connection: asyncpg.Connection | None = None
        while not self._closing:
            self._wake.clear()
            try:
                async with database.translated():
                    connection = await self._beat(connection)
                pause_s = self._heartbeat_s
            except Unavailable as error:
                MISSED.inc()
                log.warning("lease not renewed", reason=str(error.__cause__ or error)[:200])
                pause_s = RETRY_S
            except Exception:
                # Without heartbeats every run of this worker would be taken away.
                log.exception("heartbeat failed")
                pause_s = RETRY_S
            if pause_s == RETRY_S and connection is not None:
                connection.terminate()
                connection = None
            await self._pause(pause_s)
        await self._leave(connection)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return  # the usual case: nobody asked for anything

    async def _beat(self, connection: asyncpg.Connection | None) -> asyncpg.Connection:
        """Renew the lease on `connection`, or on a new one. Raises whatever the database does."""
        if connection is None or connection.is_closed():
            connection = await self._connect()
        asked_at = time.monotonic()
        rows = await connection.fetch(queries.beat, self._worker_id, self._lease_s, self._slots, socket.gethostname())
        self._tell(Held(rows=rows, asked_at=asked_at))
        return connection

    async def _connect(self) -> asyncpg.Connection:
        timeout_s = self._lease_s / STATEMENTS_PER_LEASE
        return await asyncpg.connect(
            self._dsn,
            timeout=timeout_s,
            command_timeout=timeout_s,
            server_settings=database.session("executor", "lease"),
        )

    def _tell(self, held: Held) -> None:
        loop = self._worker_loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._heard, held)

    def _heard(self, held: Held) -> None:
        if self._begun is not None and not self._begun.done():
            self._begun.set_result(None)
        self._on_held(held)

    async def _leave(self, connection: asyncpg.Connection | None) -> None:
        try:
            async with database.translated():
                connection = connection or await self._connect()
                await connection.execute(queries.leave, self._worker_id)
                await connection.close(timeout=RETRY_S)
        except Unavailable as error:
            log.warning("lease left to expire", reason=error.detail)
            if connection is not None:
                connection.terminate()
