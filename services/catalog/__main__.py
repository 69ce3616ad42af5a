"""Starts the catalog service: `python -m services.catalog`; or repairs what lists show: `… rebuild-projection`."""

from __future__ import annotations

import asyncio
from functools import partial

import typer

from services.catalog import rebuilding
from services.catalog.app import SERVICE, build
from services.catalog.settings import CatalogSettings
from shared import memory, process, telemetry
from shared.broker import Broker
from shared.database import Database
from shared.payloads import HttpPayloadStore
from shared.process import Part
from shared.requests import Requests
from shared.settings import load

command_line = typer.Typer(add_completion=False, help=__doc__)


@command_line.callback(invoke_without_command=True)
def serve(context: typer.Context) -> None:
    """Serve until told to stop."""
    if context.invoked_subcommand is None:
        settings = load(CatalogSettings)
        memory.give_back()
        process.run(SERVICE, partial(build, settings), ops_bind=settings.ops_bind, log_level=settings.log_level)


@command_line.command("rebuild-projection")
def rebuild_projection() -> None:
    """Make what lists of notebooks show of executions anew, from the executions themselves."""
    settings = load(CatalogSettings)
    memory.give_back()
    telemetry.start(SERVICE, level=settings.log_level)
    asyncio.run(_rebuild(settings))


async def _rebuild(settings: CatalogSettings) -> None:
    """Connect, rebuild, and say what was done."""
    broker = Broker(settings.amqp_url.get_secret_value(), name=SERVICE)
    key = settings.internal_secret.get_secret_value()
    payloads = HttpPayloadStore(settings.artifacts_url, key=key)
    database = Database(settings.catalog_postgres_dsn.get_secret_value(), schema=SERVICE)
    requests = Requests(broker, payloads, source=SERVICE, key=key)
    parts: list[Part] = [broker, payloads, database, requests]
    try:
        for part in parts:
            await part.open()
        tally = await rebuilding.rebuild(database, requests)
    finally:
        for part in reversed(parts):
            await part.close()
    print(f"rebuilt {tally.notebooks} notebooks from {tally.runs} executions")


if __name__ == "__main__":
    command_line()
