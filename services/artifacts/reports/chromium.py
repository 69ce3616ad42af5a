"""A headless Chromium that prints one page and sees nothing else: no network, no files, no environment.

It is driven over a pair of pipes by the DevTools protocol, so no port is opened. Every request that the page makes is
answered here: the page itself with its bytes, all others with a refusal. Where this process is root, Chromium runs as
nobody, for it keeps its own sandbox only then.
"""

from __future__ import annotations

import asyncio
import base64
import os
import pwd
import shutil
import signal
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

ADDRESS = "http://report.invalid/"
"""Where the page believes to be: an address that cannot exist (RFC 2606), and an origin that may read no file."""

FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--metrics-recording-only",
    "--mute-audio",
    "--proxy-server=127.0.0.1:9",
)
"""The last and the resolver's rule: whatever should slip past the interception finds no way out."""

MESSAGE_LIMIT = 512 * 1024 * 1024
"""Longest message over the pipe, in bytes."""

END_S = 5.0
"""How long Chromium may take to end when it is told to, in seconds."""


class ChromiumError(Exception):
    """Chromium did not do what it was asked; the message says what."""


class Page:
    """One page in a Chromium of its own."""

    def __init__(self, reader: asyncio.StreamReader, pipe: int, html: bytes, policy: str) -> None:
        self._reader = reader
        self._pipe = pipe
        self._html = html
        self._policy = policy
        self._session: str | None = None
        self._numbers = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())
        self._answering: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Show the page and wait until it is there, with everything that it carries."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        await self.call("Fetch.enable", patterns=[{"urlPattern": "*"}])
        await self.call("Page.enable")
        await self.call("Page.navigate", url=ADDRESS)
        await self._loaded.wait()

    async def settled(self, expression: str, *, within_s: float) -> None:
        """Wait for a promise of the page, but not for ever: the page is not to be trusted."""
        try:
            async with asyncio.timeout(within_s):
                await self.call("Runtime.evaluate", expression=expression, awaitPromise=True)
        except TimeoutError:
            return

    async def pdf(self, path: Path, **options: Any) -> None:
        """Print the page to a file."""
        printed = await self.call("Page.printToPDF", transferMode="ReturnAsStream", **options)
        with path.open("wb") as file:
            while True:
                part = await self.call("IO.read", handle=printed["stream"], size=1024 * 1024)
                data = part["data"]
                file.write(base64.b64decode(data) if part.get("base64Encoded") else data.encode())
                if part["eof"]:
                    return

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol. Raises ChromiumError."""
        self._numbers += 1
        message: dict[str, Any] = {"id": self._numbers, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        answer = asyncio.get_running_loop().create_future()
        self._answers[self._numbers] = answer
        await asyncio.to_thread(_write, self._pipe, orjson.dumps(message) + b"\0")
        found = await answer
        if "error" in found:
            raise ChromiumError(f"{method}: {found['error'].get('message')}")
        result: dict[str, Any] = found.get("result", {})
        return result

    async def close(self) -> None:
        """Stop to listen."""
        for task in (self._listening, *self._answering):
            task.cancel()
        await asyncio.gather(self._listening, *self._answering, return_exceptions=True)

    async def _listen(self) -> None:
        try:
            while True:
                message = orjson.loads((await self._reader.readuntil(b"\0"))[:-1])
                if "id" in message:
                    answer = self._answers.pop(message["id"], None)
                    if answer is not None and not answer.done():
                        answer.set_result(message)
                elif message.get("method") == "Page.loadEventFired":
                    self._loaded.set()
                elif message.get("method") == "Fetch.requestPaused":
                    task = asyncio.create_task(self._decide(message["params"]))
                    self._answering.add(task)
                    task.add_done_callback(self._answering.discard)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result({"error": {"message": "Chromium has ended"}})
            self._loaded.set()

    async def _decide(self, request: dict[str, Any]) -> None:
        """Answer a request of the page."""
        if request["request"]["url"] != ADDRESS:
            await self.call("Fetch.failRequest", requestId=request["requestId"], errorReason="BlockedByClient")
            return
        await self.call(
            "Fetch.fulfillRequest",
            requestId=request["requestId"],
            responseCode=200,
            responseHeaders=[
                {"name": "Content-Type", "value": "text/html; charset=utf-8"},
                {"name": "Content-Security-Policy", "value": self._policy},
            ],
            body=base64.b64encode(self._html).decode(),
        )


@asynccontextmanager
async def opened(program: Path, html: bytes, *, policy: str, sandbox: bool) -> AsyncIterator[Page]:
    """A page in a Chromium that ends with the block, whatever happened in it."""
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="atelier-chromium-"))
    to_chromium, from_chromium = os.pipe(), os.pipe()
    process = page = None
    loop = asyncio.get_running_loop()
    try:
        process = await _start(program, home, to_chromium[0], from_chromium[1], sandbox=sandbox)
        os.close(to_chromium[0])
        os.close(from_chromium[1])
        reader = asyncio.StreamReader(limit=MESSAGE_LIMIT)
        source = os.fdopen(from_chromium[0], "rb", buffering=0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        page = Page(reader, to_chromium[1], html, policy)
        yield page
    finally:
        if page is not None:
            await page.close()
        if process is not None:
            await _end(process)
        os.close(to_chromium[1])
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


async def _start(
    program: Path, home: Path, commands: int, answers: int, *, sandbox: bool
) -> asyncio.subprocess.Process:
    flags = [*FLAGS, f"--user-data-dir={home}", *([] if sandbox else ["--no-sandbox"]), "about:blank"]
    # The protocol's pipes are descriptors 3 and 4.
    command = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
    identity: list[str] = []
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        # By a program (util-linux), because uvloop's subprocesses know no users.
        identity = ["setpriv", "--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups", "--"]
    return await asyncio.create_subprocess_exec(
        *identity,
        "/bin/bash",
        "-c",
        command,
        str(program),
        *flags,
        env={"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8"},
        cwd=home,
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        pass_fds=(commands, answers),
        start_new_session=True,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End Chromium and its children, which are a session of their own."""
    for way in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, way)
        except ProcessLookupError:
            break
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            continue
    await process.wait()


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]
