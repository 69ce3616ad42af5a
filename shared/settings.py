"""Settings that several services read from the environment; each service adds its own in its `settings.py`."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import ClassVar, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(kind: type[SettingsT]) -> SettingsT:
    """Return the settings from the environment. Where one is missing or wrong, end the process and name the variable;
    its value is not shown, for it may be a secret."""
    try:
        return kind()
    except ValidationError as error:
        raise SystemExit("\n".join(_explained(kind, fault["loc"], fault["msg"]) for fault in error.errors())) from None


def _explained(kind: type[BaseSettings], place: tuple[int | str, ...], message: str) -> str:
    if not place:
        return f"The settings do not fit together: {message}."
    name = f"{kind.model_config.get('env_prefix', '')}{place[0]}".upper()
    field = kind.model_fields.get(str(place[0]))
    meaning = f" ({field.description})" if field is not None and field.description else ""
    return f"{name} is not set{meaning}." if message == "Field required" else f"{name}{meaning}: {message}."


class Bind:
    """A `host:port` to listen on."""

    def __init__(self, text: str) -> None:
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{text!r} is not host:port")
        self.host, self.port = host.strip("[]"), int(port)


class ServiceSettings(BaseSettings):
    """What every process needs. Names are upper case with the prefix `ATELIER_`."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="ATELIER_", extra="ignore", frozen=True)

    amqp_url: SecretStr = Field(description="amqp://user:password@host:port/vhost")
    internal_secret: SecretStr = Field(description="HMAC key of tickets between the services", min_length=16)
    artifacts_url: str = Field(description="internal base URL of the artifacts service")
    ops_bind: str = Field("127.0.0.1:9100", description="host:port of /healthz, /readyz and /metrics")
    log_level: str = "INFO"
    lease_s: float = Field(
        8.0, gt=0, description="how long a process keeps its runs and unsent facts without a heartbeat, in seconds"
    )
    heartbeat_s: float = Field(2.0, gt=0, description="how often it renews its lease, in seconds")

    @model_validator(mode="after")
    def _heartbeats_may_be_late(self) -> Self:
        if self.heartbeat_s > self.lease_s / 2:
            raise ValueError("heartbeat_s must be at most half of lease_s")
        return self


class ObjectStoreSettings(BaseSettings):
    """Where objects are kept: any S3 endpoint."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="ATELIER_S3_", extra="ignore", frozen=True
    )

    endpoint: str = Field(description="http(s)://host:port")
    access_key: str
    secret_key: SecretStr
    bucket: str = "atelier"
    region: str = "us-east-1"
    public_endpoint: str | None = Field(
        None, description="http(s)://host:port under which clients reach the object store; then links lead there"
    )


class WorkDirectory(BaseSettings):
    """Local scratch space; nothing in it outlives its run or upload."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="ATELIER_", extra="ignore", frozen=True)

    work_dir: Path = Path(gettempdir()) / "atelier"
