"""The worker's end of the fork server: starts it, sends requests, hands each notice to the kernel it is about."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from services.executor.kernels.forkserver.wire import Decoder, encode

log = structlog.get_logger(__name__)

CHECKOUT = Path(__file__).resolve().parents[3]
"""Where the package `services` lies: the server's modules are read from here, kernels do not see it."""

PROGRAM = (
    "import sys; sys.path[0] = sys.argv[2]\n"
    "from services.executor.kernels.forkserver import program\n"
    "del sys.path[0]; program.main()"
)

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_THREAD_TIMEOUT": "16",
    "HOME": "/nonexistent",
}
"""All that the server knows of its surroundings. One thread, so that nothing is lost by the fork. An idle thread of the
linear algebra library waits 2**16 cycles for work before it sleeps, not 2**26: those are 50 ms of processor time that
every kernel would burn when its threads are made."""

START_TIMEOUT_S = 120.0
"""How long imports may take on a slow disk, in seconds."""

END_TIMEOUT_S = 5.0
"""How long the server may take to end its kernels, in seconds."""

LAST_WORDS_S = 0.2
"""How long a dead server's standard error is still read, in seconds."""

STDERR_LINES = 30

Notice = Callable[[dict[str, Any]], None]


class ForkServerGone(Exception):
    """The fork server has ended or did not start; the message says what it said last."""


class ForkLink:
    """One running fork server."""

    def __init__(self, python: Path, configuration: dict[str, Any]) -> None:
        self._python = python
        self._configuration = configuration
        self._notices: dict[int, Notice] = {}
        self._ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._writer: asyncio.StreamWriter | None = None
        self._process: Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._last_words: deque[str] = deque(maxlen=STDERR_LINES)
        self.ended: asyncio.Event = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The server's process."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> dict[str, Any]:
        """Start the server; gives its report. Raises ForkServerGone."""
        ours, theirs = socket.socketpair()
        cache = (
            {"PYTHONPYCACHEPREFIX": os.environ["PYTHONPYCACHEPREFIX"]} if "PYTHONPYCACHEPREFIX" in os.environ else {}
        )
        try:
            self._process = await asyncio.create_subprocess_exec(
                str(self._python),
                "-c",
                PROGRAM,
                str(theirs.fileno()),
                str(CHECKOUT),
                env=ENVIRONMENT | cache,
                cwd="/",
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                pass_fds=(theirs.fileno(),),
            )
        except OSError as error:
            ours.close()
            raise ForkServerGone(f"{self._python} cannot be run: {error.strerror}") from error
        finally:
            theirs.close()
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._tasks = [asyncio.create_task(self._hear(reader)), asyncio.create_task(self._listen_to_words())]
        self.send({"op": "configure", **self._configuration})
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                return await asyncio.shield(self._ready)
        except TimeoutError:
            await self.close()
            raise ForkServerGone(f"the fork server was not ready within {START_TIMEOUT_S:.0f} seconds") from None
        except ForkServerGone:
            await self.close()
            raise ForkServerGone(f"the fork server ended while starting: {self.last_words}") from None

    @property
    def last_words(self) -> str:
        """The end of what the server wrote to its standard error."""
        return " ".join(list(self._last_words)[-3:])

    def send(self, message: dict[str, Any]) -> None:
        """Send a request; one to a server that has ended is dropped, its kernels have been told."""
        if self._writer is not None and not self.ended.is_set():
            self._writer.write(encode(message))

    def expect(self, identity: int, notice: Notice) -> None:
        """Have notices about a kernel handed to `notice`."""
        self._notices[identity] = notice

    def forget(self, identity: int) -> None:
        """Hand on no more notices about a kernel."""
        self._notices.pop(identity, None)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        decoder = Decoder()
        try:
            while data := await reader.read(65_536):
                for message in decoder.feed(data):
                    self._hand_on(message)
        except OSError as error:
            log.info("fork server's socket closed", reason=error.strerror)
        except ValueError as error:
            log.error("fork server out of step", reason=str(error))
        finally:
            self._end()

    def _hand_on(self, message: dict[str, Any]) -> None:
        if message["event"] == "ready":
            if not self._ready.done():
                self._ready.set_result(message)
            return
        notice = self._notices.get(message["id"])
        if notice is not None:
            notice(message)

    def _end(self) -> None:
        """Every kernel has ended with its server."""
        self.ended.set()
        if not self._ready.done():
            self._ready.set_exception(ForkServerGone("the fork server has ended"))
            self._ready.exception()  # whoever waits hears of it; where nobody does, nothing is lost
        for identity, notice in list(self._notices.items()):
            notice({"event": "exited", "id": identity, "status": -9, "cause": "server"})
            notice({"event": "gone", "id": identity})
        self._notices.clear()
        if self._writer is not None:
            self._writer.close()

    async def _listen_to_words(self) -> None:
        assert self._process is not None and self._process.stderr is not None  # noqa: S101, PT018
        while line := await self._process.stderr.readline():
            self._last_words.append(line.decode(errors="replace").rstrip())

    def retire(self) -> None:
        """Take no more requests and end when the last kernel has gone."""
        self.send({"op": "retire"})

    async def close(self) -> None:
        """End the server and with it every kernel; waits for that."""
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            try:
                async with asyncio.timeout(END_TIMEOUT_S):
                    await self._process.wait()
            except TimeoutError:
                log.error("the fork server did not end and is killed")
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end()
