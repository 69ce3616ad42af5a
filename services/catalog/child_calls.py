"""Work on clients' texts that catalog has done in child processes, and what is told when it costs too much."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from pydantic import TypeAdapter

from services.catalog.document import Document
from services.catalog.importing import Imported
from services.catalog.model import Definition
from shared import frames
from shared.child_exchange import ChildFailed, Limits, OutOfTime, TooCostly
from shared.child_pool import ChildPool
from shared.contracts.notebooks import KernelType, Parsing
from shared.contracts.versions import CellDifference, NotebookDiff
from shared.errors import DeadlineExceeded, Fault, Invalid, Unavailable

if TYPE_CHECKING:
    from services.catalog.differences.operations import Operations
    from services.catalog.importing.scripts import TextFormat

FUNCTIONS = "services.catalog.child_functions"
"""What the children run; not imported here, since it brings nbdime along."""

log = structlog.get_logger(__name__)

LIMITS = Limits(processor_s=5, memory_bytes=768 * 1024 * 1024, output_bytes=110 * 1024 * 1024)
"""What reading, writing or comparing notebooks may cost. The largest file, of 50 MB, takes half of it."""

COMPARING = Limits(processor_s=2, memory_bytes=768 * 1024 * 1024, output_bytes=32 * 1024 * 1024)
"""What one of the steps of a comparison may cost; a reader waits for two or three of them."""

WITHOUT_DEADLINE_S = 60.0
"""How long a call may take whose caller gives no deadline, in seconds."""

MARGIN_S = 0.5
"""What is left of a caller's deadline for the rest of the work, in seconds."""

_DIFFERENCES = TypeAdapter(list[CellDifference])


def pool() -> ChildPool:
    """The children of this service."""
    return ChildPool([FUNCTIONS])


async def read_file(
    children: ChildPool,
    file_name: str,
    text: str,
    kernel_type: KernelType | None,
    *,
    owner: str,
    deadline: datetime | None,
) -> Imported:
    """Read an uploaded file. Raises Invalid, also when that costs too much, TooLarge, Unavailable without a child."""
    about = orjson.dumps({"fileName": file_name, "kernelType": kernel_type})
    argument = frames.joined(about, await asyncio.to_thread(text.encode))
    answer = await _call(children, "read_file", argument, "file", owner=owner, deadline=deadline)
    told, body, outputs = frames.split(answer)
    known = orjson.loads(told)
    document = Document.stored(body, outputs or None)
    await asyncio.to_thread(lambda: (document.cells, document.sha256))  # both are wanted on the loop
    return Imported(
        document=document,
        kernel_type=known["kernelType"],
        parsing=Parsing.model_validate(known["parsing"]),
        highest_cell_number=known["highestCellNumber"],
    )


async def write_text(
    children: ChildPool,
    document: Document,
    kernel_type: KernelType,
    form: TextFormat,
    *,
    owner: str,
    deadline: datetime | None,
) -> tuple[str, str]:
    """Return a notebook as a script or Markdown, and the ending of its name. Raises Invalid and Unavailable."""
    about = orjson.dumps({"kernelType": kernel_type, "format": form})
    argument = frames.joined(about, document.body_bytes)
    answer = await _call(children, "write_text", argument, "format", owner=owner, deadline=deadline)
    ending, text = frames.split(answer)
    return text.decode(), ending.decode()


async def compare(
    children: ChildPool, a: Definition, b: Definition, *, owner: str, deadline: datetime | None
) -> tuple[list[CellDifference], Operations]:
    """Return how the cells of two versions differ, and operations that lead from one to the other: nbdime's, or plain
    ones where those are not exact or cost too much. Raises Invalid when even the plain answer does, and Unavailable."""

    def pair(*, match_lines: bool) -> bytes:
        about = orjson.dumps({"kernelTypes": [a.kernel_type, b.kernel_type], "matchLines": match_lines})
        parts = [(x.document.body_bytes, x.document.outputs_bytes or b"") for x in (a, b)]
        return frames.joined(about, *parts[0], *parts[1])

    more: dict[str, Any] = {"owner": owner, "deadline": deadline}
    try:
        answer = await _ask(children, "compare_notebooks", pair(match_lines=True), COMPARING, share=0.4, **more)
    except (TooCostly, ChildFailed) as error:
        log.info("lines are not matched", reason=str(error))
        answer = await _call(
            children, "compare_notebooks", pair(match_lines=False), "the comparison", limits=COMPARING, **more
        )
    cells, plain = frames.split(answer)
    operations = None
    try:
        operations = orjson.loads(
            await _ask(children, "nbdime_operations", pair(match_lines=False), COMPARING, share=0.8, **more)
        )
    except (TooCostly, ChildFailed, Unavailable, DeadlineExceeded) as error:
        log.info("plain operations instead of nbdime's", reason=str(error))
    found = await asyncio.to_thread(_DIFFERENCES.validate_json, cells)
    return found, operations if operations is not None else orjson.loads(plain)


async def render_page(
    children: ChildPool, diff: NotebookDiff, name: str, *, owner: str, deadline: datetime | None
) -> str:
    """Return a diff as a page to read. Raises Invalid and Unavailable."""
    argument = frames.joined(name.encode(), await asyncio.to_thread(lambda: diff.model_dump_json().encode()))
    page = await _call(children, "render_page", argument, "the comparison", owner=owner, deadline=deadline)
    return page.decode()


async def _call(
    children: ChildPool,
    function: str,
    argument: bytes,
    what: str,
    *,
    owner: str,
    deadline: datetime | None,
    limits: Limits | None = None,
) -> bytes:
    """What the function answers within the caller's time; `what` names the part of the request that it is about."""
    try:
        return await _ask(children, function, argument, limits or LIMITS, owner=owner, deadline=deadline)
    except OutOfTime as error:  # the caller's time, not a limit of ours: a busy machine makes nothing costly
        raise DeadlineExceeded("The time for the answer is over.") from error
    except TooCostly as error:
        message = f"is too costly: working on it {error}"
    except ChildFailed as error:
        log.warning("a child process failed", function=function, reason=str(error))
        message = "cannot be worked on"
    raise Invalid(f"The request is refused: {what} {message}.", faults=[Fault(path=what, message=message)])


async def _ask(
    children: ChildPool,
    function: str,
    argument: bytes,
    limits: Limits,
    *,
    owner: str,
    deadline: datetime | None,
    share: float = 1.0,
) -> bytes:
    """What the function answers within a share of the caller's time."""
    left = WITHOUT_DEADLINE_S if deadline is None else (deadline - datetime.now(UTC)).total_seconds() - MARGIN_S
    if left <= 0:
        raise DeadlineExceeded("The time for the answer is over.")
    return await children.call(
        f"{FUNCTIONS}:{function}",
        argument,
        owner=owner,
        limits=replace(limits, wall_s=max(0.1, left * share)),
        patience_s=left,
    )
