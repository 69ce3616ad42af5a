"""A way through to the object store that can be narrowed: so many bytes of answers pass, then none until it opens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

PIECE_BYTES = 64 * 1024


class Gate:
    """Takes connections and passes bytes on in both directions."""

    def __init__(self) -> None:
        self.behind: Callable[[], str] = lambda: ""
        self.left: int | None = None
        self.passed = 0
        self.broken = False
        self._more = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise LookupError("the gate has not been started")
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Break everything off."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def narrow(self, left: int) -> None:
        """Let so many bytes of answers pass, and no more."""
        self.left, self.passed = left, 0
        self._more.clear()

    def open(self) -> None:
        """Let everything pass."""
        self.left = None
        self._more.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        address = urlsplit(self.behind())
        try:
            answers, questions = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            writer.close()  # the store is not there: whoever asks sees the same as without the gate
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, questions, counted=False))
                both.create_task(self._pass(answers, writer, counted=True))
        except* ConnectionError:
            writer.transport.abort()
            questions.transport.abort()
        finally:
            questions.close()
            writer.close()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counted: bool) -> None:
        while piece := await source.read(PIECE_BYTES):
            while counted and self.left is not None and self.passed >= self.left:
                await self._more.wait()
            if counted and self.broken:
                raise ConnectionAbortedError
            self.passed += len(piece) if counted else 0
            target.write(piece)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
