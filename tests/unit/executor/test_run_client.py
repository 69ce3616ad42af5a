"""The client of a kernel whose end comes at any moment."""

from __future__ import annotations

import asyncio
import faulthandler
from pathlib import Path

import zmq
import zmq.asyncio

from services.executor.kernels.client import RunClient, new_context

TIMES = 150
"""A client that closes its watching sockets too early stands still within some tens of times."""

STANDS_STILL_S = 120.0
"""When the process is given up: a thread that waits inside libzmq hears no exception."""


def connected(context: zmq.asyncio.Context, base: Path) -> tuple[RunClient, list[zmq.Socket[bytes]]]:
    """A client, and a kernel's sockets."""
    peers: list[zmq.Socket[bytes]] = []
    kernel: zmq.Context[zmq.Socket[bytes]] = zmq.Context.shadow(context)
    for number, kind in enumerate((zmq.ROUTER, zmq.PUB, zmq.ROUTER), start=1):
        peer = kernel.socket(kind)
        peer.bind(f"ipc://{base}-{number}")
        peers.append(peer)
    client = RunClient(context=context)
    client.load_connection_info(
        {
            "transport": "ipc",
            "ip": str(base),
            "shell_port": 1,
            "iopub_port": 2,
            "control_port": 3,
            "key": "k",
            "signature_scheme": "hmac-sha256",
        }
    )
    client.start_channels(stdin=False, hb=False)
    return client, peers


async def test_a_kernel_that_ends_in_the_same_moment_holds_nobody_up(tmp_path: Path) -> None:
    context = new_context(reconnecting=False)
    faulthandler.dump_traceback_later(STANDS_STILL_S, exit=True)
    try:
        for number in range(TIMES):
            client, peers = connected(context, tmp_path / f"k{number}")
            await asyncio.sleep(0)
            for peer in peers:
                peer.close(linger=0)
            client.stop_channels()
    finally:
        faulthandler.cancel_dump_traceback_later()
        context.destroy(linger=0)
