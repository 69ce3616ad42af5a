"""Builds the image as docs/deploy.md says, and runs every process from its file system, confined as in a cluster.

Slow (minutes, when nothing is cached), hence marked `image`. Needs root and Debian's buildah and debootstrap. RabbitMQ,
PostgreSQL and the S3 server are those of the native stack.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import requests

from deploy.local.stack import Stack

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
TAG = "localhost/atelier:test"
BUILD_SECONDS = 1500
START_SECONDS = 90
STOP_SECONDS = 60
RUN_SECONDS = 120
POLL_SECONDS = 0.2
TENANT, PROJECT = str(uuid.uuid4()), str(uuid.uuid4())

CONFINED = """
set -eu
root=$1 work=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$work" "$root/var/lib/atelier"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid="${user%:*}" --regid="${user#*:}" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all "$@"
"""
"""What a container runtime does, in a mount namespace of its own: read-only root, scratch folders, no capability. Each
command becomes the next, so that the process started is the service itself and gets the signals."""


@dataclass(frozen=True)
class Image:
    """The built image: its root file system on this machine, and what its configuration says."""

    root: Path
    environment: Mapping[str, str]
    entrypoint: list[str]
    user: str

    def command(self, work: Path, *arguments: str) -> list[str]:
        """Runs the entry point with these arguments."""
        confine = ["unshare", "--mount", "--", "sh", "-c", CONFINED, "sh", str(self.root), str(work), self.user]
        return [*confine, *self.entrypoint, *arguments]


def buildah(*arguments: str) -> str:
    return subprocess.run(["buildah", *arguments], check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    missing = [program for program in ("buildah", "debootstrap") if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        reason = f"needs root and the Debian packages buildah and debootstrap (missing: {missing})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    script = ROOT / "deploy/image/build_offline.sh"
    done = subprocess.run([script, TAG], capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    with ExitStack() as cleanup:
        container = buildah("from", "--pull-never", TAG).strip()
        cleanup.callback(buildah, "rm", container)
        config = json.loads(buildah("inspect", "--type", "image", TAG))["OCIv1"]["config"]
        yield Image(
            root=Path(buildah("mount", container).strip()),
            environment=dict(item.split("=", 1) for item in config["Env"]),
            entrypoint=config["Entrypoint"],
            user=config["User"],
        )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """RabbitMQ, PostgreSQL and S3, without Atelier's own processes."""
    stack = Stack(tmp_path_factory.mktemp("image-stack"))
    stack.end_with_this_process()
    try:
        stack.up(only=stack.servers)
        yield stack
    finally:
        stack.delete()


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


T = TypeVar("T")


def eventually(what: str, seconds: float, attempt: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = attempt()
        if result is not None:
            return result
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


class Processes:
    """Atelier's processes, started from the image: each with the settings that a cluster would give it."""

    def __init__(self, image: Image, servers: Stack, folder: Path) -> None:
        self.image = image
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.ops = {name: free_address() for name in ("gateway", "catalog", "control", "worker", "artifacts")}
        self.http = {name: free_address() for name in ("gateway", "artifacts")}
        roles = {schema: servers.role_dsn(schema) for schema in ("gateway", "catalog", "executor", "artifacts")}
        dsns = {f"ATELIER_{schema.upper()}_POSTGRES_DSN": dsn for schema, dsn in roles.items()}
        bus = {
            "ATELIER_AMQP_URL": servers.amqp_url,
            "ATELIER_INTERNAL_SECRET": "internal" * 8,
            "ATELIER_ARTIFACTS_URL": f"http://{self.http['artifacts']}",
        }
        objects = {
            "ATELIER_S3_ENDPOINT": servers.s3.endpoint,
            "ATELIER_S3_ACCESS_KEY": servers.s3.access_key,
            "ATELIER_S3_SECRET_KEY": servers.s3.secret_key,
        }
        executor = bus | {"ATELIER_EXECUTOR_POSTGRES_DSN": dsns["ATELIER_EXECUTOR_POSTGRES_DSN"]}
        self.settings = {
            "migrate": dsns | {"ATELIER_POSTGRES_DSN": servers.postgres_dsn},
            "gateway": bus
            | {
                "ATELIER_GATEWAY_POSTGRES_DSN": dsns["ATELIER_GATEWAY_POSTGRES_DSN"],
                "ATELIER_LINK_SECRET": "links" * 8,
                "ATELIER_HTTP_BIND": self.http["gateway"],
            },
            "catalog": bus | {"ATELIER_CATALOG_POSTGRES_DSN": dsns["ATELIER_CATALOG_POSTGRES_DSN"]},
            "control": executor,
            "worker": executor | objects | {"ATELIER_ISOLATION_MINIMUM": "none"},  # as in compose.yml
            "artifacts": bus
            | objects
            | {
                "ATELIER_ARTIFACTS_POSTGRES_DSN": dsns["ATELIER_ARTIFACTS_POSTGRES_DSN"],
                "ATELIER_HTTP_BIND": self.http["artifacts"],
            },
        }

    def start(self, name: str, *arguments: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        """Starts a process. Its log goes to a file named after it, and its standard output unless that is asked for."""
        work = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        work.mkdir()
        os.chown(work, *(int(part) for part in self.image.user.split(":")))
        environment = {**self.image.environment, **self.settings[name]}
        if name in self.ops:
            environment["ATELIER_OPS_BIND"] = self.ops[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                self.image.command(work, *arguments), env=environment, stdout=stdout or log, stderr=log
            )

    def finish(self, name: str, *arguments: str) -> str:
        """Runs a process to its end, which must be a good one, and returns what it printed."""
        with self.start(name, *arguments, stdout=subprocess.PIPE) as process:
            printed, _ = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 0, self.log(name)
        return printed.decode().strip()

    def log(self, name: str) -> str:
        """The end of a process's log."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def wait_ready(self, name: str) -> None:
        """Waits until /readyz says 200."""

        def attempt() -> bool | None:
            assert self.running[name].poll() is None, f"{name} ended: {self.log(name)}"
            try:
                return True if requests.get(f"http://{self.ops[name]}/readyz", timeout=5).status_code == 200 else None
            except requests.ConnectionError:
                return None

        eventually(f"{name} is ready", START_SECONDS, attempt)

    def end(self) -> dict[str, int]:
        """SIGTERM to all; returns their exit codes."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(STOP_SECONDS) for name, process in self.running.items()}

    def kill(self) -> None:
        """Leaves nothing behind when a test has failed."""
        for process in self.running.values():
            process.kill()
            process.wait(STOP_SECONDS)


def test_the_image_runs_a_notebook_and_every_process_ends_well(image: Image, servers: Stack, tmp_path: Path) -> None:
    assert image.user == "10001:10001"
    tmp_path.chmod(0o755)
    processes = Processes(image, servers, tmp_path)
    with ExitStack() as cleanup:
        cleanup.callback(processes.kill)
        processes.finish("migrate", "migrate")
        commands = {"control": ("executor", "control"), "worker": ("executor", "worker")}
        for name in processes.ops:
            processes.running[name] = processes.start(name, *commands.get(name, (name,)))
        for name in processes.ops:
            processes.wait_ready(name)
        owner = ("--tenant", TENANT, "--role", "admin", "--name", "image test")
        key = processes.finish("gateway", "gateway", "create-key", *owner)
        assert run_notebook(f"http://{processes.http['gateway']}", key) == "10001 2 True"
        assert processes.end() == dict.fromkeys(processes.ops, 0)
        processes.running.clear()


def run_notebook(url: str, key: str) -> str:
    """Runs a one-cell notebook through the API and returns what its cell printed."""
    api = requests.Session()
    api.headers["Authorization"] = f"Bearer {key}"
    project = f"{url}/api/{TENANT}/{PROJECT}"
    code = (
        "import os, pandas, sklearn, mindzie_sdk\n"
        "print(os.getuid(), pandas.Series([1, 1]).sum(), os.path.isdir(os.environ['ATELIER_RUN_DIR']))"
    )
    cells = [{"cellType": "code", "content": code}]
    created = api.post(f"{project}/notebook", json={"notebookName": "image", "initialCells": cells}, timeout=30)
    assert created.status_code == 201, created.text
    notebook = f"{project}/notebook/{created.json()['notebookId']}"
    accepted = api.post(f"{notebook}/execute", json={}, timeout=30)
    assert accepted.status_code == 202, accepted.text
    execution = f"{notebook}/execution/{accepted.json()['executionId']}"

    def ended() -> dict[str, str] | None:
        status = api.get(execution, timeout=30)
        assert status.status_code == 200, status.text
        found: dict[str, str] = status.json()
        return None if found["status"] == "Running" else found

    final = eventually("the run ends", RUN_SECONDS, ended)
    assert final["status"] == "Completed", final
    results = api.get(f"{execution}/results", timeout=30).json()
    (output,) = results["outputs"]
    content = output["content"]
    return str(content).strip()
