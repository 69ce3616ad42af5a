"""The Python version that a notebook shows which asks for none: that of the base environment."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from shared.contracts.executions import GetBasePython
from shared.contracts.notebooks import Notebook
from shared.errors import AtelierError

if TYPE_CHECKING:
    from services.gateway.calls import Asked

log = structlog.get_logger(__name__)

KEPT_S = 60.0
"""How long an answer is kept, in seconds; the version changes with a release."""

PATIENCE_S = 1.5
"""How long a notebook's answer waits for executor to tell the version, in seconds."""


class BasePythonCache:
    """Executor's answer, kept for a while; also that there was none."""

    def __init__(self) -> None:
        self._version: str | None = None
        self._until = 0.0

    async def version(self, asked: Asked) -> str | None:
        """The version, or None while executor cannot tell."""
        if time.monotonic() >= self._until:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    told = await asked.ask(GetBasePython(scope=asked.scope, caller=asked.caller))
                self._version = told.python_version or self._version
            except (AtelierError, TimeoutError) as error:
                log.info("the base environment's Python is not known now", reason=type(error).__name__)
            self._until = time.monotonic() + (KEPT_S if self._version else PATIENCE_S)
        return self._version


async def with_version(asked: Asked, notebook: Notebook) -> Notebook:
    """`notebook` with the version of Python that it runs on, where it asks for none."""
    if notebook.kernel_type != "python3" or notebook.environment.python_version:
        return notebook
    version = await asked.gateway.base_python.version(asked)
    environment = notebook.environment.model_copy(update={"python_version": version})
    return notebook.model_copy(update={"environment": environment})
