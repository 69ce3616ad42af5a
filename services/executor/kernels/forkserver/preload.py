"""What is imported once in the server, and how a fork of it becomes a kernel."""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any

from services.executor.kernels.forkserver import cell_files, finalization, headless, outlet, pages
from services.executor.kernels.forkserver.confinement import Spawn
from services.executor.kernels.forkserver.keeper import BOUND

KERNEL_MODULES = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "ipykernel.iostream",
    "ipykernel.heartbeat",
    "ipykernel.displayhook",
    "ipykernel.datapub",
    "ipykernel.comm",
    "IPython.core.completer",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "pdb",
    "IPython.core.pylabtools",
    "matplotlib_inline.config",
    "multiprocessing.process",
    "tornado.platform.asyncio",
    "psutil",
    "stack_data",
    "pygments.formatters",
    "pygments.lexers.python",
)
"""What every kernel needs; those that a version does not have are passed over."""

INLINE_BACKEND = "module://matplotlib_inline.backend_inline"
"""Figures become outputs."""

_thread_limits: Any = None

_application: Any = None
"""What every fork begins with; see `headless`."""

_own_modules: list[str] = []
"""The server's modules, which kernels must not find. Noted before the fork: to look through all names in a kernel would
copy the pages they lie in."""


def load(names: Sequence[str], folder: str) -> dict[str, Any]:
    """Import the kernel's modules and `names` and make what all kernels have in common; gives seconds, and which could
    not be imported with the reason. `folder`: an empty one of the server's."""
    started = time.monotonic()
    os.environ["MPLBACKEND"] = INLINE_BACKEND
    failed: dict[str, str] = {}
    # Kernels are driven, not debugged; debugpy alone costs every fork 70 ms.
    modules: dict[str, Any] = sys.modules
    modules["debugpy"] = None  # so Python marks a module as absent
    for name in ("ipykernel.debugger", *KERNEL_MODULES):
        try:
            importlib.import_module(name)
        except ImportError as error:
            failed[name] = str(error)
    del modules["debugpy"]
    if "ipykernel.kernelapp" in failed:
        raise ImportError(f"no ipykernel: {failed['ipykernel.kernelapp']}")
    kernel_failures = set(failed)
    for name in (*names, *(["matplotlib_inline.backend_inline"] if "matplotlib.pyplot" in names else [])):
        try:
            importlib.import_module(name)
        except Exception as error:
            # A library that cannot be imported here fails in the notebook that wants it, not in all.
            failed[name] = f"{type(error).__name__}: {error}"
    _warm()
    _note_thread_pools()
    _prepare_application(folder)
    _own_modules[:] = [name for name in sys.modules if name == "services" or name.startswith("services.")]
    gc.collect()
    pages.collapse()
    gc.freeze()  # the collector's marks would copy the imported pages into every kernel
    failed = {name: reason for name, reason in failed.items() if name not in kernel_failures}
    return {"seconds": round(time.monotonic() - started, 3), "failed": failed}


def _warm() -> None:
    """Pay for what happens once: the font list, the first rendering, the first table. Starts no thread."""
    if "matplotlib" in sys.modules and "matplotlib.backends.backend_agg" in sys.modules:
        figure = importlib.import_module("matplotlib.figure").Figure(figsize=(2, 2))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], label="a")
        axes.hist([0.1, 0.2, 0.2, 0.9])
        axes.bar([0, 1], [1, 2])
        axes.scatter([0, 1], [1, 0])
        axes.grid(visible=True)
        axes.set_title("title")
        axes.set_xlabel("x")
        axes.legend()
        for bold in ("normal", "bold"):
            axes.text(0.5, 0.5, "text", fontweight=bold)
        canvas = importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
        canvas.print_figure(io.BytesIO(), format="png", bbox_inches="tight")
        if "pandas" in sys.modules:
            importlib.import_module("pandas.plotting._matplotlib")
    if "pandas" in sys.modules:
        pandas = sys.modules["pandas"]
        table = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, 1.5]})
        table._repr_html_()
        repr(table)
        table.groupby("b").agg({"a": "sum"})
        table.describe()
        table.describe()._repr_html_()
    if "sklearn.ensemble" in sys.modules and "pandas" in sys.modules:
        _fit()


def _fit() -> None:
    """Fit and ask one model, whose trees are grown by this thread alone: scikit-learn loads some of itself, and of the
    library by which it looks at tables, when it is first used."""
    table = sys.modules["pandas"].DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sys.modules["sklearn.ensemble"].RandomForestClassifier(n_estimators=2, random_state=0)
        model.fit(table, table.a > 1).score(table, table.a > 1)


def _note_thread_pools() -> None:
    """Find the numeric libraries' thread pools now: a fork then only sets their size."""
    global _thread_limits  # noqa: PLW0603 - handed from the server to its forks
    try:
        _thread_limits = importlib.import_module("threadpoolctl").ThreadpoolController()
    except ImportError:
        _thread_limits = None


def _prepare_application(folder: str) -> None:
    """Make the application and the shell that kernels begin with."""
    global _application  # noqa: PLW0603 - handed from the server to its forks
    _application = headless.prepare(folder)
    for name in outlet.REGISTERED:
        module: Any = importlib.import_module(f"{__package__}.{name}")
        module.register(_application.shell)
    cell_files.find_modules()
    inline: Any = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is not None:
        inline._enable_matplotlib_integration()  # it did so when it was imported, but there was no shell then


def run_kernel(spawn: Spawn, bound: int) -> None:
    """Become a kernel and serve until the end; writes to `bound` when the kernel's sockets can be connected to."""
    for name in _own_modules:
        del sys.modules[name]
    _refresh(spawn)
    outlet.pipe_without_network(f"ipc://{spawn.run_dir}/k/p")
    sys.argv = ["ipykernel_launcher", "-f", spawn.connection_file]
    headless.initialize(_application, spawn.connection_file)
    os.write(bound, BOUND)
    os.close(bound)
    finalization.serve(_application.start)


def _refresh(spawn: Spawn) -> None:
    """Nothing that must differ between two runs is the same in two forks."""
    import multiprocessing.process  # noqa: PLC0415 - only kernels need it
    import random  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    random.seed()
    tempfile.tempdir = None  # where the server's temporary files would be
    multiprocessing.process.current_process().authkey = os.urandom(32)
    numbers: Any = sys.modules.get("numpy.random")
    if numbers is not None:
        numbers.seed()
    matplotlib: Any = sys.modules.get("matplotlib")
    if matplotlib is not None:
        folder = spawn.environment["MPLCONFIGDIR"]
        matplotlib.get_configdir = matplotlib.get_cachedir = lambda: folder  # it remembers the server's
    if _thread_limits is not None:
        _thread_limits.limit(limits=spawn.threads)
    time.tzset()
