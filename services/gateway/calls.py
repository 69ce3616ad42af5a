"""A call of the API, described once for routing, checks and documentation, and a request as its handler sees it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import orjson
from aiohttp import web
from pydantic import BaseModel

from services.gateway import headers
from services.gateway.bodies import Expected, NoMembers
from services.gateway.frame import REQUEST_ID
from services.gateway.model import Principal, Role
from shared.contracts.base import Caller, Command, Idempotency, Scope
from shared.contracts.notebooks import Precondition
from shared.errors import NotFound

if TYPE_CHECKING:
    from services.gateway.gateway import Gateway

LONGEST_NAME = 200
"""Characters at most of what a template or a library can be called."""

SCOPE = "/api/{tenantId}/{projectId}"
"""What the paths of SPEC.md are relative to."""

_ID_IN_PATH = re.compile(r"{(?!cellId)(\w+Id)}")
"""An id in a call's path; a cell's is a word of the notebook's own."""

_GUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

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
    held_whole: bool = False  # the file is gathered in memory before it goes on
    example: Any = None


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """A body that is a file, or several; the handler reads it as it comes."""

    description: str
    media_types: Mapping[str, Any]  # each with an example


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A model as the answer, with what differs from the call's usual status and headers."""

    model: BaseModel
    status: int | None = None
    location: str | None = None
    etag: str | None = None


@dataclass(frozen=True, kw_only=True)
class Also:
    """An answer of a call beside its usual one, for the documentation."""

    status: int
    meaning: str
    model: type[BaseModel] | None = None
    example: Any = None


OF_DOWNLOADS = (
    Also(status=206, meaning="The part that `Range` asks for."),
    Also(status=304, meaning="The bytes are still those that `If-None-Match` names."),
    Also(status=416, meaning="`Range` asks for nothing that is there."),
)
"""What else a call answers that sends stored bytes."""

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
    body: Json | Form | Bytes | None = None
    reply: type[BaseModel] | None = None  # None: no JSON model; see media_type
    media_type: str = "application/json"
    forms: Mapping[str, Any] = field(default_factory=dict)  # further media types of the answer, each with an example
    status: int = 200
    example: Any = None
    creates: bool = False  # answers with a Location and honours Idempotency-Key
    idempotent: bool = False  # honours Idempotency-Key without making a thing of its own
    conditional: bool = False  # honours If-Match
    explained: bool = False  # honours X-Change-Message
    is_poll: bool = False  # a status read of a run, which polling clients repeat; has a rate of its own
    streams: bool = False  # may take longer than ANSWER_S
    refusals: tuple[int, ...] = field(default=())
    also: tuple[Also, ...] = ()
    notes: str = ""
    check: Callable[[Asked], Awaitable[Any]] | None = None
    """Asks a service what is wrong with the body, and changes nothing: for the faults beside those of its shape."""
    sight: Callable[[Asked], Awaitable[None]] | None = None
    """Raises NotFound unless the thing in the address exists, where its ids alone do not tell; for 404 before 403."""

    @property
    def name(self) -> str:
        """The operation's name, from its handler: `create_notebook` is `createNotebook`."""
        first, *rest = self.handler.__name__.split("_")
        return first + "".join(part.capitalize() for part in rest)

    @property
    def route(self) -> str:
        """The path as the router takes it: only a GUID is an id, so that a word beside ids (`notebook/upload`) is an
        address of its own, with methods of its own. A file's path may have slashes."""
        return _ID_IN_PATH.sub(rf"{{\1:{_GUID}}}", self.path).replace("{path}", "{path:(?s:.+)}")

    @property
    def id_names(self) -> list[str]:
        """What the ids in the path are called."""
        return _ID_IN_PATH.findall(self.path)


class Asked:
    """One request as a handler sees it: who asks, about what, with which checked query and body."""

    def __init__(self, gateway: Gateway, call: Call, request: web.Request, principal: Principal | None) -> None:
        self.gateway = gateway
        self.call = call
        self.request = request
        self._principal = principal
        self.ids = {name: UUID(request.match_info[name]) for name in call.id_names}
        self.began = time.monotonic()
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
        key = headers.idempotency_key(self.request)
        if key is None:
            return None
        fields = orjson.dumps(content.model_dump(mode="json", by_alias=True), option=orjson.OPT_SORT_KEYS)
        fingerprint = hashlib.sha256(fields + b"\n" + (file_sha256 or "").encode()).hexdigest()
        ids = " ".join(f"{name}={value}" for name, value in sorted(self.ids.items()))
        route = f"{self.principal.credential} {self.call.name} {ids}"
        return Idempotency(key=key, route=route, fingerprint=fingerprint)

    def precondition(self) -> Precondition:
        """The state that the caller expects: `If-Match`, else `etag` or `dateModified` in the body."""
        header = headers.if_match(self.request)
        if header is not None:
            return Precondition() if header == "*" else Precondition(etag=header)
        expected = self.body if isinstance(self.body, Expected) else None
        if expected is None and isinstance(self.body, dict):
            members = {name: self.body.get(name) for name in ("etag", "dateModified")}
            expected = Expected.model_validate(members, by_alias=True, by_name=False)
        if expected is None:
            return Precondition()
        etag = headers.entity_tags(expected.etag) if expected.etag else None
        return Precondition(etag=etag, date_modified=None if etag else expected.date_modified)

    def change_message(self) -> str | None:
        """Why a change is made, from `X-Change-Message`."""
        return headers.change_message(self.request)

    def word(self, name: str, *, longest: int, missing: str) -> str:
        """A part of the address that is no id. Raises NotFound, with the sentence `missing`, for one that nothing can
        be called."""
        text = self.request.match_info[name]
        if len(text) > longest or not text.isprintable():
            raise NotFound(missing)
        return text
