"""The processes of Atelier itself: what each is started with, and when it is ready."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from typing_extensions import override

from deploy.local import isolation, languages, surroundings
from deploy.local.component import Component, Launch, NotReady, StartFailed
from deploy.local.folder import ROOT, StackFolder
from deploy.local.object_store import S3Access
from deploy.local.ports import LOOPBACK, is_listening

KERNEL_PYTHON = ROOT / ".venv-kernel/bin/python"
READY_SECONDS = 5.0  # for one answer of /readyz
MIGRATE_SECONDS = 120.0
WORK_MODE = 0o755  # a kernel may run as another user, who has to reach its run folder
SOURCES = ("services", "shared", "uv.lock")
"""A running process is replaced by `make up` when any of these has changed since it was started."""

MINIMUM = "ATELIER_ISOLATION_MINIMUM"

PASSED_ON = (
    "ATELIER_LOG_LEVEL",
    "ATELIER_CORS_ORIGINS",
    "ATELIER_PUBLIC_URL",
    "ATELIER_WORKER_SLOTS",
    MINIMUM,
    "ATELIER_LEASE_S",
    "ATELIER_HEARTBEAT_S",
    "ATELIER_KERNEL_",
    "ATELIER_JWT_",
    "ATELIER_PACKAGE_",
    "ATELIER_UV",
)
"""Settings of the caller that go to the services as they are; those with `_` at their end begin several names."""


@dataclass(frozen=True, kw_only=True)
class ServiceKind:
    """One kind of process: its command line and the settings it needs beyond the common ones."""

    argv: Sequence[str]
    schema: str  # whose PostgreSQL role it has
    http: bool = False  # has a port of its own beside the one for operations
    s3: bool = False
    link_secret: bool = False
    work_dir: bool = False


KINDS: Mapping[str, ServiceKind] = {
    "gateway": ServiceKind(argv=["services.gateway"], schema="gateway", http=True, link_secret=True, work_dir=True),
    "catalog": ServiceKind(argv=["services.catalog"], schema="catalog"),
    "control": ServiceKind(argv=["services.executor", "control"], schema="executor"),
    "worker": ServiceKind(argv=["services.executor", "worker"], schema="executor", s3=True, work_dir=True),
    "artifacts": ServiceKind(argv=["services.artifacts"], schema="artifacts", http=True, s3=True, work_dir=True),
}
SCHEMAS = ("gateway", "catalog", "executor", "artifacts")


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What the services are told about the world. The callables are asked at each start: ports may have changed."""

    amqp_url: Callable[[str], str]
    admin_dsn: Callable[[], str]
    role_dsn: Callable[[str], str]
    s3: Callable[[], S3Access]
    artifacts_url: Callable[[], str]
    env: Mapping[str, str] = field(default_factory=dict)
    service_env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    slots: int | None = None


class Service(Component):
    """One process of a service. `url` is its own HTTP address if it has one, `ops_url` that of its probes."""

    start_seconds = 60.0
    stop_steps = ((signal.SIGTERM, 20.0),)  # it finishes what it has begun; longer runs are handed over

    def __init__(self, name: str, kind: str, folder: StackFolder, wiring: Wiring) -> None:
        super().__init__(name, folder)
        self.kind = KINDS[kind]
        self._kind_name = kind
        self._wiring = wiring

    @property
    @override
    def port_names(self) -> Sequence[str]:
        return (f"{self.name}.http", f"{self.name}.ops") if self.kind.http else (f"{self.name}.ops",)

    @property
    def url(self) -> str:
        """Base URL of its HTTP server, without a trailing slash; of the gateway this is the API's."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def ops_url(self) -> str:
        """Base URL of /healthz, /readyz and /metrics."""
        return f"http://{LOOPBACK}:{self.folder.ports[self.port_names[-1]]}"

    def environment(self) -> dict[str, str]:
        """The environment variables it is started with, secrets included."""
        wiring = self._wiring
        env = surroundings.inherited()
        env |= {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        env |= {
            "PYTHONUNBUFFERED": "1",
            "ATELIER_AMQP_URL": wiring.amqp_url(self.kind.schema),
            f"ATELIER_{self.kind.schema.upper()}_POSTGRES_DSN": wiring.role_dsn(self.kind.schema),
            "ATELIER_INTERNAL_SECRET": self.folder.secret("internal"),
            "ATELIER_ARTIFACTS_URL": wiring.artifacts_url(),
            "ATELIER_OPS_BIND": self.ops_url.removeprefix("http://"),
        }
        if self.kind.http:
            env["ATELIER_HTTP_BIND"] = self.url.removeprefix("http://")
        if self.kind.link_secret:
            env["ATELIER_LINK_SECRET"] = self.folder.secret("links")
        if self.kind.s3:
            env |= s3_environment(wiring.s3())
        if self.kind.work_dir:
            env["ATELIER_WORK_DIR"] = str(self.folder.data(self.name, mode=WORK_MODE))
        if self._kind_name == "worker":
            env["ATELIER_KERNEL_PYTHON"] = str(KERNEL_PYTHON)
            env |= {name: value for name, value in languages.settings().items() if name not in env}
            if MINIMUM not in env:
                # The most that this machine gives: what holds today must not silently stop to hold.
                env[MINIMUM] = isolation.allowed(KERNEL_PYTHON).level
            if wiring.slots is not None:
                env["ATELIER_WORKER_SLOTS"] = str(wiring.slots)
        for extra in (wiring.env, wiring.service_env.get(self._kind_name, {}), wiring.service_env.get(self.name, {})):
            env.update(extra)
        return env

    @override
    def prepare(self) -> Launch:
        return Launch(argv=[sys.executable, "-m", *self.kind.argv], env=self.environment())

    @override
    def fingerprint(self, plan: Launch) -> str:
        settings = {name: value for name, value in plan.env.items() if name.startswith(("ATELIER_", "OTEL_"))}
        told = json.dumps([list(plan.argv), settings, source_digest()], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @override
    def is_current(self) -> bool:
        record = self.record
        return record is None or record.fingerprint == self.fingerprint(self.prepare())

    @override
    def check(self) -> None:
        if not is_listening(self.folder.ports[self.port_names[-1]]):
            raise NotReady("the port of /readyz is closed")
        check_http(f"{self.ops_url}/readyz")


def s3_environment(access: S3Access) -> dict[str, str]:
    """The variables that tell a service how to reach the object store."""
    return {
        "ATELIER_S3_ENDPOINT": access.endpoint,
        "ATELIER_S3_ACCESS_KEY": access.access_key,
        "ATELIER_S3_SECRET_KEY": access.secret_key,
        "ATELIER_S3_BUCKET": access.bucket,
        "ATELIER_S3_REGION": access.region,
    }


def migrate(folder: StackFolder, wiring: Wiring) -> None:
    """Brings all schemas up to date and makes the services' roles. Raises StartFailed."""
    env = surroundings.inherited() | {"ATELIER_POSTGRES_DSN": wiring.admin_dsn()}
    env |= {f"ATELIER_{schema.upper()}_POSTGRES_DSN": wiring.role_dsn(schema) for schema in SCHEMAS}
    env.update(wiring.env)
    log = folder.log("migrate")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "services.migrate"],
                env=env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=MIGRATE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StartFailed("migrate", f"took longer than {MIGRATE_SECONDS:.0f} s", log) from None
    if done.returncode != 0:
        raise StartFailed("migrate", f"ended with exit code {done.returncode}", log)


def create_key(gateway: Service, *, tenant: str, project: str | None, role: str, name: str) -> str:
    """Makes an API key and returns it; it is stored hashed, so this is the only time it can be seen.

    Raises StartFailed.
    """
    argv = [sys.executable, "-m", "services.gateway", "create-key", "--tenant", tenant, "--role", role, "--name", name]
    argv += [] if project is None else ["--project", project]
    done = subprocess.run(argv, env=gateway.environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    log = gateway.folder.log("create-key")
    if done.returncode != 0 or not done.stdout.strip():
        log.write_text(done.stderr)
        raise StartFailed("create-key", f"ended with exit code {done.returncode}", log)
    return done.stdout.strip()


def check_http(url: str) -> None:
    """One GET that must answer 200. Raises NotReady with the status and the beginning of the body."""
    try:
        with _opener().open(url, timeout=READY_SECONDS) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise NotReady(f"{error.code} from {url}: {error.read(500).decode(errors='replace')}") from None
    except (OSError, ValueError) as error:
        raise NotReady(f"{url}: {error}") from None


@cache
def _opener() -> urllib.request.OpenerDirector:
    """Never goes through a proxy: the addresses here are on loopback."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


@cache
def source_digest() -> str:
    """A digest of the programs' text, as it was when first asked for."""
    digest = hashlib.sha256()
    for top in SOURCES:
        start = ROOT / top
        files = [start] if start.is_file() else sorted(path for path in start.rglob("*") if _is_source(path))
        for path in files:
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _is_source(path: Path) -> bool:
    return path.suffix in {".py", ".sql", ".ipynb", ".json", ".html", ".js", ".css"} and path.is_file()
