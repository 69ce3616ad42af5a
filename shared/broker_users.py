"""Broker users: one a service and one a subscriber, each with the permissions for what it uses and no other.

They are written as RabbitMQ definitions, which a node loads at its start (`load_definitions`) or an administrator
imports (`rabbitmqctl import_definitions`). No service may make, delete or bind a queue that outlives it, nor publish to
the default exchange, through which every queue can be reached.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared import topology

NOTHING = "^$"
ALL = ".*"

SERVICES = ("gateway", "catalog", "executor", "artifacts")

SUBSCRIBER_NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
RESERVED = ("atelier", "amq")


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """Regular expressions over names of exchanges and queues, and over topic keys of `atelier.events`."""

    configure: str
    write: str
    read: str
    topic_write: str = NOTHING
    topic_read: str = NOTHING


def _names(*patterns: str) -> str:
    return rf"^atelier\.({'|'.join(patterns)})$"


def _service(
    own: str, *, write: tuple[str, ...], read: tuple[str, ...], facts: str = NOTHING, heard: str = NOTHING
) -> Permissions:
    """`own` are the queues that live as long as a process; to bind one is to write to it and to read the exchange."""
    return Permissions(
        configure=_names(own),
        write=_names(own, "commands", *write),
        read=_names(own, "replies", *read),
        topic_write=facts,
        topic_read=heard,
    )


_ID = r"[0-9a-f-]{36}"

PERMISSIONS = {
    "gateway": _service(rf"(replies\.gateway|gateway\.live)\.{_ID}", write=(), read=("events",), heard=ALL),
    "catalog": _service(
        rf"replies\.catalog\.{_ID}",
        write=("events", "replies"),
        read=(r"catalog\.(commands|events|pings)",),
        facts=r"^(notebook\.(created|updated|deleted)|schedule\.(fired|skipped))\.",
    ),
    "executor": _service(
        rf"(replies\.executor-(control|worker)|nudges)\.{_ID}",
        write=("events", "replies", "nudges"),
        read=("nudges", r"executor\.(commands|events|hints|pings)"),
        facts=r"^(execution\.[a-z_]+|notebook\.blocked)\.",
    ),
    "artifacts": _service(
        rf"replies\.artifacts\.{_ID}",
        write=("events", "replies"),
        read=(r"artifacts\.(commands|events|pings)",),
        facts=r"^(dataset\.(created|updated|deleted)|artifacts\.purged)\.",
    ),
}
"""What each service's user may do."""

ADMINISTRATOR = Permissions(configure=ALL, write=ALL, read=ALL, topic_write=ALL, topic_read=ALL)


@dataclass(frozen=True, kw_only=True)
class User:
    """A user of the broker."""

    name: str
    password: str
    permissions: Permissions
    is_administrator: bool = False


def subscriber(name: str, password: str, *, tenant: UUID, project: UUID | None = None) -> User:
    """Return a user that hears the events of one tenant, or project, on queues of its own: `<name>.…`.

    Raises ValueError for a name that is not of lower-case letters, digits and hyphens, or begins like a name of ours.
    """
    if not SUBSCRIBER_NAME.fullmatch(name) or name.startswith(RESERVED):
        raise ValueError(
            f"{name!r} cannot be a subscriber's name: use 2 to 41 lower-case letters, digits and hyphens, "
            f"beginning with a letter, but not with {' or '.join(RESERVED)}"
        )
    own = rf"^{name}\.[^\s]+$"
    place = rf"{tenant}\.{project}" if project else f"{tenant}"
    return User(
        name=name,
        password=password,
        permissions=Permissions(
            configure=own,
            write=own,
            read=rf"^({name}\.[^\s]+|{re.escape(topology.EVENTS)})$",
            # Entity and event are one word each, so that the tenant is the third; a `#` before it would match any.
            topic_read=rf"^([a-z_]+|\*)\.([a-z_]+|\*)\.{place}(\.[0-9a-f*#-]+)*$",
        ),
    )


def service_user(service: str, password: str) -> User:
    """Return the user of a service; its name is `atelier-<service>`. Raises KeyError."""
    return User(name=f"atelier-{service}", password=password, permissions=PERMISSIONS[service])


def definitions(vhost: str, users: list[User], *, with_topology: bool) -> dict[str, Any]:
    """Return RabbitMQ definitions with `users`, and with every exchange, queue and binding where they are wanted."""
    found: dict[str, Any] = {
        "users": [_account(user) for user in users],
        "vhosts": [{"name": vhost}],
        "permissions": [
            {
                "user": user.name,
                "vhost": vhost,
                "configure": user.permissions.configure,
                "write": user.permissions.write,
                "read": user.permissions.read,
            }
            for user in users
        ],
        "topic_permissions": [
            {
                "user": user.name,
                "vhost": vhost,
                "exchange": topology.EVENTS,
                "write": user.permissions.topic_write,
                "read": user.permissions.topic_read,
            }
            for user in users
        ],
    }
    return found | (_topology(vhost) if with_topology else {})


def _topology(vhost: str) -> dict[str, Any]:
    kept = {"vhost": vhost, "durable": True, "auto_delete": False}
    return {
        "exchanges": [
            {"name": name, "type": kind.value, "internal": False, "arguments": {}, **kept}
            for name, kind in topology.EXCHANGES.items()
        ],
        "queues": [{"name": queue.name, "arguments": queue.arguments, **kept} for queue in topology.QUEUES],
        "bindings": [
            {
                "source": queue.exchange,
                "vhost": vhost,
                "destination": queue.name,
                "destination_type": "queue",
                "routing_key": pattern,
                "arguments": {},
            }
            for queue in topology.QUEUES
            for pattern in queue.bindings
        ],
    }


def _account(user: User) -> dict[str, Any]:
    """RabbitMQ's salted hash: base64(salt + SHA-256(salt + password)), with a salt of 4 bytes."""
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + user.password.encode()).digest()
    return {
        "name": user.name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["administrator"] if user.is_administrator else [],
    }
