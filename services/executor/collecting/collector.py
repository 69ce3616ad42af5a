"""Turns what a run produced into artifact entries: stores the bytes, then registers them under (execution, epoch)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import nbformat
import orjson
import structlog
from nbformat import NotebookNode

from services.executor.collecting import outputs as cell_outputs
from services.executor.collecting import report
from services.executor.collecting.saved import Saved, SavedFiles
from shared.contracts.base import Caller, Scope
from shared.contracts.executions import EnrichedData, OutputCounts
from shared.contracts.results import ArtifactEntry, ArtifactKind, SealManifest
from shared.objects import ObjectStore
from shared.requests import Requests

log = structlog.get_logger(__name__)

INLINE_BYTES = 32 * 1024
"""Bytes up to this size travel in the manifest and are kept in its row; larger ones become objects."""

_UNSAFE = re.compile(r"[^\w.\- ]+")


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


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """Where a run's artifacts belong."""

    scope: Scope
    caller: Caller
    execution_id: UUID
    notebook_id: UUID
    epoch: int
    output_format: str

    @property
    def prefix(self) -> str:
        """The object keys of this epoch begin so (DESIGN.md decision 6)."""
        return f"{self.scope.tenant_id}/{self.scope.project_id}/{self.execution_id}/{self.epoch}"


class Collector:
    """One per run and epoch. `collect_cell` and `finish` raise Unavailable while a store is down; repeat them then."""

    def __init__(
        self, identity: RunIdentity, run_dir: Path, notebook: NotebookNode, *, objects: ObjectStore, requests: Requests
    ) -> None:
        self._identity = identity
        self._run_dir = run_dir
        self._notebook = notebook
        self._objects = objects
        self._requests = requests
        self._position = 0
        self._saved = SavedFiles(run_dir / "outputs")
        self._entries: list[ArtifactEntry] = []
        self._registered = 0
        self._todo: list[tuple[str, Any]] = []
        self.counts = Counts()

    @property
    def warnings(self) -> list[str]:
        """What could not be collected, in words for the notebook's owner."""
        return self._saved.warnings

    @property
    def registered(self) -> int:
        """How many artifacts are registered so far."""
        return self._registered

    def note_cell(self, index: int) -> bool:
        """Take down what a cell that has just ended put out and saved; returns whether there was anything."""
        found: list[tuple[str, Any]] = [("output", out) for out in cell_outputs.of_cell(self._notebook, index)]
        for saved in self._saved.new():
            self._supersede(saved)
            found.append(("saved", (self._notebook.cells[index].id, saved)))
        self._todo += found
        return bool(found)

    def pass_over(self) -> None:
        """Leave out what has been saved since the last look."""
        for saved in self._saved.new():
            log.debug("saved by a replayed cell, left out", name=saved.record.name)

    def _supersede(self, newer: Saved) -> None:
        """Of several things saved under one kind and name the last counts; an earlier one that nobody has seen goes."""
        same = (newer.record.kind, newer.record.name)
        self._todo = [
            (kind, item)
            for kind, item in self._todo
            if kind != "saved" or (item[1].record.kind, item[1].record.name) != same
        ]

    async def register(self, *, final: bool) -> None:
        """Store what was noted and register it; `final` seals the manifest. Safe to repeat after a failure."""
        while self._todo:
            kind, item = self._todo[0]
            if kind == "output":
                await self._add_output(item)
            else:
                await self._add_saved(*item)
            self._todo.pop(0)
        new = self._entries[self._registered :]
        if new or final:
            identity = self._identity
            await self._requests.ask(
                SealManifest(
                    scope=identity.scope,
                    caller=identity.caller,
                    execution_id=identity.execution_id,
                    notebook_id=identity.notebook_id,
                    epoch=identity.epoch,
                    final=final,
                    entries=new,
                )
            )
            self._registered += len(new)

    async def add_notebook(self) -> None:
        """The executed notebook itself."""
        body = await asyncio.to_thread(lambda: nbformat.writes(self._notebook).encode())
        await self._add_bytes("notebook", "Executed notebook", "notebook.ipynb", "application/x-ipynb+json", body)

    async def add_report(self) -> None:
        """The notebook as an HTML report; a failure to render becomes a warning."""
        source, html = self._run_dir / "tmp" / "report.ipynb", self._run_dir / "tmp" / "report.html"
        await asyncio.to_thread(nbformat.write, self._notebook, source)
        try:
            await report.render(source, html)
        except report.ReportError as error:
            self.warnings.append(f"The notebook's report could not be made: {error}")
            return
        await self._add_file("report", "Notebook report", "notebook-report.html", "text/html", html, format="html")
        self.counts.reports += 1

    async def _add_output(self, output: cell_outputs.CellOutput) -> None:
        await self._add_bytes(
            "output",
            output.title or output.output_type,
            f"{output.cell_id}-{self._position}.{output.extension}",
            output.content_type,
            output.data,
            cell_id=output.cell_id,
            output_type=output.output_type,
            title=output.title,
            width=output.width,
            height=output.height,
            content=output.content,
            content_truncated=output.content_truncated,
            details={"isPlot": output.is_plot, "isTable": output.is_table},
        )
        self.counts.plots += output.is_plot
        self.counts.data_frames += output.is_table

    async def _add_saved(self, cell_id: str | None, saved: Saved) -> None:
        record = saved.record
        if record.kind == "value":
            await self._add_value(cell_id, saved)
        elif record.kind == "enriched_dataset":
            await self._add_dataset(cell_id, saved)
        elif saved.path is not None:
            kinds: dict[str, ArtifactKind] = {"model": "model", "report": "report", "figure": "output"}
            kind = kinds[record.kind]
            content_type = record.content_type or ("text/html" if kind == "report" else "application/octet-stream")
            details: dict[str, Any] = {"isPlot": True} if kind == "output" else saved.details
            await self._add_file(
                kind,
                record.name,
                saved.path.name,
                content_type,
                saved.path,
                cell_id=cell_id,
                output_type=content_type if kind == "output" else None,
                title=record.name,
                **details,
            )
            self.counts.models += kind == "model"
            self.counts.reports += kind == "report"
            self.counts.plots += kind == "output"

    async def _add_value(self, cell_id: str | None, saved: Saved) -> None:
        body = orjson.dumps(saved.record.value)
        truncated = len(body) > cell_outputs.INLINE_CONTENT_BYTES
        await self._add_bytes(
            "value",
            saved.record.name,
            f"{_file_name(saved.record.name)}.json",
            "application/json",
            body,
            cell_id=cell_id,
            output_type="application/json",
            title=saved.record.name,
            content=None if truncated else saved.record.value,
            content_truncated=truncated,
        )

    async def _add_dataset(self, cell_id: str | None, saved: Saved) -> None:
        """An enriched dataset, in the forms of the notebook's `outputFormat`."""
        from services.executor.collecting import tables  # noqa: PLC0415 - pyarrow is loaded when first needed

        parquet = saved.path
        assert parquet is not None  # noqa: S101 - `SavedFiles` refuses such a record without a file
        try:
            rows, columns = await asyncio.to_thread(tables.shape, parquet)
        except (OSError, ValueError) as error:
            self.warnings.append(f"The enriched dataset {saved.record.name!r} could not be read: {error}")
            return
        wanted = self._identity.output_format
        new_columns = [name for name in saved.record.new_columns if name in columns]
        details: dict[str, Any] = {
            "recordCount": rows,
            "columns": columns,
            "newColumns": new_columns,
            "format": tables.FORMAT_NAME.get(wanted, wanted),
        }
        for form in tables.FORMS[wanted]:
            path, content_type = parquet, "application/vnd.apache.parquet"
            if form == "csv":
                path, content_type = self._run_dir / "tmp" / f"{saved.number}.csv", "text/csv; charset=utf-8"
                await asyncio.to_thread(tables.to_csv, parquet, path)
            await self._add_file(
                "enriched_dataset",
                saved.record.name,
                f"{_file_name(saved.record.name)}.{form}",
                content_type,
                path,
                cell_id=cell_id,
                form=form,
                **details,
            )
        self.counts.enriched = True
        self.counts.data_frames += 1
        self.counts.records += rows
        self.counts.new_columns += [name for name in new_columns if name not in self.counts.new_columns]

    async def _add_bytes(
        self,
        kind: ArtifactKind,
        name: str,
        file_name: str,
        content_type: str,
        body: bytes,
        *,
        details: dict[str, Any] | None = None,
        **members: Any,
    ) -> None:
        identity, key, inline = uuid4(), None, None
        if len(body) <= INLINE_BYTES:
            inline = base64.b64encode(body).decode()
        else:
            key = f"{self._identity.prefix}/{identity}"
            await self._objects.put(key, body, content_type)
        self._entries.append(
            ArtifactEntry(
                artifact_id=identity,
                kind=kind,
                position=self._next(),
                name=name[:200],
                file_name=_file_name(file_name),
                content_type=content_type,
                size_bytes=len(body),
                sha256=hashlib.sha256(body).hexdigest(),
                object_key=key,
                inline=inline,
                details=details or {},
                **members,
            )
        )

    async def _add_file(
        self,
        kind: ArtifactKind,
        name: str,
        file_name: str,
        content_type: str,
        path: Path,
        *,
        cell_id: str | None = None,
        output_type: str | None = None,
        title: str | None = None,
        **details: Any,
    ) -> None:
        size, digest = await asyncio.to_thread(_measure, path)
        if size <= INLINE_BYTES:
            body = await asyncio.to_thread(path.read_bytes)
            await self._add_bytes(
                kind,
                name,
                file_name,
                content_type,
                body,
                cell_id=cell_id,
                output_type=output_type,
                title=title,
                details=details,
            )
            return
        identity = uuid4()
        key = f"{self._identity.prefix}/{identity}"
        await self._objects.put_file(key, path, content_type)
        self._entries.append(
            ArtifactEntry(
                artifact_id=identity,
                kind=kind,
                position=self._next(),
                name=name[:200],
                file_name=_file_name(file_name),
                content_type=content_type,
                size_bytes=size,
                sha256=digest,
                object_key=key,
                cell_id=cell_id,
                output_type=output_type,
                title=title,
                details=details,
            )
        )

    def _next(self) -> int:
        self._position += 1
        return self._position


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest


def _file_name(name: str) -> str:
    """A name that is safe in every file system and header."""
    return _UNSAFE.sub("_", name).strip(". ")[:120] or "artifact"
