"""What the thing in an address is at the moment: whether it exists, for a caller who lacks the role to touch it, and
which state a conflict is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from shared.contracts.base import rfc3339
from shared.contracts.datasets import GetDataset
from shared.contracts.executions import GetExecution
from shared.contracts.notebooks import CheckNotebook
from shared.errors import AtelierError, Conflict, Forbidden

if TYPE_CHECKING:
    from services.gateway.calls import Asked
    from services.gateway.model import Role

log = structlog.get_logger(__name__)


async def require(asked: Asked, role: Role) -> None:
    """Raise Forbidden unless the caller has `role`; NotFound when the thing in the address does not exist
    (SPEC.md: 403 only for what the caller can see)."""
    if asked.principal.may(role):
        return
    await (asked.call.sight or _see)(asked)
    raise Forbidden(f"This call needs the role {role.name}; the credential has {asked.principal.role.name}.")


async def _see(asked: Asked) -> None:
    """Raise NotFound unless what the ids name exists."""
    if "executionId" in asked.ids:
        notebook_id = asked.ids.get("notebookId")
        await asked.ask(GetExecution(**_who(asked), execution_id=asked.execution_id, notebook_id=notebook_id))
    elif "notebookId" in asked.ids:
        await asked.ask(CheckNotebook(**_who(asked), notebook_id=asked.notebook_id))
    elif "datasetId" in asked.ids:
        await asked.ask(GetDataset(**_who(asked), dataset_id=asked.dataset_id))


async def with_state(asked: Asked, conflict: Conflict) -> Conflict:
    """The conflict with `dateModified` and `etag` of the notebook or dataset that the call is about, unless the service
    named them. An execution has none. Without an answer the conflict is told as it is."""
    if "dateModified" in conflict.extra or "executionId" in asked.ids:
        return conflict
    try:
        state = await _state(asked)
    except AtelierError as error:
        log.info("conflict told without a state", reason=error.detail)
        return conflict
    return Conflict(conflict.detail, faults=conflict.faults, extra={**conflict.extra, **state})


async def _state(asked: Asked) -> dict[str, Any]:
    if "notebookId" in asked.ids:
        notebook = await asked.ask(CheckNotebook(**_who(asked), notebook_id=asked.notebook_id))
        if notebook.date_modified is not None:
            return {"dateModified": rfc3339(notebook.date_modified), "etag": notebook.etag}
    elif "datasetId" in asked.ids:
        dataset = await asked.ask(GetDataset(**_who(asked), dataset_id=asked.dataset_id))
        return {"dateModified": rfc3339(dataset.date_modified), "etag": dataset.etag}
    return {}


def _who(asked: Asked) -> dict[str, Any]:
    return {"scope": asked.scope, "caller": asked.caller}
