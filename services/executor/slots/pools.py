"""The process that keeps kernels ready which take long to start, and hands them to the slots that ask.

A slot connects to the kernel anew, by descriptors of its sockets, and has the fork server make it the kernel's owner.
Until it has said so the kernel is this process's: it ends with whichever of the two is the last to know of it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from services.executor.kernels.forked import SpareSource
from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.port import KernelStartError
from services.executor.kernels.spares import Origin
from services.executor.slots.channel import Channel, Message

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class _Slot:
    """One that asks: its connection, its requests, and the kernels on their way to it."""

    channel: Channel | None = None
    asked: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    given: dict[int, ForkedKernel] = field(default_factory=dict)


class PoolsServer:
    """Answers the slots out of `spares`, once the process `is_open`."""

    def __init__(self, spares: Callable[[], SpareSource]) -> None:
        self.is_open = asyncio.Event()
        self._spares = spares
        self._slots: set[_Slot] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, connection: socket.socket) -> None:
        """Answer a slot over this connection, until it hangs up."""
        slot = _Slot()
        slot.channel = Channel(connection, lambda message, descriptors: self._hear(slot, message, descriptors))
        self._slots.add(slot)
        self._track(self._see_off(slot))

    async def close(self) -> None:
        """Hang up."""
        for slot in list(self._slots):
            if slot.channel is not None:
                slot.channel.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _see_off(self, slot: _Slot) -> None:
        assert slot.channel is not None  # noqa: S101 - just made
        await slot.channel.closed.wait()
        self._slots.discard(slot)
        for task in list(slot.asked.values()):
            task.cancel()
        for kernel in list(slot.given.values()):
            await _end(kernel)

    def _hear(self, slot: _Slot, message: Message, descriptors: list[int]) -> None:
        for one in descriptors:
            os.close(one)
        if "take" in message:
            number = message["take"]
            origin = Origin.from_json(message["origin"])
            task = slot.asked[number] = self._track(self._answer(slot, number, origin))
            task.add_done_callback(lambda _: slot.asked.pop(number, None))
        elif "adopted" in message:
            kernel = slot.given.pop(message["adopted"], None)
            if kernel is not None:
                kernel.let_go()
        elif "cancel" in message:
            number = message["cancel"]
            if (asked := slot.asked.get(number)) is not None:
                asked.cancel()
            if (kernel := slot.given.pop(number, None)) is not None:
                self._track(_end(kernel))

    async def _answer(self, slot: _Slot, number: int, origin: Origin) -> None:
        assert slot.channel is not None  # noqa: S101 - it has asked
        await self.is_open.wait()
        try:
            kernel, was_ready = await self._spares().take(origin)
        except KernelStartError as error:
            slot.channel.send({"failed": number, "reason": str(error)})
            return
        except Exception as error:
            # Whatever it was: the run that waits must hear of it.
            log.exception("no kernel could be started", kernel=origin.kind)
            slot.channel.send({"failed": number, "reason": f"{type(error).__name__} in the worker"})
            return
        kernel.hang_up()
        slot.given[number] = kernel
        told: Message = {
            "kernel": number,
            "wasReady": was_ready,
            "identity": kernel.provisioner.identity,
            "runDir": str(kernel.run_dir),
            "key": kernel.key,
        }
        slot.channel.send(told, kernel.descriptors)

    def _track(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _end(kernel: ForkedKernel) -> None:
    await kernel.close()
    await asyncio.to_thread(shutil.rmtree, kernel.run_dir, ignore_errors=True)
