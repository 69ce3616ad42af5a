"""A dataset for R, which has no Parquet reader: CSV that keeps every value, and each column's class in R."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

BATCH_ROWS = 65_536
"""Rows converted at a time."""

INTEGER_LIMIT = 2**31 - 1
"""R's integers have 32 bits, and the lowest of them stands for a missing value."""

EXACT_LIMIT = 2**53
"""Up to here every integer has a double of its own."""

INTEGER64_LIMIT = 2**63 - 1
"""bit64's integers; the lowest of them stands for a missing value, too."""

EXACT_DIGITS = 15
"""Decimal digits that a double always keeps (IEEE 754: DBL_DIG)."""


def to_csv(parquet: Path, csv: Path, columns: Path) -> None:
    """Write a Parquet file as CSV, batch by batch, and what `load_dataset` in R needs to know of its columns.

    Times are microseconds since 1970 in UTC and dates are days, which R holds them as. Texts are quoted, missing values
    are not, so that an empty text is none.
    """
    file = pyarrow.parquet.ParquetFile(parquet)
    fields = [_Column(field) for field in file.schema_arrow]
    schema = pa.schema([pa.field(one.header, one.stored) for one in fields])
    with pyarrow.csv.CSVWriter(csv, schema) as writer:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            arrays = [one.convert(values) for one, values in zip(fields, batch.columns, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    columns.write_bytes(orjson.dumps([one.described for one in fields]))


class _Column:
    """One column: what it is stored as, and what has been seen of its values."""

    def __init__(self, field: pa.Field) -> None:
        self._name = field.name
        self._type = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        self._most = 0
        self._class, self.stored = _form(self._type)

    @property
    def header(self) -> str:
        """The name as the first line of the file says it, which is one line."""
        return " ".join(self._name.splitlines()) or self._name

    @property
    def described(self) -> dict[str, Any]:
        """For run.json. `local`: times without a zone."""
        described: dict[str, Any] = {"name": self._name, "class": self._class}
        if self._class == "integer":
            described["class"] = _integer_class(self._most)
        if pa.types.is_timestamp(self._type) and self._type.tz is None:
            described["local"] = True
        return described

    def convert(self, values: pa.Array) -> pa.Array:
        """The values as they are stored."""
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if self._class == "POSIXct":
            return values.cast(pa.timestamp("us", self._type.tz), safe=False).cast(pa.int64())
        if self._class == "Date":
            return values.cast(pa.date32(), safe=False).cast(pa.int32())
        if self._class == "integer":
            return self._counted(values)
        if self._class == "character":
            return _plain_text(values)
        return values.cast(self.stored)

    def _counted(self, values: pa.Array) -> pa.Array:
        """Integers as they are; the largest of them decides the class."""
        if len(values) > values.null_count:
            found = pc.min_max(values).as_py()
            self._most = max(self._most, abs(found["min"]), abs(found["max"]))
        return values


def _form(kind: pa.DataType) -> tuple[str, pa.DataType]:
    """A column's class in R, and its type in the CSV file."""
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return "logical", pa.bool_()
    if pa.types.is_integer(kind):
        return "integer", kind
    if pa.types.is_floating(kind) or (pa.types.is_decimal(kind) and kind.precision <= EXACT_DIGITS):
        return "numeric", pa.float64()
    if pa.types.is_date(kind):
        return "Date", pa.int32()
    if pa.types.is_timestamp(kind):
        return "POSIXct", pa.int64()
    return "character", pa.string()


def _integer_class(most: int) -> str:
    """The narrowest of R's number types that keeps every value; text where none does."""
    if most <= INTEGER_LIMIT:
        return "integer"
    if most <= EXACT_LIMIT:
        return "numeric"
    return "integer64" if most <= INTEGER64_LIMIT else "character"


def _plain_text(values: pa.Array) -> pa.Array:
    """Text without the character that R's texts cannot hold."""
    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type) or pa.types.is_duration(values.type):
        values = pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
    texts = values.cast(pa.string())
    if pc.any(pc.match_substring(texts, "\0")).as_py():
        texts = pc.replace_substring(texts, "\0", "")
    return texts
