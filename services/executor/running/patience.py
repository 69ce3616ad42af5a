"""Waiting for a store that is down: a run does not fail because PostgreSQL, S3 or a service restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from services.executor.ending import Fenced
from shared.errors import OutcomeUnknown, Unavailable

log = structlog.get_logger(__name__)

STORE_PATIENCE_S = 900.0
"""How long a run waits for a store that is down before it ends with ArtifactStoreError, in seconds."""

RETRY_S = 0.5
"""Pause between attempts at a store that is down, in seconds."""

T = TypeVar("T")


class GaveUpOnStore(Exception):
    """A store stayed down for longer than a run waits; the message is for the notebook's owner."""


async def patiently(attempt: Callable[[], Awaitable[T]], *, lost: asyncio.Event) -> T:
    """Repeat `attempt` while a store is down; raises GaveUpOnStore, or Fenced when the run is no longer ours."""
    give_up = time.monotonic() + STORE_PATIENCE_S
    while True:
        try:
            return await attempt()
        except (Unavailable, OutcomeUnknown) as error:
            if time.monotonic() > give_up:
                raise GaveUpOnStore(f"The results could not be stored: {error.detail}") from error
            log.warning("waiting for a store", reason=error.detail)
        if lost.is_set():
            raise Fenced("The run has been taken over or has ended.")
        await asyncio.sleep(RETRY_S)
