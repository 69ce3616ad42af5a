"""Makes a run folder on a developer's computer, in the form the platform makes them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindzie_sdk.errors import DatasetError
from mindzie_sdk.json_values import to_json
from mindzie_sdk.run_folder import SCHEMA_VERSION
from mindzie_sdk.tables import flattened, write_parquet

if TYPE_CHECKING:
    import pandas as pd

DATASET_PATH = "inputs/dataset.parquet"
LOCAL_ID = "00000000-0000-0000-0000-000000000000"


def make_run_folder(
    folder: Path,
    dataset: str | os.PathLike[str] | pd.DataFrame | None,
    parameters: Mapping[str, Any],
    named_columns: Mapping[str, str | None],
) -> None:
    """Writes `run.json` and the dataset; keeps what is in `outputs/`. Raises DatasetError for an unusable dataset."""
    for part in ("inputs", "outputs/.atelier", "work"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    described = None if dataset is None else _bring_in(dataset, folder, named_columns)
    run = {
        "schemaVersion": SCHEMA_VERSION,
        "executionId": LOCAL_ID,
        "notebookId": LOCAL_ID,
        "notebookVersion": "local",
        "projectId": LOCAL_ID,
        "parameters": to_json(dict(parameters)),
        "enrichmentMode": True,
        "outputFormat": "enriched_dataframe",
        "dataset": described,
    }
    partial = folder / "run.json.partial"
    partial.write_text(json.dumps(run, ensure_ascii=False, indent=2), encoding="utf-8")
    partial.replace(folder / "run.json")


def _bring_in(
    dataset: str | os.PathLike[str] | pd.DataFrame, folder: Path, named_columns: Mapping[str, str | None]
) -> dict[str, Any]:
    import pandas as pd
    import pyarrow.parquet as pq
    from process_mining_utils import detect_columns, to_times

    if isinstance(dataset, pd.DataFrame):
        table, name = flattened(dataset), "dataframe"
    else:
        path = Path(dataset)
        table, name = flattened(_read(path)), path.name.partition(".")[0]
    for column in named_columns.values():
        if column is not None and column not in table.columns:
            raise DatasetError(f"the dataset has no column {column!r}: it has {', '.join(map(str, table.columns))}")
    found = detect_columns(table)
    case = named_columns["caseIdColumn"] or found.case
    activity = named_columns["activityColumn"] or found.activity
    time = named_columns["timeColumn"] or found.time
    if time is not None:
        table[time] = to_times(table[time])
    write_parquet(table, folder / DATASET_PATH)
    return {
        "datasetId": LOCAL_ID,
        "datasetName": name,
        "version": 1,
        "path": DATASET_PATH,
        "recordCount": len(table),
        "caseCount": None if case is None else int(table[case].nunique()),
        "columns": [{"name": field.name, "type": str(field.type)} for field in pq.read_schema(folder / DATASET_PATH)],
        "caseIdColumn": case,
        "activityColumn": activity,
        "timeColumn": time,
    }


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix in {".parquet", ".pq"}:
            return pd.read_parquet(path)
        if ".csv" in path.suffixes:
            return pd.read_csv(path, low_memory=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    raise DatasetError(f"cannot read {path}: use a .csv or .parquet file (the platform also reads XES)")
