"""What both roles of the executor stand on: bus, database, outbox, and questions to other services."""

from __future__ import annotations

from dataclasses import dataclass

from services.executor.settings import ExecutorSettings
from shared.broker import Broker
from shared.database import POOL_MAX, Database
from shared.ops import Readiness
from shared.outbox import Outbox
from shared.payloads import HttpPayloadStore
from shared.process import Part
from shared.requests import Requests


@dataclass(frozen=True, kw_only=True)
class Bones:
    """What both roles stand on."""

    broker: Broker
    payloads: HttpPayloadStore
    database: Database
    outbox: Outbox
    requests: Requests

    def parts(self) -> list[Part]:
        """In the order in which they open."""
        return [self.broker, self.payloads, self.database, self.outbox, self.requests]


def lay_bones(settings: ExecutorSettings, role: str, readiness: Readiness, *, connections: int = POOL_MAX) -> Bones:
    """Make them for a role, with their readiness checks added to `readiness`; `connections` to the database at most."""
    broker = Broker(settings.amqp_url.get_secret_value(), name=f"executor-{role}")
    key = settings.internal_secret.get_secret_value()
    payloads = HttpPayloadStore(settings.artifacts_url, key=key)
    database = Database(settings.executor_postgres_dsn.get_secret_value(), schema="executor", most=connections)
    readiness.add("database", database.check)
    readiness.add("broker", broker.check)
    return Bones(
        broker=broker,
        payloads=payloads,
        database=database,
        outbox=Outbox(database, broker, lease_s=settings.lease_s, heartbeat_s=settings.heartbeat_s),
        requests=Requests(broker, payloads, source=f"executor-{role}", key=key),
    )
