"""Wires the control role; nothing opens at import. The worker's wiring is apart (`worker_app`): control needs none of
what kernels and results need, and has its memory for itself."""

from __future__ import annotations

from dataclasses import dataclass

from services.executor import handlers, schema_check
from services.executor.bones import lay_bones
from services.executor.retention import RetentionKeeper
from services.executor.settings import ExecutorSettings
from services.executor.sweeper import Sweeper
from shared.broker import Broker
from shared.child_pool import ChildPool
from shared.database import Database
from shared.ops import Readiness
from shared.process import Part
from shared.requests import Requests
from shared.responder import Responder
from shared.subscriber import Subscriber


@dataclass(frozen=True, kw_only=True)
class ControlApp:
    """What control's handlers work with."""

    settings: ExecutorSettings
    database: Database
    broker: Broker
    requests: Requests
    children: ChildPool


def build_control(settings: ExecutorSettings, readiness: Readiness) -> list[Part]:
    """Commands, reads, sweeper."""
    bones = lay_bones(settings, "control", readiness)
    children = ChildPool([schema_check.MODULE])
    app = ControlApp(
        settings=settings,
        database=bones.database,
        broker=bones.broker,
        requests=bones.requests,
        children=children,
    )
    return [
        *bones.parts(),
        children,
        Sweeper(bones.database, bones.broker, lease_s=settings.lease_s),
        RetentionKeeper(bones.database, bones.requests),
        Subscriber("executor", app, handlers.EVENTS, broker=bones.broker),
        Responder(
            "executor",
            app,
            handlers.COMMANDS,
            broker=bones.broker,
            database=bones.database,
            payloads=bones.payloads,
            key=settings.internal_secret.get_secret_value(),
        ),
    ]
