"""Quick tracebacks: a cell's file is known to be no module's.

For each call in a traceback IPython asks `inspect` for the module of the call's file. For a cell there is none, and
that is found out by a look at all modules that are imported, thousands of times for an endless recursion. Stands alone,
since its text runs elsewhere too.
"""

from __future__ import annotations

import inspect
from typing import Any


def register(shell: Any) -> None:
    """Have `shell` note the name of each cell's file where `inspect` finds it."""
    name_of = shell.compile.get_code_name

    def get_code_name(*arguments: Any, **options: Any) -> str:
        name: str = name_of(*arguments, **options)
        inspect.modulesbyfile[name] = ""  # the name of no module
        return name

    shell.compile.get_code_name = get_code_name


def find_modules() -> None:
    """Note the files of all modules that are imported now, which the first traceback would find out."""
    inspect.getmodule(find_modules.__code__)
