"""The worker's fork server as a process: starts it, lets clients in, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from pathlib import Path
from typing import Any

import structlog

from services.executor.kernels.fork_channel import ForkChannel
from services.executor.kernels.forkserver import clients

log = structlog.get_logger(__name__)

CHECKOUT = Path(__file__).resolve().parents[3]
"""Where the package `services` lies: the server's modules are read from here, kernels do not see it."""

PROGRAM = (
    "import sys; sys.path[0] = sys.argv[3]\n"
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


class ForkServerGone(Exception):
    """The fork server has ended or did not start; the message says what it said last."""


class ForkLink(ForkChannel):
    """One running fork server, with the connection of its first client."""

    def __init__(self, python: Path, configuration: dict[str, Any]) -> None:
        super().__init__(0)
        self._python = python
        self._configuration = configuration
        self._ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._door: socket.socket | None = None
        self._leaving: dict[int, asyncio.Event] = {}
        self._process: Process | None = None
        self._words: asyncio.Task[None] | None = None
        self._last_words: deque[str] = deque(maxlen=STDERR_LINES)

    @property
    def pid(self) -> int | None:
        """The server's process."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> dict[str, Any]:
        """Start the server; gives its report. Raises ForkServerGone."""
        ours, theirs = socket.socketpair()
        self._door, theirs_at_door = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cache = (
            {"PYTHONPYCACHEPREFIX": os.environ["PYTHONPYCACHEPREFIX"]} if "PYTHONPYCACHEPREFIX" in os.environ else {}
        )
        numbers = (theirs.fileno(), theirs_at_door.fileno())
        try:
            self._process = await asyncio.create_subprocess_exec(
                str(self._python),
                "-c",
                PROGRAM,
                *map(str, numbers),
                str(CHECKOUT),
                env=ENVIRONMENT | cache,
                cwd="/",
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                pass_fds=numbers,
            )
        except OSError as error:
            ours.close()
            raise ForkServerGone(f"{self._python} cannot be run: {error.strerror}") from error
        finally:
            theirs.close()
            theirs_at_door.close()
        await self.connect(ours)
        self._words = asyncio.create_task(self._listen_to_words())
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

    def let_in(self, number: int) -> socket.socket:
        """Return a connection for client `number`; with its end the client's kernels end. Raises OSError when the
        server has gone."""
        if self._door is None or self.ended.is_set():
            raise ConnectionResetError("the fork server has ended")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                clients.send_in(self._door, number, theirs)
            except OSError:
                ours.close()
                raise
        self._leaving[number] = asyncio.Event()
        return ours

    async def left(self, number: int) -> None:
        """Return when a client has gone and nothing is left of its kernels."""
        leaving = self._leaving.get(number)
        if leaving is not None and not self.ended.is_set():
            await leaving.wait()

    def _hand_on(self, message: dict[str, Any]) -> None:
        if message["event"] == "ready":
            if not self._ready.done():
                self._ready.set_result(message)
        elif message["event"] == "clientGone":
            self._leaving.pop(message["client"], asyncio.Event()).set()
        else:
            super()._hand_on(message)

    def _end(self) -> None:
        super()._end()
        if not self._ready.done():
            self._ready.set_exception(ForkServerGone("the fork server has ended"))
            self._ready.exception()  # whoever waits hears of it; where nobody does, nothing is lost
        for leaving in self._leaving.values():
            leaving.set()
        self._leaving.clear()
        if self._door is not None:
            self._door.close()

    async def _listen_to_words(self) -> None:
        assert self._process is not None and self._process.stderr is not None  # noqa: S101, PT018
        while line := await self._process.stderr.readline():
            self._last_words.append(line.decode(errors="replace").rstrip())

    def retire(self) -> None:
        """Take no more requests and end when the last kernel has gone."""
        self.send({"op": "retire"})

    async def close(self) -> None:
        """End the server and with it every kernel; waits for that."""
        self.hang_up()
        if self._process is not None:
            try:
                async with asyncio.timeout(END_TIMEOUT_S):
                    await self._process.wait()
            except TimeoutError:
                log.error("the fork server did not end and is killed")
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        if self._words is not None:
            await asyncio.wait({self._words}, timeout=LAST_WORDS_S)
            self._words.cancel()
            await asyncio.gather(self._words, return_exceptions=True)
        await super().close()
