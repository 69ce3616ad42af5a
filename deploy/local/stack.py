"""A whole stack: its components, the order they start and stop in, and what it tells the services."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from deploy.local import processes, services
from deploy.local.component import Component, NotReady
from deploy.local.external import External
from deploy.local.folder import ROOT, StackFolder
from deploy.local.object_store import ObjectStore, S3Access
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.services import KINDS, Service, Wiring

ORPHAN_STEPS = ((signal.SIGTERM, 1.0),)
Report = Callable[[str, float, str], None]
"""Told of each component that was started and is ready: its name, seconds since the beginning of `up`, its address."""


class Stack:
    """One stack in one folder. The package's docstring shows its use."""

    def __init__(
        self,
        folder: Path,
        *,
        external: External | None = None,
        env: Mapping[str, str] | None = None,
        service_env: Mapping[str, Mapping[str, str]] | None = None,
        slots: int | None = None,
        replicas: Mapping[str, int] | None = None,
    ) -> None:
        self.folder = StackFolder(folder)
        self.external = external or External()
        self.rabbitmq = RabbitMQ(self.folder)
        self.postgres = Postgres(self.folder)
        self.object_store = ObjectStore(self.folder)
        wiring = Wiring(
            amqp_url=self.amqp_url_of,
            admin_dsn=lambda: self.postgres_dsn,
            role_dsn=self.role_dsn,
            s3=lambda: self.s3,
            artifacts_url=lambda: self.artifacts.url,
            env=env or {},
            service_env=service_env or {},
            slots=slots,
        )
        self._wiring = wiring
        self._guard: subprocess.Popen[bytes] | None = None
        self.services: dict[str, Service] = {}
        for kind in KINDS:
            for number in range(1, (replicas or {}).get(kind, 1) + 1):
                name = kind if number == 1 else f"{kind}-{number}"
                self.services[name] = Service(name, kind, self.folder, wiring)

    @property
    def gateway(self) -> Service:
        """The REST API."""
        return self.services["gateway"]

    @property
    def catalog(self) -> Service:
        """Notebooks and their versions."""
        return self.services["catalog"]

    @property
    def control(self) -> Service:
        """The executor's control role."""
        return self.services["control"]

    @property
    def worker(self) -> Service:
        """The executor's first worker."""
        return self.services["worker"]

    @property
    def artifacts(self) -> Service:
        """Datasets and results."""
        return self.services["artifacts"]

    @property
    def url(self) -> str:
        """Base URL of the API, without a trailing slash."""
        return self.gateway.url

    @property
    def amqp_url(self) -> str:
        """The broker's address for its administrator, the stack's own or the given one."""
        return self.external.amqp_url or self.rabbitmq.url

    def amqp_url_of(self, service: str) -> str:
        """The broker's address for one service's user; the given one where there is no other."""
        if self.external.amqp_url is None:
            return self.rabbitmq.url_of(service)
        return os.environ.get(f"ATELIER_{service.upper()}_AMQP_URL") or self.external.amqp_url

    @property
    def postgres_dsn(self) -> str:
        """The database as its owner sees it."""
        return self.external.postgres_dsn or self.postgres.dsn

    @property
    def s3(self) -> S3Access:
        """The object store's address and keys, the stack's own or the given one's."""
        return self.external.s3 or self.object_store.access

    def role_dsn(self, schema: str) -> str:
        """The database as the role of one service sees it; `migrate` makes the role."""
        given = os.environ.get(f"ATELIER_{schema.upper()}_POSTGRES_DSN")
        if self.external.postgres_dsn is None:
            return self.postgres.dsn_of(f"atelier_{schema}", self.folder.secret(f"role.{schema}"))
        if given:
            return given
        address = urlsplit(self.external.postgres_dsn)
        host = address.netloc.rpartition("@")[2]
        return urlunsplit(address._replace(netloc=f"atelier_{schema}:{self.folder.secret(f'role.{schema}')}@{host}"))

    @property
    def servers(self) -> dict[str, Component]:
        """The servers of others that this stack runs itself."""
        own: dict[str, Component] = {}
        if self.external.amqp_url is None:
            own["rabbitmq"] = self.rabbitmq
        if self.external.postgres_dsn is None:
            own["postgres"] = self.postgres
        if self.external.s3 is None:
            own["s3"] = self.object_store
        return own

    @property
    def components(self) -> dict[str, Component]:
        """Everything this stack runs, in the order of starting."""
        return {**self.servers, **self.services}

    def __getitem__(self, name: str) -> Component:
        return self.components[name]

    def is_up(self) -> bool:
        """Whether everything runs from the present settings and programs, and says that it is ready."""
        try:
            for component in self.components.values():
                if not component.is_running() or not component.is_current():
                    return False
            for service in self.services.values():
                service.check()  # which asks the servers in its turn
        except NotReady:
            return False
        return True

    def up(self, *, only: Collection[str] | None = None, report: Report = lambda *_: None) -> None:
        """Starts what does not run and replaces what runs from older programs or settings; returns when all is ready.

        Raises StartFailed with the log's last lines; what has started by then stays.
        """
        began = time.monotonic()
        wanted = {name: component for name, component in self.components.items() if only is None or name in only}

        def start(name: str, component: Component) -> None:
            was_running = component.is_running()
            component.start()
            if not was_running:
                report(name, time.monotonic() - began, component.address)

        _all_at_once([(start, name, wanted[name]) for name in self.servers if name in wanted])
        if only is None:
            self.external.check(lambda name, text: report(name, time.monotonic() - began, text), self.folder)
        chosen = [service for name, service in self.services.items() if name in wanted]
        outdated = [service for service in chosen if not service.is_current()]
        _all_at_once([(lambda _, service: service.stop(), service.name, service) for service in outdated])
        if any(not service.is_running() for service in chosen):
            self.migrate()
            report("migrations", time.monotonic() - began, "all schemas are up to date")
        _all_at_once([(start, service.name, service) for service in chosen])

    def migrate(self) -> None:
        """Brings all schemas up to date. Raises StartFailed."""
        services.migrate(self.folder, self._wiring)

    def create_key(self, *, tenant: str, project: str | None, role: str, name: str) -> str:
        """Makes an API key and returns it. Raises StartFailed."""
        return services.create_key(self.gateway, tenant=tenant, project=project, role=role, name=name)

    def down(self) -> None:
        """Ends every process of this stack, whatever state it is in: services first, then servers, then orphans."""
        roots = [record for part in self.components.values() if (record := part.record)]
        below = processes.descendants(roots)
        # Workers come first: to finish what they have begun, they still need the others.
        for first in (True, False):
            parts = [part for part in self.services.values() if (part.kind is KINDS["worker"]) is first]
            _all_at_once([(lambda _, part: part.stop(), part.name, part) for part in parts])
        own = [("rabbitmq", self.rabbitmq), ("postgres", self.postgres), ("s3", self.object_store)]
        _all_at_once([(lambda _, part: part.stop(), name, part) for name, part in own])
        orphans = {record.pid: record for record in [*below, *processes.marked(self.folder.markers)]}
        processes.end([*orphans.values()], ORPHAN_STEPS)
        processes.wait_until_reaped([*roots, *orphans.values()])

    def delete(self) -> None:
        """Ends the stack and removes its folder with all data, secrets and logs."""
        self.down()
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        self.postgres.delete()
        self.folder.clear()

    def end_with_this_process(self) -> None:
        """Starts a guard that ends the stack when this process ends in any way, also by SIGKILL."""
        # The guard reads from a pipe; it comes to its end when this process, the only writer, is gone.
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "--folder", str(self.folder.path), "guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=ROOT,
        )

    def __enter__(self) -> Self:
        self.end_with_this_process()
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.delete()


def _all_at_once(calls: list[tuple[Callable[[str, Component], None], str, Component]]) -> None:
    """Runs the calls in a thread each, waits for all, and raises the first failure."""
    if not calls:
        return
    with ThreadPoolExecutor(len(calls)) as threads:
        futures: list[Future[None]] = [threads.submit(call, name, part) for call, name, part in calls]
    for future in futures:
        future.result()
