"""Brings all four schemas up to date: `python -m services.migrate`. Run by `make up` and by the migration Job."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from shared import migrations, telemetry

SERVICES = ("gateway", "catalog", "executor", "artifacts")


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        sys.exit(f"set {name}: migrations need the owner's DSN and the DSN of every service's role")
    return value


def main() -> None:
    """Apply what is missing; prints the name of each migration applied."""
    telemetry.start("migrate", level=os.environ.get("ATELIER_LOG_LEVEL", "WARNING"))
    schemas = [
        migrations.Schema(
            name=service,
            folder=Path(__file__).parent / service / "migrations",
            dsn=_required(f"ATELIER_{service.upper()}_POSTGRES_DSN"),
        )
        for service in SERVICES
    ]
    for name in asyncio.run(migrations.migrate(_required("ATELIER_POSTGRES_DSN"), schemas)):
        print(name)


if __name__ == "__main__":
    main()
