"""The worker's process that keeps R, Scala and built environments' kernels ready."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from services.executor.kernels.forked import ForkedKernels
from services.executor.slots.channel import Message
from services.executor.slots.followed_server import FollowedServer
from services.executor.slots.pools import PoolsServer
from services.executor.slots.process import Member
from shared.process import Part


class PoolsProcess(Member):
    """See the module."""

    def __init__(
        self, connection: socket.socket, server: FollowedServer, kernels: ForkedKernels, pools: PoolsServer
    ) -> None:
        super().__init__(connection)
        self.server = server
        self._kernels = kernels
        self._pools = pools
        pools.is_open = self.is_open

    def parts(self) -> Sequence[Part]:
        """See Member."""
        return [self._kernels]

    def obey(self, message: Message, connection: socket.socket | None) -> None:
        """Serve a slot from now on."""
        if message["do"] == "serve" and connection is not None:
            self._pools.serve(connection)

    async def warm_up(self) -> None:
        """Nothing: a start of a kernel takes far longer."""

    async def rest(self) -> None:
        """See Member."""
        await self._pools.close()

    def state(self) -> dict[str, Any]:
        """See Member."""
        return {"readyByKernel": self._kernels.spares.ready()}
