"""Tenant B of the abuse suite, a process of its own: `python -m tests.abuse.probe URL TENANT PROJECT KEY`.

All the while it reads a notebook, executes one of one line and uploads three rows, each over and over, and writes for
each time a line of JSON: what, when it began and how long it took (seconds), and what was wrong with it, if anything.
It ends when its standard input does. It is a process, so that making and sending the inputs does not hold it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass

import aiohttp

from deploy.local import Stack
from deploy.local.folder import ROOT
from tests.support.api import Api

PAUSE_S = {"read": 0.03, "run": 0.1, "upload": 0.1}
"""What is done, and how long it is paused after each time, in seconds."""

PATIENCE_S = 60.0
"""When an answer is given up, in seconds: long after it is a fault."""

COMES_AGAIN_S = 20.0
"""For how long a write that had no effect (503) is asked for again, in seconds, as clients do on a busy machine."""

ROWS = b"case,activity,time\n1,a,2024-01-01\n1,b,2024-01-02\n2,a,2024-01-03\n"


@dataclass(frozen=True, kw_only=True)
class Look:
    """One time that B did something."""

    what: str
    began: float
    seconds: float
    fault: str | None


async def _main(url: str, tenant: str, project: str, key: str) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session:
        api = Api(url, session, tenant=tenant, project=project, key=key)
        notebook = await api.create("print(1)")
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        stopping = asyncio.Event()
        tasks = [asyncio.create_task(_again_and_again(what, api, notebook["notebookId"], stopping)) for what in PAUSE_S]
        await reader.read()
        stopping.set()
        await asyncio.gather(*tasks)


async def _again_and_again(what: str, api: Api, notebook_id: str, stopping: asyncio.Event) -> None:
    do: dict[str, Callable[[Api, str], Awaitable[str | None]]] = {"read": _read, "run": _run, "upload": _upload}
    while not stopping.is_set():
        began, clock = time.time(), time.perf_counter()
        try:
            fault = await do[what](api, notebook_id)
            while what != "read" and _comes_again(fault) and time.perf_counter() - clock < COMES_AGAIN_S:
                await asyncio.sleep(1)
                fault = await do[what](api, notebook_id)
        except (aiohttp.ClientError, TimeoutError, AssertionError) as error:
            fault = f"{type(error).__name__} {error}"[:500]
        look = Look(what=what, began=began, seconds=time.perf_counter() - clock, fault=fault)
        sys.stdout.write(json.dumps(asdict(look)) + "\n")
        sys.stdout.flush()
        await asyncio.sleep(PAUSE_S[what])


def _comes_again(fault: str | None) -> bool:
    return fault is not None and fault.startswith("503 ")


async def _read(api: Api, notebook_id: str) -> str | None:
    status, body, _ = await api.get(f"notebook/{notebook_id}")
    return None if status == 200 else f"{status} {body}"


async def _run(api: Api, notebook_id: str) -> str | None:
    status, started, _ = await api.post(f"notebook/{notebook_id}/execute", json={})
    if status != 202:
        return f"{status} {started}"
    ended = await api.wait(notebook_id, started["executionId"])
    return None if ended["status"] == "Completed" else f"{ended['errorType']}: {ended['errorMessage']}"


async def _upload(api: Api, _: str) -> str | None:
    form = aiohttp.FormData()
    form.add_field("datasetName", "three rows")
    form.add_field("file", ROWS, filename="rows.csv")
    status, dataset, _ = await api.post("dataset", data=form)
    if status != 201 or dataset["recordCount"] != 3:
        return f"{status} {dataset}"
    status, body, _ = await api.delete(f"dataset/{dataset['datasetId']}")
    return None if status == 204 else f"{status} {body}"


class Probe:
    """The process, and what it has told so far."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.looks: list[Look] = []

    async def hear(self) -> None:
        """Take in what it tells, to its end."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.looks.append(Look(**json.loads(line)))

    async def since(self, began: float) -> list[Look]:
        """What has ended since then, once everything that was in hand at this moment has ended too, and something of
        each kind has been done."""
        now = time.time()
        async with asyncio.timeout(PATIENCE_S * 2):
            while not all(any(look.what == what and look.began >= now for look in self.looks) for what in PAUSE_S):
                assert self._process.returncode is None, "the probe has ended"
                await asyncio.sleep(0.02)
        return [look for look in self.looks if look.began + look.seconds >= began]

    async def end(self) -> None:
        """Have it end, after what it has in hand."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def probing(stack: Stack, session: aiohttp.ClientSession) -> AsyncIterator[Probe]:
    """A probe of a new tenant, at work within the context."""
    api = await Api.of(stack, session)
    arguments = [api.base, api.tenant, api.project, api.key]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, *arguments, stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    probe = Probe(process)
    hearing = asyncio.create_task(probe.hear())
    try:
        yield probe
    finally:
        await probe.end()
        await hearing


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
