"""What the gateway is told by its environment; every name has the prefix `ATELIER_`."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import ServiceSettings

MIB = 1024 * 1024
"""Bytes in a mebibyte."""

LINK_LIFE_S = 900.0
"""How long a download link works, in seconds (SPEC.md: 15 minutes)."""


class KeyStoreSettings(BaseSettings):
    """Where API keys are kept; all that `create-key` needs."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="ATELIER_", extra="ignore", frozen=True)

    gateway_postgres_dsn: SecretStr = Field(description="the gateway's own role and schema")


class JwtSettings(BaseSettings):
    """Whose JSON Web Tokens are believed; none unless an issuer is named."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="ATELIER_JWT_", extra="ignore", frozen=True
    )

    issuer: str | None = None
    audience: str | None = None
    algorithms: str = Field("RS256", description="comma separated; a token signed otherwise is refused")
    key: SecretStr | None = Field(None, description="PEM public key, or the shared secret of an HS algorithm")
    jwks_url: str | None = Field(None, description="where the issuer publishes its keys; used instead of `key`")

    @property
    def algorithm_names(self) -> list[str]:
        """The accepted algorithms; `none` is never one of them."""
        names = [name.strip() for name in self.algorithms.split(",")]
        return [name for name in names if name and name.lower() != "none"]


class Settings(ServiceSettings, KeyStoreSettings):
    """Everything the gateway process reads."""

    http_bind: str = Field("127.0.0.1:8080", description="host:port of the public API")
    link_secret: SecretStr = Field(description="HMAC key of download links", min_length=16)
    public_url: str | None = Field(None, description="external base URL; default: from each request's Host")
    cors_origins: str = Field("", description="comma separated origins, or *")
    work_dir: Path = Path(gettempdir()) / "atelier"
    notebook_max_bytes: int = Field(50 * MIB, gt=0, description="largest notebook file that is accepted, in bytes")
    library_max_bytes: int = Field(50 * MIB, gt=0, description="largest library file that is accepted, in bytes")
    json_max_bytes: int = Field(32 * MIB, gt=0, description="largest JSON body that is accepted, in bytes")
    dataset_max_bytes: int = Field(20 * 1024 * MIB, gt=0, description="largest dataset file that is accepted, in bytes")
    upload_silence_s: float = Field(
        60.0,
        gt=0,
        description="how long a client may send nothing of a dataset file, in seconds: longer than networks "
        "stutter, short enough that whoever went away holds nothing for long",
    )

    @property
    def origins(self) -> frozenset[str]:
        """Origins that may call from a browser."""
        return frozenset(origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip())
