"""What the gateway is told by its environment; every name has the prefix `ATELIER_`."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import ClassVar, Self

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import ServiceSettings

MIB = 1024 * 1024
"""Bytes in a mebibyte."""

LINK_LIFE_S = 900.0
"""How long a download link works, in seconds (SPEC.md: 15 minutes)."""


MIN_SECRET_BYTES = 32
"""Shortest shared secret of an HS algorithm, in bytes."""

MIN_RSA_BITS = 2048
"""Shortest RSA key that signs tokens, in bits."""


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

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        """Tokens are believed for one audience only, and no signature may rest on a key that can be guessed."""
        if self.issuer is None:
            return self
        if not self.audience:
            raise ValueError("ATELIER_JWT_ISSUER needs ATELIER_JWT_AUDIENCE: tokens for others must be refused")
        if self.key is None and self.jwks_url is None:
            raise ValueError("ATELIER_JWT_ISSUER needs ATELIER_JWT_KEY or ATELIER_JWT_JWKS_URL")
        if self.key is not None and self.jwks_url is None:
            _check_strength(self.key.get_secret_value(), self.algorithm_names)
        return self

    @property
    def algorithm_names(self) -> list[str]:
        """The accepted algorithms; `none` is never one of them."""
        names = [name.strip() for name in self.algorithms.split(",")]
        return [name for name in names if name and name.lower() != "none"]


def _check_strength(key: str, algorithms: list[str]) -> None:
    """Raise ValueError for a shared secret or an RSA key that is too short for `algorithms` (RFC 7518 section 3)."""
    if any(name.startswith("HS") for name in algorithms) and len(key.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"ATELIER_JWT_KEY must have at least {MIN_SECRET_BYTES} bytes for HS algorithms")
    if any(name.startswith(("RS", "PS")) for name in algorithms):
        try:
            size = getattr(load_pem_public_key(key.encode()), "key_size", 0)
        except ValueError:
            raise ValueError("ATELIER_JWT_KEY is not a PEM public key") from None
        if size < MIN_RSA_BITS:
            raise ValueError(f"ATELIER_JWT_KEY must be an RSA key of at least {MIN_RSA_BITS} bits")


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
    body_budget_bytes: int = Field(
        128 * MIB, gt=0, description="most that bodies held in memory may take together, in bytes; a tenant gets half"
    )
    requests_per_s: float = Field(
        200.0, ge=0, description="requests a second of one key, status reads of its runs apart; 0: no limit"
    )
    tenant_requests_per_s: float = Field(
        400.0, ge=0, description="requests a second of all keys of a tenant together; 0: no limit"
    )
    request_burst_s: float = Field(5.0, ge=1, description="how many seconds' requests may come at once")
    event_streams_per_key: int = Field(250, ge=0, description="event streams that one key may hold open; 0: no limit")
    connections_per_address: int = Field(
        0,
        ge=0,
        description="connections that one address may hold; 0: no limit, as behind a proxy",
    )
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
