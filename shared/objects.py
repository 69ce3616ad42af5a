"""Object storage as a port: any S3 endpoint through the minio client, in a bounded thread pool of its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import structlog
import urllib3
from minio import Minio
from minio.datatypes import ListMultipartUploadsResult
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from shared.errors import NotFound, Unavailable
from shared.settings import ObjectStoreSettings
from shared.watch import Watch

log = structlog.get_logger(__name__)

THREADS = 8
"""Concurrent control calls and uploads of one process."""

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 2.0, 60.0
"""How long the object store may take to accept a connection, and to answer on one, in seconds."""

PRESIGNED_LIFE = timedelta(minutes=15)
"""How long an internal presigned URL works."""

PART_BYTES = 8 * 1024 * 1024
"""Size of one part of a multipart upload: bounded memory, whatever the object's size."""

GONE = ("NoSuchKey", "NoSuchObject", "NoSuchUpload")
"""What stores call the absence of an object, or of an upload in parts."""

PARTS_AT_ONCE = 1
"""Parts of one object that are in memory and on their way at once; minio's own number is 3, and one more being read."""

RETRY_S = 0.25
"""Pause between attempts to reach the object store while starting, in seconds."""

T = TypeVar("T")


@dataclass(frozen=True)
class StoredObject:
    """An object's key, and when it was stored by the store's clock."""

    key: str
    modified_at: datetime


@dataclass(frozen=True)
class OpenUpload:
    """A multipart upload that was begun and not completed: its parts take room, and no listing shows them."""

    key: str
    upload_id: str
    begun_at: datetime


class ObjectStore(Protocol):
    """Where bytes are kept under keys. Every call raises Unavailable when the store is down."""

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store bytes; readers see all of them or nothing."""

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        """Store a file, in parts when it is large; readers see all of it or nothing."""

    async def get(self, key: str) -> bytes:
        """The whole object; raises NotFound."""

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """So many bytes of the object from `start`, fewer at its end; raises NotFound."""

    async def get_file(self, key: str, path: Path) -> None:
        """Write the object to `path`; raises NotFound."""

    async def url(self, key: str) -> str:
        """A presigned URL that serves the bytes for a while, `Range` included."""

    async def keys(self, prefix: str) -> list[str]:
        """All keys under a prefix."""

    async def listing(self, prefix: str) -> list[StoredObject]:
        """All objects under a prefix, with their age."""

    async def remove(self, keys: list[str]) -> None:
        """Remove objects; those that are not there do not matter."""

    async def open_uploads(self) -> list[OpenUpload]:
        """Multipart uploads that were not completed, as far as the store tells (MinIO does not)."""

    async def abort(self, upload: OpenUpload) -> None:
        """Remove the parts of a multipart upload; one that is not there does not matter."""

    async def check(self) -> None:
        """Raise unless the store answers."""


class S3ObjectStore:
    """The real thing; see ObjectStore."""

    def __init__(self, settings: ObjectStoreSettings) -> None:
        address = urlsplit(settings.endpoint)
        self._bucket = settings.bucket
        self._client = Minio(
            address.netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key.get_secret_value(),
            secure=address.scheme == "https",
            region=settings.region,
            http_client=urllib3.PoolManager(
                maxsize=THREADS,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
                retries=urllib3.Retry(total=1, backoff_factor=0.1, status_forcelist=[]),
            ),
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._address = address
        self._watch = Watch("The object store", self._ping)

    async def open(self) -> None:
        """Make the bucket if it is missing, waiting for a store that is still starting."""
        waiting = False
        while True:
            try:
                if not await self._call(self._client.bucket_exists, self._bucket):
                    await self._call(self._make_bucket)
            except Unavailable:
                if not waiting:
                    log.warning("waiting for the object store")
                waiting = True
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def close(self) -> None:
        """Stop the threads."""
        await self._watch.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def check(self) -> None:
        """See ObjectStore."""
        await self._call(self._client.bucket_exists, self._bucket)

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """See ObjectStore."""
        await self._call(
            self._client.put_object, self._bucket, key, BytesIO(data), len(data), content_type=content_type
        )

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        """See ObjectStore."""
        await self._call(
            self._client.fput_object,
            self._bucket,
            key,
            str(path),
            content_type=content_type,
            part_size=PART_BYTES,
            num_parallel_uploads=PARTS_AT_ONCE,
        )

    async def get(self, key: str) -> bytes:
        """See ObjectStore."""
        body: bytes = await self._call(self._read, key)
        return body

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See ObjectStore."""
        body: bytes = await self._call(self._read, key, start, length)
        return body

    async def get_file(self, key: str, path: Path) -> None:
        """See ObjectStore."""
        await self._call(self._client.fget_object, self._bucket, key, str(path))

    async def url(self, key: str) -> str:
        """See ObjectStore."""
        address: str = await self._call(self._client.presigned_get_object, self._bucket, key, expires=PRESIGNED_LIFE)
        return address

    async def keys(self, prefix: str) -> list[str]:
        """See ObjectStore."""
        found: list[str] = await self._call(self._list, prefix)
        return found

    async def listing(self, prefix: str) -> list[StoredObject]:
        """See ObjectStore."""
        found: list[StoredObject] = await self._call(self._list_objects, prefix)
        return found

    async def remove(self, keys: list[str]) -> None:
        """See ObjectStore."""
        if keys:
            await self._call(self._remove, keys)

    async def open_uploads(self) -> list[OpenUpload]:
        """See ObjectStore."""
        try:
            found: list[OpenUpload] = await self._call(self._open_uploads)
        except NotFound:  # some servers say so where there is none
            return []
        return found

    async def abort(self, upload: OpenUpload) -> None:
        """See ObjectStore."""
        with suppress(NotFound):
            await self._call(self._client._abort_multipart_upload, self._bucket, upload.key, upload.upload_id)

    async def _ping(self) -> None:
        """Return when the store has answered anything, on a connection of its own."""
        address = self._address
        secure = address.scheme == "https"
        reader, writer = await asyncio.open_connection(
            address.hostname, address.port or (443 if secure else 80), ssl=secure or None
        )
        try:
            writer.write(f"HEAD / HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
            if not await reader.read(1):
                raise ConnectionResetError("the object store closed the connection")
        finally:
            writer.close()

    def _make_bucket(self) -> None:
        try:
            self._client.make_bucket(self._bucket)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def _read(self, key: str, start: int = 0, length: int = 0) -> bytes:
        response = self._client.get_object(self._bucket, key, offset=start, length=length)
        try:
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()

    def _list(self, prefix: str) -> list[str]:
        listing = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        return [item.object_name for item in listing if item.object_name]

    def _list_objects(self, prefix: str) -> list[StoredObject]:
        listing = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        return [
            StoredObject(item.object_name, item.last_modified)
            for item in listing
            if item.object_name and item.last_modified
        ]

    def _open_uploads(self) -> list[OpenUpload]:
        # The client's own call always sends an empty delimiter, which some servers take for one that matches all.
        found: list[OpenUpload] = []
        query: dict[str, str | list[str] | tuple[str]] = {"uploads": ""}
        while True:
            page = ListMultipartUploadsResult(self._client._execute("GET", self._bucket, query_params=query))
            found += [
                OpenUpload(each.object_name, each.upload_id, each.initiated_time)
                for each in page.uploads
                if each.upload_id and each.initiated_time
            ]
            if not page.is_truncated or not page.next_key_marker:
                return found
            query = {"uploads": "", "key-marker": page.next_key_marker}

    def _remove(self, keys: list[str]) -> None:
        for problem in self._client.remove_objects(self._bucket, [DeleteObject(key) for key in keys]):
            raise Unavailable(f"The object store could not remove an object ({problem.code}).")

    async def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        loop = asyncio.get_running_loop()
        self._watch.refuse_if_away()
        try:
            # A call that is given up ends by itself in its thread; what it may have stored has no row, and is swept.
            return await self._watch.guard(
                loop.run_in_executor(self._threads, partial(function, *arguments, **options))
            )
        except S3Error as error:
            if error.code in GONE:
                raise NotFound("The object is gone.") from error
            raise Unavailable("The object store refused the request.") from error
        except InvalidResponseError as error:
            # Some S3 servers answer an unknown key with a text that is no XML.
            if "status code 404" in str(error).lower() or any(code in str(error) for code in GONE):
                raise NotFound("The object is gone.") from error
            raise Unavailable("The object store is not available; try again shortly.") from error
        except (ServerError, MinioException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Unavailable("The object store is not available; try again shortly.") from error
