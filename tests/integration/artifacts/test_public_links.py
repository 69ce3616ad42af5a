"""Links straight to the object store: they serve files to be saved, to nobody but their bearer, and for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr
from yarl import URL

from services.artifacts.public_links import LIFE, PublicLinks
from shared.contracts.results import ArtifactEntry
from shared.settings import ObjectStoreSettings
from tests.integration.artifacts.client import Answer, Client, entry

BODY = b"<script>alert(document.domain)</script>" * 2000


async def linked(client: Client, **members: str) -> tuple[ArtifactEntry, str]:
    """A stored artifact and its public link; one that lies in its row has none."""
    run = uuid4()
    stored = await client.stored(run, str(uuid4()), BODY, position=1)
    await client.seal(run, uuid4(), [entry(b"small", position=0), stored.model_copy(update=members)])
    small, large = await client.listed(run, with_links=True)
    assert small.public_url is None
    assert large.public_url is not None
    return large, large.public_url


async def follow(client: Client, url: str, **headers: str) -> Answer:
    """GET an address exactly as it is written."""
    async with client.session.get(URL(url, encoded=True), headers=headers) as answer:
        return Answer(status=answer.status, headers=answer.headers, body=await answer.read())


async def test_a_link_serves_the_bytes_without_a_header_and_by_range(client: Client) -> None:
    _, url = await linked(client)
    assert urlsplit(url).hostname == "localhost"
    whole = await follow(client, url)
    assert (whole.status, whole.body) == (200, BODY)
    part = await follow(client, url, Range="bytes=10-29")
    assert part.status in (200, 206)  # rclone says 200 where others say 206
    assert (part.headers["Content-Range"], part.body) == (f"bytes 10-29/{len(BODY)}", BODY[10:30])


@pytest.mark.parametrize(
    ("claimed", "served"),
    [
        ("text/html", "application/octet-stream"),
        ("Text/HTML; charset=utf-8", "application/octet-stream"),
        ("application/xhtml+xml", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("text/xml", "application/octet-stream"),
        ("application/javascript", "application/octet-stream"),
        ("application/pdf", "application/octet-stream"),
        ("image/png", "image/png"),
        ("text/csv", "text/csv"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
    ],
)
async def test_whatever_a_notebook_claims_a_browser_saves_it(client: Client, claimed: str, served: str) -> None:
    _, url = await linked(client, content_type=claimed, file_name='report "1".html')
    answer = await follow(client, url)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == served
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="report _1_.html"')


async def test_a_link_cannot_be_changed(client: Client) -> None:
    _, url = await linked(client, content_type="text/html")
    other, _ = await linked(client)
    assert other.object_key is not None
    changed = [
        url[:-4] + "0000",
        url.replace("application%2Foctet-stream", "text%2Fhtml"),
        url.replace("attachment", "inline"),
        url.replace(urlsplit(url).path, f"/{client.stack.s3.bucket}/{other.object_key}"),
        url.replace("X-Amz-Expires=900", "X-Amz-Expires=90000"),
    ]
    assert url not in changed
    assert [(await follow(client, each)).status for each in changed] == [403] * len(changed)
    unsigned = await follow(client, url.partition("?")[0])
    assert unsigned.status in (400, 401, 403), unsigned.body


async def test_a_link_is_good_for_a_quarter_of_an_hour(client: Client) -> None:
    artifact, _ = await linked(client)
    access = client.stack.s3
    settings = ObjectStoreSettings(
        endpoint=access.endpoint,
        access_key=access.access_key,
        secret_key=SecretStr(access.secret_key),
        bucket=access.bucket,
        region=access.region,
    )
    links, now = PublicLinks(settings, access.endpoint), datetime.now(UTC)
    statuses = []
    for age in (LIFE - timedelta(minutes=1), LIFE + timedelta(seconds=5)):
        url = links.of(artifact, now - age)
        assert url is not None
        statuses.append((await follow(client, url)).status)
    assert statuses[0] == 200
    assert statuses[1] in (400, 403)  # rclone says 400 where others say 403
