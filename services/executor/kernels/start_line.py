"""The line that kernels started by a command line run first: they see nothing of the services, so it holds the text of
what it registers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from services.executor.kernels.forkserver import cell_files, figure_titles, shell_commands, shown_failures

REGISTERED: tuple[ModuleType, ...] = (cell_files, figure_titles, shell_commands, shown_failures)
"""Modules that stand alone, each with a function `register` that is called with the kernel's shell."""


def start_line() -> str:
    """The line, which leaves no name in the notebook's variables."""
    return "; ".join(map(_statement, REGISTERED))


def _statement(module: ModuleType) -> str:
    program = Path(str(module.__file__)).read_text(encoding="utf-8") + "\nregister(get_ipython())\n"
    name = module.__name__.rpartition(".")[2]
    return f"exec({program!r}, {{'__name__': {name!r}, 'get_ipython': get_ipython}})"
