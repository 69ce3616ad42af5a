"""Traces of an earlier papermill run in a notebook file: they are about that run, not part of the notebook."""

from __future__ import annotations

from services.catalog.document import Json, tags_of

ERROR_TAG = "papermill-error-cell-tag"
"""Tag of the two cells that papermill puts into a notebook which failed."""

INJECTED_TAG = "injected-parameters"
"""Tag of the cell that sets the parameters of a run."""

METADATA = "papermill"
"""Name of papermill's notes in the metadata of the file and of cells."""


def without_traces(cells: list[Json], metadata: Json, warnings: list[str]) -> tuple[list[Json], Json]:
    """Return the cells and metadata of the notebook that papermill was given; adds to `warnings` what went.

    A run adds its own of all these, so an old one would be taken for the new.
    """
    kept, noted, errors, injected = [], 0, 0, 0
    for cell in cells:
        tags = tags_of(cell)
        if ERROR_TAG in tags:
            errors += 1
        elif INJECTED_TAG in tags and cell["cell_type"] == "code":
            injected += 1
        else:
            clean, had = _without_notes(cell["metadata"])
            kept.append({**cell, "metadata": clean} if had else cell)
            noted += had
    metadata, had = _without_notes(metadata)
    if errors:
        warnings.append(f"{_count(errors)} in which papermill told of the error of an earlier run; left out.")
    if injected:
        warnings.append(
            f"{_count(injected)} that set the parameters of an earlier run; left out. Give those values as parameters "
            "to use them again."
        )
    if noted or had:
        warnings.append("metadata.papermill tells of an earlier run; it was left out of the notebook and its cells.")
    return kept, metadata


def _without_notes(metadata: Json) -> tuple[Json, bool]:
    if METADATA not in metadata:
        return metadata, False
    return {name: value for name, value in metadata.items() if name != METADATA}, True


def _count(number: int) -> str:
    return f"{number} cell{'s' if number > 1 else ''}"
