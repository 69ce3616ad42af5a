"""The transaction of a write and its memory: the reply is stored with the work, under the command's id and
Idempotency-Key.

A reply over INLINE_BYTES is kept in the object store, and the log has its reference; who asks again gets the same.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog
from pydantic import BaseModel

from shared import replies
from shared.contracts.base import Command
from shared.database import Transaction
from shared.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from shared.payloads import BUS_BODY_LIMIT

if TYPE_CHECKING:
    from uuid import UUID

    from shared.envelope import Envelope

log = structlog.get_logger(__name__)

INLINE_BYTES = 64 * 1024
"""The largest reply that the log holds itself, in bytes."""

KEEP_S = 3.0
"""How long the object store may take to keep or give a reply, in seconds: the transaction waits for it."""

R = TypeVar("R", bound=BaseModel)


class KeptReplies(Protocol):
    """Where large replies are kept for as long as the command log (`shared.payloads.HttpPayloadStore`)."""

    async def keep(self, data: bytes, *, owner: UUID | None, subject: UUID | None) -> str:
        """Keep a reply that shows `subject`, a notebook or a thing of the notebook `owner`; returns a reference. Raises
        Unavailable."""

    async def recall(self, reference: str) -> bytes:
        """The reply behind a reference. Raises Unavailable."""


class AlreadyDone(Exception):
    """This piece of work was committed before; `reply` is what was answered then."""

    def __init__(self, reply: replies.Reply) -> None:
        super().__init__()
        self.reply = reply


class Held(AsyncExitStack):
    """What an answer takes of something scarce until it is sent; `is_large` when it takes anything."""

    is_large = False


class WriteTransaction:
    """A transaction with a memory: `reply(answer)` is stored under the command's id and Idempotency-Key."""

    def __init__(
        self,
        transaction: Transaction,
        envelope: Envelope,
        command: Command[Any],
        *,
        kept: KeptReplies | None = None,
        held: Held | None = None,
    ) -> None:
        self.sql = transaction
        self.emit = transaction.emit
        self._id = envelope.id
        self._idempotency = command.idempotency
        self._caller = command.caller.subject
        self._kept = kept
        self._held = held or Held()
        self._answer: BaseModel | None = None
        self._subject: UUID | None = None

    @property
    def _key(self) -> str | None:
        if self._idempotency is None:
            return None
        return f"{self._caller}\n{self._idempotency.route}\n{self._idempotency.key}"

    async def look_up(self) -> None:
        """Wait for a concurrent duplicate, then see whether the work is done already."""
        await self.sql.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", self._key or str(self._id))
        row = await self.sql.row(
            "SELECT reply, fingerprint, command_id FROM command_log WHERE command_id = $1 OR idempotency_key = $2",
            self._id,
            self._key,
        )
        if row is None:
            return
        if self._idempotency and row["command_id"] != self._id and row["fingerprint"] != self._idempotency.fingerprint:
            raise Conflict("This Idempotency-Key was used for a request with other content; use a new key.")
        raise AlreadyDone(await self._recalled(replies.decode(row["reply"])))

    async def _recalled(self, reply: replies.Reply) -> replies.Reply:
        if reply.dataref is None:
            return reply
        try:
            if self._kept is None:
                raise Unavailable("Nothing is kept here.")
            async with asyncio.timeout(KEEP_S):
                body = await self._kept.recall(reply.dataref)
        except (TimeoutError, Unavailable) as error:
            raise OutcomeUnknown(
                "The request was carried out before, and its answer cannot be read now. Look at the present state, or "
                "repeat the request with the same Idempotency-Key."
            ) from error
        self._held.is_large = True
        return await asyncio.to_thread(replies.decode, body)

    def reply(self, answer: R, *, subject: UUID | None = None) -> R:
        """Keep `answer` as the reply of this piece of work for as long as what it shows exists: the `subject`, else the
        notebook it names."""
        self._answer = answer
        self._subject = subject or getattr(answer, "notebook_id", None)
        return answer

    async def store(self) -> None:
        """Write the reply next to the work; a write that forgot its reply is a programming error."""
        if self._answer is None:
            raise RuntimeError("a write must keep its reply with transaction.reply(...)")
        answer = self._answer
        if self._held.is_large:
            body = await asyncio.to_thread(lambda: replies.Reply.of(answer).encode())
        else:
            body = replies.Reply.of(answer).encode()
        await self.sql.execute(
            "INSERT INTO command_log (command_id, idempotency_key, fingerprint, reply, subject) "
            "VALUES ($1, $2, $3, $4, $5)",
            self._id,
            self._key,
            self._idempotency.fingerprint if self._idempotency else None,
            await self._to_log(body),
            self._subject,
        )

    async def _to_log(self, body: bytes) -> bytes:
        """What the log has of a reply: itself, or where it is kept. Without the object store the log takes what the bus
        does; larger replies could not be sent either. Raises Unavailable."""
        if len(body) <= INLINE_BYTES or self._kept is None:
            return body
        try:
            async with asyncio.timeout(KEEP_S):
                owner = getattr(self._answer, "notebook_id", None)
                return replies.Reply(dataref=await self._kept.keep(body, owner=owner, subject=self._subject)).encode()
        except (TimeoutError, Unavailable) as error:
            if len(body) > BUS_BODY_LIMIT:
                raise Unavailable("The object store is not available; try again shortly.") from error
            log.info("a reply stays in the command log", bytes=len(body), reason=type(error).__name__)
            return body


GONE = replies.Reply.of_error(NotFound("What this request made has been deleted."))
"""The reply to a repeated request whose notebook or execution is deleted; nothing is done again."""


async def forget_replies(transaction: Transaction, subject: UUID) -> None:
    """Keep no reply that shows a deleted notebook or execution. Those in the object store are removed by artifacts when
    it hears of the deletion."""
    await transaction.execute(
        "UPDATE command_log SET reply = $2, subject = NULL WHERE subject = $1", subject, GONE.encode()
    )
