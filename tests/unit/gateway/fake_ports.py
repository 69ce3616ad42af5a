"""Stand-ins for the gateway's ports: commands are recorded and answered by the test, events come when it says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp.test_utils import TestClient
from pydantic import BaseModel

from services.gateway import examples
from services.gateway.feed import Listener
from services.gateway.gateway import Gateway
from services.gateway.model import Principal, Role
from services.gateway.store import key_hash
from services.gateway.transfers import Transfers
from shared.contracts.base import Command, Nothing, Scope
from shared.contracts.datasets import Dataset, UploadTicket
from shared.contracts.executions import CheckExecution, CheckRerun, Execution
from shared.contracts.libraries import Library, PinnedLibrary
from shared.contracts.lineage import RunTrace
from shared.contracts.notebooks import CheckDraft, CheckImport, CheckUpdate, Notebook
from shared.errors import NotFound
from tests.support.conformance import faults_of

TENANT, PROJECT = UUID(examples.TENANT), UUID(examples.PROJECT)
BASE = f"/api/{TENANT}/{PROJECT}"
NOTEBOOK = Notebook.model_validate(examples.NOTEBOOK)
EXECUTION = Execution.model_validate(examples.EXECUTION)
RUNNING = Execution.model_validate(examples.STARTED_EXECUTION)
DATASET = Dataset.model_validate(examples.DATASET)
TRACE = RunTrace(
    execution_id=EXECUTION.execution_id,
    notebook_id=NOTEBOOK.notebook_id,
    notebook_version="1.3.2",
    dataset_id=None,
    dataset_version=None,
    status="Completed",
    start_time=EXECUTION.start_time,
    end_time=EXECUTION.end_time,
    epoch=1,
)
LIBRARY = PinnedLibrary(library=Library.model_validate(examples.LIBRARY), requires=[], object_key="k")
KEYS = {role: f"atl_{role.name}-key" for role in Role}
OTHER_PROJECT_KEY = "atl_other-project-key"
OTHER_TENANT_KEY = "atl_other-tenant-key"


class FakeRequests:
    """Answers commands with what the test put there, and remembers them."""

    def __init__(self) -> None:
        checks = (CheckDraft, CheckImport, CheckUpdate, CheckExecution, CheckRerun)
        self.answers: dict[type[Command[Any]], Any] = dict.fromkeys(checks, Nothing())
        self.asked: list[Command[Any]] = []
        self.patience: list[float] = []

    def on(self, command: type[Command[Any]], answer: Any) -> None:
        """`answer` is a model, an error to raise, or a function of the command."""
        self.answers[command] = answer

    async def ask(self, command: Command[Any], *, patience_s: float = 0.0, correlation: UUID | None = None) -> Any:
        self.asked.append(command)
        self.patience.append(patience_s)
        answer = self.answers.get(type(command), NotFound("There is no such thing."))
        if callable(answer) and not isinstance(answer, type | BaseModel):
            answer = answer(command)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def last(self, command: type[Any]) -> Any:
        return [asked for asked in self.asked if isinstance(asked, command)][-1]


class FakeKeys:
    """Four keys of one project, one for each role, and two of elsewhere."""

    def __init__(self) -> None:
        self.known = {key_hash(key): principal(role) for role, key in KEYS.items()}
        other = UUID(int=7)
        self.known[key_hash(OTHER_PROJECT_KEY)] = principal(Role.admin, project_id=other)
        self.known[key_hash(OTHER_TENANT_KEY)] = principal(Role.admin, tenant_id=other, project_id=None)
        self.looked_up = 0
        self.error: Exception | None = None

    async def find(self, digest: bytes) -> Principal | None:
        self.looked_up += 1
        if self.error is not None:
            raise self.error
        return self.known.get(digest)


def principal(role: Role, *, tenant_id: UUID = TENANT, project_id: UUID | None = PROJECT) -> Principal:
    return Principal(
        credential=f"key:{role.name}-{project_id}",
        subject=role.name,
        tenant_id=tenant_id,
        project_id=project_id,
        role=role,
    )


class FakeFeeds:
    """Hands out listeners that the test talks to."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.on_listen: Callable[[Listener], None] | None = None
        self.error: Exception | None = None

    @asynccontextmanager
    async def listen(self, scope: Scope, notebook_id: UUID, execution_id: UUID) -> AsyncIterator[Listener]:
        if self.error is not None:
            raise self.error
        listener = Listener()
        self.listeners.append(listener)
        if self.on_listen is not None:
            self.on_listen(listener)
        yield listener


class FakeTransfers(Transfers):
    """Takes uploads into memory."""

    def __init__(self) -> None:
        super().__init__("http://artifacts.invalid", key="x" * 16)
        self.stored: list[tuple[UploadTicket, bytes]] = []
        self.errors: list[Exception] = []
        self.given_up = 0

    async def upload(self, where: UploadTicket, pieces: AsyncIterator[bytes]) -> Dataset:
        received = b""
        try:
            async for piece in pieces:
                received += piece
        except BaseException:
            self.given_up += 1
            raise
        if self.errors:
            raise self.errors.pop(0)
        self.stored.append((where, received))
        return DATASET


@dataclass
class Api:
    """The API under test and the strings behind it. Every answer must be one that `/openapi.json` describes."""

    client: TestClient[Any, Any]
    gateway: Gateway
    requests: FakeRequests = field(default_factory=FakeRequests)
    keys: FakeKeys = field(default_factory=FakeKeys)
    feeds: FakeFeeds = field(default_factory=FakeFeeds)
    transfers: FakeTransfers = field(default_factory=FakeTransfers)
    is_described: bool = True  # False: a service answers what it never does

    async def call(
        self,
        method: str,
        path: str,
        *,
        role: Role | None = Role.admin,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        """A request; `path` is relative to the project unless it begins with `/`."""
        sent = dict(headers or {})
        if role is not None:
            sent.setdefault("Authorization", f"Bearer {KEYS[role]}")
        address = path if path.startswith("/") else f"{BASE}/{path}"
        async with self.client.request(method, address, headers=sent, **more) as response:
            body = await response.read()
            faults = faults_of(method, response.url.path, response.status, response.headers)
            assert not (faults and self.is_described), f"{method} {response.url.path}: {faults}"
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(
                response.status,
                response.headers.copy(),
                body,
                await response.json(content_type=None) if is_json else None,
            )


@dataclass
class Answer:
    """A response, read."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes
    json: Any

    @property
    def faults(self) -> dict[str, str]:
        return {fault["path"]: fault["message"] for fault in self.json["errors"]}
