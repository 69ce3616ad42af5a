"""Files that a run left in its work folder: what it made there, and what it changed of the files beside the notebook.

Those that lie as they were laid are no results. Neither are caches and logs that kernels leave by themselves. Looked
for when the kernel is gone, by descriptors; see `loose_files`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from services.executor import wording
from services.executor.collecting import loose_files
from services.executor.collecting.beneath import Folder, OpenFile, Refused
from services.executor.collecting.loose_files import LooseFile
from services.executor.running.work_files import Laid
from shared.file_limits import MAX_FILES_BYTES

MADE_BY_ITSELF = frozenset({"__pycache__", "derby.log", "metastore_db", "spark-warehouse", "Rplots.pdf"})
"""Names that Python, R and Spark leave; nobody asked for such files."""

MEASURED_BYTES = 1024 * 1024
"""How much of a file is read at a time to tell whether it has changed, in bytes."""


class WorkFolder:
    """The work folder of one run. `laid` are the files that were laid into it, by path."""

    def __init__(self, path: Path, laid: Mapping[str, Laid], warnings: list[str]) -> None:
        self._folder = Folder(path)
        self._laid = laid
        self._warnings = warnings
        self._bytes: dict[str, int] = {}
        self._too_large = False

    def close(self) -> None:
        """Let go of the folder."""
        self._folder.close()

    @property
    def may_have_results(self) -> bool:
        """Whether it is worth while to look for results."""
        return loose_files.any_in(self._folder.path)

    def find(self) -> list[LooseFile]:
        """Return the files that are results, by name; notes in the warnings what is left out."""
        found: list[LooseFile] = []
        for name in self._changed():
            if len(found) >= loose_files.MAX_FILES:
                self._warnings.append(
                    f"Only the first {loose_files.MAX_FILES:,} files left in the work folder were kept."
                )
                break
            found.append(LooseFile(name=name, content_type=loose_files.content_type_of(name)))
        return found

    def open(self, name: str) -> OpenFile:
        """Open a file that `find` has found, again if storing it has failed. Raises Refused or OSError."""
        file = self._folder.open_file(name)
        size = file.status.st_size
        others = sum(self._bytes.values()) - self._bytes.get(name, 0)
        if others + size > MAX_FILES_BYTES:
            file.close()
            if not self._too_large:
                self._too_large = True
                self._warnings.append(
                    f"The files left in the work folder are larger than {wording.limit(MAX_FILES_BYTES)} together; "
                    "those over it were left out. Write large results into the outputs folder."
                )
            raise Refused("it is too large")
        self._bytes[name] = size
        return file

    def _changed(self) -> Iterator[str]:
        for name in sorted(loose_files.names_in(self._folder.path)):
            parts = PurePosixPath(name).parts
            if not name.isprintable() or any(part in MADE_BY_ITSELF or part.startswith(".") for part in parts):
                continue
            if name not in self._laid or self._differs(name):
                yield name

    def _differs(self, name: str) -> bool:
        """Whether a file that was laid has other bytes now."""
        try:
            file = self._folder.open_file(name)
        except (OSError, Refused):
            return False
        try:
            if self._laid[name].is_untouched(file.status):
                return False
            with file.path.open("rb", buffering=0) as stream:
                digest = hashlib.sha256()
                while piece := stream.read(MEASURED_BYTES):
                    digest.update(piece)
            return digest.hexdigest() != self._laid[name].sha256
        finally:
            file.close()
