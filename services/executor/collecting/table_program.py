"""Looks at an enriched dataset and writes it as CSV; in a process of its own (`shared/apart.py`): a kernel made it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from services.executor import wording
from services.executor.collecting import enrichment
from shared.tabular import stored
from shared.tabular.csv_out import csv_chunks


def answer(question: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What each of the steps that are asked for has found, or why it failed; in that order."""
    parquet = Path(question["parquet"])
    for step in question["steps"]:
        try:
            yield {"step": step, "found": _STEPS[step](parquet, question)}
        except MemoryError:
            raise
        except (OSError, ValueError, pa.ArrowException) as error:
            yield {"step": step, "failed": str(error).splitlines()[0]}


def _shape(parquet: Path, _question: dict[str, Any]) -> dict[str, Any]:
    with stored.opened(parquet) as file:
        names = list(file.schema_arrow.names)
        if len(set(names)) < len(names):
            raise ValueError("two of its columns have one name")
        return {"rows": file.metadata.num_rows, "columns": names}


def _check(parquet: Path, question: dict[str, Any]) -> dict[str, Any]:
    return asdict(enrichment.check(parquet, Path(question["bound"]), question["keys"]))


def _csv(parquet: Path, question: dict[str, Any]) -> None:
    """Write a CSV file, batch by batch, in the same words as a download of a dataset has. Raises ValueError when it
    becomes larger than `maxBytes`: a small Parquet file can hold a value a billion times."""
    limit, size = question["maxBytes"], 0
    with Path(question["csv"]).open("wb") as file:
        for chunk in csv_chunks(parquet):
            size += len(chunk)
            if size > limit:
                raise ValueError(f"it is larger than {wording.limit(limit)}")
            file.write(chunk)


_STEPS = {"shape": _shape, "check": _check, "csv": _csv}
