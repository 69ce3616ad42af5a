"""Turns what a run produced into artifact entries: stores the bytes, then registers them under (execution, epoch).

Outputs are read from the notebook when the run has come to its end: what came late, was updated or cleared is as it is
in the notebook. What is registered before, because the run's results are to be seen while it goes on, is put right
then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from nbformat import NotebookNode

from services.executor.collecting import charts, headings, loose_files, notebook_file, registering, report
from services.executor.collecting import outputs as cell_outputs
from services.executor.collecting.artifact_writer import ArtifactWriter, FileChanged, RunIdentity
from services.executor.collecting.beneath import OpenFile, Refused
from services.executor.collecting.counts import Counts
from services.executor.collecting.saved import MAX_RECORDS, Saved, SavedFiles, saved_value
from services.executor.collecting.saved_artifacts import SavedArtifacts
from services.executor.collecting.scraps import scrap_in
from services.executor.collecting.work_folder import WorkFolder
from services.executor.running.work_files import Laid
from shared.contracts.results import ArtifactEntry
from shared.errors import AtelierError
from shared.objects import ObjectStore
from shared.reports.rendering import Heading, ReportError
from shared.requests import Requests

log = structlog.get_logger(__name__)

NOTEBOOK_FILE = "executed.ipynb"
"""The executed notebook in the run folder."""


@dataclass(frozen=True)
class _Step:
    """One thing to store: an output of a cell, or what was saved in it (None: after the last cell)."""

    cell: NotebookNode | None
    output: NotebookNode | None = None
    saved: Saved | None = None


class Collector:
    """One per run and epoch. `register` and what begins with `add` raise Unavailable while a store is down; repeat them
    then."""

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
        self._files = SavedFiles(run_dir / "outputs", max_bytes=max_bytes)
        self._saved = SavedArtifacts(identity, run_dir, self._files, self._writer, max_bytes=max_bytes)
        self._work = WorkFolder(run_dir / "work", laid or {}, self._files.warnings)
        self._ended: list[tuple[NotebookNode | None, list[Saved]]] = []
        self._latest: dict[tuple[str, str], tuple[Saved, list[Saved]]] = {}
        """What was saved last under a kind and name, and the list of `_ended` that it is in."""
        self._superseded: set[str] = set()
        self._taken = 0
        """So many of `_ended` are done, or in `_todo`."""
        self._todo: deque[_Step] = deque()
        self._done: dict[str, tuple[list[ArtifactEntry], Counts]] = {}
        self._before: list[ArtifactEntry] = []
        self._reusable: dict[tuple[Any, ...], list[ArtifactEntry]] = {}
        self._registered = self._glued_values = 0
        self._loose: list[tuple[loose_files.LooseFile, Callable[[str], OpenFile]]] | None = None
        self._headings: dict[str, str] | None = None
        self.counts = Counts()

    @property
    def warnings(self) -> list[str]:
        """What could not be collected, in words for the notebook's owner."""
        return self._files.warnings

    @property
    def has_files(self) -> bool:
        """Whether anything still lies in the run folder, where the kernel can change it."""
        return bool(self._latest) or loose_files.any_in(self._files.path) or self._work.may_have_results

    @property
    def registered(self) -> int:
        """How many artifacts are registered so far."""
        return self._registered

    def close(self) -> None:
        """Let go of the run folder."""
        self._files.close()
        self._work.close()

    async def note_cell(self, index: int) -> bool:
        """Take down that a cell has ended, and what it has saved; returns whether there is anything to see."""
        cell = self._notebook.cells[index]
        charts.add_descriptions(cell)
        saved = await self._note(cell)
        return bool(cell.outputs) or bool(saved)

    async def note_result(self) -> bool:
        """Take down what was saved after the last cell; returns whether an enriched dataset was saved at all."""
        await self._note(None)
        return self.has_dataset

    @property
    def has_dataset(self) -> bool:
        """Whether the run has saved an enriched dataset so far."""
        return any(
            kind == "enriched_dataset" and (saved.number not in self._done or self._done[saved.number][1].enriched)
            for (kind, _), (saved, _) in self._latest.items()
        )

    async def pass_over(self) -> None:
        """Leave out what has been saved since the last look."""
        await self._new()

    async def _note(self, cell: NotebookNode | None) -> list[Saved]:
        found, kept = await self._new(), list[Saved]()
        for saved in found:
            self._supersede(saved)
            kept.append(saved)
            self._latest[saved.record.kind, saved.record.name] = saved, kept
        if cell is not None or kept:
            self._ended.append((cell, kept))
        return kept

    async def _new(self) -> list[Saved]:
        return await asyncio.to_thread(self._files.new) if self._files.may_have_new() else []

    def _supersede(self, newer: Saved) -> None:
        """Of several things saved under one kind and name the last counts; an earlier one that nobody has seen goes."""
        older, among = self._latest.get((newer.record.kind, newer.record.name), (None, []))
        if older is not None and older.number not in self._done:
            self._superseded.add(older.number)
            among.remove(older)

    def begin_last(self) -> None:
        """The notebook is as it will be: begin anew, with all its outputs as they are now."""
        for cell, _ in self._ended:
            if cell is not None:
                charts.add_descriptions(cell)
        self._before = list(self._writer.entries)
        for entry in self._before:
            self._reusable.setdefault(_key(entry), []).append(entry)
        self._writer.entries.clear()
        self._registered = self._taken = self._glued_values = 0
        self.counts = Counts()
        self._todo.clear()

    def _take_ended(self) -> bool:
        """Plan what there is to store of the cells that have ended meanwhile; returns whether there is anything."""
        steps: list[_Step] = []
        for cell, saved in self._ended[self._taken :]:
            if cell is not None:
                steps += [_Step(cell, output=output) for output in cell.outputs]
            steps += [_Step(cell, saved=one) for one in (*saved, *self._glued(cell))]
        self._taken = len(self._ended)
        newest = {_kind_and_name(step.saved): step for step in steps if step.saved is not None}
        self._todo += [
            step
            for step in steps
            if step.saved is None or step.saved.number in self._done or newest[_kind_and_name(step.saved)] is step
        ]
        return bool(self._todo)

    def _glued(self, cell: NotebookNode | None) -> list[Saved]:
        """Values among a cell's outputs (scrapbook)."""
        outputs = [] if cell is None else cell.outputs
        scraps = [(place, scrap) for place, scrap in enumerate(map(scrap_in, outputs)) if scrap is not None]
        room = max(MAX_RECORDS - self._glued_values, 0)
        if len(scraps) > room:
            self._warn(f"Only the first {MAX_RECORDS} values that were glued with scrapbook were kept.")
        self._glued_values += len(scraps)
        return [
            saved_value(f"{_id(cell)}-{place}-{hash(repr(value))}", name, value)
            for place, (name, value) in scraps[:room]
        ]

    async def register(self, *, final: bool, kept: bool = False) -> None:
        """Store what was noted and register it; `final` seals the manifest, `kept` that of an attempt which another
        follows. Safe to repeat after a failure."""
        while self._take_ended():
            step = self._todo[0]
            entries, warnings = len(self._writer.entries), len(self.warnings)
            try:
                await self._store(step)
            except BaseException as error:
                # It will be done again, or never: nothing of it may stay.
                del self._writer.entries[entries:], self.warnings[warnings:]
                if isinstance(error, AtelierError) or not isinstance(error, Exception):
                    raise
                log.exception("a result could not be stored")
                what = "An output" if step.saved is None else "Something saved"
                self._warn(f"{what} in {_id(step.cell)} could not be stored and was left out.")
            self._todo.popleft()
        await self._writer.store_packs()
        withdrawn = self._withdrawn() if final else []
        while (new := registering.portion(self._writer.entries[self._registered :])) or final:
            last = self._registered + len(new) == len(self._writer.entries)
            await registering.seal(
                self._requests,
                self._identity,
                new,
                final=final and last,
                kept=kept,
                withdrawn=withdrawn if last else [],
            )
            self._registered += len(new)
            if last:
                return

    async def _store(self, step: _Step) -> None:
        if step.output is not None:
            await self._add_output(_id(step.cell), step.output)
        if step.saved is None:
            return
        number = step.saved.number
        if number in self._superseded:
            return
        if number in self._done:
            entries, counts = self._done[number]
            for entry in entries:
                self._writer.adopt(entry)
        else:
            before = len(self._writer.entries)
            counts = await self._saved.add(_id(step.cell) if step.cell is not None else None, step.saved)
            self._done[number] = (self._writer.entries[before:], counts)
        self.counts.add(counts)

    async def _add_output(self, cell_id: str, shown: NotebookNode) -> None:
        output = cell_outputs.read(shown, cell_id, self._heading_above(cell_id))
        if output is None:
            return
        if output.warning is not None:
            self._warn(output.warning)
        known = self._reusable.get(_key_of(output)) if self._reusable else None
        if known:
            self._writer.adopt(known.pop())
        else:
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
        self.counts.add(Counts(plots=output.is_plot, data_frames=output.is_table))

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _heading_above(self, cell_id: str) -> str | None:
        if self._headings is None:
            self._headings = headings.above_cells(self._notebook)
        return self._headings.get(cell_id)

    def _withdrawn(self) -> list[Any]:
        """What was registered while the run went on and is no more."""
        kept = {entry.artifact_id for entry in self._writer.entries}
        return [entry.artifact_id for entry in self._before if entry.artifact_id not in kept]

    async def add_files(self) -> None:
        """Files that were left in the outputs folder, or made or changed in the work folder; once, when the kernel is
        gone."""
        if self._loose is None:
            arguments = (self._files.path, self._files.files, self.warnings)
            loose = await asyncio.to_thread(loose_files.find, *arguments)
            changed = await asyncio.to_thread(self._work.find)
            self._loose = [(file, self._files.open_loose) for file in loose]
            self._loose += [(file, self._work.open) for file in changed]
        while self._loose:
            await self._add_loose(*self._loose[0])
            self._loose.pop(0)

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
        source = self._run_dir / NOTEBOOK_FILE
        await asyncio.to_thread(notebook_file.write, self._notebook, source)
        await self._writer.add_file(
            "notebook", "Executed notebook", "notebook.ipynb", "application/x-ipynb+json", source
        )

    async def add_report(self) -> None:
        """The notebook, which was added before, as an HTML report; a failure to render becomes a warning."""
        source, html = self._run_dir / NOTEBOOK_FILE, self._run_dir / "report.html"
        try:
            await report.render(source, html, Heading(title=self._identity.notebook_name))
        except (ReportError, OSError) as error:
            self.warnings.append(f"The notebook's report could not be made: {error}")
            return
        await self._writer.add_file(
            "report", "Notebook report", "notebook-report.html", "text/html", html, details={"format": "html"}
        )
        self.counts.add(Counts(reports=1))


def _id(cell: NotebookNode | None) -> str:
    return "" if cell is None else str(cell.id)


def _kind_and_name(saved: Saved) -> tuple[str, str]:
    return saved.record.kind, saved.record.name


def _key(entry: ArtifactEntry) -> tuple[Any, ...]:
    """By what an output is known that was registered before."""
    return entry.cell_id, entry.output_type, entry.content_type, entry.title, entry.sha256


def _key_of(output: cell_outputs.CellOutput) -> tuple[Any, ...]:
    return output.cell_id, output.output_type, output.content_type, output.title, output.sha256
