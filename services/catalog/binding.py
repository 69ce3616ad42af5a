"""Whether the dataset a notebook wants to bind exists: artifacts knows."""

from __future__ import annotations

from uuid import UUID

from shared.contracts.base import Caller, Scope
from shared.contracts.datasets import GetDataset
from shared.errors import Fault, NotFound
from shared.requests import Requests


async def faults_of(
    requests: Requests, scope: Scope, caller: Caller, dataset_id: UUID | None, path: str
) -> list[Fault]:
    """A fault at `path` when there is no such dataset. Raises Unavailable when nobody can tell."""
    if dataset_id is None:
        return []
    try:
        await requests.ask(GetDataset(scope=scope, caller=caller, dataset_id=dataset_id))
    except NotFound:
        return [Fault(path=path, message=f"there is no dataset {dataset_id} in this project")]
    return []
