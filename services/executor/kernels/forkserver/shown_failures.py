"""Errors of code that a cell runs by way of IPython: `%run script.py`, `%%capture`, `get_ipython().run_cell(...)`.

IPython shows such an error and goes on, and the kernel's reply says that all is well. Here the reply has a payload by
which the cell counts as failed; an error that the notebook has caught and shown itself leaves none. Stands alone, since
its text runs elsewhere too.
"""

from __future__ import annotations

import sys
from typing import Any

PAYLOAD = "shown_failure"
"""The payload's source."""


def register(shell: Any) -> None:
    """Have `shell` tell of these errors in its replies."""

    def note() -> None:
        shell.payload_manager.write_payload({"source": PAYLOAD})

    def cell_ran(result: Any) -> None:
        if not result.success:
            note()

    def noting(run: Any) -> Any:
        """`run`, which shows the error that has ended a script: one whose traceback begins in `run` itself."""

        def run_script(*arguments: Any, **options: Any) -> None:
            before = getattr(sys, "last_traceback", None)
            run(*arguments, **options)
            shown = getattr(sys, "last_traceback", None)
            if shown is not None and shown is not before and shown.tb_frame.f_code is run.__func__.__code__:
                note()

        return run_script

    shell.events.register("post_run_cell", cell_ran)
    shell.safe_execfile = noting(shell.safe_execfile)
    shell.safe_run_module = noting(shell.safe_run_module)
