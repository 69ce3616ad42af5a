"""Every exchange and queue of the system, in one place. No argument ever changes under the same name (RabbitMQ would
refuse the declaration); a change makes a new name. Works on RabbitMQ 3.10 and 4.x (DESIGN.md decision 12)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel

COMMANDS = "atelier.commands"
"""Direct exchange: the routing key is the service a command is for."""

EVENTS = "atelier.events"
"""Topic exchange: every fact of every service."""

NUDGES = "atelier.nudges"
"""Fanout exchange: `look at your cancel flags now`, to every worker."""

REPLIES = "atelier.replies"
"""Direct exchange: the routing key is the asking process's own queue. Not the default exchange: who may publish there
may publish to every queue."""

HINTS = "atelier.executor.hints"
"""Queue: `there is work to claim`. Losing one costs a second at most."""

HINT_KEY = "executor.hints"
"""Routing key of a hint in the exchange of commands."""

DEAD_LETTERS = "atelier.dead"
"""Fanout exchange and quorum queue: what no consumer could digest, kept for people to look at."""

STREAM = "atelier.events.stream"
"""RabbitMQ stream bound to `#`: the recent history of all facts, for replay by subscribers."""

COMMAND_QUEUE_LENGTH = 5_000
"""Requests that may wait for one service; beyond it the broker refuses and the caller hears 503 at once."""

DELIVERY_LIMIT = 20
"""How often a fact may come back from a crashed consumer before it is dead-lettered."""

STREAM_BYTES = 2_000_000_000
"""How much history the stream keeps, in bytes."""

STREAM_SEGMENT_BYTES = 50_000_000
"""Size of one stream segment, the unit in which old history is dropped, in bytes."""

PINGS_LENGTH, PING_LIFE_MS = 100, 1_000
"""Pings that may wait, and for how long, in milliseconds; nobody waits for the answer to an older one."""

HINTS_LENGTH = 1_000
"""Hints that may wait; the oldest are dropped."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A durable queue: its name, its arguments and the topic patterns that feed it."""

    name: str
    arguments: dict[str, Any]
    exchange: str | None = None
    bindings: tuple[str, ...] = field(default=())


def command_queue(service: str) -> Queue:
    """Where a service's commands wait: bounded, and full means refused (decision 4)."""
    return Queue(
        name=f"atelier.{service}.commands",
        arguments={"x-max-length": COMMAND_QUEUE_LENGTH, "x-overflow": "reject-publish"},
        exchange=COMMANDS,
        bindings=(service,),
    )


def ping_queue(service: str) -> Queue:
    """Where `are you there?` waits for a process of a service, for a moment only."""
    return Queue(
        name=f"atelier.{service}.pings",
        arguments={"x-max-length": PINGS_LENGTH, "x-overflow": "drop-head", "x-message-ttl": PING_LIFE_MS},
        exchange=COMMANDS,
        bindings=(ping_key(service),),
    )


def ping_key(service: str) -> str:
    """Routing key of a ping in the exchange of commands."""
    return f"{service}.pings"


def event_queue(service: str, *patterns: str) -> Queue:
    """Where facts wait for a service. Never `reject-publish`: one full subscriber would block everybody."""
    return Queue(
        name=f"atelier.{service}.events",
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": DEAD_LETTERS,
        },
        exchange=EVENTS,
        bindings=patterns,
    )


EVENT_QUEUES = {
    "catalog": event_queue(
        "catalog",
        "execution.queued.#",
        "execution.started.#",
        "execution.completed.#",
        "execution.failed.#",
        "execution.cancelled.#",
        "execution.purged.#",
        "notebook.blocked.#",
        "dataset.updated.#",
    ),
    "executor": event_queue("executor", "notebook.deleted.#"),
    "artifacts": event_queue("artifacts", "notebook.deleted.#", "execution.purged.#"),
}

QUEUES = (
    *(command_queue(service) for service in ("catalog", "executor", "artifacts")),
    *(ping_queue(service) for service in ("catalog", "executor", "artifacts")),
    *EVENT_QUEUES.values(),
    Queue(
        name=HINTS,
        arguments={"x-max-length": HINTS_LENGTH, "x-overflow": "drop-head"},
        exchange=COMMANDS,
        bindings=(HINT_KEY,),
    ),
    Queue(name=DEAD_LETTERS, arguments={"x-queue-type": "quorum"}, exchange=DEAD_LETTERS, bindings=("",)),
    Queue(
        name=STREAM,
        arguments={
            "x-queue-type": "stream",
            "x-max-length-bytes": STREAM_BYTES,
            "x-stream-max-segment-size-bytes": STREAM_SEGMENT_BYTES,
        },
        exchange=EVENTS,
        bindings=("#",),
    ),
)


EXCHANGES = {
    COMMANDS: ExchangeType.DIRECT,
    REPLIES: ExchangeType.DIRECT,
    EVENTS: ExchangeType.TOPIC,
    NUDGES: ExchangeType.FANOUT,
    DEAD_LETTERS: ExchangeType.FANOUT,
}


async def declare(channel: AbstractChannel) -> None:
    """Declare everything; harmless when it exists."""
    exchanges = {name: await channel.declare_exchange(name, kind, durable=True) for name, kind in EXCHANGES.items()}
    for queue in QUEUES:
        declared = await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
        if queue.exchange:
            for pattern in queue.bindings:
                await declared.bind(exchanges[queue.exchange], pattern)
