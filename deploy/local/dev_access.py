"""Gives a developer a tenant, a project, an API key and a dataset to begin with, and writes them to dev.env."""

import json
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local import surroundings
from deploy.local.component import StartFailed
from deploy.local.folder import ROOT, write_private_text
from deploy.local.stack import Stack

SIMULATION = ROOT / "examples/simulate_event_log.py"
SIMULATED_CASES = 500  # about 4,000 events: enough for every chart of the starter template, uploaded in a second
SIMULATION_SEED = 20240115  # any number; always the same one, so that everybody sees the same figures
DATASET_NAME = "Simulated event log"
KEY_NAME = "development"
TIMEOUT_SECONDS = 60.0


class ApiRefused(RuntimeError):
    """The API answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"the API answered {status}: {text}")


@dataclass(frozen=True, kw_only=True)
class DevAccess:
    """What dev.env holds."""

    url: str  # without a trailing slash
    tenant: str
    project: str
    api_key: str
    dataset: str

    def save(self, path: Path) -> None:
        """Writes the shell file, mode 0600: after `. dev.env` the variables are set and exported."""
        values = {
            "ATELIER_URL": self.url,
            "ATELIER_TENANT": self.tenant,
            "ATELIER_PROJECT": self.project,
            "ATELIER_API_KEY": self.api_key,
            "ATELIER_DATASET": self.dataset,
        }
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in values.items()]
        write_private_text(path, "".join(lines) + f"export {' '.join(values)}\n")


def ensure(stack: Stack) -> DevAccess:
    """Makes what is missing, keeps what still works, and writes dev.env. Raises StartFailed and ApiRefused."""
    path = stack.folder.path / "dev.env"
    known = read(path)
    tenant = stack.folder.fact("tenant", lambda: str(uuid.uuid4()))
    project = stack.folder.fact("project", lambda: str(uuid.uuid4()))
    key = known.get("ATELIER_API_KEY", "")
    if not key or not _exists(stack.url, "/api/me", key):
        # Not limited to the project, which its first write makes.
        key = stack.create_key(tenant=tenant, project=None, role="admin", name=KEY_NAME)
    base = f"/api/{tenant}/{project}"
    dataset = known.get("ATELIER_DATASET", "")
    if not dataset or not _exists(stack.url, f"{base}/dataset/{dataset}", key):
        dataset = _upload(stack.url + base + "/dataset", key, _simulated_log(stack))
    access = DevAccess(url=stack.url, tenant=tenant, project=project, api_key=key, dataset=dataset)
    access.save(path)
    return access


def new_key(stack: Stack, *, role: str, name: str) -> str:
    """Makes another key for the developer's tenant and project. Raises StartFailed."""
    tenant = stack.folder.fact("tenant", lambda: str(uuid.uuid4()))
    project = stack.folder.fact("project", lambda: str(uuid.uuid4()))
    return stack.create_key(tenant=tenant, project=project, role=role, name=name)


def read(path: Path) -> dict[str, str]:
    """The variables of a dev.env; empty when there is none."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def _simulated_log(stack: Stack) -> Path:
    """The bundled simulation as a CSV file, written once."""
    path = stack.folder.data("simulation") / "simulated-event-log.csv"
    if path.exists():
        return path
    draft = path.with_name("new-" + path.name)
    argv = [sys.executable, str(SIMULATION), "--cases", str(SIMULATED_CASES), "--seed", str(SIMULATION_SEED)]
    log = stack.folder.log("simulation")
    with log.open("wb") as output:
        done = subprocess.run(
            [*argv, "--output", str(draft)],
            env=surroundings.inherited(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise StartFailed("simulation", f"ended with exit code {done.returncode}", log)
    draft.replace(path)
    return path


def _exists(url: str, path: str, key: str) -> bool:
    try:
        _send(url + path, key)
    except ApiRefused as error:
        if error.status in {401, 404}:
            return False
        raise
    return True


def _upload(url: str, key: str, file: Path) -> str:
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="datasetName"\r\n\r\n{DATASET_NAME}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    )
    body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    return str(_send(url, key, body, f"multipart/form-data; boundary={boundary}")["datasetId"])


def _send(url: str, key: str, body: bytes | None = None, content_type: str = "") -> Mapping[str, Any]:
    """GET, or POST where there is a body; returns the JSON object. Raises ApiRefused."""
    headers = {"Authorization": f"Bearer {key}"} | ({"Content-Type": content_type} if content_type else {})
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - the gateway's own address
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy: it is on loopback
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            value: Mapping[str, Any] = json.loads(answer.read())
            return value
    except urllib.error.HTTPError as error:
        with error:
            raise ApiRefused(error.code, error.read(2000).decode(errors="replace")) from None
    except (OSError, ValueError) as error:
        raise ApiRefused(0, str(error)) from None
