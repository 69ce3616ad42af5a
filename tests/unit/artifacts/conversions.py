"""Converting bytes to Parquet in a test, with everything at once or piece by piece."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.artifacts.formats.conversion import Conversion, Wishes, Writing
from services.artifacts.formats.converter import convert
from services.artifacts.formats.roles import Roles
from services.artifacts.formats.spool import GrowingFile, Spool
from shared.tabular.csv_out import csv_chunks

LIMIT_BYTES = 64 * 1024 * 1024


class Workbench:
    """A folder in which files become Parquet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "data.parquet"

    def convert(
        self,
        data: bytes,
        *,
        piece: int = 1 << 20,
        limit: int = LIMIT_BYTES,
        writing: Writing | None = None,
        **roles: str,
    ) -> Conversion:
        """Convert while `data` arrives in pieces of so many bytes."""
        spool = Spool(self.folder / "spool")
        file = GrowingFile(spool.path)

        def send() -> None:
            for start in range(0, len(data), piece):
                spool.append(data[start : start + piece])
                file.grow(spool.size)
            file.end()
            spool.close()

        sender = threading.Thread(target=send)
        sender.start()
        try:
            return convert(
                file,
                self.target,
                Wishes(
                    roles=Roles(**roles),
                    habit=Roles(),
                    max_decompressed_bytes=limit,
                    max_columns=10_000,
                    writing=writing or Writing(),
                ),
            )
        finally:
            sender.join()

    def rows(self) -> list[dict[str, Any]]:
        """What the Parquet file holds."""
        return list(self.table().to_pylist())

    def table(self) -> pa.Table:
        """The Parquet file."""
        return pq.read_table(self.target)

    def csv(self) -> bytes:
        """The Parquet file as CSV."""
        return b"".join(csv_chunks(self.target))


MakeWorkbench = Callable[[], Workbench]
