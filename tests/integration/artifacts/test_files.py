"""Contents of files beside notebooks: once per project, verified, kept while a notebook needs them, and no longer."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.artifacts.files.reservations import Reservations
from services.artifacts.removals import Removals
from services.artifacts.sweeping import Sweeping
from shared import replies
from shared.contracts.base import Scope
from shared.contracts.files import (
    ContentSize,
    FileUploadTicket,
    FindUsedContents,
    LocateContents,
    OpenFileUpload,
    UsedContents,
)
from shared.contracts.notebooks import NotebookDeleted
from shared.contracts.storage import MeasureStorage
from shared.contracts.transfers import FILE_DOWNLOAD, FileDownload
from shared.database import Database
from shared.errors import Invalid, NotFound, TooLarge, Unavailable
from shared.file_limits import MAX_FILE_BYTES
from tests.integration.artifacts.client import Answer, Client

DAY_S = 86_400.0

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def opened(client: Client, notebook: UUID, *bodies: bytes) -> FileUploadTicket:
    contents = [ContentSize(sha256=sha(body), size_bytes=len(body)) for body in bodies]
    return await client.ask(OpenFileUpload, notebook_id=notebook, contents=contents)


async def send(client: Client, ticket: FileUploadTicket, data: bytes, *, name: str | None = None) -> None:
    """Upload a content; raises what the service answers."""
    headers = {"Authorization": f"Ticket {ticket.ticket}"}
    async with client.session.put(
        f"{ticket.url}/{name or sha(data)}", data=io.BytesIO(data), headers=headers
    ) as answer:
        replies.decode(await answer.read()).raise_error()


async def stored(client: Client, notebook: UUID, *bodies: bytes) -> list[str]:
    """Keep contents for a notebook; returns what had to be sent."""
    ticket = await opened(client, notebook, *bodies)
    for body in bodies:
        if sha(body) in ticket.missing:
            await send(client, ticket, body)
    return ticket.missing


async def fetched(client: Client, notebook: UUID, digest: str, scope: Scope | None = None, **headers: str) -> Answer:
    claims = FileDownload(
        scope=scope or client.scope, notebook_id=notebook, sha256=digest, file_name="a b.csv", media_type="text/csv"
    )
    return await client.get(f"/internal/files/{digest}", {**client.authorization(claims, FILE_DOWNLOAD), **headers})


async def located(client: Client, notebook: UUID, *bodies: bytes) -> list[str]:
    answer = await client.ask(LocateContents, notebook_id=notebook, sha256s=[sha(body) for body in bodies])
    return [one.object_key for one in answer.contents]


async def test_a_content_is_stored_once_and_comes_back(client: Client) -> None:
    notebook, other = uuid4(), uuid4()
    small, large = b"a,b\n1,2\n", b"x" * 3_000_001
    assert set(await stored(client, notebook, small, large, b"")) == {sha(small), sha(large), sha(b"")}
    assert await stored(client, notebook, small, large) == []
    assert await stored(client, other, large) == []
    assert len(await client.keys()) == 3

    answer = await fetched(client, other, sha(large))
    assert (answer.status, answer.body, answer.headers["ETag"]) == (200, large, f'"{sha(large)}"')
    assert answer.headers["Content-Type"] == "text/csv"
    part = await fetched(client, notebook, sha(small), Range="bytes=2-4")
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, small[2:5], "bytes 2-4/8")
    assert (await fetched(client, notebook, sha(small), None, **{"If-None-Match": f'"{sha(small)}"'})).status == 304
    assert (await fetched(client, notebook, sha(b""))).body == b""
    assert (await client.ask(MeasureStorage)).file_bytes == len(small) + len(large)


async def test_only_notebooks_that_need_a_content_have_it(client: Client) -> None:
    notebook, body = uuid4(), b"secret of a project"
    await stored(client, notebook, body)
    assert (await fetched(client, uuid4(), sha(body))).status == 404
    assert await located(client, uuid4(), body) == []
    stranger = replace(client, scope=Scope(tenant_id=uuid4(), project_id=client.scope.project_id))
    assert (await fetched(stranger, notebook, sha(body))).status == 404
    assert (await opened(stranger, notebook, body)).missing == [sha(body)]
    assert len(await located(client, notebook, body)) == 1


async def test_bytes_that_are_not_those_announced_leave_nothing(client: Client) -> None:
    notebook = uuid4()
    ticket = await opened(client, notebook, b"one")
    with pytest.raises(Invalid):
        await send(client, ticket, b"two", name=sha(b"one"))
    with pytest.raises(TooLarge):
        await send(client, ticket, b"x" * (MAX_FILE_BYTES + 1), name=sha(b"one"))
    async with client.session.put(f"{ticket.url}/{sha(b'one')}", data=b"one") as answer:
        assert answer.status == 401
    assert await client.keys() == []
    assert await located(client, notebook, b"one") == []


async def test_a_content_goes_with_the_last_notebook_that_needs_it(client: Client, eventually: Eventually) -> None:
    first, second = uuid4(), uuid4()
    await stored(client, first, b"shared", b"own")
    await stored(client, second, b"shared")

    async def deleted(notebook: UUID) -> None:
        event = NotebookDeleted(
            scope=client.scope, notebook_id=notebook, notebook_name="n", notebook_version="1.0.0", changed_by="anna"
        )
        await client.hear(event)

    async def keys_are(count: int) -> bool:
        return len(await client.keys()) == count

    await deleted(first)
    await eventually(lambda: keys_are(1))
    assert len(await located(client, second, b"shared")) == 1
    with pytest.raises(NotFound):  # nothing is kept for what is gone
        await opened(client, first, b"late")
    await deleted(second)
    await eventually(lambda: keys_are(0))
    assert await client.sql("SELECT count(*) FROM file_use WHERE tenant_id = $1", client.scope.tenant_id) == 0
    assert await client.sql("SELECT count(*) FROM file_content WHERE tenant_id = $1", client.scope.tenant_id) == 0


class Catalog:
    """Catalog, as far as artifacts asks it."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.failure: Exception | None = None

    async def ask(self, command: FindUsedContents, **_: Any) -> UsedContents:
        """See shared.requests.Requests."""
        if self.failure is not None:
            raise self.failure
        return UsedContents(sha256s=[one for one in command.sha256s if one in self.used])


@pytest.fixture
async def database(client: Client) -> AsyncIterator[Database]:
    dsn = client.stack.artifacts.environment()["ATELIER_ARTIFACTS_POSTGRES_DSN"]
    database = Database(dsn, schema="artifacts")
    await database.open()
    yield database
    await database.close()


async def test_what_no_version_has_is_given_up_when_it_is_old(
    client: Client, database: Database, eventually: Eventually
) -> None:
    notebook, catalog = uuid4(), Catalog()
    await stored(client, notebook, b"used", b"never", b"renewed")
    catalog.used.add(sha(b"used"))
    removals = Removals(database, client.objects)
    reservations = Reservations(
        database,
        catalog,  # type: ignore[arg-type]  # it answers the one question that artifacts has
        removals,
        every_s=3_600,
        after_s=DAY_S,
    )
    now = datetime.now(UTC)
    await reservations.settle(now + timedelta(seconds=DAY_S - 60))
    assert len(await located(client, notebook, b"used", b"never", b"renewed")) == 3

    catalog.failure = Unavailable("down")
    with pytest.raises(Unavailable):
        await reservations.settle(now + timedelta(seconds=DAY_S + 60))
    catalog.failure = None
    assert len(await located(client, notebook, b"used", b"never", b"renewed")) == 3

    # Reserved again later than all that is settled here.
    await client.sql(
        "UPDATE file_use SET reserved_at = reserved_at + interval '2 h' WHERE notebook_id = $1 AND sha256 = $2",
        notebook,
        sha(b"renewed"),
    )
    await reservations.settle(now + timedelta(seconds=DAY_S + 3_600))
    assert len(await located(client, notebook, b"never")) == 0
    assert len(await located(client, notebook, b"used", b"renewed")) == 2

    # What is confirmed is not asked about again: it stays until the notebook goes.
    catalog.used.clear()
    await reservations.settle(now + timedelta(days=30))
    assert len(await located(client, notebook, b"used")) == 1
    assert len(await located(client, notebook, b"renewed")) == 0
    while await removals.work_off():
        continue
    assert len(await client.keys()) == 1


async def test_the_sweep_leaves_contents_alone_and_takes_what_a_killed_process_left(
    client: Client, database: Database
) -> None:
    notebook = uuid4()
    await stored(client, notebook, b"kept")
    (kept,) = await located(client, notebook, b"kept")
    orphan = f"{kept.rpartition('/')[0]}/{uuid4()}"
    await client.objects.put(orphan, b"left", "application/octet-stream")
    removals = Removals(database, client.objects)
    sweeping = Sweeping(database, client.objects, removals, every_s=3_600, after_s=DAY_S)
    await sweeping.sweep(datetime.now(UTC) + timedelta(seconds=DAY_S + 60))
    while await removals.work_off():
        continue
    assert await client.keys() == [kept]
