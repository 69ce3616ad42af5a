"""Keeps the processes of a worker: its fork server, one process a slot, and the one that keeps kernels ready.

The supervisor never touches a byte that a kernel produced. A process that ends costs the run in its hands and no other,
and another takes its place.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Counter

from services.executor.kernels.fork_link import ForkServerGone
from services.executor.kernels.fork_options import ForkOptions
from services.executor.kernels.warm_server import WarmServer
from services.executor.running.folder import PoolsFolder, SlotFolder
from services.executor.slots import channel, followed_server, samples, template
from services.executor.slots.channel import Channel, Message
from services.executor.slots.supervised import Supervised
from shared import apart

log = structlog.get_logger(__name__)

STOP_S = 15.0
"""How long the processes may take to close what they have open, in seconds; then they are killed."""

ENVIRONMENT = {
    "PYTHONPATH": str(apart.ROOT),
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""What the template is given besides the worker's own: it has one thread, so that nothing is lost by a fork."""

QUICK_S, PAUSE_S = 2.0, 0.5
"""A process that ends within so many seconds of its start is replaced after such a pause, in seconds."""

ENDED = Counter("atelier_worker_processes_ended_total", "Processes of a worker that ended by themselves", ["role"])


class Supervisor:
    """See the module. A process that does not answer for `stuck_s` seconds is killed. `order` is what each is told at
    its start. `on_change` hears that a slot may have become
    free."""

    def __init__(
        self,
        options: ForkOptions,
        *,
        slots: int,
        stuck_s: float,
        folder: Path,
        order: Callable[[], dict[str, Any]],
    ) -> None:
        self._options = options
        self._slots = slots
        self._stuck_s = stuck_s
        self._folder = folder
        self._order = order
        self._server = WarmServer(options, folder / "kernels", self._tell_of_absence, self._tell_of_server)
        self._plain_reason: str | None = None
        self._numbers = itertools.count(1)
        self._members: dict[int, Supervised] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._cleaning: set[asyncio.Task[None]] = set()
        self._template: Process | None = None
        self._control: Channel | None = None
        self._template_ready = asyncio.Event()
        self._starting = asyncio.Lock()
        self._stopping = False
        self._moved = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """Start them all. Raises TooLittleIsolation when the machine does not allow the configured minimum."""
        await asyncio.gather(self._open_server(), self._start_template())
        roles = [("pools", 0), *(("slot", share) for share in self._shares())]
        self._keeping = [asyncio.create_task(self._keep(role, share)) for role, share in roles]
        while len(self._opened()) < len(roles):  # one that has ended meanwhile is replaced
            self._moved.clear()
            await self._moved.wait()

    def _shares(self) -> list[int]:
        """How many of the kernels that are kept ready each slot keeps."""
        each, more = divmod(self._options.pool_size, self._slots)
        return [each + (index < more) for index in range(self._slots)]

    async def _open_server(self) -> None:
        try:
            await self._server.open()
        except ForkServerGone as error:
            self._server.isolation.require(self._options.minimum)
            self._plain_reason = str(error)
            log.warning("kernels are started plainly, slowly and without isolation", reason=self._plain_reason)

    async def close(self) -> None:
        """Have them close what they have open, and end."""
        self._stopping = True
        members = list(self._members.values())
        for member in members:
            member.tell({"do": "stop"})
        if members:
            _, late = await asyncio.wait({member.ended for member in members}, timeout=STOP_S)
            if late:
                log.error("processes of the worker did not end and are killed", count=len(late))
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        if self._control is not None:
            self._control.close()
        if self._template is not None:
            await self._template.wait()  # it kills those that are late
        await self._server.close()
        await asyncio.gather(*self._cleaning, return_exceptions=True)

    def take(self) -> Supervised | None:
        """Return a free slot: one with a ready kernel, where there is one, and of those the one that has worked last. A
        process that has driven a run a moment ago drives the next one faster."""
        free = [member for member in self._members.values() if member.role == "slot" and member.is_free]
        return max(free, key=lambda member: (bool(member.ready), member.idle_since), default=None)

    def look_for_changes(self) -> None:
        """Have the fork server started anew when what it has imported is no longer what is installed."""
        was_up = self._server.up.is_set()
        self._server.look_for_changes()
        if was_up and not self._server.up.is_set():
            self._tell_all(followed_server.absence(None))

    async def left(self, number: int) -> None:
        """Return when nothing is left of the kernels of a process that has ended."""
        await self._server.left(number)

    async def check(self) -> dict[str, Any]:
        """For `/readyz`: what holds the kernels in, and how many are ready. Raises while there is no fork server."""
        reason = self._plain_reason
        if reason is None and not self._server.up.is_set():
            if self._options.minimum != "none" or self._server.broken is None:
                raise ForkServerGone("the fork server is being started")
            reason = self._server.broken
        states = await asyncio.gather(*(member.state() for member in self._opened()))
        ready = sum(state.get("ready", 0) for state in states)
        others = {kind: count for state in states for kind, count in state.get("readyByKernel", {}).items()}
        return {
            **self._server.isolation.details(),
            **({"plain": reason} if reason is not None else {}),
            "ready": ready,
            "poolSize": self._options.pool_size,
            "readyByKernel": {"python3": ready, **others},
        }

    async def exposition(self) -> bytes:
        """Return the metrics of all the processes together, in Prometheus' text format."""
        pieces = await asyncio.gather(*(member.samples() for member in self._opened()))
        return samples.exposition(piece for of_one in pieces for piece in of_one)

    def _opened(self) -> list[Supervised]:
        return [member for member in self._members.values() if member.opened.is_set()]

    async def _keep(self, role: str, share: int) -> None:
        """Have one process of this role, for as long as the worker lives."""
        while not self._stopping:
            began = time.monotonic()
            member = await self._start(role, share)
            status = await self._end_of(member)
            self._members.pop(member.number, None)
            cleaning = asyncio.create_task(self._clean_up_after(member))
            self._cleaning.add(cleaning)
            cleaning.add_done_callback(self._cleaning.discard)
            if self._stopping:
                return
            ENDED.labels(role).inc()
            log.error("a process of the worker has ended", role=role, number=member.number, status=status)
            if time.monotonic() - began < QUICK_S:
                await asyncio.sleep(PAUSE_S)

    async def _end_of(self, member: Supervised) -> int:
        """Wait for the end of a process; one that answers no more is killed. Returns its status."""
        watching = asyncio.create_task(self._watch(member))
        try:
            return await asyncio.shield(member.ended)
        finally:
            watching.cancel()

    async def _watch(self, member: Supervised) -> None:
        await member.opened.wait()
        member.stuck = await member.watch(self._stuck_s)
        log.error("a process of the worker is killed", role=member.role, number=member.number, reason=member.stuck)
        assert self._control is not None  # noqa: S101 - it has started the member
        self._control.send({"kill": member.number})

    async def _start(self, role: str, share: int) -> Supervised:
        async with self._starting:
            if self._control is None or self._control.closed.is_set():
                await self._start_template()
        number = next(self._numbers)
        ours, theirs = channel.pair()
        member = self._members[number] = Supervised(number, role, ours, self._changed)
        assert self._control is not None  # noqa: S101 - just started
        order: Message = {**self._order(), "number": number, "role": role, "poolSize": share}
        with theirs:
            self._control.send(order, (theirs.fileno(),))
        if self._control.closed.is_set():
            member.note_end(-1)
        self._tell_server(member)
        self._introduce(member)
        return member

    def _introduce(self, member: Supervised) -> None:
        """Connect a new slot with the process that keeps kernels ready, or that process with all slots."""
        others = [other for other in self._members.values() if other.role != member.role]
        for other in others:
            slot, pools = (member, other) if member.role == "slot" else (other, member)
            one, another = channel.pair()
            pools.tell({"do": "serve"}, one)
            slot.tell({"do": "pools"}, another)

    def _changed(self) -> None:
        self._moved.set()
        self.on_change()

    def _tell_all(self, message: Message) -> None:
        for member in self._members.values():
            member.tell(message)

    async def _tell_of_absence(self) -> None:
        self._tell_all(followed_server.absence(None))

    def _tell_of_server(self) -> None:
        for member in self._members.values():
            self._tell_server(member)

    def _tell_server(self, member: Supervised) -> None:
        """Tell a process of the fork server that there is, or why there is none."""
        if self._plain_reason is not None:
            member.tell(followed_server.absence(self._plain_reason, for_good=True))
        elif self._server.up.is_set():
            try:
                connection = self._server.link.let_in(member.number)
            except OSError:
                return  # it has just ended; when there is another, all are told
            member.tell(followed_server.description(member.number, self._server.isolation), connection)
        elif self._server.broken is not None:
            member.tell(followed_server.absence(self._server.broken))

    async def _clean_up_after(self, member: Supervised) -> None:
        """Remove the folders of a process's kernels, once they have ended."""
        await self._server.left(member.number)
        await asyncio.to_thread(self._remove_folders, member)

    def _remove_folders(self, member: Supervised) -> None:
        if member.role == "slot":
            SlotFolder(self._folder, member.number).remove()
            return
        slots = [SlotFolder(self._folder, other.number) for other in self._members.values() if other.role == "slot"]
        PoolsFolder(self._folder, member.number).remove(taken=set().union(*(slot.marked() for slot in slots)))

    async def _start_template(self) -> None:
        self._template_ready.clear()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._template = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                template.__name__,
                str(theirs.fileno()),
                env=os.environ | ENVIRONMENT,
                stdin=DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        control = self._control = Channel(ours, self._hear)
        ended = asyncio.create_task(control.closed.wait())
        ended.add_done_callback(lambda _: self._template_gone(control))
        ready = asyncio.create_task(self._template_ready.wait())
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if control.closed.is_set():
            raise RuntimeError("the template of the worker's processes does not start; the log says why")

    def _template_gone(self, control: Channel) -> None:
        """All its processes end with it."""
        if control is self._control:
            for member in list(self._members.values()):
                member.note_end(-1)

    def _hear(self, message: Message, descriptors: list[int]) -> None:
        for one in descriptors:
            os.close(one)
        if message.get("ready"):
            self._template_ready.set()
            return
        member = self._members.get(message["number"])
        if member is not None and "pid" in message:
            member.pid = message["pid"]
        elif member is not None:
            member.note_end(message["status"])
