"""Query strings, headers, paths and cron lines."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from functools import partial

import aiohttp
from yarl import URL

from tests.abuse.attacker import Attacker, Broken, Input, grouped

LONG = 7_000
"""Characters of a line that a server still reads; longer ones it refuses unread."""

QUERIES: dict[str, tuple[str, str]] = {
    "a page of digits": ("notebooks", "page=" + "9" * LONG),
    "a search for wildcards": ("notebooks", "search=" + "%25_" * 250),
    "a search for backslashes": ("notebooks", "search=" + "%5C" * 1_000),
    "1,000 parameters": ("notebooks", "&".join(f"p{n}=1" for n in range(900))),
    "one parameter 1,000 times": ("notebooks", "&".join(["page=1"] * 900)),
    "a cursor of letters": ("notebooks", "cursor=" + "A" * 1_000),
    "a cursor of JSON": ("notebooks", "cursor=" + "W1tbW1tbW1tb" * 80),
    "percent signs": ("notebooks", "search=" + "%" * LONG),
    "semicolons and equal signs": ("datasets", ";=&" * 2_300),
    "a version of points": ("notebook/@", "version=" + "1." * 400),
    "a cell of 1,000 characters": ("notebook/@/versions", "cursor=" + "c" * 1_000),
    "a format": ("notebook/@/export", "format=" + "script" * 1_000),
    "digits of other scripts": ("notebooks", "page=%D9%A1%D9%A2&pageSize=%E0%A5%A7"),
}

HEADERS: dict[str, tuple[str, str, str]] = {
    "an Idempotency-Key of 7,000 characters": ("POST", "Idempotency-Key", "k" * LONG),
    "an Idempotency-Key of quotes": ("POST", "Idempotency-Key", "'\"\\" * 80),
    "2,000 ETags": ("PUT", "If-Match", ", ".join(['"a"'] * 1_200)),
    "an open ETag": ("PUT", "If-Match", '"' * 6_001),
    "1,500 ranges": ("GET", "Range", "bytes=" + ",".join(f"{n}-{n}" for n in range(900))),
    "2,000 media types": ("GET", "Accept", ",".join(["a/b;q=0.1"] * 700)),
    "a trace of 7,000 characters": ("GET", "traceparent", "00-" + "a" * LONG),
    "states of a trace": ("GET", "tracestate", ",".join(f"k{n}=v" for n in range(900))),
    "a token of 3,000 points": ("GET", "Authorization", "Bearer " + "a." * 3_000),
    "a token of brackets": ("GET", "Authorization", "Bearer " + "eyJhIjpbW1tb" * 500 + ".e30.a"),
    "a media type of parameters": ("POST", "Content-Type", "application/json" + "; a=b" * 1_300),
    "a charset": ("POST", "Content-Type", "application/json; charset=" + "x" * LONG),
    "an id of a request": ("GET", "X-Request-Id", "r" * LONG),
    "a change message": ("PUT", "X-Change-Message", "m" * LONG),
    "languages": ("GET", "Accept-Language", ",".join(["de;q=0.1"] * 800)),
    "a date": ("GET", "If-Modified-Since", "Mon, " * 1_400),
}

CRON: dict[str, str] = {
    "minutes again and again": ",".join(["*/1"] * 20_000) + " * * * *",
    "every minute by name": ",".join(map(str, range(60))) * 1 + " */1 1-31 jan-dec sun-sat",
    "ranges of ranges": "0-59/1,0-59/1,0-59/1 0-23/1 * * *",
    "never": "0 0 31 2 *",
    "on a leap day that is a Monday": "0 0 29 2 1#5",
    "the last of the last": "0 0 L * 5L",
    "numbers of digits": "9" * 100_000 + " * * * *",
    "a million blanks": "0" + " " * 1_000_000 + "0 * * *",
    "other scripts": "\u0660 \u0660 * * *",
    "steps of steps": "*/59/59/59 * * * *",
}

ZONES = ("../../../etc/passwd", "Z" * 100_000, "America/St_Johns", "posix/right/UTC", "\u202eUTC")

TAGS = {
    "a tag of a megabyte": ["t" * 1_000_000],
    "tags of control characters": ["\u0001", "\u2028", "a\r\nX: b", ""] * 2_000,
    "tags of the system": ["parameters", "skip-execution", "raises-exception", "injected-parameters"] * 5_000,
}


async def _query(attacker: Attacker, *, path: str, query: str) -> None:
    notebook = await attacker.editor.create("1") if "@" in path else {"notebookId": ""}
    await attacker.viewer.get(f"{path.replace('@', notebook['notebookId'])}?{query}")


async def _header(attacker: Attacker, *, method: str, name: str, value: str) -> None:
    notebook = await attacker.editor.create("1")
    path = f"notebook/{notebook['notebookId']}"
    headers = {name: value}
    if method == "POST":
        for role, address in (("runner", f"{path}/execute"), ("editor", f"{path}/copy")):
            await attacker.api(role).post(address, data=b"{}", headers={"Content-Type": "application/json"} | headers)
    elif method == "PUT":
        await attacker.editor.put(path, json={"notebookDescription": "d"}, headers=headers)
    else:
        for address in (path, f"{path}/export", "notebooks", "/api/me"):
            await attacker.viewer.get(address, headers=headers)


async def _cron(attacker: Attacker, *, line: str, zone: str = "UTC") -> None:
    integration = {"scheduleExecution": line, "scheduleTimeZone": zone}
    body = {
        "notebookName": "by itself",
        "initialCells": [{"cellType": "code", "content": "1"}],
        "integration": integration,
    }
    status, notebook = await attacker.send("editor", "POST", "notebook", body)
    if status == 201:
        path = f"notebook/{notebook['notebookId']}"
        await attacker.viewer.get(f"{path}/schedule")
        await attacker.editor.delete(f"{path}?force=true")


async def _tags(attacker: Attacker, *, tags: list[str]) -> None:
    body = {"notebookName": "tags", "initialCells": [{"cellType": "code", "content": "1", "tags": tags}]}
    _, notebook = await attacker.send("editor", "POST", "notebook", body)
    await attacker.look(notebook)
    if isinstance(notebook, dict) and "notebookId" in notebook:
        await attacker.send("runner", "POST", f"notebook/{notebook['notebookId']}/execute", {"dryRun": True})


async def _many_heads(attacker: Attacker) -> None:
    """400 headers of one request, which aiohttp's client would not send twice under one name."""
    headers = {f"X-H{number}": "v" * 50 for number in range(400)}
    status, _, _ = await attacker.viewer.get("notebooks", headers=headers)
    if status not in (0, 200, 400, 431):
        raise Broken(f"400 headers: {status}")


async def _many_keys(attacker: Attacker) -> None:
    """Credentials that nobody has."""
    for number in range(150):
        headers = {"Authorization": f"Bearer atl_{number:040d}"}
        async with attacker.viewer.session.get(attacker.viewer.url("/api/me"), headers=headers) as response:
            if response.status not in (401, 429):
                raise Broken(f"a key that nobody has: {response.status}")


async def _small_chunks(attacker: Attacker) -> None:
    """A body of chunks of one byte each, as no client sends it."""
    url, api = URL(attacker.editor.url("notebook")), attacker.editor
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST {url.path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {api.key}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):  # refused before its end
        for _ in range(100):
            writer.write(b"1\r\n \r\n" * 10_000)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        status = await reader.readline()
        if b" 5" in status[:12] and b" 503" not in status[:12]:
            raise Broken(f"chunks of one byte: {status!r}")


async def _many_streams(attacker: Attacker) -> None:
    """Events of one run, followed by 100 readers who all leave."""
    notebook = await attacker.editor.create("1")
    execution = await attacker.runner.start(notebook["notebookId"])
    path = attacker.viewer.url(f"notebook/{notebook['notebookId']}/execution/{execution['executionId']}/events")
    async with aiohttp.ClientSession() as session, AsyncExitStack() as open_streams:
        for _ in range(100):
            response = await open_streams.enter_async_context(session.get(path, headers=attacker.viewer.headers))
            if response.status >= 500:
                raise Broken(f"events: {response.status}")


INPUTS = [
    *grouped(
        "query", [Input(name, partial(_query, path=path, query=query)) for name, (path, query) in QUERIES.items()]
    ),
    *grouped(
        "header",
        [
            Input(name, partial(_header, method=method, name=header, value=value))
            for name, (method, header, value) in HEADERS.items()
        ],
    ),
    *grouped("cron", [Input(name, partial(_cron, line=line)) for name, line in CRON.items()]),
    *grouped(
        "time zone", [Input(f"number {n}", partial(_cron, line="0 2 * * *", zone=zone)) for n, zone in enumerate(ZONES)]
    ),
    *grouped("tags", [Input(name, partial(_tags, tags=tags)) for name, tags in TAGS.items()]),
    *grouped(
        "requests",
        [
            Input("400 headers", _many_heads),
            Input("150 keys", _many_keys),
            Input("100 streams", _many_streams),
            Input("chunks of one byte", _small_chunks),
        ],
    ),
]
