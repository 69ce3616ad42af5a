"""Registers artifacts whose bytes are stored, in portions that a message can carry, under (execution, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.executor.collecting.artifact_writer import RunIdentity
from services.executor.collecting.outputs import INLINE_CONTENT_BYTES
from shared.contracts.results import ArtifactEntry, SealManifest
from shared.errors import Invalid, Unavailable
from shared.requests import Requests

PORTION_ENTRIES, PORTION_BYTES = 500, 4 * 1024 * 1024
"""Entries and bytes that are registered with one message at most: a run may have thousands of outputs."""


def portion(entries: list[ArtifactEntry]) -> list[ArtifactEntry]:
    """The first of the entries, as many as one message should carry."""
    size = 0
    for count, entry in enumerate(entries[:PORTION_ENTRIES]):
        size += len(entry.inline or "")
        # What is shown inline is the bytes once more; those of larger ones are not in the entry.
        size += min(entry.size_bytes, INLINE_CONTENT_BYTES) if entry.content is not None else 0
        if count and size > PORTION_BYTES:
            return entries[:count]
    return entries[:PORTION_ENTRIES]


async def seal(
    requests: Requests,
    identity: RunIdentity,
    entries: list[ArtifactEntry],
    *,
    final: bool,
    kept: bool = False,
    withdrawn: Sequence[UUID] = (),
) -> None:
    """Register them; `final` closes the manifest, without those `withdrawn`, and `kept` says that another attempt
    follows. Raises Unavailable, and what artifacts answers."""
    command = SealManifest(
        scope=identity.scope,
        caller=identity.caller,
        execution_id=identity.execution_id,
        notebook_id=identity.notebook_id,
        epoch=identity.epoch,
        final=final,
        kept=kept,
        entries=entries,
        withdrawn=list(withdrawn),
    )
    try:
        await requests.ask(command)
    except Invalid as error:
        if any(entry.pack is not None for entry in entries):
            # So answers an artifacts process of a release that knew no packs; the next one to answer may be newer.
            raise Unavailable("The results could not be registered; try again shortly.") from error
        raise
