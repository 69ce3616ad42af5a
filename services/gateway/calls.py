"""A call of the API, described once for routing, checks and documentation, and a request as its handler sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import orjson
from aiohttp import web
from pydantic import BaseModel

from services.gateway.bodies import Expected, NoMembers
from services.gateway.frame import REQUEST_ID
from services.gateway.model import Principal, Role
from shared.contracts.base import Caller, Command, Idempotency, Scope
from shared.contracts.datasets import GetDataset
from shared.contracts.executions import GetExecution
from shared.contracts.notebooks import CheckNotebook, Precondition
from shared.errors import Fault, Forbidden, Invalid

if TYPE_CHECKING:
    from services.gateway.gateway import Gateway

LONGEST_CHANGE_MESSAGE = 2_000
"""Characters of an X-Change-Message at most."""

LONGEST_IDEMPOTENCY_KEY = 255
"""Characters of an Idempotency-Key at most."""

SCOPE = "/api/{tenantId}/{projectId}"
"""What the paths of SPEC.md are relative to."""

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Json:
    """A JSON body. `model` checks and documents it; `as_sent` hands the decoded members on as the client sent them."""

    model: type[BaseModel]
    optional: bool = False  # an empty body counts as {}
    as_sent: bool = False
    nulls_are_absent: bool = True
    example: Any = None


@dataclass(frozen=True, kw_only=True)
class Form:
    """A multipart body with a part `file`; the handler reads it as it comes."""

    model: type[BaseModel]
    file: str  # what the file is, for the documentation
    example: Any = None


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A model as the answer, with what differs from the call's usual status and headers."""

    model: BaseModel
    status: int | None = None
    location: str | None = None
    etag: str | None = None


Answer = BaseModel | Answered | web.StreamResponse
CallHandler = Callable[["Asked"], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """One call: address, rights, what goes in, what comes out, and how to talk about it."""

    method: str
    path: str
    tag: str
    summary: str
    handler: CallHandler
    role: Role | None  # None: no credential needed
    query: type[BaseModel] = NoMembers
    body: Json | Form | None = None
    reply: type[BaseModel] | None = None  # None: no JSON model; see media_type
    media_type: str = "application/json"
    status: int = 200
    example: Any = None
    creates: bool = False  # answers with a Location and honours Idempotency-Key
    idempotent: bool = False  # honours Idempotency-Key without making a thing of its own
    conditional: bool = False  # honours If-Match
    explained: bool = False  # honours X-Change-Message
    streams: bool = False  # may take longer than ANSWER_S
    refusals: tuple[int, ...] = field(default=())
    notes: str = ""

    @property
    def name(self) -> str:
        """The operation's name, from its handler: `create_notebook` is `createNotebook`."""
        first, *rest = self.handler.__name__.split("_")
        return first + "".join(part.capitalize() for part in rest)


class Asked:
    """One request as a handler sees it: who asks, about what, with which checked query and body."""

    def __init__(self, gateway: Gateway, call: Call, request: web.Request, principal: Principal | None) -> None:
        self.gateway = gateway
        self.call = call
        self.request = request
        self._principal = principal
        self.ids: dict[str, UUID] = {}
        self.query: Any = None
        self.body: Any = None

    @property
    def principal(self) -> Principal:
        """Who asks; only where the call needs a credential."""
        if self._principal is None:
            raise LookupError(f"{self.call.name} asks nobody for a credential")
        return self._principal

    @property
    def caller(self) -> Caller:
        """Who asks, as commands carry it."""
        return self.principal.caller

    @property
    def scope(self) -> Scope:
        """The tenant and project in the address."""
        return Scope(tenant_id=self.ids["tenantId"], project_id=self.ids["projectId"])

    @property
    def notebook_id(self) -> UUID:
        """The notebook in the address."""
        return self.ids["notebookId"]

    @property
    def execution_id(self) -> UUID:
        """The execution in the address."""
        return self.ids["executionId"]

    @property
    def dataset_id(self) -> UUID:
        """The dataset in the address."""
        return self.ids["datasetId"]

    @property
    def base_url(self) -> str:
        """How clients reach the API, without a trailing slash."""
        configured = self.gateway.links.public_url
        return configured or f"{self.request.scheme}://{self.request.host}"

    def address(self, *parts: object) -> str:
        """An absolute address in the caller's project."""
        scope = self.scope
        return "/".join([self.base_url, "api", str(scope.tenant_id), str(scope.project_id), *map(str, parts)])

    async def ask(self, command: Command[R], *, patience_s: float = 0.0) -> R:
        """The answer of the service that `command` is for."""
        return await self.gateway.requests.ask(command, patience_s=patience_s, correlation=self.request[REQUEST_ID])

    def idempotency(self, content: BaseModel, *, file_sha256: str | None = None) -> Idempotency | None:
        """The Idempotency-Key of the request, if it has one, with a hash of its decoded fields and file."""
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            return None
        if not key.isascii() or not key.isprintable() or not 0 < len(key) <= LONGEST_IDEMPOTENCY_KEY:
            message = f"must be 1 to {LONGEST_IDEMPOTENCY_KEY} printable ASCII characters"
            raise Invalid(f"Idempotency-Key {message}.", faults=[Fault(path="Idempotency-Key", message=message)])
        fields = orjson.dumps(content.model_dump(mode="json", by_alias=True), option=orjson.OPT_SORT_KEYS)
        fingerprint = hashlib.sha256(fields + b"\n" + (file_sha256 or "").encode()).hexdigest()
        ids = " ".join(f"{name}={value}" for name, value in sorted(self.ids.items()))
        route = f"{self.principal.credential} {self.call.name} {ids}"
        return Idempotency(key=key, route=route, fingerprint=fingerprint)

    def precondition(self) -> Precondition:
        """The state that the caller expects: `If-Match`, else `etag` or `dateModified` in the body."""
        header = self.request.headers.get("If-Match")
        if header is not None:
            return Precondition() if header.strip() == "*" else Precondition(etag=_entity_tag(header))
        expected = self.body if isinstance(self.body, Expected) else None
        if expected is None and isinstance(self.body, dict):
            members = {name: self.body.get(name) for name in ("etag", "dateModified")}
            expected = Expected.model_validate(members, by_alias=True, by_name=False)
        if expected is None:
            return Precondition()
        etag = _entity_tag(expected.etag) if expected.etag else None
        return Precondition(etag=etag, date_modified=None if etag else expected.date_modified)

    def change_message(self) -> str | None:
        """Why a change is made, from `X-Change-Message`; headers are bytes, and these are read as UTF-8."""
        given = self.request.headers.get("X-Change-Message")
        if given is None:
            return None
        text = given.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
        if len(text) > LONGEST_CHANGE_MESSAGE:
            message = f"must be at most {LONGEST_CHANGE_MESSAGE} characters"
            raise Invalid(f"X-Change-Message {message}.", faults=[Fault(path="X-Change-Message", message=message)])
        return text or None

    async def require(self, role: Role) -> None:
        """Raise Forbidden unless the caller has `role`; NotFound when the thing in the address does not exist."""
        if self.principal.may(role):
            return
        await self._see()
        raise Forbidden(f"This call needs the role {role.name}; the credential has {self.principal.role.name}.")

    async def _see(self) -> None:
        """Raise NotFound unless what the address names exists (SPEC.md: 403 only for what the caller can see)."""
        who: dict[str, Any] = {"scope": self.scope, "caller": self.caller} if "projectId" in self.ids else {}
        if "executionId" in self.ids:
            notebook_id = self.ids.get("notebookId")
            await self.ask(GetExecution(**who, execution_id=self.execution_id, notebook_id=notebook_id))
        elif "notebookId" in self.ids:
            await self.ask(CheckNotebook(**who, notebook_id=self.notebook_id))
        elif "datasetId" in self.ids:
            await self.ask(GetDataset(**who, dataset_id=self.dataset_id))


def _entity_tag(text: str) -> str:
    """The bare value of an entity tag, quoted or not."""
    tag = text.strip().removeprefix("W/")
    if "," in tag or not tag.isascii():
        message = "must be one entity tag"
        raise Invalid(f"If-Match {message}.", faults=[Fault(path="If-Match", message=message)])
    return tag.removeprefix('"').removesuffix('"')
