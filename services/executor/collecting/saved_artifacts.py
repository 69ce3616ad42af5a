"""Makes artifact entries of what a notebook saved through the SDK: tables, models, reports, figures, values."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from services.executor.collecting import outputs as cell_outputs
from services.executor.collecting import pictures
from services.executor.collecting.artifact_writer import ArtifactWriter, FileChanged, RunIdentity, safe_name
from services.executor.collecting.beneath import OpenFile, Refused
from services.executor.collecting.counts import Counts
from services.executor.collecting.saved import Saved, SavedFiles
from shared.contracts.results import ArtifactKind


class SavedArtifacts:
    """One per run. What cannot be stored becomes a warning of `files`."""

    def __init__(
        self, identity: RunIdentity, run_dir: Path, files: SavedFiles, writer: ArtifactWriter, *, max_bytes: int
    ) -> None:
        self._identity = identity
        self._run_dir = run_dir
        self._files = files
        self._writer = writer
        self._max_bytes = max_bytes

    async def add(self, cell_id: str | None, saved: Saved) -> Counts:
        """Store what was saved, and count it; what a live kernel has spoilt meanwhile becomes a warning. Raises
        Unavailable while a store is down."""
        if saved.record.kind == "value":
            return await self._add_value(cell_id, saved)
        try:
            file = self._files.open(saved)
        except (OSError, Refused) as error:
            self._files.warn(saved, error)
            return Counts()
        try:
            return await self._add_file(cell_id, saved, file)
        except FileChanged:
            self._files.warn(saved, "it was written to while it was being stored")
            return Counts()
        finally:
            file.close()

    async def _add_file(self, cell_id: str | None, saved: Saved, file: OpenFile) -> Counts:
        record = saved.record
        if record.kind == "enriched_dataset":
            return await self._add_dataset(cell_id, saved, file)
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
        return Counts(models=kind == "model", reports=kind == "report", plots=kind == "output")

    async def _add_value(self, cell_id: str | None, saved: Saved) -> Counts:
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
        return Counts()

    async def _add_dataset(self, cell_id: str | None, saved: Saved, file: OpenFile) -> Counts:
        """An enriched dataset, in the forms of the notebook's `outputFormat`."""
        from services.executor.collecting import tables  # noqa: PLC0415 - pyarrow is loaded when first needed

        parquet, wanted = file.path, self._identity.output_format
        name, stored = saved.record.name, len(self._writer.entries)
        csv = self._run_dir / f"{saved.number}.csv" if "csv" in tables.FORMS[wanted] else None
        try:
            if saved.record.column_types is not None:
                parquet = await self._from_csv(saved, file)
        except (OSError, ValueError) as error:
            self._files.warnings.append(f"The enriched dataset {name!r} could not be read: {error}")
            return Counts()
        asked = tables.Wanted(csv=csv, max_bytes=self._max_bytes, **self._source())
        found = await tables.look(parquet, asked, scratch=self._run_dir, descriptors=(file.descriptor,))
        if "shape" in found.failed:
            self._files.warnings.append(f"The enriched dataset {name!r} could not be read: {found.failed['shape']}")
            return Counts()
        if "check" in found.failed:
            reason = found.failed["check"]
            self._files.warnings.append(
                f"The enriched dataset {name!r} could not be compared with its source: {reason}"
            )
        self._files.warnings.extend(found.check.warnings(name) if found.check else [])
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
                    self._files.warnings.append(f"The enriched dataset {name!r} could not be written as CSV: {reason}")
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
            return Counts()
        return Counts(enriched=True, data_frames=1, records=rows, new_columns=details["newColumns"])

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
