"""Reads and writes the Parquet files of a run: the bound dataset in, enriched tables out."""

from __future__ import annotations

import difflib
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindzie_sdk.errors import DatasetError, NotSavableError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COMPRESSION = "zstd"  # as the platform's own Parquet: about half of snappy's size at the same reading speed


def read_parquet(path: Path, columns: Sequence[str] | None, known: Sequence[str]) -> pd.DataFrame:
    """Reads the file, or some of its columns. Raises DatasetError for an unknown column or an unreadable file."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(columns, str):
        raise DatasetError(f"columns must be a list of names: pass columns=[{columns!r}]")
    if columns is not None:
        for column in columns:
            if known and column not in known:
                raise DatasetError(f"the dataset has no column {column!r}{_suggestion(column, known)}")
    try:
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"cannot read the dataset: {_first_line(error)}") from error


def write_parquet(table: pd.DataFrame, path: Path) -> list[str]:
    """Writes a table and returns its column names as written.

    A named index becomes columns, an unnamed one is dropped; column names become text, levels joined by `_`. A column
    that Parquet has no type for is written as text, with a warning. Raises NotSavableError for two columns of one name
    and for what is no table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = flattened(table)
    fields: list[pa.Field] = []
    arrays: list[pa.Array | pa.ChunkedArray] = []
    for position, name in enumerate(flat.columns):
        array = _arrow_column(flat.iloc[:, position], name)
        fields.append(pa.field(name, array.type))
        arrays.append(array)
    pq.write_table(pa.table(arrays, schema=pa.schema(fields)), path, compression=COMPRESSION)
    return list(flat.columns)


def flattened(table: Any) -> pd.DataFrame:
    """A copy with text column names and no index of its own; see write_parquet."""
    import pandas as pd

    if isinstance(table, pd.Series):
        table = table.to_frame()
    if not isinstance(table, pd.DataFrame):
        raise NotSavableError(f"an enriched dataset must be a pandas DataFrame, not {type(table).__name__}")
    names = [_column_name(column) for column in table.columns]
    index_names = [name for name in table.index.names if name is not None]
    if index_names and not all(_column_name(name) in names for name in index_names):
        table = table.reset_index()
        names = [_column_name(column) for column in table.columns]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise NotSavableError(f"two columns are named {repeated[0]!r}: rename one before saving")
    flat: pd.DataFrame = table.set_axis(names, axis="columns")
    return flat


def _column_name(column: object) -> str:
    if isinstance(column, tuple):
        return "_".join(str(level) for level in column if str(level) != "")
    return str(column)


def _arrow_column(values: pd.Series[Any], name: str) -> pa.Array | pa.ChunkedArray:
    import pyarrow as pa
    from pyarrow import types

    try:
        array = pa.Array.from_pandas(values)
        if not (types.is_large_list(array.type) or isinstance(array.type, pa.ExtensionType)):
            return array
    except (pa.ArrowException, TypeError, ValueError, OverflowError, NotImplementedError):
        pass_through = "mixed" if values.dtype == object else str(values.dtype)
        warnings.warn(f"column {name!r} ({pass_through} values) is saved as text", UserWarning, stacklevel=5)
    missing = values.isna()
    text = [None if gone else str(value) for gone, value in zip(missing, values, strict=True)]
    return pa.array(text, type=pa.string())


def _suggestion(column: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(column), known, n=1)
    if close:
        return f": did you mean {close[0]!r}?"
    shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f": it has {shown}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
