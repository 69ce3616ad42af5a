"""Checks a run's parameters against a schema that a notebook's author wrote, in a killable child process.

A schema of a few hundred bytes can take any time and memory: definitions that each name the next one twice, comparisons
of every item with every other. What goes over the limits cannot be used, and the run is told so.
"""

from __future__ import annotations

from typing import Any

import orjson
import structlog

from services.executor import parameter_rules
from services.executor.parameter_rules import Misfits
from shared.child_exchange import ChildFailed, Limits, TooCostly
from shared.child_pool import ChildPool
from shared.contracts.notebooks import PinnedNotebook
from shared.errors import Fault

log = structlog.get_logger(__name__)

LIMITS = Limits(processor_s=2, wall_s=6.0, memory_bytes=256 * 1024 * 1024, output_bytes=1024 * 1024)
"""What one check may cost; an honest one takes milliseconds."""

PATIENCE_S = 3.0
"""How long a check waits for its turn, in seconds."""

MODULE = parameter_rules.__name__
"""What the child processes have imported."""


async def misfits(
    children: ChildPool, notebook: PinnedNotebook, given: dict[str, Any], *, owner: str
) -> Misfits | None:
    """Find the values that the notebook's own schema refuses; None where it has none of its own.

    `owner` (the tenant) shares the child processes with others. Raises Unavailable when none comes free in time.
    """
    if not parameter_rules.has_own_schema(notebook):
        return None
    question = orjson.dumps({"schema": notebook.parameters, "given": given})
    function = f"{MODULE}:{parameter_rules.misfits_as_bytes.__name__}"
    try:
        answer = await children.call(function, question, owner=owner, limits=LIMITS, patience_s=PATIENCE_S)
    except TooCostly as error:
        return Misfits(unusable=f"checking against it {error}")
    except ChildFailed as error:
        log.warning("parameters not checked", notebook_id=str(notebook.notebook_id), reason=str(error)[:200])
        return Misfits(unusable="checking against it failed")
    found = orjson.loads(answer)
    return Misfits(faults=[Fault.model_validate(fault) for fault in found["faults"]], unusable=found["unusable"])
