"""A jupyter_client kernel provisioner that starts the kernel as a child process and tells of its exit at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

STDERR_LINES = 20
"""How much of a kernel's own stderr is kept to explain a failed start, in lines."""

LAST_WORDS_S = 0.2
"""How long a dead kernel's stderr is still read, in seconds."""

DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
"""Prefix (util-linux) that has the system kill the kernel when the worker dies, however it dies."""


class ChildProcessProvisioner(KernelProvisionerBase):
    """Starts a kernel in a session of its own; `exited` resolves with the exit code the moment it ends."""

    process: Process | None = None
    exited: asyncio.Future[int] | None = None
    stderr_tail: deque[str]
    _watching: asyncio.Task[None] | None = None

    @property
    def has_process(self) -> bool:
        """See KernelProvisionerBase; asked right after launch."""
        return self.process is not None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start `cmd` with exactly the environment in `kwargs['env']`, in `kwargs['cwd']`."""
        self.stderr_tail = deque(maxlen=STDERR_LINES)
        self.exited = asyncio.get_running_loop().create_future()
        self.process = await asyncio.create_subprocess_exec(
            *DIE_WITH_PARENT,
            *cmd,
            env=kwargs["env"],
            cwd=kwargs["cwd"],
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            start_new_session=True,
        )
        self._watching = asyncio.create_task(self._watch())
        return self.connection_info

    async def _watch(self) -> None:
        assert self.process is not None and self.process.stderr is not None and self.exited is not None  # noqa: S101, PT018
        reading = asyncio.create_task(self._keep_stderr(self.process.stderr))
        code = await self.process.wait()
        if not self.exited.done():
            self.exited.set_result(code)
        # What the kernel's children inherited may keep the pipe open; its end is not waited for long.
        await asyncio.wait({reading}, timeout=LAST_WORDS_S)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    async def _keep_stderr(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(4096):
            self.stderr_tail.extend(chunk.decode(errors="replace").splitlines())

    async def poll(self) -> int | None:
        """None while the kernel runs, else its exit code."""
        return None if self.process is None else self.process.returncode

    async def wait(self) -> int | None:
        """Wait for the kernel's end."""
        return await asyncio.shield(self.exited) if self.exited is not None else None

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel; SIGKILL goes to everything in its session's group."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if signum == signal.SIGKILL:
                os.killpg(self.process.pid, signum)
            else:
                os.kill(self.process.pid, signum)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002 - the base class calls it so
        """End the kernel and its process group."""
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002 - the base class calls it so
        """Ask the kernel to end."""
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:  # noqa: ARG002 - the base class calls it so
        """Wait for the exit notice; there is nothing else to give back."""
        if self._watching is not None:
            await self._watching
