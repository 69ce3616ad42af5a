"""Drives a kernel one cell at a time, within limits: time, output, and the caller's cancel. A cell is through when the
kernel has replied and is idle; what comes for it later is heard with the next cells, and until the kernel's end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
import zmq
from nbformat import NotebookNode

from services.executor.kernels import outcomes
from services.executor.kernels.outcomes import OWED_REPLY_S, CellOutcome, Stop
from services.executor.kernels.output_limits import Limit
from services.executor.kernels.port import Kernel
from services.executor.kernels.recorder import OutputListener, RecordedCell, Recorder

log = structlog.get_logger(__name__)

INTERRUPT_GRACE_S = 2.0
"""How long an interrupted cell may take to stop before its kernel is killed, in seconds."""

FLOOD_MESSAGE_BYTES = 4096
"""After a limit was reached only smaller messages are read, in bytes: among them is the cell's end."""

OVERTAKE_AFTER_S = 2.0
"""How long a cell runs before the kernel is sent requests that it can only serve after the cell, in seconds."""

OVERTAKEN_S = 1.0
"""How long the end of a cell may be on its way after such a request was served, in seconds."""

MESSAGES_AT_ONCE = 16
"""How many messages of a kernel are read before the event loop does something else."""

LAST_WORDS_MS = 20
"""How long what a kernel sent before it ended may be on its way, in milliseconds."""


class CellRunner:
    """Runs the cells of one notebook in one kernel. `on_output` hears of what the running cell puts out."""

    def __init__(
        self,
        notebook: NotebookNode,
        kernel: Kernel,
        *,
        cancel: asyncio.Event,
        on_progress: Callable[[float, str], None],
        on_output: OutputListener | None = None,
        breached: asyncio.Event | None = None,
    ) -> None:
        self._notebook = notebook
        self._kernel = kernel
        self._client = kernel.client
        self._cancel = cancel
        self._breached = breached or asyncio.Event()
        self._recorder = Recorder(
            notebook, kernel.client, on_progress=on_progress, on_limit=self._reach, on_output=on_output
        )
        self._over_limit: asyncio.Future[Limit] = asyncio.get_running_loop().create_future()
        self._reply: dict[str, Any] | None = None
        self._heard = 0
        self._later_request = ""
        self._later_served = asyncio.Event()
        self._waiting: list[asyncio.Task[Any]] | None = None

    def close(self) -> None:
        """No cell will be run any more."""
        if self._waiting is not None:
            for task in self._waiting:
                task.cancel()

    def catch_up(self) -> None:
        """Write into the notebook what has been put out so far."""
        self._recorder.settle()

    def keep_widgets(self) -> None:
        """Write the state of the notebook's widgets into its metadata, from which front ends show them again."""
        self._recorder.set_widgets_metadata()

    async def run(self, index: int, *, timeout_s: float, timeout_name: str) -> CellOutcome:
        """Run the code cell at `index`; its outputs are in the notebook afterwards, whatever the outcome.

        `timeout_name` tells whose limit `timeout_s` is, for the message.
        """
        return await self.run_cell(self._notebook.cells[index], timeout_s=timeout_s, timeout_name=timeout_name)

    async def run_cell(self, cell: NotebookNode, *, timeout_s: float, timeout_name: str) -> CellOutcome:
        """Run a code cell that need not be one of the notebook's; see `run`."""
        started_at, clock = datetime.now(UTC), time.monotonic()
        self._reply = None
        if self._over_limit.done():
            self._over_limit = asyncio.get_running_loop().create_future()
        recorded = self._recorder.begin(cell)
        stopped_by = await self._drive(recorded, timeout_s)
        seconds = round(time.monotonic() - clock, 4)
        recorded.outputs.settle()
        members = self._judge(cell, stopped_by, limit_s=timeout_s, limit_name=timeout_name)
        return CellOutcome(
            started_at=started_at,
            ended_at=datetime.now(UTC),
            seconds=seconds,
            kernel_died=self._kernel.exited.done() and not members.get("exits"),
            **members,
        )

    def _judge(self, cell: NotebookNode, stopped_by: Stop | None, *, limit_s: float, limit_name: str) -> dict[str, Any]:
        exited = self._kernel.exited
        end = exited.result() if exited.done() else None
        if stopped_by == "breach":
            return outcomes.died(end, cell.id)
        if stopped_by is not None:
            return outcomes.stopped(stopped_by, cell.id, limit_s=limit_s, limit_name=limit_name)
        members = None
        if self._reply is not None:
            shown = (output for output in reversed(cell.outputs) if output.output_type == "error")
            members = outcomes.replied(self._reply, next(shown, None))
        if members is None or (end is not None and not members.get("exits")):
            return outcomes.died(end, cell.id)
        return members

    async def shut_down(self, grace_s: float) -> None:
        """Have the kernel end by itself, within `grace_s` seconds, and take what it puts out until then."""
        listening = asyncio.create_task(self._listen(None))
        try:
            await self._kernel.shut_down(grace_s)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        await self._hear_last_words(1)
        self._recorder.settle()

    async def _drive(self, recorded: RecordedCell, timeout_s: float) -> Stop | None:
        """Run a cell to its end, or stop its kernel."""
        if self._waiting is None:
            # Once for all cells: they stay as they are when a cell has come to its end by itself.
            reasons = (self._cancel, self._breached, self._client.cut_off, self._client.asked_for_input)
            self._waiting = [asyncio.create_task(reason.wait()) for reason in reasons]
        cancelled, breached, cut_off, asked = self._waiting
        exited, flooded = self._kernel.exited, self._over_limit
        conversation = asyncio.create_task(self._converse(recorded))
        try:
            watched: set[asyncio.Future[Any]] = {conversation, exited, flooded, *self._waiting}
            done, _ = await asyncio.wait(watched, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            stopped_by: Stop | None = None
            if conversation not in done and exited not in done:
                stops: list[tuple[asyncio.Future[Any], Stop]] = [
                    (cancelled, "cancel"), (breached, "breach"), (flooded, "output"), (cut_off, "oversize"),
                    (asked, "input"),
                ]  # fmt: skip
                stopped_by = next((name for reason, name in stops if reason in done), "timeout")
                if stopped_by not in {"breach", "oversize"}:
                    await self._kernel.interrupt()
                    await self._until_stopped(conversation, INTERRUPT_GRACE_S)
                if not conversation.done() and not exited.done():
                    await self._kernel.kill()
                    await self._until_stopped(conversation, None)
            if asked.done():  # the next cell may ask again
                self._client.asked_for_input.clear()
                self._waiting[-1] = asyncio.create_task(self._client.asked_for_input.wait())
            if not conversation.done():
                conversation.cancel()
                await asyncio.gather(conversation, return_exceptions=True)
                await self._hear_last_words(LAST_WORDS_MS)
            elif (fault := conversation.exception()) is not None:
                # A notebook can write to its kernel's sockets itself; nothing that comes after could be understood.
                log.warning("a kernel sent what cannot be read", reason=f"{type(fault).__name__}: {fault}"[:200])
                await self._kernel.kill()
                await asyncio.shield(exited)
                stopped_by = stopped_by or "garbled"
            elif (owed := conversation.result()) is not None:
                stopped_by = stopped_by or owed
            if flooded.done() and stopped_by in {None, "output"}:
                stopped_by = flooded.result()
            return stopped_by
        finally:
            conversation.cancel()

    async def _until_stopped(self, conversation: asyncio.Task[Any], timeout_s: float | None) -> None:
        ends: set[asyncio.Future[Any]] = {conversation, self._kernel.exited}
        await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    async def _converse(self, recorded: RecordedCell) -> Stop | None:
        """Send a cell, and wait until the kernel has replied and is idle. Raises whatever reading a message may."""
        request = self._client.execute(recorded.cell.source, store_history=True, stop_on_error=False)
        self._recorder.sent(recorded, request)
        replying = asyncio.create_task(self._await_reply(request, recorded))
        listening = asyncio.create_task(self._listen(recorded))
        overtaking: asyncio.Task[None] | None = None
        try:
            ends: set[asyncio.Task[Any]] = {replying, listening}
            done, _ = await asyncio.wait(ends, timeout=OVERTAKE_AFTER_S, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                overtaking = asyncio.create_task(self._be_overtaken())
                done, _ = await asyncio.wait({*ends, overtaking}, return_when=asyncio.FIRST_COMPLETED)
                if done == {overtaking}:
                    overtaking.result()
                    return "no_reply"
            if listening.done():
                listening.result()
                await asyncio.wait({replying}, timeout=OWED_REPLY_S)
                if not replying.done():
                    return "no_reply"
            replying.result()
            heard = -1
            while not listening.done() and heard != self._heard:
                heard = self._heard
                await asyncio.wait({listening}, timeout=OWED_REPLY_S)
            if listening.done():
                listening.result()
            self._recorder.settle_widgets()
            return None
        finally:
            tasks = [replying, listening, *([overtaking] if overtaking is not None else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _be_overtaken(self) -> None:
        """Return when the kernel has served requests that came after the cell, but has not ended the cell: it never
        will. Some serve the first while a cell runs, but none the second."""
        for send in (self._client.kernel_info, partial(self._client.execute, "", silent=True, store_history=False)):
            self._later_served.clear()
            self._later_request = send()
            await self._later_served.wait()
            await asyncio.sleep(OVERTAKEN_S)

    async def _await_reply(self, request: str, recorded: RecordedCell) -> None:
        session, socket = self._client.session, self._client.shell_channel.socket
        while True:
            frames = await socket.recv_multipart()
            message = session.deserialize(session.feed_identities(frames)[1])
            answered = message["parent_header"].get("msg_id")
            if answered == self._later_request:
                self._later_served.set()
            if answered == request:
                recorded.note_time("shell.execute_reply", message["header"])
                self._reply = message["content"]
                return

    async def _listen(self, recorded: RecordedCell | None) -> None:
        """Read what the kernel publishes until it is idle after a cell; None: without end. Messages that have arrived
        are taken without waiting for each through the event loop."""
        waiting = self._client.iopub_channel.socket
        arrived: zmq.Socket[bytes] = zmq.Socket.shadow(waiting)
        at_once = 0
        while recorded is None or not recorded.is_idle:
            at_once += 1
            if at_once % MESSAGES_AT_ONCE == 0:
                await asyncio.sleep(0)  # a cancellation must be heard, and progress written
            try:
                frames = arrived.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                frames = await waiting.recv_multipart()
            await self._take(frames)

    async def _take(self, frames: list[bytes]) -> None:
        """Note a message, unless there have been too many. What comes faster than it is read lies in this process's
        memory."""
        self._heard += 1
        size = sum(map(len, frames))
        if not self._recorder.account.cell.receive(size) and not self._kernel.exited.done():
            self._reach("output", None)
            await self._kernel.kill()
        if size <= FLOOD_MESSAGE_BYTES or not self._over_limit.done():
            session = self._client.session
            self._recorder.take(session.deserialize(session.feed_identities(frames)[1]))

    async def _hear_last_words(self, patience_ms: int) -> None:
        """Take what a kernel sent before it ended."""
        socket = self._client.iopub_channel.socket
        try:
            while await socket.poll(patience_ms):
                await self._take(await socket.recv_multipart())
        except Exception as error:
            log.warning("a kernel's last words cannot be read", reason=f"{type(error).__name__}: {error}"[:200])

    def _reach(self, limit: Limit, _cell: RecordedCell | None) -> None:
        if not self._over_limit.done():
            self._over_limit.set_result(limit)
