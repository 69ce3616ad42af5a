"""Work on clients' texts that catalog has done in child processes, and what is told when it costs too much."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import structlog

from services.catalog import child_functions
from services.catalog.document import Document
from services.catalog.importing import Imported
from shared import frames
from shared.child_pool import ChildFailed, ChildPool, Limits, TooCostly
from shared.contracts.notebooks import KernelType, Parsing
from shared.errors import DeadlineExceeded, Fault, Invalid

if TYPE_CHECKING:
    from services.catalog.importing.scripts import TextFormat

log = structlog.get_logger(__name__)

LIMITS = Limits(processor_s=5, wall_s=8.0, memory_bytes=768 * 1024 * 1024, output_bytes=110 * 1024 * 1024)
"""What reading, writing or comparing notebooks may cost. The largest file, of 50 MB, takes half of it."""

MARGIN_S = 0.5
"""What is left of a caller's deadline for the rest of the work, in seconds."""


def pool() -> ChildPool:
    """The children of this service."""
    return ChildPool([child_functions.__name__])


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
    await asyncio.to_thread(lambda: document.cells)
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


async def _call(
    children: ChildPool, function: str, argument: bytes, path: str, *, owner: str, deadline: datetime | None
) -> bytes:
    """What the function answers within the caller's time; `path` is the member of the request that it is about."""
    left = LIMITS.wall_s if deadline is None else (deadline - datetime.now(UTC)).total_seconds() - MARGIN_S
    if left <= 0:
        raise DeadlineExceeded("The time for the answer is over.")
    try:
        return await children.call(
            f"{child_functions.__name__}:{function}",
            argument,
            owner=owner,
            limits=replace(LIMITS, wall_s=min(left, LIMITS.wall_s)),
            patience_s=left,
        )
    except TooCostly as error:
        message = f"is too costly: working on it {error}"
    except ChildFailed as error:
        log.warning("a child process failed", function=function, reason=str(error))
        message = "cannot be worked on"
    raise Invalid(f"The request is refused: {path} {message}.", faults=[Fault(path=path, message=message)])
