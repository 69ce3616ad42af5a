"""What became of a cell that was run, in the words of status objects and events. Long texts are cut there; they are
whole in the notebook's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from services.executor.kernels import messages
from services.executor.kernels.client import MAX_MESSAGE_BYTES
from services.executor.kernels.forkserver.shown_failures import PAYLOAD
from services.executor.kernels.output_limits import CELL_LIMITS, MAX_CELL_OUTPUTS, RUN_LIMITS
from services.executor.kernels.port import KernelExit
from shared.contracts.executions import CellResources

TYPE_LENGTH, MESSAGE_LENGTH, TRACEBACK_LENGTH = 200, 10_000, 100_000
"""Characters of an error's type, message and traceback that a status object shows: it goes over the bus."""

OWED_REPLY_S = 5.0
"""How long a kernel that is idle may owe the reply to a cell, in seconds; and how long one that has replied may be
silent before it is taken to be idle."""

NAMELESS = "NoneType"
"""What ipykernel's reply calls the error of a value that could not be shown; only the output has its name."""

Stop = Literal["cancel", "timeout", "output", "run_output", "breach", "garbled", "oversize", "no_reply", "input"]
"""What stopped a cell other than its own end and its kernel's."""

EXITS_WELL = frozenset({"", "0", "None", "False"})
"""The texts of a SystemExit that is no error: of `sys.exit()`, `sys.exit(0)`, `sys.exit(None)`, `sys.exit(False)`. The
first two are papermill's, too."""


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
    goes_on: bool = False
    """The error was shown by what the cell called, which then went on: so does the run, and has failed at its end."""
    exits: bool = False
    """The cell ended the run on purpose, and well: `sys.exit(0)`, `quit()`, R's `quit(status = 0)`."""
    ends_run: bool = False
    """Whatever the error policy is: a limit of the whole run was reached."""
    timed_out: bool = False
    resources: CellResources | None = None


def cut(text: str, length: int) -> str:
    """`text`, no longer than `length` characters and a remark that says so."""
    if len(text) <= length:
        return text
    return f"{text[:length]}… [cut: {len(text):,} characters]"


def stopped(stop: Stop, cell_id: str, *, limit_s: float, limit_name: str) -> dict[str, Any]:
    """The members of an outcome whose cell was stopped; none for `breach`, which others explain."""
    if stop == "cancel":
        return {"status": "Cancelled"}
    if stop == "timeout":
        message = f"the {limit_name} of {limit_s:g} seconds was reached in {cell_id}"
        return _error("TimeoutError", message) | {"timed_out": True}
    if stop == "output":
        limit = f"output limit of {CELL_LIMITS.output_bytes // 1_000_000} MB or {MAX_CELL_OUTPUTS} outputs"
        return _error("OutputLimitError", f"the {limit} was reached in {cell_id}")
    if stop == "run_output":
        limit = f"output limit of {RUN_LIMITS.output_bytes // 1_000_000} MB or {RUN_LIMITS.messages} messages"
        message = f"the {limit} for all cells of a run was reached in {cell_id}"
        return _error("OutputLimitError", message) | {"ends_run": True}
    if stop == "oversize":
        limit = f"limit of {MAX_MESSAGE_BYTES // 1_000_000} MB for one output"
        return _error("OutputLimitError", f"the {limit} was reached in {cell_id}")
    if stop == "no_reply":
        message = f"the kernel is idle and has not answered {cell_id} within {OWED_REPLY_S:g} seconds"
        return _error("KernelMessageError", message)
    if stop == "input":
        message = f"{cell_id} asked for input, but a run has nobody to answer; use a parameter instead"
        return _error("StdinNotImplementedError", message)
    return _error("KernelMessageError", f"the kernel sent what is no message of its protocol in {cell_id}")


def died(end: KernelExit | None, cell_id: str) -> dict[str, Any]:
    """The members of an outcome whose kernel died, or is about to be ended for a limit that others explain (None)."""
    message = None
    if end is not None:
        message = f"{end.reason} in {cell_id}" if end.is_limit else f"the kernel died in {cell_id}: {end.reason}"
    return _error("DeadKernelError", message)


def replied(reply: dict[str, Any], shown: dict[str, Any] | None) -> dict[str, Any]:
    """The members of an outcome by the kernel's reply, the content of an `execute_reply`. `shown` is the error that the
    cell has put out last, if any: one that was only shown fails nothing.

    A cell ends its run well when its error is a SystemExit that says so, or when the reply has the payload `ask_exit`,
    which kernels send for `quit()`; its member `status`, where there is one, says how, as that of a process does. A
    cell has failed with the error that it shows, whatever the reply's status, where that has the payload of
    `shown_failures`.
    """
    asked = _asked_to_exit(reply)
    if asked is not None:
        if asked == 0:
            return {"status": "Success", "exits": True}
        return _error("SystemExit", str(asked)) | {"ends_run": True}
    if reply.get("status") == "ok":
        if shown is not None and any(part.get("source") == PAYLOAD for part in _payload_of(reply)):
            return _failed(shown) | {"goes_on": True}
        return {"status": "Success"}
    failure = _failure_in(reply) or shown
    if failure is None:
        return _error("KernelError", "the kernel gave up the cell")
    if shown is not None and failure["ename"] in {shown["ename"], NAMELESS}:
        failure = shown
    if failure["ename"] == "SystemExit" and failure["evalue"] in EXITS_WELL:
        return {"status": "Success", "exits": True}
    return _failed(failure)


def _failed(failure: dict[str, Any]) -> dict[str, Any]:
    traceback = cut("\n".join(failure["traceback"]), TRACEBACK_LENGTH)
    return _error(failure["ename"] or "Error", failure["evalue"]) | {"traceback": traceback}


def _failure_in(reply: dict[str, Any]) -> dict[str, Any] | None:
    """The error that a reply tells of: a kernel in distress may fail to show it as an output."""
    told: dict[str, Any] = {"msg_type": "error", "content": dict(reply)}
    if reply.get("status") != "error":
        return None
    messages.complete(told)
    if not messages.is_well_formed(told):
        return None
    messages.clean(told)
    content: dict[str, Any] = told["content"]
    return content


def _asked_to_exit(reply: dict[str, Any]) -> int | None:
    """The exit status that a cell has asked its kernel to end with; None where it has not."""
    for part in _payload_of(reply):
        if part.get("source") == "ask_exit" and not part.get("keepkernel"):
            status = part.get("status")
            return status if type(status) is int else 0
    return None


def _payload_of(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """What a reply has beside its result, of which a notebook may have made anything."""
    payload = reply.get("payload")
    return [part for part in payload if isinstance(part, dict)] if isinstance(payload, list) else []


def _error(error_type: str, message: str | None) -> dict[str, Any]:
    return {
        "status": "Error",
        "error_type": cut(error_type, TYPE_LENGTH),
        "error_message": None if message is None else cut(message, MESSAGE_LENGTH),
    }
