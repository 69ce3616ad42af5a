"""The worker's client of one kernel: what it receives is bounded, and what libzmq cuts off for it is noticed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.session import Session
from zmq.utils.monitor import parse_monitor_message

from services.executor.kernels.session import RunSession

MAX_MESSAGE_BYTES = 64_000_000
"""A part of a message is no larger, in bytes: libzmq closes the connection over which a larger one comes, before it
takes memory for it. Three times what a cell may put out."""

MOST_MESSAGES = 100
"""How many messages of a kernel that waits for its reader are taken before they are asked for."""

MOST_QUESTIONS = 100
"""How many requests for input of one kernel are read: more are only meant to keep the worker busy."""

SETTLED_S = 0.25
"""How long after a connection's end libzmq has begun to connect anew at the latest, in seconds, if it does."""

NEVER_MS = 86_400_000
"""Later than the end of any run: a day, in milliseconds."""


def new_context(*, reconnecting: bool) -> zmq.asyncio.Context:
    """The ZeroMQ context of a worker's clients. Without `reconnecting` sockets must be listening when connected to."""
    context = zmq.asyncio.Context()
    # Kernels of other languages drop outputs silently when a cell prints faster than we read.
    context.setsockopt(zmq.RCVHWM, 0)
    context.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    if not reconnecting:
        # A kernel that closed its sockets could put a link to somebody else's socket in their place. Not -1: then a
        # lost connection drops what has come, and ZeroMQ ends this process when half of a message had been read.
        context.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)
    return context


class RunClient(AsyncKernelClient):
    """A client that at its end closes what it has opened. The base class would connect the other channels first, by the
    names that their sockets had: the kernel may have put something else there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.cut_off = asyncio.Event()
        """Set when libzmq has closed a connection because of what came over it: nothing more will be heard."""
        self.asked_for_input = asyncio.Event()
        """Set when the kernel has asked its user for input: nobody will answer, and it would wait for ever."""
        self.kernel_waits = False
        """Whether the kernel waits while its messages are not read. Only then may they be left unread."""
        self._hearing: asyncio.Task[None] | None = None
        self._monitors: list[tuple[zmq.asyncio.Socket, asyncio.Task[None]]] = []

    def _session_default(self) -> Session:
        """Called by traitlets when the session is first asked for."""
        return RunSession(parent=self)

    def start_channels(self, *arguments: Any, **options: Any) -> None:
        """See the base class."""
        super().start_channels(*arguments, **options)
        self.allow_stdin = False  # it is only heard who asks all the same
        if self.kernel_waits:
            self.iopub_channel.socket.setsockopt(zmq.RCVHWM, MOST_MESSAGES)
        for channel in (self.shell_channel, self.iopub_channel):
            monitor = channel.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED)
            self._monitors.append((monitor, asyncio.create_task(self._watch(monitor))))
        if options.get("stdin", True):
            self._hearing = asyncio.create_task(self._hear_requests())

    async def _watch(self, monitor: zmq.asyncio.Socket) -> None:
        """After an end by the kernel libzmq plans at once to connect anew; after what broke its rules it never does."""
        while True:
            told = parse_monitor_message(await monitor.recv_multipart())
            if told["event"] == zmq.EVENT_DISCONNECTED and not await monitor.poll(int(SETTLED_S * 1000)):
                self.cut_off.set()

    async def _hear_requests(self) -> None:
        """Whatever comes by this channel asks for input. ipykernel asks only who allows it, others ask anybody."""
        for _ in range(MOST_QUESTIONS):
            await self.stdin_channel.socket.recv_multipart()
            self.asked_for_input.set()
        self.stdin_channel.stop()

    def stop_channels(self) -> None:
        """See the base class."""
        channels = [
            channel
            for channel in (self._shell_channel, self._iopub_channel, self._stdin_channel, self._control_channel)
            if channel is not None and channel.is_alive()
        ]
        for channel in channels:
            # Before its reader goes: libzmq waits for room when it tells of something, and all sockets wait with it.
            with contextlib.suppress(zmq.ZMQError):
                channel.socket.disable_monitor()
        for monitor, watching in self._monitors:
            watching.cancel()
            monitor.close(linger=0)
        self._monitors.clear()
        if self._hearing is not None:
            self._hearing.cancel()
        for channel in channels:
            channel.stop()
