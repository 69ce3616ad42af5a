"""The convention of `enrichmentMode`: a table that the notebook called `enriched_df` or `result` is its result.

After the last cell, when nothing was saved as an enriched dataset, the kernel itself is asked to save it through the
SDK (`mindzie_sdk.named_result`). Whatever happens there never fails the run: its cells have all come to their end.
"""

from __future__ import annotations

from nbformat.v4 import new_code_cell

from services.executor.kernels.cells import CellRunner

LANGUAGE = "python3"
"""Kernels that the convention holds for."""

SAVING_LIMIT_S = 300.0
"""How long saving may take, in seconds; the run's own time limit may end it sooner."""

_CODE = "import mindzie_sdk.named_result as _atelier_named_result; _atelier_named_result.save()"


async def save(runner: CellRunner, *, limit_s: float) -> str | None:
    """Have the kernel save its result. Returns what went wrong, for a warning; None when all is well or there is no
    such table."""
    cell = new_code_cell(_CODE, id="enriched-result")
    limit = min(limit_s, SAVING_LIMIT_S)
    outcome = await runner.run_cell(cell, timeout_s=limit, timeout_name="limit for saving the notebook's result")
    if outcome.status == "Error":
        message = (outcome.error_message or "").splitlines() or [outcome.error_type or "unknown"]
        return f"The table that the notebook named as its result could not be saved: {message[0][:300]}"
    return None
