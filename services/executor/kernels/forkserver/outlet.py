"""How what a kernel puts out gets to its reader: whole, and no faster than it is read; what its forked children print,
without TCP. Stands alone, since its text runs elsewhere too.

Kernels of built environments see nothing of the services: `program` is put on their interpreters' command line.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

MOST_MESSAGES = 100
"""How many messages wait at each stop on their way out of the kernel."""

MOST_CHARACTERS = 1_000_000
"""How much is printed before it is sent, whatever the time."""

REGISTERED = ("cell_files", "figure_titles", "shell_commands", "shown_failures")
"""Modules that stand alone like this one, each with a function `register` that every kernel's shell is given to."""

PROGRAM = """
import types
def load(name, text):
    module = types.ModuleType(name)
    exec(compile(text, f"<{{name}}>", "exec"), module.__dict__)
    return module
load("outlet", {outlet!r}).launch({beside})
"""


def storable(text: str) -> str:
    """`text` with a replacement for each half of a surrogate pair: no message can have those."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(part) for key, part in value.items()}
    return [_cleaned(part) for part in value] if isinstance(value, list | tuple) else value


def application_class() -> Any:
    """An IPKernelApp whose messages and streams are this module's."""
    zmq: Any = importlib.import_module("zmq")
    kernelapp: Any = importlib.import_module("ipykernel.kernelapp")
    iostream: Any = importlib.import_module("ipykernel.iostream")
    session: Any = importlib.import_module("jupyter_client.session")
    iostream.OutStream = _stream_class(iostream.OutStream)  # by this name the application finds it
    session_class = _session_class(session.Session)

    class KernelApplication(kernelapp.IPKernelApp):  # type: ignore[misc, name-defined, unused-ignore]
        """See the function."""

        def init_connection_file(self) -> None:
            """See the base class. The session gets the kernel's key here."""
            self.session = session_class(parent=self)
            super().init_connection_file()

        def init_iopub(self, context: Any) -> None:
            """See the base class. ZeroMQ drops outputs silently when many of them wait for a reader that gets no
            processor for a moment. Have the thread that publishes wait instead, and with it whoever prints: without a
            limit a flood would fill the memory."""
            context.setsockopt(zmq.XPUB_NODROP, 1)
            for limit in (zmq.SNDHWM, zmq.RCVHWM):  # of the way to the publishing thread, too
                context.setsockopt(limit, MOST_MESSAGES)
            logging.getLogger("tornado.general").addFilter(_is_no_closed_socket)
            super().init_iopub(context)

        def start(self) -> None:
            """See the base class, where an interrupt ends what a cell awaits by a callback that does not wake the event
            loop. With a signal of its own asyncio has every signal wake it."""
            asyncio_loop: Any = importlib.import_module("tornado.ioloop").IOLoop.current().asyncio_loop
            asyncio_loop.add_signal_handler(signal.SIGURG, int)
            super().start()

    return KernelApplication


def _is_no_closed_socket(record: logging.LogRecord) -> bool:
    """A filter. While a kernel ends, a stream may find a socket closed that it was about to read. tornado logs that as
    an error, which would come out as the last cell's. Returns whether the record is anything else."""
    error = record.exc_info[1] if record.exc_info else None
    return getattr(error, "errno", None) != errno.ENOTSOCK


def _session_class(base: Any) -> Any:
    class KernelSession(base):  # type: ignore[misc, unused-ignore]
        """Sends no message that nobody waits for, and each that can be sent after it was cleaned."""

        def send(self, stream: Any, msg_or_type: Any, content: Any = None, *arguments: Any, **options: Any) -> Any:
            """See the base class. That a kernel is busy again tells nobody anything here; that it is idle ends a
            cell."""
            if msg_or_type == "status" and content == {"execution_state": "busy"}:
                return None
            return super().send(stream, msg_or_type, content, *arguments, **options)

        def serialize(self, msg: Any, ident: Any = None) -> Any:
            """See the base class, which raises for text that has halves of surrogate pairs. An error whose message has
            some would never be told, and its cell never end."""
            try:
                return super().serialize(msg, ident)
            except UnicodeEncodeError:
                cleaned = {part: _cleaned(msg.get(part) or {}) for part in ("content", "metadata")}
                return super().serialize({**msg, **cleaned}, ident)

    return KernelSession


def _stream_class(base: Any) -> Any:
    class BoundedStream(base):  # type: ignore[misc, unused-ignore]
        """A kernel's stdout or stderr. ipykernel flushes both twice a cell and each time waits for another thread:
        where nothing was written since, there is nothing to wait for."""

        _characters = 0
        _is_flushed = False

        def write(self, string: str) -> Any:
            """See the base class."""
            written = super().write(storable(string) if isinstance(string, str) else string)
            self._is_flushed = False
            self._characters += len(string)
            if self._characters > MOST_CHARACTERS:
                self.flush()
            return written

        def flush(self) -> None:
            """See the base class."""
            if self._is_flushed:
                return
            self._is_flushed, self._characters = True, 0
            try:
                super().flush()
            except BaseException:
                self._is_flushed = False
                raise

    BoundedStream.__name__ = BoundedStream.__qualname__ = base.__name__
    BoundedStream.__module__ = base.__module__
    return BoundedStream


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


def launch(finalization: Any, *registered: Any) -> None:
    """Become a kernel by the command line, in an environment's own interpreter. To have the kernel run a line of code
    first would leave a result that notebooks can see."""
    if sys.path[0] == "":
        del sys.path[0]  # the kernel puts it where it belongs
    pipe_without_network(f"ipc://{os.environ['ATELIER_RUN_DIR']}/k/p")
    application = application_class().instance()
    application.initialize()
    for module in registered:
        module.register(application.shell)
    finalization.serve(application.start)


def program() -> str:
    """What `python -c` runs to become a kernel."""
    own = Path(__file__)
    names = ("finalization", *REGISTERED)
    texts = {name: own.with_name(f"{name}.py").read_text(encoding="utf-8") for name in names}
    beside = ", ".join(f"load({name!r}, {text!r})" for name, text in texts.items())
    return PROGRAM.format(outlet=own.read_text(encoding="utf-8"), beside=beside)
