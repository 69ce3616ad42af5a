"""Wires the artifacts service: what it holds, in the order in which it opens."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.artifacts.conversion_scheduler import Converters
from services.artifacts.events import EVENTS
from services.artifacts.files.reservations import Reservations
from services.artifacts.handlers import COMMANDS
from services.artifacts.profiling import Profiling
from services.artifacts.public_links import PublicLinks
from services.artifacts.removals import Removals
from services.artifacts.reports.printing import Printer
from services.artifacts.reports.sending import Reports
from services.artifacts.settings import ArtifactsSettings
from services.artifacts.sweeping import Sweeping
from services.artifacts.transfer_server import TransferServer
from services.artifacts.workspace import Workspace
from shared import process
from shared.broker import Broker
from shared.child_pool import ChildPool
from shared.command_log import KeptReplies
from shared.database import Database
from shared.objects import ObjectStore, S3ObjectStore
from shared.ops import Readiness
from shared.outbox import Outbox
from shared.payloads import HttpPayloadStore
from shared.process import Part
from shared.requests import Requests
from shared.responder import Responder
from shared.settings import ObjectStoreSettings, WorkDirectory, load
from shared.subscriber import Subscriber

READERS = 8
"""Stored tables read at once, piece by piece. Threads of their own: while they wait for the object store, others go on
writing spools."""

IDLE_S = 3_600.0
"""How long the template of child processes stays without work, in seconds: another takes half a second to import
pyarrow, which an upload would wait for."""


@dataclass(frozen=True, kw_only=True)
class App:
    """What handlers work with."""

    settings: ArtifactsSettings
    database: Database
    outbox: Outbox
    objects: ObjectStore
    removals: Removals
    workspace: Workspace
    profiling: Profiling
    converters: Converters
    readers: ThreadPoolExecutor
    public_links: PublicLinks | None
    reports: Reports
    replies: KeptReplies | None = None

    @property
    def internal_secret(self) -> str:
        """The key that tickets are signed with."""
        return self.settings.internal_secret.get_secret_value()


def build(settings: ArtifactsSettings, store: ObjectStoreSettings, work_dir: Path, readiness: Readiness) -> list[Part]:
    """Make the service's parts in opening order and add its readiness checks."""
    broker = Broker(settings.amqp_url.get_secret_value(), name="artifacts")
    key = settings.internal_secret.get_secret_value()
    payloads = HttpPayloadStore(settings.artifacts_url, key=key)
    objects = S3ObjectStore(store)
    database = Database(settings.artifacts_postgres_dsn.get_secret_value(), schema="artifacts")
    outbox = Outbox(database, broker, lease_s=settings.lease_s, heartbeat_s=settings.heartbeat_s)
    requests = Requests(broker, payloads, source="artifacts", key=key)
    removals = Removals(database, objects)
    workspace = Workspace(work_dir)
    children = ChildPool(["services.artifacts.child_functions"], idle_s=IDLE_S)
    profiling = Profiling(database, objects, workspace, children)
    app = App(
        settings=settings,
        database=database,
        outbox=outbox,
        objects=objects,
        removals=removals,
        workspace=workspace,
        profiling=profiling,
        converters=Converters(children),
        readers=ThreadPoolExecutor(READERS, thread_name_prefix="read"),
        public_links=PublicLinks(store, store.public_endpoint) if store.public_endpoint else None,
        reports=Reports(work_dir / "reports", Printer(settings.chromium, sandbox=settings.chromium_sandbox)),
        replies=payloads,
    )
    responder = Responder("artifacts", app, COMMANDS, broker=broker, database=database, payloads=payloads, key=key)
    subscriber = Subscriber("artifacts", app, EVENTS, broker=broker)
    readiness.add("database", database.check)
    readiness.add("broker", broker.check)
    readiness.add("objectStore", objects.check)
    return [
        broker,
        payloads,
        objects,
        database,
        outbox,
        requests,
        workspace,
        removals,
        children,
        profiling,
        Sweeping(database, objects, removals, every_s=settings.sweep_every_s, after_s=settings.sweep_after_s),
        Reservations(database, requests, removals, every_s=settings.sweep_every_s, after_s=settings.sweep_after_s),
        TransferServer(app),
        responder,
        subscriber,
    ]


def main() -> None:
    """Run until told to stop."""
    settings = load(ArtifactsSettings)
    store = load(ObjectStoreSettings)
    work_dir = WorkDirectory().work_dir
    process.run(
        "artifacts",
        lambda readiness: build(settings, store, work_dir, readiness),
        ops_bind=settings.ops_bind,
        log_level=settings.log_level,
    )
