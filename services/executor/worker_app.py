"""Wires the worker's supervisor; nothing opens at import. What its slots need is wired in them (`slots.wiring`): the
supervisor imports none of what kernels and results need."""

from __future__ import annotations

import os

from services.executor import secrecy
from services.executor.bones import lay_bones
from services.executor.environments.base import BaseEnvironment
from services.executor.font_cache import FontCache
from services.executor.running.folder import WorkerFolder
from services.executor.settings import WorkerSettings
from services.executor.slots import orders
from services.executor.slots.supervisor import Supervisor
from services.executor.worker import Worker
from shared import ops
from shared.objects import S3ObjectStore
from shared.ops import Readiness
from shared.process import Part
from shared.settings import ObjectStoreSettings, WorkDirectory, load


class WorkerApp:
    """The worker's supervisor: its parts, and the metrics of all its processes."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._supervisor: Supervisor | None = None

    async def exposition(self) -> bytes:
        """Return the metrics of all processes in Prometheus' text format."""
        return await (self._supervisor.exposition() if self._supervisor is not None else ops.own_metrics())

    def build(self, readiness: Readiness) -> list[Part]:
        """Claims, lease, processes."""
        settings = self._settings
        bones = lay_bones(settings, "worker", readiness)
        store_settings, work_dir = load(ObjectStoreSettings), WorkDirectory().work_dir
        objects = S3ObjectStore(store_settings)
        readiness.add("objectStore", objects.check)
        base = BaseEnvironment(settings.kernel_python)
        folder = WorkerFolder(work_dir)
        fonts = FontCache(settings.kernel_python, folder.path / "fonts")
        tracing = {
            name: value for name, value in os.environ.items() if name in secrecy.OTHERS and name.startswith("OTEL_")
        }
        secrecy.forget()  # all settings have been read
        slots = settings.worker_slots
        pool_size = slots if settings.kernel_pool_size is None else settings.kernel_pool_size
        supervisor = self._supervisor = Supervisor(
            orders.fork_options(settings, pool_size=pool_size),
            slots=slots,
            stuck_s=settings.lease_s,
            folder=folder.path,
            order=lambda: orders.order(
                settings,
                store_settings,
                base.interpreter,
                work_dir=work_dir,
                folder=folder.path,
                fonts=fonts.folder,
                tracing=tracing,
            ),
        )
        readiness.add("kernels", supervisor.check)
        worker = Worker(settings, bones.database, bones.broker, supervisor, base)
        return [*bones.parts(), objects, base, folder, fonts, supervisor, worker]
