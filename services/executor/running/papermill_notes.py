"""Papermill's notes in the metadata of an executed notebook: tools that read its files (papermill's own `inspect`,
scrapbook) read ours. Notes of an earlier run are replaced.

The two marker cells that papermill puts into a failed notebook are left out: they would shift the cells' places, and
the status object names the failed cell.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import papermill
from nbformat import NotebookNode

PENDING, RUNNING, COMPLETED, FAILED = "pending", "running", "completed", "failed"
"""papermill's words for the status of a cell (NotebookExecutionManager)."""


class PapermillNotes:
    """Of one run. Times are in UTC, as ISO 8601."""

    def __init__(self, notebook: NotebookNode, parameters: dict[str, Any], name: str) -> None:
        self._notebook = notebook
        self._began: dict[int, datetime] = {}
        self._started = datetime.now(UTC)
        for cell in notebook.cells:
            if not isinstance(cell.metadata.get("tags"), list):
                cell.metadata["tags"] = []
            cell.metadata["papermill"] = _times(exception=None, status=PENDING)
        notebook.metadata["papermill"] = {
            "default_parameters": {},
            "parameters": parameters,
            "environment_variables": {},
            "version": papermill.__version__,
            "input_path": name,
            "output_path": None,
            **_times(exception=None),
            "start_time": self._started.isoformat(),
        }

    def cell_begins(self, index: int) -> None:
        """A cell is run."""
        self._began[index] = datetime.now(UTC)
        self._of(index).update(
            start_time=self._began[index].isoformat(), end_time=None, duration=None, status=RUNNING, exception=False
        )

    def cell_ended(self, index: int, *, failed: bool) -> None:
        """A cell that was run has ended; `failed` where its error was one, and not allowed by a tag."""
        now = datetime.now(UTC)
        self._of(index).update(
            end_time=now.isoformat(),
            duration=(now - self._began[index]).total_seconds(),
            status=FAILED if failed else COMPLETED,
            exception=failed,
        )
        if failed:
            self._notebook.metadata["papermill"]["exception"] = True

    def cell_passed(self, index: int) -> None:
        """A cell has nothing to run, or is not to be run."""
        self.cell_begins(index)
        self.cell_ended(index, failed=False)

    def end(self, *, failed: bool) -> None:
        """The run has ended."""
        now = datetime.now(UTC)
        self._notebook.metadata["papermill"].update(
            end_time=now.isoformat(), duration=(now - self._started).total_seconds()
        )
        if failed:
            self._notebook.metadata["papermill"]["exception"] = True

    def _of(self, index: int) -> Any:
        return self._notebook.cells[index].metadata["papermill"]


def _times(**others: Any) -> dict[str, Any]:
    return {"start_time": None, "end_time": None, "duration": None, **others}
