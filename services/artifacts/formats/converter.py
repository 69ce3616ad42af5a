"""Turns a dataset file into Parquet while it arrives: one pass, or two when a column's kind was misjudged.

The first rows decide each column's kind. When a later value does not fit, nothing more is written: the rest of the file
is only looked at, so that after one more pass from the spool everything fits (DESIGN.md, traps: CSV types).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import structlog

from services.artifacts.formats import parquet_in, roles, streams
from services.artifacts.formats.conversion import Conversion, Wishes
from services.artifacts.formats.csv_table import CsvTable, NotUtf8
from services.artifacts.formats.detection import HEAD_BYTES, Detected, detect
from services.artifacts.formats.distinct import Distinct
from services.artifacts.formats.parquet_out import ParquetOutput
from services.artifacts.formats.plan import Plan
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.spool import GrowingFile
from services.artifacts.formats.streams import Chunks, OpenChunks
from services.artifacts.formats.tables import TextTable
from services.artifacts.formats.text_forms import Form
from services.artifacts.formats.xes_table import XesTable
from shared.tabular import stored, time_layout

MAX_ATTEMPTS = 6
"""Passes over a text table: one, another in other characters, and two for each time that kinds were misjudged."""

log = structlog.get_logger(__name__)


def convert(file: GrowingFile, target: Path, wishes: Wishes) -> Conversion:
    """Read `file` (while it grows) and write `target`. Blocks. Raises Invalid, TooLarge and what callbacks raise."""

    def open_chunks() -> Chunks:
        return file.chunks(wishes.waiting)

    magic, _ = streams.take(open_chunks(), len(streams.GZIP_MAGIC))
    packed = magic.startswith(streams.GZIP_MAGIC)
    content: OpenChunks = open_chunks
    if packed:
        content = _unpacked(open_chunks, wishes.max_decompressed_bytes)
    content = _told(content, wishes)
    head, complete = streams.take(content(), HEAD_BYTES)
    detected = detect(head, complete=complete, encoding=wishes.writing.encoding)

    if detected.format == "parquet":
        result = parquet_in.convert(file, content if packed else None, target, wishes)
    else:
        result = _from_text(_table(content, detected, wishes), target, wishes)
    file.wait_complete(wishes.waiting)
    return replace(result, source={**result.source, "gzip": packed})


def _unpacked(open_chunks: OpenChunks, limit: int) -> OpenChunks:
    return lambda: streams.gunzip(open_chunks(), limit=limit)


def _told(open_chunks: OpenChunks, wishes: Wishes) -> OpenChunks:
    """The same chunks, with their sizes told as they are read."""

    def chunks() -> Chunks:
        size = 0
        for chunk in open_chunks():
            size += len(chunk)
            wishes.passing(size)
            yield chunk

    return chunks


def _table(open_chunks: OpenChunks, detected: Detected, wishes: Wishes) -> TextTable:
    if detected.format == "xes":
        return XesTable(open_chunks, max_columns=wishes.max_columns)
    return CsvTable(open_chunks, detected, max_columns=wishes.max_columns, writing=wishes.writing)


def _from_text(table: TextTable, target: Path, wishes: Wishes) -> Conversion:
    plan: Plan | None = None
    for _ in range(MAX_ATTEMPTS):
        try:
            done, plan = _attempt(table, target, wishes, plan)
        except NotUtf8 as error:
            assert isinstance(table, CsvTable)  # noqa: S101 - only such a table says so
            if not table.read_as_western():
                raise table.not_utf8() from error
            plan = None
        else:
            if done is not None:
                return done
            log.info("columns misjudged, reading again", format=table.description()["format"])
    raise RuntimeError("the columns of a table fit no plan")


def _attempt(table: TextTable, target: Path, wishes: Wishes, plan: Plan | None) -> tuple[Conversion | None, Plan]:
    """One pass over the table: the conversion, or None and a plan that fits every row."""
    batches = table.batches()
    first = next(batches)
    if plan is None:
        plan = Plan(writing=wishes.writing, commas_possible=table.commas_are_decimal, check=wishes.working)
        plan.survey(first)
    chosen = roles.assign(plan.columns(), wishes.roles, wishes.habit)
    case_id = chosen.case_id
    cases = Distinct()
    times = plan.observers()
    with ParquetOutput(target, plan.schema()) as output:
        for batch in chain((first,), batches):
            columns = plan.typed(batch)
            if columns is None:
                for unseen in chain((batch,), batches):
                    plan.survey(unseen)
                return None, plan
            output.write(columns)
            wishes.converted(output.row_count)
            if case_id is not None:
                cases.add(columns[plan.names.index(case_id)])
            for name, texts in zip(batch.names, batch.columns, strict=True):
                if name in times:
                    times[name].see(texts, columns[plan.names.index(name)])
        layouts = {name: observer.layout for name, observer in times.items() if observer.layout is not None}
        output.note(time_layout.NOTE, time_layout.encode(layouts))
    _check_time_format(table, plan, wishes)
    description = table.description()
    done = Conversion(
        record_count=output.row_count,
        case_count=None if case_id is None else cases.count(lambda: stored.column(target, case_id)),
        columns=plan.columns(),
        roles=chosen,
        size_bytes=output.size_bytes,
        sha256=output.sha256,
        source=description | plan.description() if description["format"] == "csv" else description,
    )
    return done, plan


def _check_time_format(table: TextTable, plan: Plan, wishes: Wishes) -> None:
    """Refuse a wished format in which the times are not written; raises Invalid with the place where that shows."""
    wished = wishes.writing.time_format
    if wished is None or not isinstance(table, CsvTable):
        return
    form = Form(time_format=wished)
    name = wishes.roles.time
    if name is not None and plan.forms[name] != form:
        raise table.misfit(name, form) or refuse("there is no time in it", column=name, field="timeFormat")
    if form not in plan.forms.values():
        raise refuse(f"no column holds times that are all written as {wished!r}", field="timeFormat")
