"""Servers that exist already and are used instead of private ones."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from deploy.local.component import NotReady, StartFailed
from deploy.local.folder import StackFolder
from deploy.local.object_store import DEFAULT_BUCKET, DEFAULT_REGION, S3Access, check_s3
from deploy.local.postgres import check_postgres
from deploy.local.rabbitmq import check_amqp


@dataclass(frozen=True, kw_only=True)
class External:
    """Components that exist already and are used instead of started; None where the stack has its own."""

    amqp_url: str | None = None
    postgres_dsn: str | None = None
    s3: S3Access | None = None

    @classmethod
    def from_environment(cls) -> "External":
        """As the variables ATELIER_AMQP_URL, ATELIER_POSTGRES_DSN and ATELIER_S3_… say.

        Raises ValueError when an S3 endpoint comes without its keys.
        """
        endpoint = os.environ.get("ATELIER_S3_ENDPOINT")
        s3 = None
        if endpoint:
            missing = [name for name in ("ATELIER_S3_ACCESS_KEY", "ATELIER_S3_SECRET_KEY") if not os.environ.get(name)]
            if missing:
                raise ValueError(f"ATELIER_S3_ENDPOINT is set, but {' and '.join(missing)} is not")
            s3 = S3Access(
                endpoint=endpoint.rstrip("/"),
                access_key=os.environ["ATELIER_S3_ACCESS_KEY"],
                secret_key=os.environ["ATELIER_S3_SECRET_KEY"],
                bucket=os.environ.get("ATELIER_S3_BUCKET") or DEFAULT_BUCKET,
                region=os.environ.get("ATELIER_S3_REGION") or DEFAULT_REGION,
            )
        return cls(
            amqp_url=os.environ.get("ATELIER_AMQP_URL") or None,
            postgres_dsn=os.environ.get("ATELIER_POSTGRES_DSN") or None,
            s3=s3,
        )

    def check(self, report: Callable[[str, str], None], folder: StackFolder) -> None:
        """Uses each given component once and reports it with its address. Raises StartFailed."""
        checks: list[tuple[str, str, Callable[[], None]]] = []
        if self.amqp_url is not None:
            checks.append(("rabbitmq", self.amqp_url, partial(check_amqp, self.amqp_url)))
        if self.postgres_dsn is not None:
            checks.append(("postgres", self.postgres_dsn, partial(check_postgres, self.postgres_dsn)))
        if self.s3 is not None:
            checks.append(("s3", self.s3.endpoint, partial(check_s3, self.s3)))
        for name, given, check in checks:
            try:
                check()
            except NotReady as error:
                raise StartFailed(name, f"is given by setting, but {error}", folder.log(name)) from error
            address = urlsplit(given)
            report(name, f"{address.hostname}:{address.port} (given)")
