"""What a project stores, and which of its runs it keeps."""

from __future__ import annotations

from services.gateway import examples
from services.gateway.calls import SCOPE, Asked, Call, Json
from services.gateway.model import Role
from shared.contracts.storage import (
    GetRetention,
    MeasureStorage,
    Retention,
    RetentionPolicy,
    SetRetention,
    StorageUse,
)


async def get_storage(asked: Asked) -> StorageUse:
    """`GET storage`."""
    return await asked.ask(MeasureStorage(scope=asked.scope, caller=asked.caller))


async def get_retention(asked: Asked) -> Retention:
    """`GET retention`."""
    return await asked.ask(GetRetention(scope=asked.scope, caller=asked.caller))


async def set_retention(asked: Asked) -> Retention:
    """`PUT retention`."""
    policy: RetentionPolicy = asked.body
    return await asked.ask(SetRetention(scope=asked.scope, caller=asked.caller, policy=policy))


CALLS = (
    Call(
        method="GET",
        path=f"{SCOPE}/storage",
        tag="Storage",
        summary="What the project stores",
        handler=get_storage,
        role=Role.viewer,
        reply=StorageUse,
        example=examples.STORAGE,
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/retention",
        tag="Storage",
        summary="Which runs the project keeps",
        handler=get_retention,
        role=Role.viewer,
        reply=Retention,
        example=examples.RETENTION,
    ),
    Call(
        method="PUT",
        path=f"{SCOPE}/retention",
        tag="Storage",
        summary="Set which runs the project keeps",
        handler=set_retention,
        role=Role.admin,
        body=Json(model=RetentionPolicy, example=examples.RETENTION_POLICY),
        reply=Retention,
        example=examples.RETENTION,
        notes="Replaces the whole policy. Ended runs beyond it are removed with all they stored, at once and from then "
        "on; the newest completed run of each notebook stays.",
    ),
)
