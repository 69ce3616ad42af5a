"""Takes out of ipykernel what only interactive clients need: kernels here run cells one at a time, for one client."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import types
from typing import Any, ClassVar


class SysWithoutModules(types.ModuleType):
    """Stands in for `sys` where ipykernel lists the files of all modules for its debugger: there is none, and a look at
    each of thousands of modules would copy the pages they lie in."""

    modules: ClassVar[dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def prepare(folder: str) -> Any:
    """An IPKernelApp with its shell, as far as all kernels are alike; made once, before any fork. `folder` stands in
    for IPython's, which each kernel has in a home of its own. Starts no thread and opens nothing."""
    os.environ["IPYTHONDIR"] = folder
    application = sys.modules["ipykernel.kernelapp"].IPKernelApp.instance()
    application.config.HistoryManager.enabled = False
    application.no_stdout = False
    _trim(application)
    sys.modules["IPython.core.application"].BaseIPythonApplication.initialize(application, [])
    # Its handler drops what is below this level, after each record of it was made: three a cell.
    application.log.setLevel(application.log_level)
    application.user_ns = {}
    application.shell = sys.modules["ipykernel.zmqshell"].ZMQInteractiveShell.instance(
        parent=application,
        profile_dir=application.profile_dir,
        user_ns=application.user_ns,
        compiler_class=sys.modules["ipykernel.compiler"].XCachingCompiler,
    )
    # Kernels end without it, and the server is none.
    atexit.unregister(application.shell.atexit_operations)
    application.init_extensions()
    application.init_extensions = lambda: None
    application.shell.transform_cell("warm = 1\n")  # what is made at its first use is made here
    return application


def _trim(application: Any) -> None:
    """Take out of an IPKernelApp what nothing here uses, before it is initialised."""
    kernelapp: Any = sys.modules["ipykernel.kernelapp"]
    # Its command line is empty and known; building a parser for all its options would take a quarter of the start.
    application.parse_command_line = lambda _argv=None: None
    application.init_heartbeat = lambda: None  # the worker hears of the process's end itself
    # Without it the cells' thread reads requests itself: subshells are for people who do two things at a time.
    kernelapp.ShellChannelThread = lambda *_arguments, **_options: None
    # A pause before each reply, for clients that do not wait for the message that ends a cell's output. Ours does.
    application.config.Kernel._execute_sleep = 0.0
    # Five folders of the profile that nothing uses; each run would make and remove them.
    sys.modules["IPython.core.profiledir"].ProfileDir._mkdir = lambda *_arguments: False
    _flush_only_what_is_there()
    _announce_only_ends()


def initialize(application: Any, connection_file: str, imported: set[str]) -> None:
    """Make what is a kernel's own, in its fork: folders, sockets, threads, the kernel. `imported`: the names of all
    modules."""
    ipkernel: Any = sys.modules["ipykernel.ipkernel"]
    application.connection_file = connection_file
    application.ipython_dir = os.environ["IPYTHONDIR"]
    application.profile_dir = sys.modules["IPython.core.profiledir"].ProfileDir(
        location=f"{application.ipython_dir}/profile_default", config=application.config
    )
    shell = application.shell
    shell.ipython_dir, shell.profile_dir = application.ipython_dir, application.profile_dir
    shell.starting_dir, shell.home_dir = os.getcwd(), os.environ["HOME"]
    shell.init_environment()
    application.init_code = lambda: _init_code(application, imported)
    base: Any = sys.modules["IPython.core.application"].BaseIPythonApplication
    usual = base.initialize
    base.initialize = lambda *_arguments: None  # it was done before the fork
    ipkernel.sys = SysWithoutModules("sys")
    try:
        application.initialize([])
    finally:
        ipkernel.sys, base.initialize = sys, usual
    shell.parent = shell.kernel = application.kernel


def _init_code(application: Any, imported: set[str]) -> None:
    """What IPython does before the first cell, without another copy of the names of all modules."""
    application._run_startup_files()
    application._run_exec_lines()
    application._run_exec_files()
    application.shell.user_ns_hidden.update(application.shell.user_ns)
    application.shell._sys_modules_keys = imported


def _flush_only_what_is_there() -> None:
    """ipykernel flushes both streams twice a cell, and each time waits for another thread. Where nothing is buffered,
    and no flush is going on in that thread, there is nothing to wait for."""
    stream: Any = sys.modules["ipykernel.iostream"].OutStream
    flush, send = stream.flush, stream._flush
    sending: Any = threading.RLock()
    os.register_at_fork(after_in_child=sending._at_fork_reinit)  # a notebook's own fork may come while it is held

    def send_alone(self: Any) -> None:
        with sending:
            send(self)

    def flush_if_needed(self: Any) -> None:
        with sending:
            pending = bool(self._buffers) or self.echo is not None
        if pending:
            flush(self)

    stream.flush, stream._flush = flush_if_needed, send_alone


def _announce_only_ends() -> None:
    """Nobody here waits to hear that the kernel is busy; that it is idle again ends a cell."""
    kernel: Any = sys.modules["ipykernel.kernelbase"].Kernel
    publish = kernel._publish_status

    def publish_unless_busy(self: Any, status: str, *arguments: Any, **options: Any) -> None:
        if status != "busy":
            publish(self, status, *arguments, **options)

    kernel._publish_status = publish_unless_busy
