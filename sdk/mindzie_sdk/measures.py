"""The first questions about an event log, asked of the bound dataset: cases, variants, activities, flow, durations.

Each reads only the columns that it needs and hands them to `process_mining_utils`, which has more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mindzie_sdk.errors import DatasetError, NoDatasetError
from mindzie_sdk.reading import read

if TYPE_CHECKING:
    import pandas as pd

    from mindzie_sdk.run_folder import DatasetInfo


class DatasetMeasures:
    """Methods of the client that answer from the bound dataset. All raise NoDatasetError when none is bound, and
    DatasetError when it has no case, activity or time column."""

    @property
    def dataset(self) -> DatasetInfo | None:
        """What is known about the bound dataset; None when none is bound."""
        raise NotImplementedError

    def event_log(self) -> pd.DataFrame:
        """The bound dataset's events under the names of the XES standard, for `process_mining_utils`: case, activity,
        time (UTC) and, where there is one, resource."""
        import process_mining_utils as pm

        info = self.dataset
        if info is None:
            raise NoDatasetError
        roles = {"case": info.case_id_column, "activity": info.activity_column, "time": info.time_column}
        missing = [role for role, column in roles.items() if column is None]
        if missing:
            raise DatasetError(
                f"the dataset has no {' and no '.join(missing)} column: name it when you upload the dataset, or use"
                " process_mining_utils.event_log"
            )
        import pyarrow.parquet as pq

        names = pq.read_schema(info.path).empty_table().to_pandas()
        resource = pm.detect_columns(names).resource  # by its name alone
        resource = None if resource in roles.values() else resource
        wanted = [column for column in (*roles.values(), resource) if column is not None]
        log = read(info.path, (), columns=wanted, filter=None, as_="pandas")
        return pm.event_log(log, pm.LogColumns(**roles, resource=resource))

    def cases(self) -> pd.DataFrame:
        """One row a case: `case`, `start`, `end`, `events`, `duration_hours`, `variant_rank`, `variant`."""
        import process_mining_utils as pm

        log = self.event_log()
        return pm.case_durations(log).merge(pm.case_variants(log), on="case", how="left")

    def variants(self) -> pd.DataFrame:
        """The paths through the process, most frequent first; see `process_mining_utils.variants`."""
        import process_mining_utils as pm

        return pm.variants(self.event_log())

    def activities(self) -> pd.DataFrame:
        """One row an activity: how often, in how many cases, how long before it; see
        `process_mining_utils.activity_throughput`."""
        import process_mining_utils as pm

        return pm.activity_throughput(self.event_log())

    def directly_follows(self) -> pd.DataFrame:
        """How often one activity directly follows another, and after how long; see
        `process_mining_utils.directly_follows`."""
        import process_mining_utils as pm

        return pm.directly_follows(self.event_log())

    def durations(self, *, include_weekends: bool = True) -> pd.DataFrame:
        """How long each case takes: `case`, `start`, `end`, `events`, `duration_hours`."""
        import process_mining_utils as pm

        return pm.case_durations(self.event_log(), include_weekends=include_weekends)
