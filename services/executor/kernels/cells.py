"""Drives a kernel one cell at a time through nbclient, within limits: time, output, and the caller's cancel."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import structlog
import zmq
from nbclient.client import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from services.executor.kernels import messages, terminal
from services.executor.kernels.client import MAX_MESSAGE_BYTES
from services.executor.kernels.fair_reading import FairReading, Turn
from services.executor.kernels.output_limits import (
    CELL_LIMITS,
    MAX_CELL_OUTPUTS,
    MAX_CELL_RECEIVED_BYTES,
    RUN_LIMITS,
    OutputTally,
)
from services.executor.kernels.port import Kernel, KernelExit
from shared.contracts.executions import CellResources

log = structlog.get_logger(__name__)

INTERRUPT_GRACE_S = 2.0
"""How long an interrupted cell may take to stop before its kernel is killed, in seconds."""

FLOOD_MESSAGE_BYTES = 4096
"""After a limit was reached only smaller messages are read, in bytes: among them is the cell's end."""

NO_TIME_LIMIT_S = 86_400
"""Given to nbclient where we keep the time ourselves, in seconds."""

PROGRESS_TYPE = "application/vnd.atelier.progress+json"
"""MIME type by which a cell reports how far it is (`client.progress`)."""


ANNOUNCED = frozenset({"stream", "display_data", "execute_result", "update_display_data", "error"})
"""Messages whose output a listener is told of."""

Stop = Literal["cancel", "timeout", "output", "run_output", "breach", "garbled", "oversize"]
"""What stopped a cell other than its own end and its kernel's."""


class OutputListener(Protocol):
    """Hears of what the running cell puts out, as it comes."""

    def stream(self, name: str, text: str) -> None:
        """Text was added to `stdout` or `stderr`."""

    def shown(self, kind: str, content: dict[str, Any], size: int) -> None:
        """An output of another kind came (a message's `content`, of about `size` bytes), or replaced an earlier one."""

    def cleared(self) -> None:
        """All output of the cell was taken away."""


@dataclass(frozen=True, kw_only=True)
class CellOutcome:
    """What became of a cell that was run."""

    status: Literal["Success", "Error", "Cancelled"]
    started_at: datetime
    ended_at: datetime
    seconds: float
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    kernel_died: bool = False
    ends_run: bool = False
    """Whatever the error policy is: a limit of the whole run was reached."""
    timed_out: bool = False
    resources: CellResources | None = None


_SILENT = logging.getLogger("atelier.nbclient")
_SILENT.disabled = True
"""What nbclient logs of messages is whatever a notebook likes to send, as often as it likes."""


class _Driver(NotebookClient):
    """nbclient without its own process handling: the kernel's exit notice ends a cell at once, outputs are capped."""

    def __init__(
        self,
        notebook: NotebookNode,
        kernel: Kernel,
        on_progress: Callable[[float, str], None],
        on_output: OutputListener | None,
        turn: Turn,
    ) -> None:
        super().__init__(
            notebook,
            timeout=None,
            iopub_timeout=NO_TIME_LIMIT_S,
            raise_on_iopub_timeout=True,
            allow_errors=True,
            store_widget_state=True,
            log=_SILENT,
        )
        self.kernel = kernel
        self.kc = kernel.client
        self.over_limit: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self._on_progress = on_progress
        self._on_output = on_output
        self.reply: dict[str, Any] = {}
        self.on_cell_executed = self._note_reply
        self._turn = turn
        self._run, self._cell = OutputTally(RUN_LIMITS), OutputTally(CELL_LIMITS)
        self._size = self._received = 0
        self._stream: NotebookNode | None = None
        self._pieces: list[str] = []

    def begin_cell(self) -> None:
        """Forget what the cell before put out."""
        self._cell = OutputTally(CELL_LIMITS)
        self._size = self._received = 0
        self._stream = None
        self._pieces = []
        self.reply = {}
        if self.over_limit.done():
            self.over_limit = asyncio.get_running_loop().create_future()

    def end_stream(self) -> None:
        """Write the pieces of the stream output that was last added to, once: adding each would copy all before it."""
        if self._stream is not None and self._pieces:
            self._stream["text"] += "".join(self._pieces)
        self._stream, self._pieces = None, []

    async def _async_poll_kernel_alive(self) -> None:
        """Called by nbclient for each cell; ends the cell when the kernel ends."""
        await asyncio.shield(self.kernel.exited)
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()

    async def _async_poll_output_msg(self, parent_msg_id: str, cell: NotebookNode, cell_index: int) -> None:
        """Called by nbclient for each cell; takes messages that have arrived without waiting for each through the
        event loop."""
        client, turn = self.kernel.client, self._turn
        waiting = client.iopub_channel.socket
        arrived: zmq.Socket[bytes] = zmq.Socket.shadow(waiting)
        is_complete = False
        while not is_complete:
            if turn.is_over:
                await turn.pass_on(may_wait=client.kernel_waits and not self.over_limit.done())
            try:
                frames = arrived.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                frames = await waiting.recv_multipart()
            began = time.monotonic()
            if await self._is_bearable(sum(map(len, frames))):
                is_complete = self._completes(frames, parent_msg_id, cell, cell_index)
            turn.spend(time.monotonic() - began)

    def _completes(self, frames: list[bytes], parent_msg_id: str, cell: NotebookNode, cell_index: int) -> bool:
        """Take a message; whether it is the cell's last one."""
        session = self.kernel.client.session
        message = session.deserialize(session.feed_identities(frames)[1])
        if message["parent_header"].get("msg_id") == parent_msg_id:
            try:
                self.process_message(message, cell, cell_index)
            except CellExecutionComplete:
                return True
        return False

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Called by nbclient for each message of the cell; passes on what is as it should be, up to a cap."""
        messages.complete(msg)
        is_well_formed = messages.is_well_formed(msg)
        if not is_well_formed or msg["msg_type"] != "status":
            self._size = messages.size(msg["content"]) if is_well_formed else 0
            if not self._is_within_limits(OutputTally.add_message) or not is_well_formed:
                return None
            messages.clean(msg)
            if msg["msg_type"] == "update_display_data":
                self._announce("update_display_data", msg["content"])
        return super().process_message(msg, cell, cell_index)

    async def _is_bearable(self, size: int) -> bool:
        """Whether a message should be read at all. What comes faster than it is read lies in this process's memory."""
        self._received += size
        if self._received > MAX_CELL_RECEIVED_BYTES and not self.kernel.exited.done():
            self._report_flood("output")
            await self.kernel.kill()
        return size <= FLOOD_MESSAGE_BYTES or not self.over_limit.done()

    def _is_within_limits(self, add: Callable[[OutputTally, int], bool]) -> bool:
        """Whether what has just come, of `_size` bytes, is within the limits of the run and of the cell."""
        is_within_run, is_within_cell = add(self._run, self._size), add(self._cell, self._size)
        if not is_within_run:
            self._report_flood("run_output")
        elif not is_within_cell:
            self._report_flood("output")
        return is_within_run and is_within_cell

    def _report_flood(self, limit: Stop) -> None:
        if not self.over_limit.done():
            self.over_limit.set_result(limit)

    def failure(self) -> NotebookNode | None:
        """The error that the kernel's reply tells of. An output of this kind may be one that a notebook has caught and
        shown, and a kernel in distress may fail to show the one that ended the cell."""
        status = self.reply.get("status")
        if status == "error":
            said = {"msg_type": "error", "content": dict(self.reply)}
            messages.complete(said)
            if messages.is_well_formed(said):
                messages.clean(said)
                return NotebookNode(said["content"])
        if status == "ok":
            return None
        return NotebookNode(ename="KernelError", evalue="the kernel gave up the cell", traceback=[]) if status else None

    def _note_reply(self, execute_reply: dict[str, Any], **_: Any) -> None:
        self.reply = execute_reply["content"]

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Called by nbclient for each output message; joins stream pieces and keeps to the cap."""
        content = msg["content"]
        data = content.get("data")
        if isinstance(data, dict) and PROGRESS_TYPE in data:
            self._report(data[PROGRESS_TYPE])
            return None
        if not self._is_within_limits(OutputTally.add_output):
            return None
        if len(outs) >= MAX_CELL_OUTPUTS:
            self._report_flood("output")
            return None
        is_hooked = bool(self.output_hook_stack[msg["parent_header"].get("msg_id")])
        if not is_hooked:
            self._announce(msg["msg_type"], content)
        if msg["msg_type"] == "stream" and not self.clear_before_next_output and not is_hooked:
            return self._add_to_stream(outs, str(content.get("name")), str(content.get("text", "")))
        self.end_stream()
        return super().output(outs, msg, display_id, cell_index)

    def clear_output(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        """Called by nbclient when the cell takes its outputs away, at once or with the next one."""
        is_hooked = bool(self.output_hook_stack[msg["parent_header"].get("msg_id")])
        if self._on_output is not None and not is_hooked and not msg["content"].get("wait"):
            self._on_output.cleared()
        super().clear_output(outs, msg, cell_index)

    def _announce(self, kind: str, content: dict[str, Any]) -> None:
        """Tell of an output as it comes."""
        if self._on_output is None or kind not in ANNOUNCED:
            return
        if self.clear_before_next_output and kind != "update_display_data":
            self._on_output.cleared()
        if kind == "stream":
            self._on_output.stream(content["name"], content["text"])
        else:
            self._on_output.shown(kind, content, self._size)

    def _add_to_stream(self, outs: list[NotebookNode], name: str, text: str) -> NotebookNode:
        last = outs[-1] if outs else None
        if last is None or last["output_type"] != "stream" or last["name"] != name:
            self.end_stream()
            # Made here: nbformat's own function checks it against the whole schema, which takes longer than the cell.
            last = NotebookNode(output_type="stream", name=name, text="")
            outs.append(last)
        if last is not self._stream:
            self.end_stream()
            self._stream = last
        self._pieces.append(text)
        return last

    def _report(self, progress: Any) -> None:
        try:
            if isinstance(progress, str):  # Toree has nothing but texts for data
                progress = json.loads(progress)
            fraction, message = float(progress["fraction"]), str(progress.get("message") or "")
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
            return  # a notebook may display anything under this type; what is no progress is not shown
        if math.isnan(fraction):
            return
        self._on_progress(min(max(fraction, 0.0), 1.0), message[:500])


class CellRunner:
    """Runs the cells of one notebook in one kernel."""

    def __init__(
        self,
        notebook: NotebookNode,
        kernel: Kernel,
        *,
        cancel: asyncio.Event,
        on_progress: Callable[[float, str], None],
        on_output: OutputListener | None = None,
        breached: asyncio.Event | None = None,
        turn: Turn | None = None,
    ) -> None:
        self._breached = breached or asyncio.Event()
        self._kernel = kernel
        self._driver = _Driver(notebook, kernel, on_progress, on_output, turn or Turn(FairReading()))
        self._notebook = notebook
        self._cancel = cancel
        self._waiting: tuple[asyncio.Task[Any], asyncio.Task[Any], asyncio.Task[Any]] | None = None

    def close(self) -> None:
        """No cell will be run any more."""
        if self._waiting is not None:
            for task in self._waiting:
                task.cancel()

    def catch_up(self) -> None:
        """Write into the notebook what the running cell has put out so far."""
        self._driver.end_stream()

    def keep_widgets(self) -> None:
        """Write the state of the notebook's widgets into its metadata, from which front ends show them again."""
        self._driver.set_widgets_metadata()

    async def run(self, index: int, *, timeout_s: float, timeout_name: str) -> CellOutcome:
        """Run the code cell at `index`; its outputs are in the notebook afterwards, whatever the outcome.

        `timeout_name` tells whose limit `timeout_s` is, for the message.
        """
        started_at, clock = datetime.now(UTC), time.monotonic()
        stopped_by = await self._drive(index, timeout_s)
        seconds = round(time.monotonic() - clock, 4)
        cell = self._notebook.cells[index]
        terminal.tidy(cell.outputs)
        error = self._driver.failure()
        died = self._kernel.exited.done()
        outcome: dict[str, Any] = {"status": "Success"}
        if stopped_by == "cancel":
            outcome = {"status": "Cancelled"}
        elif stopped_by == "timeout":
            outcome = {
                "status": "Error",
                "error_type": "TimeoutError",
                "error_message": f"the {timeout_name} of {timeout_s:g} seconds was reached in {cell.id}",
                "timed_out": True,
            }
        elif stopped_by == "output":
            limit = f"output limit of {CELL_LIMITS.output_bytes // 1_000_000} MB or {MAX_CELL_OUTPUTS} outputs"
            outcome = _beyond_limit(limit, cell.id)
        elif stopped_by == "run_output":
            limit = f"output limit of {RUN_LIMITS.output_bytes // 1_000_000} MB or {RUN_LIMITS.messages} messages"
            outcome = _beyond_limit(f"{limit} for all cells of a run", cell.id) | {"ends_run": True}
        elif stopped_by == "oversize":
            outcome = _beyond_limit(f"limit of {MAX_MESSAGE_BYTES // 1_000_000} MB for one output", cell.id)
        elif stopped_by == "garbled":
            outcome = {
                "status": "Error",
                "error_type": "KernelMessageError",
                "error_message": f"the kernel sent what is no message of its protocol in {cell.id}",
            }
        elif stopped_by == "breach" or died:
            outcome = {
                "status": "Error",
                "error_type": "DeadKernelError",
                "error_message": _cause_of_death(self._kernel.exited.result(), cell.id) if died else None,
            }
        elif error is not None:
            outcome = {
                "status": "Error",
                "error_type": str(error.ename) or "Error",
                "error_message": str(error.evalue),
                "traceback": "\n".join(map(str, error.traceback)),
            }
        return CellOutcome(
            started_at=started_at, ended_at=datetime.now(UTC), seconds=seconds, kernel_died=died, **outcome
        )

    async def _drive(self, index: int, timeout_s: float) -> Stop | None:
        """Run nbclient's task to its end; never cancel it (it would call that a dead kernel): stop the kernel."""
        self._driver.begin_cell()
        if self._waiting is None:
            # Once for all cells: they stay as they are when a cell has come to its end by itself.
            reasons = (self._cancel, self._breached, self._kernel.client.cut_off)
            cancel, breach, cut = (asyncio.create_task(reason.wait()) for reason in reasons)
            self._waiting = cancel, breach, cut
        cancelled, breached, cut_off = self._waiting
        flooded = self._driver.over_limit
        task = asyncio.create_task(self._driver.async_execute_cell(self._notebook.cells[index], index))
        try:
            done, _ = await asyncio.wait(
                {task, cancelled, flooded, breached, cut_off}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            stopped_by: Stop | None = None
            if task not in done:
                limit = flooded.result() if flooded.done() else "output"
                stops: list[tuple[asyncio.Future[Any], Stop]] = [
                    (cancelled, "cancel"), (breached, "breach"), (flooded, limit), (cut_off, "oversize")
                ]  # fmt: skip
                stopped_by = next((name for reason, name in stops if reason in done), "timeout")
                if stopped_by not in {"breach", "oversize"}:
                    await self._kernel.interrupt()
                    await asyncio.wait({task}, timeout=INTERRUPT_GRACE_S)
                if not task.done():
                    await self._kernel.kill()
            try:
                await task
            except (DeadKernelError, CellTimeoutError):
                await asyncio.shield(self._kernel.exited)
            except Exception as error:
                # A notebook can write to its kernel's sockets itself; nothing that comes after could be understood.
                log.warning("a kernel sent what cannot be read", reason=f"{type(error).__name__}: {error}"[:200])
                await self._kernel.kill()
                await asyncio.shield(self._kernel.exited)
                stopped_by = stopped_by or "garbled"
            if flooded.done() and stopped_by is None:
                stopped_by = flooded.result()
            return stopped_by
        finally:
            self._driver.end_stream()


def _beyond_limit(limit: str, cell_id: str) -> dict[str, Any]:
    return {
        "status": "Error",
        "error_type": "OutputLimitError",
        "error_message": f"the {limit} was reached in {cell_id}",
    }


def _cause_of_death(end: KernelExit, cell_id: str) -> str:
    if end.is_limit:
        return f"{end.reason} in {cell_id}"
    return f"the kernel died in {cell_id}: {end.reason}"
