"""Rewrites a stranger's Parquet file in our own form; in a process of its own (`shared/apart.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.artifacts.formats import roles
from services.artifacts.formats.conversion import Conversion
from services.artifacts.formats.distinct import Distinct
from services.artifacts.formats.parquet_out import ParquetOutput
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.roles import Roles
from shared.errors import AtelierError, TooLarge
from shared.tabular import stored


def answer(question: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """How many rows are done, again and again, and at the end the conversion or the refusal."""
    try:
        with stored.opened(Path(question["source"])) as file:
            yield from _rewrite(file, question)
    except AtelierError as error:
        faults = [fault.model_dump() for fault in error.faults]
        yield {"refused": {"kind": type(error).__name__, "detail": error.detail, "faults": faults}}
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # our own disk
        yield {"damaged": str(error).splitlines()[0]}


def _rewrite(file: pq.ParquetFile, question: dict[str, Any]) -> Iterator[dict[str, Any]]:
    given, target, limit = file.schema_arrow, Path(question["target"]), question["maxBytes"]
    _check_names(given.names, question["maxColumns"])
    schema = pa.schema([(field.name, _stored_type(field)) for field in given])
    columns = [(field.name, _logical_type(field.type)) for field in schema]
    chosen = roles.assign(columns, Roles(**question["roles"]), Roles(**question["habit"]))
    case_id = chosen.case_id
    cases = Distinct()
    size = 0
    with ParquetOutput(target, schema) as output:
        for batch in stored.bounded(file):
            arrays = [pc.cast(array, field.type) for array, field in zip(batch.columns, schema, strict=True)]
            size += sum(array.nbytes for array in arrays)
            if size > limit:
                raise TooLarge(f"The file's values come to more than {limit} bytes, which is the limit.")
            output.write(arrays)
            yield {"rows": output.row_count}
            if case_id is not None:
                cases.add(arrays[schema.get_field_index(case_id)])
    done = Conversion(
        record_count=output.row_count,
        case_count=None if case_id is None else cases.count(lambda: stored.column(target, case_id)),
        columns=columns,
        roles=chosen,
        size_bytes=output.size_bytes,
        sha256=output.sha256,
        source={"format": "parquet"},
    )
    yield {"done": asdict(done)}


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
        reason = f"it holds lists or records ({kind}); a table has one value a cell: save them as text"
        raise refuse(reason, column=field.name)
    if not any(test(kind) for test, _ in _LOGICAL):
        raise refuse(f"it holds {kind} values, which are not supported: save them as text", column=field.name)
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
    (pa.types.is_duration, "duration"),
)
"""The API's word for each type that can be stored."""
