"""A kernel whose application and shell are made before the fork: what all kernels have in common is made once."""

from __future__ import annotations

import atexit
import os
import sys
import types
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from services.executor.kernels.forkserver import outlet


class UncopiedModules(MutableMapping[str, Any]):
    """Stands in for `sys.modules`: a copy of it has nothing in it."""

    def copy(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def __getitem__(self, name: str) -> Any:
        return sys.modules[name]

    def __setitem__(self, name: str, module: Any) -> None:
        sys.modules[name] = module

    def __delitem__(self, name: str) -> None:
        del sys.modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sys.modules)

    def __len__(self) -> int:
        return len(sys.modules)


class SysWithoutCopies(types.ModuleType):
    """Stands in for `sys` where ipykernel lists the files of all modules for its debugger, which kernels here have not:
    a look at each of thousands of modules would copy the pages they lie in, which takes a tenth of a start."""

    modules = UncopiedModules()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def prepare(folder: str) -> Any:
    """An IPKernelApp with its shell, as far as all kernels are alike; made once, before any fork. `folder` stands in
    for IPython's, which each kernel has in a home of its own. Starts no thread and opens nothing."""
    os.environ["IPYTHONDIR"] = folder
    application = _application_class().instance()
    application.config.HistoryManager.hist_file = ":memory:"
    application.config.IPKernelApp.no_stdout = False
    # A pause before each reply, for clients that do not wait for the message that ends a cell's output. Ours does.
    application.config.Kernel._execute_sleep = 0.0
    application.prepare()
    # Its handler drops what is below this level, after each record of it was made: three a cell.
    application.log.setLevel(application.log_level)
    application.shell.transform_cell("warm = 1\n")  # what is made at its first use is made here
    return application


def _application_class() -> Any:
    base: Any = sys.modules["IPython.core.application"].BaseIPythonApplication

    class PreparedBase(base):  # type: ignore[misc, unused-ignore]
        """The part of the application that a fork finds made."""

        is_prepared = False

        def initialize(self, argv: Any = None) -> None:
            """See the base class."""
            if not self.is_prepared:
                super().initialize(argv)

    class PreparedApplication(outlet.application_class(), PreparedBase):  # type: ignore[misc]
        """Initialised in two steps: `prepare` before the fork, and `initialize` in each."""

        def prepare(self) -> None:
            """Make what all kernels have in common."""
            PreparedBase.initialize(self, [])
            self.user_ns: dict[str, Any] = {}
            self.shell = sys.modules["ipykernel.zmqshell"].ZMQInteractiveShell.instance(
                parent=self,
                profile_dir=self.profile_dir,
                user_ns=self.user_ns,
                compiler_class=sys.modules["ipykernel.compiler"].XCachingCompiler,
            )
            self.init_extensions()
            self.init_code()
            atexit.unregister(self.shell.atexit_operations)  # the server is no kernel
            self.is_prepared = True

        def init_extensions(self) -> None:
            """See the base class."""
            if not self.is_prepared:
                super().init_extensions()

        def init_code(self) -> None:
            """See the base class, whose copy of the names of all modules would be another one for each kernel."""
            if not self.is_prepared:
                super().init_code()
            elif self.hide_initial_ns:
                self.shell.user_ns_hidden.update(self.shell.user_ns)

        def start(self) -> None:
            """See the base class, whose exit functions end the thread of outputs first: what the thread of the control
            channel says then, that it is through with the request to end, waits for ever, and the kernel with it."""
            try:
                super().start()
            finally:
                control = self.control_thread
                if control is not None and control.is_alive():
                    control.stop()
                    control.join()

    return PreparedApplication


def initialize(application: Any, connection_file: str) -> None:
    """Make what is a kernel's own, in its fork: folders, sockets, threads, the kernel."""
    ipkernel: Any = sys.modules["ipykernel.ipkernel"]
    application.connection_file = connection_file
    application.ipython_dir = os.environ["IPYTHONDIR"]
    application.profile_dir = sys.modules["IPython.core.profiledir"].ProfileDir(
        location=f"{application.ipython_dir}/profile_default", config=application.config
    )
    shell = application.shell
    atexit.register(shell.atexit_operations)
    shell.ipython_dir, shell.profile_dir = application.ipython_dir, application.profile_dir
    if "db" in vars(shell):  # in older releases of IPython it is not made when it is first needed
        shell.db = type(shell.db)(f"{shell.profile_dir.location}/db")
    shell.starting_dir, shell.home_dir = os.getcwd(), os.environ["HOME"]
    shell.history_manager.dir_hist[:] = [Path.cwd()]  # where `%cd -` leads first
    shell.init_environment()
    sys.breakpointhook = _pass_breakpoint
    ipkernel.sys = SysWithoutCopies("sys")
    try:
        application.initialize([])
    finally:
        ipkernel.sys = sys
    shell.parent = shell.kernel = application.kernel


def _pass_breakpoint(*arguments: Any, **options: Any) -> Any:
    """As debugpy has it in other kernels: a breakpoint that was left in stops only where a debugger is attached."""
    if os.environ.get("PYTHONBREAKPOINT"):
        return sys.__breakpointhook__(*arguments, **options)  # noqa: T100 - what the notebook has asked for
    return None
