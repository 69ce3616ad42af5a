"""Killable child processes for work on what strangers wrote: parsers and comparisons whose cost the text decides.

Each piece of work runs in a process of its own, forked from a template that has the modules imported, with limits of
processor time, memory, output and wall clock, at low priority, without a credential or a descriptor of the service
(DESIGN.md decision 13). It ends with its caller: whoever cancels the call kills the process. The template is started
by the first call and ended when none has come for a while, so that an idle service holds no memory for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

import orjson
import structlog

from shared import apart, child_template
from shared.child_exchange import AWAY, TEMPLATE_GONE, Conversation, Limits, OutOfTime
from shared.child_slots import ChildSlots
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

IDLE_S = 300.0
"""How long the template stays without work, in seconds."""

START_S = 20.0
"""How long the template may take to import its modules, in seconds; then another is started."""

_BUFFER = 1024 * 1024


@dataclass(eq=False)
class _Child:
    """One process: its descriptor, once the template has told it, and its status, once it has ended."""

    pidfd: int | None = None
    killed: bool = False
    status: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def kill(self) -> None:
        """End it now, or as soon as it is known."""
        self.killed = True
        if self.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def ended(self, status: int) -> None:
        """Note its end."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        if not self.status.done():
            self.status.set_result(status)


class ChildPool:
    """One per service process (see shared.process.Part). `modules` are imported by the template."""

    def __init__(self, modules: Sequence[str], *, slots: int | None = None, idle_s: float = IDLE_S) -> None:
        self._modules = tuple(modules)
        self._slots = ChildSlots(slots or max(2, os.cpu_count() or 1))
        self._idle_s = idle_s
        self._starting = asyncio.Lock()
        self._template: Process | None = None
        self._control: socket.socket | None = None
        self._ready: asyncio.Future[None] | None = None
        self._begun = 0.0
        self._children: dict[int, _Child] = {}
        self._numbers = itertools.count(1)
        self._idle: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Nothing: the first call starts the template."""

    async def close(self) -> None:
        """End the template, and with it every child."""
        if self._idle is not None:
            self._idle.cancel()
        self._drop_control()
        template, self._template = self._template, None
        if template is not None and template.returncode is None:
            template.kill()
            await template.wait()

    async def call(self, function: str, argument: bytes, *, owner: str, limits: Limits, patience_s: float) -> bytes:
        """Return what `function` (`package.module:name`, bytes to bytes) answers to `argument`.

        `owner` shares the slots with others; `patience_s` bounds the wait for one and for the template, in seconds.
        Raises TooCostly, ChildFailed, Unavailable when no slot comes free in time or the template ends, and the error
        of the family that the function raised.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        async with (
            self._slots.one(owner, patience_s),
            self._talk(function, argument, limits, until - loop.time(), talks=False) as talk,
        ):
            try:
                async with asyncio.timeout(limits.wall_s):
                    return await talk.only_answer()
            except TimeoutError as error:
                raise OutOfTime(f"takes more than {limits.wall_s:.1f} s") from error

    @asynccontextmanager
    async def conversation(
        self, function: str, argument: bytes, *, limits: Limits, patience_s: float
    ) -> AsyncIterator[Conversation]:
        """Have `function` (`package.module:name`, bytes and a `child_template.Caller` to bytes) answer while both sides
        talk. It takes no slot and has no limit by the clock: whoever talks bounds both. Its process has ended when the
        context has. Raises Unavailable when the template is not ready within `patience_s` seconds.
        """
        async with self._talk(function, argument, limits, patience_s, talks=True) as talk:
            yield talk

    @asynccontextmanager
    async def _talk(
        self, function: str, argument: bytes, limits: Limits, patience_s: float, *, talks: bool
    ) -> AsyncIterator[Conversation]:
        async with self._child(function, limits, patience_s, talks=talks) as (child, channel):
            reader, writer = await asyncio.open_connection(sock=channel, limit=_BUFFER)
            try:
                yield Conversation(child.status, reader, writer, limits, argument)
            finally:
                writer.close()

    @asynccontextmanager
    async def _child(
        self, function: str, limits: Limits, patience_s: float, *, talks: bool
    ) -> AsyncIterator[tuple[_Child, socket.socket]]:
        """A new process and the channel to it. It has ended when the context has."""
        control = await self._started(patience_s)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        number, child = next(self._numbers), _Child()
        order = {"number": number, "function": function, "limits": asdict(limits), "talks": talks}
        try:
            with theirs:
                socket.send_fds(control, [orjson.dumps(order)], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise Unavailable(AWAY) from error
        self._children[number] = child
        child.status.add_done_callback(lambda _: self._children.pop(number, None))
        try:
            yield child, ours
        finally:
            ours.close()
            child.kill()
            await asyncio.shield(child.status)

    async def _started(self, patience_s: float) -> socket.socket:
        """The way to the template, which is started where it does not run. Raises Unavailable when it is not ready in
        time; it goes on to start, for those who come later, unless that takes too long altogether."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(patience_s), self._starting:
                if self._control is None:
                    await self._start()
                    self._begun = loop.time()
                assert self._ready is not None  # noqa: S101 - _start sets it
                await asyncio.shield(self._ready)
        except TimeoutError as error:
            if loop.time() - self._begun > START_S:
                await self.close()
            raise Unavailable(AWAY) from error
        except OSError as error:  # it ended, or there is no memory for another process
            raise Unavailable(AWAY) from error
        if self._control is None:  # it ended in the moment when it was ready
            raise Unavailable(AWAY)
        self._postpone_end()
        return self._control

    async def _start(self) -> None:
        await self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", child_template.__name__, str(theirs.fileno()), *self._modules]
            self._template = await asyncio.create_subprocess_exec(
                *command, env=apart.environment(), stdin=DEVNULL, stdout=DEVNULL, pass_fds=[theirs.fileno()]
            )
        ours.setblocking(False)
        self._control = ours
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        loop.add_reader(ours.fileno(), self._hear)

    def _hear(self) -> None:
        """What the template says: that it is ready, which process was begun, which has ended."""
        assert self._control is not None  # noqa: S101 - it is what was read
        try:
            message, descriptors, *_ = socket.recv_fds(self._control, child_template.MESSAGE_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        if not message:
            log.warning("the template of child processes went away")
            self._drop_control()
            return
        told = orjson.loads(message)
        if told.get("ready") and self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        child = self._children.get(told.get("number", 0))
        if descriptors and child is not None:
            child.pidfd = descriptors[0]
            if child.killed:
                child.kill()
        if "status" in told and child is not None:
            child.ended(told["status"])

    def _drop_control(self) -> None:
        """Forget the template; its children have ended with it, or will."""
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control.fileno())
            control.close()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ConnectionError("the template ended"))
            self._ready.exception()  # somebody may or may not be waiting for it
        for child in list(self._children.values()):
            child.kill()
            child.ended(TEMPLATE_GONE)

    def _postpone_end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self._children:
            self._postpone_end()
        else:
            self._drop_control()  # the template ends when its control socket closes
