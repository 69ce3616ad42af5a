"""Starts the catalog service: `python -m services.catalog`; or repairs what lists show: `… rebuild-projection`."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from services.catalog import rebuilding
from services.catalog.app import SERVICE, build
from services.catalog.settings import CatalogSettings
from shared import memory, process, telemetry
from shared.broker import Broker
from shared.database import Database
from shared.payloads import HttpPayloadStore
from shared.process import Part
from shared.requests import Requests

REBUILD = "rebuild-projection"


def main() -> None:
    """Run until told to stop, or rebuild and end."""
    settings = CatalogSettings()
    memory.give_back()
    if sys.argv[1:] == [REBUILD]:
        telemetry.start(SERVICE, level=settings.log_level)
        asyncio.run(_rebuild(settings))
    elif len(sys.argv) > 1:
        sys.exit(f"usage: python -m services.catalog [{REBUILD}]")
    else:
        process.run(SERVICE, partial(build, settings), ops_bind=settings.ops_bind, log_level=settings.log_level)


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
    main()
