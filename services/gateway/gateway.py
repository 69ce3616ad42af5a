"""What every call may use: the ports of the gateway, wired once in `app.py` or replaced by fakes in tests."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from services.gateway.archives import Archives
from services.gateway.auth import Authenticator
from services.gateway.base_python import BasePythonCache
from services.gateway.body_budget import BodyBudget
from services.gateway.links import Links
from services.gateway.projects import KnownProjects
from services.gateway.rate_limits import OpenStreams, RateLimiter
from services.gateway.settings import Settings
from services.gateway.transfers import Transfers
from shared.contracts.base import Command, Scope

if TYPE_CHECKING:
    from services.gateway.feed import Listener
    from shared.ops import Readiness

R = TypeVar("R", bound=BaseModel)


class Asks(Protocol):
    """The way to the other services (`shared.requests.Requests`; called by `calls.Asked`)."""

    async def ask(self, command: Command[R], *, patience_s: float = 0.0, correlation: UUID | None = None) -> R:
        """The service's answer, or its error."""


class Feeds(Protocol):
    """The live events of runs (`feed.EventFeed`; called by the event stream and by waiting status reads)."""

    def listen(self, scope: Scope, notebook_id: UUID, execution_id: UUID) -> AbstractAsyncContextManager[Listener]:
        """Hear the run's events from now on. Raises Unavailable."""


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The gateway's ports."""

    settings: Settings
    requests: Asks
    authenticator: Authenticator
    transfers: Transfers
    links: Links
    feeds: Feeds
    readiness: Readiness
    rate_limits: RateLimiter
    body_budget: BodyBudget
    streams: OpenStreams
    archives: Archives
    projects: KnownProjects = field(default_factory=KnownProjects)
    base_python: BasePythonCache = field(default_factory=BasePythonCache)
