"""Starts the catalog service: `python -m services.catalog`."""

from __future__ import annotations

from functools import partial

from services.catalog.app import build
from services.catalog.settings import CatalogSettings
from shared import process


def main() -> None:
    """Run until told to stop."""
    settings = CatalogSettings()
    process.run("catalog", partial(build, settings), ops_bind=settings.ops_bind, log_level=settings.log_level)


if __name__ == "__main__":
    main()
