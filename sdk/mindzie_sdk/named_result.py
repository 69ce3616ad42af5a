"""Saves the table that a notebook named as its result without calling the SDK: the convention of `enrichmentMode`.

The platform runs `save()` in the kernel after the last cell, when no enriched dataset has been saved. It takes
`enriched_df`; where there is none, `result`, if that still has the dataset's case column: many notebooks call a summary
their result, and a summary is no enriched dataset. A table is a pandas or polars DataFrame or an Arrow table.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from mindzie_sdk.client import ProcessMiningClient

SURE_NAME, LIKELY_NAME = "enriched_df", "result"
"""The variables that are looked for, in this order."""


def save(variables: Mapping[str, Any] | None = None) -> str | None:
    """Saves the notebook's result under its variable's name and returns that name; None when there is none.

    `variables` are the notebook's own unless given. Raises what `save_enriched_dataset` raises.
    """
    names = _variables_of_the_notebook() if variables is None else variables
    client = ProcessMiningClient()
    name = _name_of_result(names, client)
    if name is not None:
        client.save_enriched_dataset(names[name], name=name)
    return name


def _name_of_result(names: Mapping[str, Any], client: ProcessMiningClient) -> str | None:
    if _is_table(names.get(SURE_NAME)):
        return SURE_NAME
    likely: Any = names.get(LIKELY_NAME)
    if not _is_table(likely):
        return None
    case = client.dataset.case_id_column if client.dataset else None
    columns = likely.column_names if hasattr(likely, "column_names") else likely.columns
    return LIKELY_NAME if case is None or case in list(columns) else None


def _is_table(value: Any) -> bool:
    # Loaded modules only: without them there can be no such table.
    kinds = (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table"))
    found = (getattr(sys.modules.get(module), kind, None) for module, kind in kinds)
    return isinstance(value, tuple(kind for kind in found if kind is not None))


def _variables_of_the_notebook() -> Mapping[str, Any]:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return vars(sys.modules["__main__"])
    variables: Mapping[str, Any] = shell.user_ns
    return variables
