"""Output widgets (`ipywidgets.Output`): what a cell puts out inside of one is the widget's, as in JupyterLab.

nbclient has such a widget, which copies and sends all its outputs with every piece of text. Here the kernel is told
once, when the cell has ended: it could not read what it is told any earlier.
"""

from __future__ import annotations

from typing import Any

from jupyter_client.client import KernelClient
from nbclient.output_widget import OutputWidget
from nbformat import NotebookNode

from services.executor.kernels import messages
from services.executor.kernels.output_list import OutputList

SENT_BYTES = 1_000_000
"""A widget with more outputs than that does not tell the kernel of them."""


class KeptOutputWidget(OutputWidget):
    """See the module. `executor` is the recorder of the run's outputs."""

    def __init__(self, comm_id: str, state: dict[str, Any], kernel_client: KernelClient, executor: Any) -> None:
        before = state.get("outputs")
        state["outputs"] = []
        super().__init__(comm_id, state, kernel_client, executor)
        self.list = OutputList(self.outputs, executor.account)
        self._replace(before)

    def set_state(self, state: dict[str, Any]) -> None:
        """Called when the kernel changes the widget, which may replace its outputs (`append_stdout`)."""
        super().set_state(state)
        if "outputs" in state:
            self._replace(state["outputs"])

    def _replace(self, outputs: Any) -> None:
        self.list.clear()
        for output in outputs if isinstance(outputs, list) else []:
            if isinstance(output, dict) and isinstance(output.get("output_type"), str):
                self.list.add(NotebookNode(output), messages.size_of(output))
        self.executor.widget_state[self.comm_id]["outputs"] = self.outputs

    def settle(self) -> None:
        """Bring the outputs up to date and tell the kernel of them."""
        self.list.settle()
        if self.list.size <= SENT_BYTES and hasattr(self, "parent_header"):
            self.sync_state()
