"""Turns a dataset file into Parquet while it arrives: one pass, or two when a column's kind was misjudged.

The first rows decide each column's kind. When a later value does not fit, nothing more is written: the rest of the file
is only looked at, so that after one more pass from the spool everything fits (DESIGN.md, traps: CSV types).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import pyarrow as pa
import structlog

from services.artifacts.formats import kinds, parquet_in, roles, streams
from services.artifacts.formats.conversion import Conversion, Wishes
from services.artifacts.formats.csv_table import CsvTable, NotUtf8
from services.artifacts.formats.detection import HEAD_BYTES, Detected, detect
from services.artifacts.formats.distinct import Distinct
from services.artifacts.formats.kinds import Kind
from services.artifacts.formats.parquet_out import ParquetOutput
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.spool import Spool
from services.artifacts.formats.streams import OpenChunks
from services.artifacts.formats.tables import TextBatch, TextTable
from services.artifacts.formats.xes_table import XesTable

log = structlog.get_logger(__name__)


@dataclass
class _Plan:
    """The columns so far, and a kind for each that fits every value seen. A kind only ever gets wider."""

    names: list[str]
    kinds: dict[str, Kind]

    def columns(self) -> list[tuple[str, str]]:
        return [(name, self.kinds[name].logical) for name in self.names]

    def widen(self, name: str, column: pa.Array, *, text: bool) -> None:
        """Take another batch of a column into account."""
        if name not in self.kinds:
            self.names.append(name)
            self.kinds[name] = Kind.EMPTY
        kind = self.kinds[name]
        if kinds.read(column, kind) is None:
            kind = kinds.join(kind, kinds.infer(column))
        if (text and kind is not Kind.EMPTY) or kinds.read(column, kind) is None:
            kind = Kind.STRING
        self.kinds[name] = kind


def convert(spool: Spool, target: Path, wishes: Wishes) -> Conversion:
    """Read `spool` (while it grows) and write `target`. Blocks; raises Invalid, TooLarge or SpoolAborted."""
    open_chunks: OpenChunks = spool.chunks
    magic, _ = streams.take(open_chunks(), len(streams.GZIP_MAGIC))
    packed = magic.startswith(streams.GZIP_MAGIC)
    if packed:
        open_chunks = _unpacked(spool, wishes.max_decompressed_bytes)
    head, complete = streams.take(open_chunks(), HEAD_BYTES)
    detected = detect(head, complete=complete)
    if detected.format == "parquet":
        result = parquet_in.convert(spool, open_chunks if packed else None, target, wishes)
    else:
        result = _from_text(_table(open_chunks, detected, wishes), target, wishes)
    spool.wait_complete()
    pa.default_memory_pool().release_unused()  # this process may idle for hours now
    source = {**result.source, "gzip": packed, "sizeBytes": spool.size, "sha256": spool.sha256}
    return replace(result, source=source)


def _unpacked(spool: Spool, limit: int) -> OpenChunks:
    return lambda: streams.gunzip(spool.chunks(), limit=limit)


def _table(open_chunks: OpenChunks, detected: Detected, wishes: Wishes) -> TextTable:
    if detected.format == "xes":
        return XesTable(open_chunks, max_columns=wishes.max_columns)
    return CsvTable(open_chunks, detected, max_columns=wishes.max_columns)


def _from_text(table: TextTable, target: Path, wishes: Wishes) -> Conversion:
    plan: _Plan | None = None
    while True:
        try:
            done, plan = _attempt(table, target, wishes, plan)
        except NotUtf8 as error:
            if not isinstance(table, CsvTable) or not table.read_as_western():
                raise refuse("the text is not valid UTF-8") from error
            plan = None
        else:
            if done is not None:
                return done
            log.info("columns misjudged, reading again", format=table.description()["format"])


def _attempt(table: TextTable, target: Path, wishes: Wishes, plan: _Plan | None) -> tuple[Conversion | None, _Plan]:
    """One pass over the table: the conversion, or None and a plan that fits every row."""
    batches = table.batches()
    first = next(batches)
    if plan is None:
        plan = _Plan(names=[], kinds={})
        _survey(plan, first)
    chosen = roles.assign(plan.columns(), wishes.roles, wishes.habit)
    case_id = chosen.case_id
    cases = Distinct()
    with ParquetOutput(target, pa.schema([(name, plan.kinds[name].arrow) for name in plan.names])) as output:
        for batch in chain((first,), batches):
            columns = _typed(plan, batch)
            if columns is None:
                for unseen in chain((batch,), batches):
                    _survey(plan, unseen)
                return None, plan
            output.write(columns)
            if case_id is not None:
                cases.add(columns[plan.names.index(case_id)])
    done = Conversion(
        record_count=output.row_count,
        case_count=None if case_id is None else cases.count(lambda: parquet_in.column(target, case_id)),
        columns=plan.columns(),
        roles=chosen,
        size_bytes=output.size_bytes,
        sha256=output.sha256,
        source=table.description(),
    )
    return done, plan


def _survey(plan: _Plan, batch: TextBatch) -> None:
    for name, column in zip(batch.names, batch.columns, strict=True):
        plan.widen(name, column, text=name in batch.texts)


def _typed(plan: _Plan, batch: TextBatch) -> list[pa.Array] | None:
    """The batch's columns as the plan stores them, or None when something does not fit the plan."""
    given = dict(zip(batch.names, batch.columns, strict=True))
    if any(name not in plan.kinds for name in given):
        return None
    columns = []
    for name in plan.names:
        kind = plan.kinds[name]
        column = given.get(name)
        if column is None:
            columns.append(pa.nulls(batch.row_count, kind.arrow))
            continue
        if name in batch.texts and kind is not Kind.STRING and column.null_count < len(column):
            return None
        typed = kinds.read(column, kind)
        if typed is None:
            return None
        columns.append(typed)
    return columns
