"""The pings of the vendor's published client."""

from __future__ import annotations

from aiohttp import web

from services.gateway.calls import SCOPE, Asked, Call
from services.gateway.model import Role

PONG = "Ping Successful"
"""What every ping answers."""

THINGS = ("notebook", "execution", "dataset")
"""What the vendor's client pings one by one."""


async def ping(_asked: Asked) -> web.Response:
    """Every ping with a credential."""
    return web.json_response(PONG)


async def unauthorized_ping(_asked: Asked) -> web.Response:
    """Every ping that takes no notice of credentials."""
    return web.json_response(PONG)


def _with_credential(path: str) -> Call:
    return Call(
        method="GET",
        path=path,
        tag="Vendor's client",
        summary="Ping with a credential",
        handler=ping,
        role=Role.viewer,
        example=PONG,
    )


def _without_credential(path: str) -> Call:
    return Call(
        method="GET",
        path=path,
        tag="Vendor's client",
        summary="Ping without a credential",
        handler=unauthorized_ping,
        role=None,
        example=PONG,
    )


CALLS = (
    *(_with_credential(f"{SCOPE}/{thing}/ping") for thing in THINGS),
    _with_credential("/api/ping/ping"),
    *(_without_credential(f"{SCOPE}/{thing}/unauthorized-ping") for thing in THINGS),
    _without_credential("/api/ping/unauthorizedping"),
)
