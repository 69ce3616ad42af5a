"""Files that become notebooks: .ipynb in nbformat 3 and 4, scripts, Markdown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from services.catalog.document import Document, Json
from services.catalog.importing import ipynb, scripts
from services.catalog.kernels import deviation, recognise
from services.catalog.limits import MAX_NOTEBOOK_BYTES, check_size
from shared.contracts.notebooks import KernelType, Parsing
from shared.errors import Fault, Invalid, TooLarge

FALLBACK_NAME = "Uploaded notebook"
"""The name of a notebook whose form and file name give none."""

NAME_LENGTH = 200
"""Characters of a notebook's name (SPEC.md: POST notebook)."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a file became."""

    document: Document
    kernel_type: KernelType
    parsing: Parsing
    highest_cell_number: int


def read(file_name: str, text: str, kernel_type: KernelType | None) -> Imported:
    """Read an uploaded file. Raises Invalid, naming the place of every fault, or TooLarge."""
    if len(text) > MAX_NOTEBOOK_BYTES:
        raise TooLarge(f"A notebook file has at most {MAX_NOTEBOOK_BYTES:,} bytes.")
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise Invalid("The file is empty.", faults=[Fault(path="file", message="is empty")])
    is_text = scripts.ending_of(file_name) in scripts.FORMATS
    parsed = scripts.read(file_name, text) if is_text else ipynb.read(text)
    kernel, warnings = kernel_type, list(parsed.warnings)
    metadata = parsed.document.body["metadata"]
    if kernel is not None:
        told = deviation(metadata, kernel)
        warnings += [told] if told else []
    else:
        recognised = recognise(metadata)
        if recognised.fault is not None:
            raise Invalid(f"The file's kernel cannot be used: {recognised.fault.message}.", faults=[recognised.fault])
        kernel = recognised.kernel_type or "python3"
        if recognised.kernel_type is None:
            warnings.append("The file names no kernel; python3 was assumed.")
    check_size(parsed.document)
    return Imported(
        document=parsed.document,
        kernel_type=kernel,
        parsing=_parsing(parsed.nbformat, parsed.document.cells, warnings),
        highest_cell_number=parsed.highest_cell_number,
    )


def name_for(file_name: str) -> str:
    """A notebook's name from its file's."""
    stem = PurePosixPath(file_name.replace("\\", "/").replace("\x00", "")).stem.strip()
    return stem[:NAME_LENGTH].strip() or FALLBACK_NAME


def _parsing(nbformat: str, cells: list[Json], warnings: list[str]) -> Parsing:
    counts = Counter(cell["cell_type"] for cell in cells)
    return Parsing(
        nbformat=nbformat,
        cell_count=len(cells),
        code_cells=counts["code"],
        markdown_cells=counts["markdown"],
        raw_cells=counts["raw"],
        warnings=warnings,
    )
