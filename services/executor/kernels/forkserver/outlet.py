"""How what a kernel's forked children print gets out without TCP; stands alone, since its text runs elsewhere too.

Kernels of built environments see nothing of the services: `program` is put on their interpreters' command line.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any


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


def send_without_loss() -> None:
    """ZeroMQ drops outputs silently when 1,000 of them wait for a reader that gets no processor for a moment."""
    zmq: Any = importlib.import_module("zmq")
    application: Any = importlib.import_module("ipykernel.kernelapp").IPKernelApp
    bind = application.init_iopub

    def bind_without_limit(self: Any, context: Any) -> None:
        context.setsockopt(zmq.SNDHWM, 0)
        bind(self, context)

    application.init_iopub = bind_without_limit


def launch() -> None:
    """Become a kernel by the command line, in an environment's own interpreter."""
    if sys.path[0] == "":
        del sys.path[0]  # the kernel puts it where it belongs
    pipe_without_network(f"ipc://{os.environ['ATELIER_RUN_DIR']}/k/p")
    send_without_loss()
    kernelapp: Any = importlib.import_module("ipykernel.kernelapp")
    kernelapp.launch_new_instance()


def program() -> str:
    """What `python -c` runs to become a kernel."""
    return Path(__file__).read_text(encoding="utf-8") + "\nlaunch()\n"
