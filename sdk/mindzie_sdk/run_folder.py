"""Reads the run folder: the run's description and where its dataset and outputs are (contract, schemaVersion 1)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindzie_sdk.errors import NotInARunError

SCHEMA_VERSION = 1
RUN_DIR_VARIABLE = "ATELIER_RUN_DIR"


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a dataset."""

    name: str
    type: str  # as the platform names it, for example "string" or "timestamp"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetInfo:
    """What is known about the bound dataset without reading it."""

    dataset_id: str
    dataset_name: str
    version: int | str | None
    record_count: int | None
    case_count: int | None
    columns: tuple[Column, ...]
    case_id_column: str | None  # None where none was named or detected
    activity_column: str | None
    time_column: str | None
    path: Path  # the read-only Parquet file

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in the order of the file."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDescription:
    """What `run.json` says about this run."""

    execution_id: str | None
    notebook_id: str | None
    notebook_version: str | None
    project_id: str | None
    parameters: Mapping[str, Any]
    enrichment_mode: bool
    output_format: str
    dataset: DatasetInfo | None


def find_run_folder() -> Path:
    """Returns the folder of the current run. Raises NotInARunError outside one."""
    value = os.environ.get(RUN_DIR_VARIABLE, "")
    if not value:
        raise NotInARunError(
            f"not inside an Atelier run ({RUN_DIR_VARIABLE} is not set):"
            ' use ProcessMiningClient.local(dataset="log.csv")'
        )
    return Path(value)


def read_run(folder: Path) -> RunDescription:
    """Reads `run.json` of a run folder. Raises NotInARunError, saying why, when it is missing or not understood."""
    path = folder / "run.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotInARunError(f"{folder} is not a run folder: cannot read run.json ({error.strerror})") from error
    except ValueError as error:
        raise NotInARunError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(described, dict):
        raise NotInARunError(f"{path} is not a JSON object")
    version = described.get("schemaVersion")
    if version != SCHEMA_VERSION:
        raise NotInARunError(
            f"{path} has schemaVersion {version!r}, this SDK reads {SCHEMA_VERSION}: install the SDK of the platform"
        )
    dataset = described.get("dataset")
    return RunDescription(
        execution_id=described.get("executionId"),
        notebook_id=described.get("notebookId"),
        notebook_version=described.get("notebookVersion"),
        project_id=described.get("projectId"),
        parameters=described.get("parameters") or {},
        enrichment_mode=bool(described.get("enrichmentMode")),
        output_format=described.get("outputFormat") or "enriched_dataframe",
        dataset=None if dataset is None else _dataset(dataset, folder),
    )


def _dataset(described: Mapping[str, Any], folder: Path) -> DatasetInfo:
    path = (folder / str(described["path"])).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise NotInARunError(f"run.json names a dataset outside the run folder: {described['path']}")
    return DatasetInfo(
        dataset_id=str(described["datasetId"]),
        dataset_name=str(described.get("datasetName") or ""),
        version=described.get("version"),
        record_count=described.get("recordCount"),
        case_count=described.get("caseCount"),
        columns=tuple(
            Column(name=str(column["name"]), type=str(column.get("type") or ""))
            for column in described.get("columns") or ()
        ),
        case_id_column=described.get("caseIdColumn") or None,
        activity_column=described.get("activityColumn") or None,
        time_column=described.get("timeColumn") or None,
        path=path,
    )
