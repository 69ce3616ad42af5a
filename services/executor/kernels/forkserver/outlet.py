"""How what a kernel puts out gets to its reader: whole, and no faster than it is read; what its forked children print,
without TCP. Stands alone, since its text runs elsewhere too.

Kernels of built environments see nothing of the services: `program` is put on their interpreters' command line.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

MOST_MESSAGES = 100
"""How many messages wait at each stop on their way out of the kernel."""

MOST_CHARACTERS = 1_000_000
"""How much is printed before it is sent, whatever the time."""


def pipe_without_network(address: str) -> None:
    """ipykernel takes what its forked children print through a TCP port of its own; kernels have no TCP."""
    zmq: Any = importlib.import_module("zmq")
    iostream: Any = importlib.import_module("ipykernel.iostream")
    stream: Any = importlib.import_module("zmq.eventloop.zmqstream")

    def set_up_in(self: Any) -> None:
        self._pipe_uuid = os.urandom(16)
        pipe = self.socket.context.socket(zmq.PULL)
        pipe.linger = 0
        pipe.bind(address)
        self._pipe_in = stream.ZMQStream(pipe, self.io_loop)
        self._pipe_in.on_recv(self._handle_pipe_msg)

    def set_up_out(_self: Any) -> tuple[Any, Any]:
        context = zmq.Context()
        pipe = context.socket(zmq.PUSH)
        pipe.linger = 3000
        pipe.connect(address)
        return context, pipe

    iostream.IOPubThread._setup_pipe_in = set_up_in
    iostream.IOPubThread._setup_pipe_out = set_up_out


def wait_for_the_reader() -> None:
    """ZeroMQ drops outputs silently when many of them wait for a reader that gets no processor for a moment. Have the
    thread that publishes wait instead, and with it whoever prints: without a limit a flood would fill the memory."""
    zmq: Any = importlib.import_module("zmq")
    application: Any = importlib.import_module("ipykernel.kernelapp").IPKernelApp
    bind = application.init_iopub

    def bind_within_bounds(self: Any, context: Any) -> None:
        context.setsockopt(zmq.XPUB_NODROP, 1)
        for limit in (zmq.SNDHWM, zmq.RCVHWM):  # of the way to the publishing thread, too
            context.setsockopt(limit, MOST_MESSAGES)
        bind(self, context)

    application.init_iopub = bind_within_bounds
    stream: Any = importlib.import_module("ipykernel.iostream").OutStream
    write = stream.write

    def write_within_bounds(self: Any, text: str) -> Any:
        written = write(self, text)
        self._unsent = getattr(self, "_unsent", 0) + len(text)
        if self._unsent > MOST_CHARACTERS:
            self._unsent = 0
            self.flush()
        return written

    stream.write = write_within_bounds


def launch() -> None:
    """Become a kernel by the command line, in an environment's own interpreter."""
    if sys.path[0] == "":
        del sys.path[0]  # the kernel puts it where it belongs
    pipe_without_network(f"ipc://{os.environ['ATELIER_RUN_DIR']}/k/p")
    wait_for_the_reader()
    kernelapp: Any = importlib.import_module("ipykernel.kernelapp")
    kernelapp.launch_new_instance()


def program() -> str:
    """What `python -c` runs to become a kernel."""
    return Path(__file__).read_text(encoding="utf-8") + "\nlaunch()\n"
