"""An orderly end of a kernel: asked for by Jupyter's shutdown_request, waited for within a limit."""

from __future__ import annotations

import asyncio

from services.executor.kernels.client import RunClient
from services.executor.kernels.port import KernelExit


async def shut_down(client: RunClient, exited: asyncio.Future[KernelExit], grace_s: float) -> None:
    """Ask a kernel to end by itself and wait up to `grace_s` seconds for its process to end. A kernel that does not end
    in time is left running: whoever calls this kills it afterwards."""
    if exited.done():
        return
    client.shutdown()
    await asyncio.wait({exited}, timeout=grace_s)
