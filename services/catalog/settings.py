"""What the catalog reads from its environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.settings import ServiceSettings


class CatalogSettings(ServiceSettings):
    """The settings of every service, and the catalog's own role in the database."""

    catalog_postgres_dsn: SecretStr = Field(description="postgresql://role:password@host:port/database")
