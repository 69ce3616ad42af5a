"""Writes what a kernel says into the notebook: each output into the cell that it belongs to, also when that cell has
ended long ago, up to the limits. What widgets do is nbclient's."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol

import structlog
from nbclient.client import NotebookClient
from nbformat import NotebookNode

from services.executor.kernels import messages, value_limits
from services.executor.kernels.client import RunClient
from services.executor.kernels.output_limits import CELL_LIMITS, RUN_LIMITS, Account, Limit, OutputTally
from services.executor.kernels.output_list import Display, OutputList
from services.executor.kernels.output_widgets import KeptOutputWidget

log = structlog.get_logger(__name__)

PROGRESS_TYPE = "application/vnd.atelier.progress+json"
"""MIME type by which a cell reports how far it is (`client.progress`)."""

_SILENT = logging.getLogger("atelier.nbclient")
_SILENT.disabled = True
"""What nbclient logs of messages is whatever a notebook likes to send, as often as it likes."""


class OutputListener(Protocol):
    """Hears of what the running cell puts out, as it comes."""

    def stream(self, name: str, text: str) -> None:
        """Text was added to `stdout` or `stderr`."""

    def shown(self, kind: str, content: dict[str, Any], size: int) -> None:
        """An output of another kind came (a message's `content`, of about `size` bytes), or replaced an earlier one."""

    def cleared(self) -> None:
        """All output of the cell was taken away."""


class RecordedCell:
    """A cell that was sent to the kernel."""

    def __init__(self, cell: NotebookNode, account: Account) -> None:
        cell.outputs = []
        cell.metadata["execution"] = NotebookNode()
        self.cell = cell
        self.outputs = OutputList(cell.outputs, account)
        self.is_idle = False
        """Whether the kernel has said that it is through with the cell."""

    def note_time(self, name: str, header: dict[str, Any]) -> None:
        """Keep when a message was sent, as nbclient does."""
        date = header.get("date")
        self.cell.metadata["execution"][name] = date.isoformat() if isinstance(date, datetime) else str(date)


class Recorder(NotebookClient):
    """One per run. `on_limit` is called with a limit that was reached, and with the cell that reached it."""

    def __init__(
        self,
        notebook: NotebookNode,
        client: RunClient,
        *,
        on_progress: Callable[[float, str], None],
        on_limit: Callable[[Limit, RecordedCell], None],
        on_output: OutputListener | None = None,
    ) -> None:
        super().__init__(notebook, store_widget_state=True, log=_SILENT)
        self.kc = client
        self.widget_registry = {"@jupyter-widgets/output": {"OutputModel": KeptOutputWidget}}
        self.account = Account(OutputTally(CELL_LIMITS), OutputTally(RUN_LIMITS))
        self._on_progress = on_progress
        self._on_limit = on_limit
        self._on_output = on_output
        self._running: RecordedCell | None = None
        self._cells: dict[str, RecordedCell] = {}
        self._displays: dict[str, Display] = {}
        self._widget_sizes: dict[tuple[str, str], int] = {}
        self._values = value_limits.ValueTally(self._kept)

    def begin(self, cell: NotebookNode) -> RecordedCell:
        """Take a cell that is about to be sent; what comes from now on counts for it."""
        self.account = Account(OutputTally(CELL_LIMITS), self.account.run)
        self._running = RecordedCell(cell, self.account)
        return self._running

    def sent(self, recorded: RecordedCell, request: str) -> None:
        """Note the request that the cell was sent with."""
        self._cells[request] = recorded

    def settle(self) -> None:
        """Bring the notebook up to what has come so far."""
        for recorded in self._cells.values():
            recorded.outputs.settle()

    def settle_widgets(self) -> None:
        """Have output widgets tell the kernel what they show; to be done when a cell has ended."""
        for widget in self.comm_objects.values():
            widget.settle()

    def take(self, message: dict[str, Any]) -> None:
        """Note a message of the iopub channel; what belongs to no cell of the notebook is passed over."""
        recorded = self._cells.get(message["parent_header"].get("msg_id"))
        if recorded is None:
            return
        messages.complete(message)
        if not messages.is_well_formed(message):
            self._report(self.account.add_message(0), recorded)
            return
        kind, content = message["msg_type"], message["content"]
        if kind == "status":
            if content["execution_state"] == "idle" and not recorded.is_idle:
                recorded.note_time("iopub.status.idle", message["header"])
                recorded.is_idle = True
            return
        size = messages.size(content) + sum(map(len, message["buffers"]))
        limit = self.account.add_message(size)
        if limit is not None:
            self._report(limit, recorded)
            return
        if not self._values.admits(message.get("values", 1)):
            if kind not in messages.SHOWN:
                return
            content["data"], content["metadata"] = {"text/plain": value_limits.TOO_MANY_OF_RUN}, {}
            size = messages.size(content)
        messages.clean(message)
        if content.get("execution_count") is not None:
            recorded.cell["execution_count"] = content["execution_count"]
        if kind in messages.COMMS:
            self._take_widget(message, recorded, size)
        elif kind == "execute_input":
            recorded.note_time("iopub.execute_input", message["header"])
        else:
            self._report(self._take_output(message, recorded, size), recorded)

    def _kept(self) -> Iterator[Any]:
        """All that the run keeps of what may have many values."""
        for cell in self.nb.cells:
            for output in cell.get("outputs", ()):
                yield from (output.get("traceback"), output.get("metadata"), *(output.get("data") or {}).values())
        yield from self.widget_state.values()

    def _take_output(self, message: dict[str, Any], recorded: RecordedCell, size: int) -> Limit | None:
        kind, content = message["msg_type"], message["content"]
        hooks = self.output_hook_stack.get(message["parent_header"].get("msg_id"))
        outputs = recorded.outputs
        if hooks and isinstance(widget := hooks[-1], KeptOutputWidget):
            outputs, widget.parent_header = widget.list, message["parent_header"]
        if recorded is self._running and outputs is recorded.outputs:
            self._announce(kind, content, size, cleared=outputs.clears_with_next)
        if kind == "clear_output":
            if content.get("wait"):
                outputs.clears_with_next = True
            else:
                outputs.clear()
        elif kind == "stream":
            return outputs.add_text(content["name"], content["text"])
        elif kind == "error":
            members = {name: content[name] for name in ("ename", "evalue", "traceback")}
            return outputs.add(NotebookNode(output_type="error", **members), size)
        elif kind in messages.SHOWN:
            return self._show(kind, content, outputs, size)
        return None

    def _show(self, kind: str, content: dict[str, Any], outputs: OutputList, size: int) -> Limit | None:
        """Add what is displayed, or put it in the place of what has the same display id."""
        data, metadata = content["data"], content["metadata"]
        if PROGRESS_TYPE in data:
            self._tell_progress(data[PROGRESS_TYPE])
            return None
        display = None
        if (identity := (content.get("transient") or {}).get("display_id")) is not None:
            display = self._displays.get(identity)
            if display is not None:
                limit = display.show(data, metadata, size, self.account)
                if limit is not None:
                    return limit
            elif kind != "update_display_data":
                display = self._displays[identity] = Display(data, metadata, size)
        if kind == "update_display_data":
            return None
        if display is not None:
            data, metadata = display.data, display.metadata
        # Not through nbformat: it would copy the data, item by item, and check it against its schema.
        output = NotebookNode({"output_type": kind, "data": data, "metadata": metadata})
        if kind == "execute_result":
            output["execution_count"] = content.get("execution_count")
        return outputs.add(output, size, display)

    def _announce(self, kind: str, content: dict[str, Any], size: int, *, cleared: bool) -> None:
        """Tell of an output as it comes; `cleared` where it takes the place of all before it."""
        listener = self._on_output
        if listener is None or PROGRESS_TYPE in content.get("data", ()):
            return
        if kind == "clear_output":
            if not content.get("wait"):
                listener.cleared()
            return
        if cleared and kind != "update_display_data":
            listener.cleared()
        if kind == "stream":
            listener.stream(content["name"], content["text"])
        elif kind == "error" or kind in messages.SHOWN:
            listener.shown(kind, content, size)

    def _take_widget(self, message: dict[str, Any], recorded: RecordedCell, size: int) -> None:
        """Keep what widgets are like. A message that does not follow their protocol is passed over."""
        identity, data = message["content"]["comm_id"], message["content"]["data"]
        state = data.get("state", {})
        sizes = {(identity, name): messages.size_of(value) for name, value in state.items()}
        if data.get("buffer_paths"):
            sizes[identity, ""] = self._widget_sizes.get((identity, ""), 0) + size
        grown = sum(new - self._widget_sizes.get(key, 0) for key, new in sizes.items())
        limit = self.account.keep(grown)
        if limit is not None:
            self._report(limit, recorded)
            return
        self._widget_sizes.update(sizes)
        try:
            self.handle_comm_msg(recorded.cell.outputs, message, 0)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError, AssertionError) as error:
            log.debug("a widget's message is passed over", reason=repr(error)[:200])

    def _report(self, limit: Limit | None, recorded: RecordedCell) -> None:
        if limit is not None:
            self._on_limit(limit, recorded)

    def _tell_progress(self, progress: Any) -> None:
        try:
            if isinstance(progress, str):  # Toree has nothing but texts for data
                progress = json.loads(progress)
            fraction, message = float(progress["fraction"]), str(progress.get("message") or "")
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError, RecursionError):
            return  # a notebook may display anything under this type; what is no progress is not shown
        if not math.isnan(fraction):
            self._on_progress(min(max(fraction, 0.0), 1.0), messages.storable(message[:500]))
