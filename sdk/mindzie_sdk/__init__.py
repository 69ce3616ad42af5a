"""What a notebook imports inside Atelier: parameters, the bound dataset, and ways to hand results back.

Works offline, with no credential, from the run folder alone (`ATELIER_RUN_DIR`). Importing it loads no pandas.
"""

from mindzie_sdk.client import ProcessMiningClient
from mindzie_sdk.errors import (
    DatasetError,
    InvalidNameError,
    MindzieError,
    NoDatasetError,
    NotInARunError,
    NotSavableError,
)
from mindzie_sdk.run_folder import Column, DatasetInfo, RunDescription

__all__ = [
    "Column",
    "DatasetError",
    "DatasetInfo",
    "InvalidNameError",
    "MindzieError",
    "NoDatasetError",
    "NotInARunError",
    "NotSavableError",
    "ProcessMiningClient",
    "RunDescription",
]
__version__ = "0.1.0"
