"""Reads the Parquet files that callers send and rewrites them in our own form."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.artifacts.formats import roles
from services.artifacts.formats.conversion import Conversion, Wishes
from services.artifacts.formats.distinct import Distinct
from services.artifacts.formats.parquet_out import ParquetOutput
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.spool import Spool
from services.artifacts.formats.streams import OpenChunks
from shared.tabular import stored


def convert(spool: Spool, unpacked: OpenChunks | None, target: Path, wishes: Wishes) -> Conversion:
    """Rewrite a Parquet file in our own form; waits for the whole file, since its description is at the end.

    `unpacked` is the stream inside when the file came packed. Raises Invalid, TooLarge or SpoolAborted.
    """
    path = spool.path
    if unpacked is not None:
        path = target.with_suffix(".unpacked")
        with path.open("wb") as file:
            for chunk in unpacked():
                file.write(chunk)
    spool.wait_complete()
    wishes.passing(path.stat().st_size)
    try:
        with stored.opened(path) as file:
            return _rewrite(file, target, wishes)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # our own disk
        raise refuse(f"the Parquet file is damaged ({str(error).splitlines()[0]})") from error


def _rewrite(file: pq.ParquetFile, target: Path, wishes: Wishes) -> Conversion:
    given = file.schema_arrow
    _check_names(given.names, wishes.max_columns)
    schema = pa.schema([(field.name, _stored_type(field)) for field in given])
    columns = [(field.name, _logical_type(field.type)) for field in schema]
    chosen = roles.assign(columns, wishes.roles, wishes.habit)
    cases = Distinct()
    with ParquetOutput(target, schema) as output:
        for batch in file.iter_batches(batch_size=stored.BATCH_ROWS):
            arrays = [pc.cast(array, field.type) for array, field in zip(batch.columns, schema, strict=True)]
            output.write(arrays)
            wishes.converted(output.row_count)
            if chosen.case_id is not None:
                cases.add(arrays[schema.get_field_index(chosen.case_id)])
    case_id = chosen.case_id
    return Conversion(
        record_count=output.row_count,
        case_count=None if case_id is None else cases.count(lambda: stored.column(target, case_id)),
        columns=columns,
        roles=chosen,
        size_bytes=output.size_bytes,
        sha256=output.sha256,
        source={"format": "parquet"},
    )


def _check_names(names: list[str], max_columns: int) -> None:
    if not names:
        raise refuse("there are no columns")
    if len(names) > max_columns:
        raise refuse(f"there are {len(names)} columns, and at most {max_columns} are allowed")
    for name, count in Counter(names).items():
        if count > 1:
            raise refuse(f"there are {count} columns of this name", column=name)


def _stored_type(field: pa.Field) -> pa.DataType:
    """What a column is stored as: the same values in the plainest type that holds them."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_nested(kind):
        raise refuse(f"it holds lists or records ({kind}); a table has one value a cell", column=field.name)
    if not any(test(kind) for test, _ in _LOGICAL):
        raise refuse(f"it holds {kind} values, which are not supported", column=field.name)
    return kind


def _logical_type(kind: pa.DataType) -> str:
    return next(word for test, word in _LOGICAL if test(kind))


_LOGICAL = (
    (pa.types.is_integer, "integer"),
    (pa.types.is_floating, "number"),
    (pa.types.is_decimal, "number"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_timestamp, "timestamp"),
    (pa.types.is_date, "date"),
    (pa.types.is_string, "string"),
    (pa.types.is_time, "string"),
)
"""The API's word for each type that can be stored."""
