"""A jupyter_client kernel provisioner that has the fork server make the kernel and learns of its end by notice."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from services.executor import wording
from services.executor.kernels.fork_channel import ForkChannel
from services.executor.kernels.metering import GroupMeter, Meter, ProcessMeter, kernel_beside
from services.executor.kernels.port import KernelExit, Usage
from services.executor.kernels.start_priority import StartPriority


class ForkedKernelProvisioner(KernelProvisionerBase):
    """One kernel of the fork server. `bound`, `exited` and `gone` resolve by the server's notices."""

    link: ForkChannel
    identity: int
    limits: dict[str, Any]
    usage: Usage | None = None
    failure: str | None = None
    ended_by: str | None = None
    """See KernelCommand."""
    meter: Meter | None = None
    priority: StartPriority | None = None
    """Of its start, where it has one that may be low."""
    _spawned = False
    _keeper: int | None = None

    def prepare(self, link: ForkChannel, identity: int, limits: dict[str, Any], *, same_pids: bool = True) -> None:
        """To be called before `launch_kernel`: which server, under which number, within which limits; `same_pids`: the
        server's process ids are ours."""
        loop = asyncio.get_running_loop()
        self._same_pids = same_pids
        self.link, self.identity, self.limits = link, identity, limits
        self.bound: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[KernelExit] = loop.create_future()
        self.gone: asyncio.Event = asyncio.Event()

    @property
    def has_process(self) -> bool:
        """See KernelProvisionerBase; asked right after launch."""
        return self._spawned and not self.gone.is_set()

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Ask for a kernel; `cmd` runs in the sandbox instead of the server's fork when it is not empty."""
        self.link.expect(self.identity, self._on_notice)
        self._spawned = True
        self.link.send(
            {
                "op": "spawn",
                "id": self.identity,
                "runDir": str(kwargs["run_dir"]),
                "connectionFile": str(kwargs["connection_file"]),
                "environment": kwargs["env"],
                "limits": self.limits,
                "threads": kwargs["threads"],
                "argv": cmd,
                **kwargs.get("more", {}),
            }
        )
        self._note_end_of_server()
        return self.connection_info

    def adopt(self) -> None:
        """Have a kernel that another client of the server has launched be this one's; what that was told, this one is
        told again."""
        self.link.expect(self.identity, self._on_notice)
        self._spawned = True
        self.link.send({"op": "adopt", "id": self.identity})
        self._note_end_of_server()

    def _note_end_of_server(self) -> None:
        if self.link.ended.is_set():
            self._end(KernelExit(code=-signal.SIGKILL, cause="the fork server has ended"))
            self.gone.set()

    def _on_notice(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "spawned":
            self._keeper = message["pid"]
            if message.get("group") is not None:
                self.meter = GroupMeter(message["group"])
                if self.priority is not None:
                    self.priority.apply_to(self.meter)
        elif event == "bound":
            if self.meter is None and self._same_pids and self._keeper is not None:
                kernel = message.get("kernel") or kernel_beside(self._keeper)
                self.meter = ProcessMeter(kernel) if kernel is not None else None
            if not self.bound.done():
                self.bound.set_result(None)
        elif event == "failed":
            self.failure = message["reason"]
            self._end(KernelExit(code=1, cause=self.failure))
        elif event == "exited":
            if message.get("cpuSeconds") is not None:
                # The counter of the highest use is set back at each cell; the meter remembers.
                seen = self.meter.peak_memory_bytes() if self.meter is not None else None
                self.usage = Usage(
                    cpu_seconds=message["cpuSeconds"],
                    peak_memory_bytes=max(message["peakMemoryBytes"], seen or 0),
                    method=message["method"],
                )
            limit = message.get("cause")
            own_words = {"ended_by": self.ended_by} if self.ended_by is not None else {}
            is_limit = limit not in (None, "server")
            self._end(KernelExit(code=message["status"], cause=self._cause(limit), is_limit=is_limit, **own_words))
        elif event == "gone":
            self.link.forget(self.identity)
            if self.meter is not None:
                self.meter.close()
            self.gone.set()

    def _cause(self, limit: str | None) -> str | None:
        if limit == "memory":
            return f"memory limit of {wording.limit(self.limits['memory_bytes'])} reached"
        if limit == "cpu":
            return f"CPU time limit of {self.limits['cpu_seconds']} seconds reached"
        if limit == "processes":
            return f"limit of {self.limits['processes']} processes reached"
        if limit == "server":
            return "the fork server ended, and every kernel with it"
        return None

    def _end(self, end: KernelExit) -> None:
        if not self.exited.done():
            self.exited.set_result(end)

    async def poll(self) -> int | None:
        """None while the kernel runs, else its exit code."""
        return self.exited.result().code if self.exited.done() else None

    async def wait(self) -> int | None:
        """Wait for the kernel's end."""
        return (await asyncio.shield(self.exited)).code

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel; SIGKILL ends everything it started too."""
        if signum == signal.SIGKILL:
            self.link.send({"op": "kill", "id": self.identity})
        else:
            self.link.send({"op": "signal", "id": self.identity, "signal": int(signum)})

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002 - the base class calls it so
        """End the kernel and all that it started."""
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002 - the base class calls it so
        """Ask the kernel to end."""
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:  # noqa: ARG002 - the base class calls it so
        """Wait until nothing of the kernel is left."""
        await self.gone.wait()
