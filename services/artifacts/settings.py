"""What the artifacts process reads from its environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from shared.settings import ServiceSettings

GIB = 1024**3


class ArtifactsSettings(ServiceSettings):
    """Settings of the artifacts process; names have the prefix `ATELIER_`."""

    artifacts_postgres_dsn: SecretStr = Field(description="DSN of the artifacts role")
    http_bind: str = Field("127.0.0.1:8081", description="host:port of the internal HTTP address")
    dataset_max_bytes: int = Field(20 * GIB, gt=0, description="largest dataset file accepted, in bytes")
    upload_silence_s: float = Field(
        60.0, gt=0, description="how long the sender of a dataset file may send nothing, in seconds; as the gateway's"
    )
    max_decompressed_bytes: int = Field(
        20 * GIB, gt=0, description="most that a gzip file may decompress to, in bytes: bounds decompression bombs"
    )
    project_max_bytes: int | None = Field(
        None, ge=0, description="what a project may store before further uploads are refused, in bytes"
    )
    chromium: Path | None = Field(None, description="the program that prints reports; looked for where not set")
    chromium_sandbox: bool = Field(True, description="Chromium's own sandbox; it needs user namespaces")
    sweep_every_s: float = Field(
        3600.0, gt=0, description="how often the object store is searched for objects without a row, in seconds"
    )
    sweep_after_s: float = Field(
        86_400.0,
        gt=0,
        description="how old an object without a row is left alone, in seconds: longer than any upload takes",
    )
    max_columns: int = Field(10_000, gt=0, description="most columns of a dataset")
