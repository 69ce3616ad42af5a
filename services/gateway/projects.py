"""Existence of the project in an address: unknown ones are not found, and an admin's first write makes one."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from services.gateway.model import Role
from shared.contracts.base import Scope
from shared.contracts.projects import CreateProject, FindProject
from shared.errors import AtelierError, NotFound, Unavailable

if TYPE_CHECKING:
    from services.gateway.calls import Asked

log = structlog.get_logger(__name__)

REMEMBERED = 100_000
"""Projects remembered at most; a project never ends, so what is known stays true."""

MAKING = frozenset({"POST", "PUT"})
"""Methods whose calls make a project by writing to it."""

UNKNOWN = "There is no such project. "
FIX = (
    "An admin's credential that is not limited to projects makes it, by its first write or by "
    'POST /api/{tenant}/projects with {{"projectId": "{project}"}}.'
)


class KnownProjects:
    """The projects that a gateway has seen; the one unused for longest goes first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[UUID, UUID], None] = OrderedDict()

    def __contains__(self, scope: Scope) -> bool:
        key = (scope.tenant_id, scope.project_id)
        if key not in self._known:
            return False
        self._known.move_to_end(key)
        return True

    def add(self, scope: Scope) -> None:
        """Remember that there is this project."""
        self._known[scope.tenant_id, scope.project_id] = None
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


async def require(asked: Asked) -> None:
    """Raise NotFound unless the project exists, or the call is a write that makes it.

    Only for calls about the project itself: what is in a project that does not exist is not found anyway. When catalog
    is away, reads go on: other services answer them with what they have, which in an unknown project is nothing.
    """
    if not _is_about_project(asked) or asked.scope in asked.gateway.projects or _makes(asked):
        return
    try:
        await asked.ask(FindProject(scope=asked.scope, caller=asked.caller))
    except NotFound:
        fix = FIX.format(tenant=asked.scope.tenant_id, project=asked.scope.project_id)
        raise NotFound(UNKNOWN + fix) from None
    except AtelierError as error:  # catalog is away, or of the release before this one
        if asked.call.method != "GET":
            raise Unavailable("It cannot be told whether the project exists; try again shortly.") from error
        log.info("read without knowing whether the project exists", reason=error.detail)
    else:
        asked.gateway.projects.add(asked.scope)


async def make(asked: Asked) -> None:
    """Make the project unless it exists, when the call is the first write of somebody who may. Raises Unavailable."""
    if not _is_about_project(asked) or asked.scope in asked.gateway.projects or not _makes(asked):
        return
    try:
        await asked.ask(CreateProject(scope=asked.scope, caller=asked.caller, may_exist=True))
    except AtelierError as error:  # also of an unknown outcome: of the request itself nothing was done
        raise Unavailable("The project could not be made; try again shortly.") from error
    asked.gateway.projects.add(asked.scope)


def _is_about_project(asked: Asked) -> bool:
    """Whether the address names a project and nothing in it; to the vendor's client a project is a notebook, too."""
    ids = dict(asked.ids)
    if ids.pop("tenantId", None) is None or (project := ids.pop("projectId", None)) is None:
        return False
    return all(value == project for value in ids.values())


def _makes(asked: Asked) -> bool:
    who = asked.principal
    return asked.call.method in MAKING and who.project_id is None and who.may(Role.admin)
