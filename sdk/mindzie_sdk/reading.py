"""Reads the bound dataset: columns and rows that were asked for, as pandas, Arrow or polars, at once or in batches."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mindzie_sdk.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute

Kind = Literal["pandas", "arrow", "polars"]
"""The libraries a dataset can be had for."""

Condition = tuple[str, str, Any]
"""Column, operator and value, as in `("amount", ">", 100)`."""

Filter: TypeAlias = "Sequence[Condition] | Sequence[Sequence[Condition]] | pyarrow.compute.Expression"
"""Conditions that all hold; or a list of such lists, of which one holds; or an Arrow expression."""

OPERATORS = ("==", "=", "!=", "<", "<=", ">", ">=", "in", "not in")


def read(path: Path, known: Sequence[str], *, columns: Sequence[str] | None, filter: Any, as_: str) -> Any:  # noqa: A002
    """The dataset. Raises DatasetError for an unknown column, a faulty filter, a library that is not there, or a file
    that cannot be read."""
    import pyarrow as pa

    chosen = _checked_columns(columns, known)
    conditions = _checked_filter(filter, path, known)
    try:
        if as_ == "pandas":
            import pandas as pd

            return pd.read_parquet(path, columns=chosen, filters=conditions)
        if as_ == "arrow":
            import pyarrow.parquet as pq

            return pq.read_table(path, columns=chosen, filters=conditions)
        if as_ == "polars":
            return _as_polars(path, chosen, conditions)
    except (OSError, pa.ArrowException, TypeError) as error:
        raise DatasetError(f"cannot read the dataset: {_first_line(error)}") from error
    raise DatasetError(f"as_ is 'pandas', 'arrow' or 'polars', not {as_!r}")


def batches(
    path: Path,
    known: Sequence[str],
    *,
    columns: Sequence[str] | None,
    filter: Any,  # noqa: A002
    rows: int,
) -> Iterator[pa.RecordBatch]:
    """The dataset piece by piece, in memory that does not grow with it; raises as `read` does."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    chosen = _checked_columns(columns, known)
    conditions = _checked_filter(filter, path, known)
    try:
        if conditions is None:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(batch_size=rows, columns=chosen)
            return
        expression = conditions if isinstance(conditions, ds.Expression) else pq.filters_to_expression(conditions)
        scanner = ds.dataset(path).scanner(columns=chosen, filter=expression, batch_size=rows)
        yield from (batch for batch in scanner.to_batches() if batch.num_rows)
    except (OSError, pa.ArrowException, TypeError) as error:
        raise DatasetError(f"cannot read the dataset: {_first_line(error)}") from error


def _as_polars(path: Path, columns: list[str] | None, conditions: Any) -> Any:
    import pyarrow.parquet as pq

    try:
        import polars as pl
    except ImportError:
        raise DatasetError("polars is not installed: add it to the notebook's environment.packages") from None
    return pl.from_arrow(pq.read_table(path, columns=columns, filters=conditions))


def _checked_columns(columns: Sequence[str] | None, known: Sequence[str]) -> list[str] | None:
    if isinstance(columns, str):
        raise DatasetError(f"columns must be a list of names: pass columns=[{columns!r}]")
    if columns is None:
        return None
    for column in columns:
        _check_known(column, known)
    return list(columns)


def _check_known(column: object, known: Sequence[str]) -> None:
    if known and column not in known:
        raise DatasetError(f"the dataset has no column {column!r}{_suggestion(column, known)}")


def _checked_filter(given: Any, path: Path, known: Sequence[str]) -> Any:
    """The filter as pyarrow takes it, with text in place of times turned into times."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if given is None or isinstance(given, pc.Expression):
        return given
    groups = [given] if _is_condition_list(given) else given
    if not isinstance(groups, list | tuple) or not groups or not all(map(_is_condition_list, groups)):
        raise DatasetError('filter is a list of conditions such as [("amount", ">", 100)], or an Arrow expression')
    schema = pq.read_schema(path)
    return [[_checked_condition(condition, schema, known) for condition in group] for group in groups]


def _is_condition_list(given: Any) -> bool:
    return (
        isinstance(given, list | tuple)
        and len(given) > 0
        and all(isinstance(one, list | tuple) and len(one) == 3 and isinstance(one[0], str) for one in given)
    )


def _checked_condition(condition: Condition, schema: pa.Schema, known: Sequence[str]) -> Condition:
    import pyarrow as pa

    column, operator, value = condition
    _check_known(column, known)
    if operator not in OPERATORS:
        raise DatasetError(f"a filter knows no operator {operator!r}: use one of {', '.join(OPERATORS)}")
    kind = schema.field(column).type
    many = operator in ("in", "not in")
    if many and (isinstance(value, str) or not hasattr(value, "__iter__")):
        raise DatasetError(f"{operator!r} needs a list of values for {column!r}")
    if pa.types.is_timestamp(kind):
        value = [_time(one, kind) for one in value] if many else _time(value, kind)
    elif many:
        value = list(value)
    return (column, operator, value)


def _time(value: Any, kind: pa.DataType) -> pd.Timestamp:
    """A time as the column has it: with the column's zone, or without one."""
    import pandas as pd

    try:
        time = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{value!r} is no time: write it as 2024-01-31 or 2024-01-31T12:00:00Z") from error
    if kind.tz is None:
        return time.tz_convert("UTC").tz_localize(None) if time.tzinfo else time
    return time if time.tzinfo else time.tz_localize(kind.tz)


def _suggestion(column: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(column), known, n=1)
    if close:
        return f": did you mean {close[0]!r}?"
    shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f": it has {shown}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
