"""Wires the catalog: what its handlers need, and the parts of its process in the order they open."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.catalog import child_calls, handlers, large_contents, shelf
from services.catalog.automation.scheduler import Scheduler
from services.catalog.automation.starter import Starter
from services.catalog.purge import Purge
from services.catalog.searches import Searches
from services.catalog.settings import CatalogSettings
from services.catalog.shelf import Template
from services.catalog.turns import Turns
from shared.broker import Broker
from shared.byte_budget import ByteBudget
from shared.child_pool import ChildPool
from shared.database import Database
from shared.ops import Readiness
from shared.outbox import Outbox
from shared.payloads import HttpPayloadStore
from shared.process import Part
from shared.requests import Requests
from shared.responder import Responder
from shared.subscriber import Subscriber

SERVICE = "catalog"


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """What lives as long as the process and is handed to every handler."""

    database: Database
    requests: Requests
    templates: dict[str, Template]
    purge: Purge
    starter: Starter
    turns: Turns
    children: ChildPool
    large_contents: ByteBudget = field(default_factory=large_contents.budget)
    searches: Searches = field(default_factory=Searches)


def build(settings: CatalogSettings, readiness: Readiness) -> list[Part]:
    """The parts of the process, with its readiness checks added to `readiness`."""
    broker = Broker(settings.amqp_url.get_secret_value(), name=SERVICE)
    key = settings.internal_secret.get_secret_value()
    payloads = HttpPayloadStore(settings.artifacts_url, key=key)
    database = Database(settings.catalog_postgres_dsn.get_secret_value(), schema=SERVICE)
    outbox = Outbox(database, broker, lease_s=settings.lease_s, heartbeat_s=settings.heartbeat_s)
    requests = Requests(broker, payloads, source=SERVICE, key=key)
    purge = Purge(database)
    children = child_calls.pool()
    starter = Starter(database, requests)
    scheduler = Scheduler(database, on_fire=starter.wake)
    app = Catalog(
        database=database,
        requests=requests,
        templates=shelf.load(),
        purge=purge,
        starter=starter,
        turns=Turns(),
        children=children,
    )
    responder = Responder(SERVICE, app, handlers.COMMANDS, broker=broker, database=database, payloads=payloads, key=key)
    subscriber = Subscriber(SERVICE, app, handlers.EVENTS, broker=broker)
    readiness.add("database", database.check)
    readiness.add("broker", broker.check)
    return [
        broker,
        payloads,
        database,
        outbox,
        requests,
        purge,
        children,
        responder,
        subscriber,
        starter,
        scheduler,
    ]
