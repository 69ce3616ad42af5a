"""One kernel of the fork server, forked or started by its command line, from readiness to its end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import structlog

from services.executor.kernels.client import RunClient
from services.executor.kernels.connecting import Connection
from services.executor.kernels.forked_provisioner import ForkedKernelProvisioner
from services.executor.kernels.meeting import SocketHold
from services.executor.kernels.metering import Meter
from services.executor.kernels.port import KernelExit, Usage
from services.executor.kernels.shutdown import shut_down

log = structlog.get_logger(__name__)

KILL_WAIT_S = 5.0
"""How long a killed kernel may take until nothing of it is left, in seconds."""


class ForkedKernel:
    """See `port.Kernel`."""

    def __init__(
        self,
        provisioner: ForkedKernelProvisioner,
        connection: Connection,
        client: RunClient,
        run_dir: Path,
        hold: SocketHold | None = None,
    ) -> None:
        self.run_dir = run_dir
        self.client = client
        self.exited: asyncio.Future[KernelExit] = provisioner.exited
        self.provisioner = provisioner
        self._connection = connection
        self._hold = hold
        self._closed = False

    @property
    def meter(self) -> Meter | None:
        """See Kernel."""
        return self.provisioner.meter

    async def interrupt(self) -> None:
        """See Kernel."""
        await self.provisioner.send_signal(2)

    async def suspend(self) -> None:
        """Have the kernel use no processor time until `resume`."""
        await self.provisioner.send_signal(signal.SIGSTOP)

    async def resume(self) -> None:
        """Go on, with as much of the processors as any other kernel."""
        await self.provisioner.send_signal(signal.SIGCONT)
        if self.meter is not None:
            self.meter.give_way(gives_way=False)

    @property
    def key(self) -> str:
        """What signs its messages."""
        return self._connection.key

    @property
    def descriptors(self) -> list[int]:
        """Its sockets, where they are held (see `meeting`), in the order of `connecting.CHANNELS`."""
        return self._hold.descriptors if self._hold is not None else []

    def hang_up(self) -> None:
        """Close the client: another process of the worker connects to the kernel next."""
        self.client.stop_channels()

    def let_go(self) -> None:
        """The kernel belongs to another process now: close what is held of it, and leave it alone."""
        self._closed = True
        self.provisioner.link.forget(self.provisioner.identity)
        if self.provisioner.meter is not None:
            self.provisioner.meter.close()
        if self._hold is not None:
            self._hold.close()

    async def shut_down(self, grace_s: float) -> None:
        """See Kernel."""
        await shut_down(self.client, self.exited, grace_s)

    async def kill(self) -> None:
        """See Kernel."""
        await self.provisioner.kill()

    def usage(self) -> Usage | None:
        """See Kernel."""
        return self.provisioner.usage

    async def close(self) -> None:
        """See Kernel."""
        if self._closed:
            return
        self._closed = True
        await self.kill()
        try:
            async with asyncio.timeout(KILL_WAIT_S):
                await self.provisioner.cleanup()
        except TimeoutError:
            log.error("a kernel is not gone in time", pid=self.provisioner.identity)
        self.client.stop_channels()
        if self._hold is not None:
            self._hold.close()
        self._connection.remove()
