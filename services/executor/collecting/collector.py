"""Turns what a run produced into artifact entries: stores the bytes, then registers them under (execution, epoch)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import orjson
from nbformat import NotebookNode

from services.executor.collecting import charts, loose_files, pictures, registering, report
from services.executor.collecting import outputs as cell_outputs
from services.executor.collecting.artifact_writer import ArtifactWriter, FileChanged, RunIdentity, safe_name
from services.executor.collecting.beneath import OpenFile, Refused
from services.executor.collecting.saved import MAX_RECORDS, Saved, SavedFiles, saved_value
from services.executor.collecting.scraps import scrap_in
from services.executor.collecting.work_folder import WorkFolder
from services.executor.running.work_files import Laid
from shared.contracts.executions import EnrichedData, OutputCounts
from shared.contracts.results import ArtifactKind
from shared.objects import ObjectStore
from shared.reports.rendering import Heading, ReportError
from shared.requests import Requests


@dataclass
class Counts:
    """What the status object counts."""

    data_frames: int = 0
    plots: int = 0
    models: int = 0
    reports: int = 0
    records: int = 0
    new_columns: list[str] = field(default_factory=list)
    enriched: bool = False

    def answer(self) -> OutputCounts:
        """As the API shows it."""
        enriched = EnrichedData(record_count=self.records, new_columns=self.new_columns) if self.enriched else None
        return OutputCounts(
            data_frames=self.data_frames,
            plots=self.plots,
            models=self.models,
            reports=self.reports,
            enriched_data=enriched,
        )


class Collector:
    """One per run and epoch. `collect_cell` and `finish` raise Unavailable while a store is down; repeat them then."""

    def __init__(
        self,
        identity: RunIdentity,
        run_dir: Path,
        notebook: NotebookNode,
        *,
        objects: ObjectStore,
        requests: Requests,
        max_bytes: int,
        laid: Mapping[str, Laid] | None = None,
    ) -> None:
        self._identity = identity
        self._run_dir = run_dir
        self._notebook = notebook
        self._requests = requests
        self._writer = ArtifactWriter(identity, objects)
        self._max_bytes = max_bytes
        self._saved = SavedFiles(run_dir / "outputs", max_bytes=max_bytes)
        self._work = WorkFolder(run_dir / "work", laid or {}, self._saved.warnings)
        self._registered = 0
        self._todo: list[tuple[str, Any]] = []
        self._glued_values = 0
        self._files: list[tuple[loose_files.LooseFile, Callable[[str], OpenFile]]] | None = None
        self.counts = Counts()

    @property
    def warnings(self) -> list[str]:
        """What could not be collected, in words for the notebook's owner."""
        return self._saved.warnings

    @property
    def has_files(self) -> bool:
        """Whether anything still lies in the run folder, where the kernel can change it."""
        return (
            any(kind == "saved" for kind, _ in self._todo)
            or loose_files.any_in(self._saved.path)
            or self._work.may_have_results
        )

    @property
    def registered(self) -> int:
        """How many artifacts are registered so far."""
        return self._registered

    def close(self) -> None:
        """Let go of the run folder."""
        self._saved.close()
        self._work.close()

    async def note_cell(self, index: int) -> bool:
        """Take down what a cell that has just ended put out and saved; returns whether there was anything."""
        charts.add_descriptions(self._notebook.cells[index])
        cell = self._notebook.cells[index]
        found: list[tuple[str, Any]] = [("output", out) for out in cell_outputs.of_cell(self._notebook, index)]
        newest = self._newest([*await self._new(), *self._glued(cell)])
        found += [("saved", (cell.id, saved)) for saved in newest]
        self._todo += found
        return bool(found)

    async def note_result(self) -> bool:
        """Take down what was saved after the last cell; returns whether an enriched dataset was."""
        self._todo += [("saved", (None, saved)) for saved in self._newest(await self._new())]
        return self.has_dataset

    @property
    def has_dataset(self) -> bool:
        """Whether the run has saved an enriched dataset so far."""
        waiting = (item[1].record.kind for kind, item in self._todo if kind == "saved")
        return self.counts.enriched or "enriched_dataset" in waiting

    async def pass_over(self) -> None:
        """Leave out what has been saved since the last look."""
        await self._new()

    async def _new(self) -> list[Saved]:
        return await asyncio.to_thread(self._saved.new) if self._saved.may_have_new() else []

    def _glued(self, cell: NotebookNode) -> list[Saved]:
        """Values among a cell's outputs (scrapbook)."""
        scraps = list(filter(None, map(scrap_in, cell.get("outputs", []))))
        room = MAX_RECORDS - self._glued_values
        if len(scraps) > room >= 0:
            self.warnings.append(f"Only the first {MAX_RECORDS} values that were glued with scrapbook were kept.")
        self._glued_values += len(scraps)
        return [saved_value(name, value) for name, value in scraps[: max(room, 0)]]

    def _newest(self, saved: list[Saved]) -> list[Saved]:
        """Of several things saved under one kind and name the last counts; an earlier one that nobody has seen goes."""
        newest = {(new.record.kind, new.record.name): new for new in saved}
        if newest:
            # The same objects, not their like: `register` tells by them what it has just stored.
            self._todo = [
                todo
                for todo in self._todo
                if todo[0] != "saved" or (todo[1][1].record.kind, todo[1][1].record.name) not in newest
            ]
        return list(newest.values())

    async def register(self, *, final: bool, kept: bool = False) -> None:
        """Store what was noted and register it; `final` seals the manifest, `kept` that of an attempt which another
        follows. Safe to repeat after a failure."""
        while self._todo:
            todo = self._todo[0]
            kind, item = todo
            entries, warnings = len(self._writer.entries), len(self.warnings)
            try:
                await (self._add_output(item) if kind == "output" else self._try_saved(*item))
            except BaseException:
                # It will be done again, or never: nothing of it may stay.
                del self._writer.entries[entries:], self.warnings[warnings:]
                raise
            if self._todo and self._todo[0] is todo:  # else something newer has superseded it meanwhile
                self._todo.pop(0)
        await self._writer.store_packs()
        while (new := registering.portion(self._writer.entries[self._registered :])) or final:
            last = self._registered + len(new) == len(self._writer.entries)
            await registering.seal(self._requests, self._identity, new, final=final and last, kept=kept)
            self._registered += len(new)
            if last:
                return

    async def add_files(self) -> None:
        """Files that were left in the outputs folder, or made or changed in the work folder; once, when the kernel is
        gone."""
        if self._files is None:
            arguments = (self._saved.path, self._saved.files, self.warnings)
            loose = await asyncio.to_thread(loose_files.find, *arguments)
            changed = await asyncio.to_thread(self._work.find)
            self._files = [(file, self._saved.open_loose) for file in loose]
            self._files += [(file, self._work.open) for file in changed]
        while self._files:
            await self._add_loose(*self._files[0])
            self._files.pop(0)

    async def _add_loose(self, file: loose_files.LooseFile, open_file: Callable[[str], OpenFile]) -> None:
        try:
            opened = open_file(file.name)
        except Refused:
            return  # not the run's own, or over the limit, which has its warning
        except OSError as error:
            self.warnings.append(f"A file that the run left could not be read: {error.strerror}")
            return
        try:
            await self._writer.add_file(
                "file", file.name, file.file_name, file.content_type, opened.path, unchanged=opened
            )
        except FileChanged:
            self.warnings.append(f"A file that the run left was written to while it was being stored: {file.name}")
        finally:
            opened.close()

    async def add_notebook(self) -> None:
        """The executed notebook itself, under its own title if it has one."""
        self._notebook.metadata.setdefault("title", self._identity.notebook_name)
        body = await asyncio.to_thread(lambda: nbformat.writes(self._notebook).encode())
        await self._writer.add_bytes(
            "notebook", "Executed notebook", "notebook.ipynb", "application/x-ipynb+json", body
        )

    async def add_report(self) -> None:
        """The notebook as an HTML report; a failure to render becomes a warning."""
        source, html = self._run_dir / "report.ipynb", self._run_dir / "report.html"
        await asyncio.to_thread(nbformat.write, self._notebook, source)
        try:
            await report.render(source, html, Heading(title=self._identity.notebook_name))
        except ReportError as error:
            self.warnings.append(f"The notebook's report could not be made: {error}")
            return
        await self._writer.add_file(
            "report", "Notebook report", "notebook-report.html", "text/html", html, details={"format": "html"}
        )
        self.counts.reports += 1

    async def _add_output(self, output: cell_outputs.CellOutput) -> None:
        await self._writer.add_output(
            "output",
            output.title or output.output_type,
            f"{output.cell_id}-{len(self._writer.entries) + 1}.{output.extension}",
            output.content_type,
            output.data,
            cell_id=output.cell_id,
            output_type=output.output_type,
            title=output.title,
            width=output.width,
            height=output.height,
            content=output.content,
            content_truncated=output.content_truncated,
            details={"isPlot": output.is_plot, "dataFrame": output.is_table},
        )
        self.counts.plots += output.is_plot
        self.counts.data_frames += output.is_table

    async def _try_saved(self, cell_id: str | None, saved: Saved) -> None:
        """Store what was saved; what a live kernel has spoilt meanwhile becomes a warning."""
        if saved.record.kind == "value":
            await self._add_value(cell_id, saved)
            return
        try:
            file = self._saved.open(saved)
        except (OSError, Refused) as error:
            self._saved.warn(saved, error)
            return
        try:
            await self._add_saved(cell_id, saved, file)
        except FileChanged:
            self._saved.warn(saved, "it was written to while it was being stored")
        finally:
            file.close()

    async def _add_saved(self, cell_id: str | None, saved: Saved, file: OpenFile) -> None:
        record = saved.record
        if record.kind == "enriched_dataset":
            await self._add_dataset(cell_id, saved, file)
        else:
            kinds: dict[str, ArtifactKind] = {"model": "model", "report": "report", "figure": "output"}
            kind = kinds[record.kind]
            content_type = record.content_type or ("text/html" if kind == "report" else "application/octet-stream")
            details: dict[str, Any] = {"isPlot": True} if kind == "output" else saved.details
            width = height = None
            if content_type.startswith("image/"):
                head = await asyncio.to_thread(_head, file.path)
                width, height = pictures.size_of(content_type, head)
            await self._writer.add_file(
                kind,
                record.name,
                saved.file_name,
                content_type,
                file.path,
                unchanged=file,
                cell_id=cell_id,
                output_type=content_type if kind == "output" else None,
                title=record.title or record.name,
                width=width,
                height=height,
                details=details,
            )
            self.counts.models += kind == "model"
            self.counts.reports += kind == "report"
            self.counts.plots += kind == "output"

    async def _add_value(self, cell_id: str | None, saved: Saved) -> None:
        body = orjson.dumps(saved.record.value)
        truncated = len(body) > cell_outputs.INLINE_CONTENT_BYTES
        await self._writer.add_bytes(
            "value",
            saved.record.name,
            f"{safe_name(saved.record.name)}.json",
            "application/json",
            body,
            cell_id=cell_id,
            output_type="application/json",
            title=saved.record.name,
            content=None if truncated else saved.record.value,
            content_truncated=truncated,
        )

    async def _add_dataset(self, cell_id: str | None, saved: Saved, file: OpenFile) -> None:
        """An enriched dataset, in the forms of the notebook's `outputFormat`."""
        from services.executor.collecting import tables  # noqa: PLC0415 - pyarrow is loaded when first needed

        parquet, wanted = file.path, self._identity.output_format
        name, stored = saved.record.name, len(self._writer.entries)
        csv = self._run_dir / f"{saved.number}.csv" if "csv" in tables.FORMS[wanted] else None
        try:
            if saved.record.column_types is not None:
                parquet = await self._from_csv(saved, file)
        except (OSError, ValueError) as error:
            self.warnings.append(f"The enriched dataset {name!r} could not be read: {error}")
            return
        asked = tables.Wanted(csv=csv, max_bytes=self._max_bytes, **self._source())
        found = await tables.look(parquet, asked, scratch=self._run_dir, descriptors=(file.descriptor,))
        if "shape" in found.failed:
            self.warnings.append(f"The enriched dataset {name!r} could not be read: {found.failed['shape']}")
            return
        if "check" in found.failed:
            reason = found.failed["check"]
            self.warnings.append(f"The enriched dataset {name!r} could not be compared with its source: {reason}")
        self.warnings.extend(found.check.warnings(name) if found.check else [])
        rows, columns = found.rows, found.columns
        details: dict[str, Any] = {
            "recordCount": rows,
            "columns": columns,
            "newColumns": self._new_columns(saved, columns),
            "format": tables.FORMAT_NAME.get(wanted, wanted),
            **(found.check.details() if found.check else {}),
        }
        for form in tables.FORMS[wanted]:
            path, content_type = parquet, "application/vnd.apache.parquet"
            if form == "csv" and csv is not None:
                path, content_type = csv, "text/csv; charset=utf-8"
                if "csv" in found.failed:
                    csv.unlink(missing_ok=True)
                    reason = found.failed["csv"]
                    self.warnings.append(f"The enriched dataset {name!r} could not be written as CSV: {reason}")
                    continue
            await self._writer.add_file(
                "enriched_dataset",
                name,
                f"{safe_name(name)}.{form}",
                content_type,
                path,
                unchanged=file,
                cell_id=cell_id,
                details={**details, "form": form},
            )
        if len(self._writer.entries) == stored and tables.FORMS[wanted]:
            return
        self.counts.enriched = True
        self.counts.data_frames += 1
        self.counts.records += rows
        self.counts.new_columns += [name for name in details["newColumns"] if name not in self.counts.new_columns]

    def _new_columns(self, saved: Saved, columns: list[str]) -> list[str]:
        """The columns that the bound dataset does not have; without one, what the notebook says."""
        dataset = self._identity.dataset
        if dataset is None:
            return [name for name in saved.record.new_columns if name in columns]
        bound = {column.name for column in dataset.columns}
        return [name for name in columns if name not in bound]

    def _source(self) -> dict[str, Any]:
        """With `enrichmentMode`: the dataset that the run read, and which of its columns tell the rows apart."""
        dataset = self._identity.dataset
        if dataset is None or not self._identity.enrichment_mode:
            return {}
        keys = (dataset.case_id_column, dataset.activity_column, dataset.time_column)
        return {"bound": self._run_dir / "inputs" / "dataset.parquet", "keys": keys}

    async def _from_csv(self, saved: Saved, file: OpenFile) -> Path:
        """A table of a kernel without a Parquet writer; raises OSError or ValueError."""
        from services.executor.collecting import csv_tables  # noqa: PLC0415 - pyarrow is loaded when first needed

        assert saved.record.column_types is not None  # noqa: S101 - asked before
        parquet = self._run_dir / f"{saved.number}.parquet"
        await asyncio.to_thread(csv_tables.to_parquet, file.path, parquet, saved.record.column_types)
        return parquet


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(pictures.HEAD_BYTES)
