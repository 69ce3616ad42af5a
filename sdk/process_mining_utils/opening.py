"""Opens the log of a run: the bound dataset under the standard names, with what is wrong with it in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from process_mining_utils.columns import TIME, LogColumns, detect_columns
from process_mining_utils.enrichment import event_log

if TYPE_CHECKING:
    from mindzie_sdk import ProcessMiningClient


@dataclass(frozen=True, kw_only=True)
class OpenedLog:
    """A run's event log, perhaps empty."""

    log: pd.DataFrame  # as it is stored
    events: pd.DataFrame  # the same rows under the standard (XES) names
    columns: LogColumns
    name: str  # of the dataset
    bound: bool  # whether there is a dataset at all
    notes: list[str]  # what the reader of a report should know


def open_log(client: ProcessMiningClient, dataset_id: str | None = None) -> OpenedLog:
    """Loads the dataset of a run; columns that it does not name are found by name and content.

    Never fails for want of data: without a dataset the log is empty. `dataset_id` is the one that a parameter asked
    for; another one than the bound dataset is told in the notes.
    """
    from mindzie_sdk.errors import NoDatasetError

    notes: list[str] = []
    try:
        log, info = client.load_dataset(), client.dataset
    except NoDatasetError as error:
        log, info = pd.DataFrame(), None
        notes.append(f"There was nothing to analyse: {error}.")
    named = {"case": info.case_id_column, "activity": info.activity_column, "time": info.time_column} if info else {}
    columns = detect_columns(log, **named)
    events = event_log(log, columns)
    if info and columns.missing():
        notes.append(f"The dataset has no column for: {', '.join(columns.missing())}. Name it on the dataset.")
    if len(log) and columns.time and events[TIME].isna().any():
        notes.append(f"{events[TIME].isna().sum():,} of {len(log):,} events have no readable time.")
    if info and log.empty:
        notes.append("The dataset has no rows.")
    if info and dataset_id and dataset_id.lower() != info.dataset_id.lower():
        notes.append(f"dataset_id asked for {dataset_id}, the run is bound to {info.dataset_id}.")
    name = info.dataset_name or info.dataset_id if info else "no dataset"
    return OpenedLog(log=log, events=events, columns=columns, name=name, bound=info is not None, notes=notes)
