"""The templates that come with the catalog: percent-format scripts in `templates/`, named by their file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.catalog.importing import percent
from services.catalog.importing.percent import ScriptCell
from shared.contracts.notebooks import KernelType
from shared.errors import Fault

FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Template:
    """A notebook to begin with. Its description is the comment that heads the script."""

    name: str
    description: str
    cells: list[ScriptCell]

    def suits(self, kernel_type: KernelType) -> bool:
        """Templates are written in Python; one whose only code is its parameters suits every kernel."""
        return kernel_type == "python3" or all(cell.cell_type != "code" or _declares(cell) for cell in self.cells)

    def cells_for(self, kernel_type: KernelType) -> list[ScriptCell]:
        """The cells to begin with; the parameters' Python is left out of a notebook in another language."""
        return [cell for cell in self.cells if kernel_type == "python3" or cell.cell_type != "code"]


def load(folder: Path = FOLDER) -> dict[str, Template]:
    """All templates by name."""
    return {path.stem: _template(path) for path in sorted(folder.glob("*.py"))}


def choose(
    shelf: dict[str, Template], name: str | None, kernel_type: KernelType, faults: list[Fault]
) -> Template | None:
    """The template asked for, None when none is; a fault when there is none such or it does not suit the kernel."""
    if not name:
        return None
    template = shelf.get(name)
    if template is None:
        existing = ", ".join(shelf) or "none"
        faults.append(Fault(path="template", message=f"there is no template {name[:100]!r}; there are: {existing}"))
    elif not template.suits(kernel_type):
        message = f"is written for python3 and does not suit kernelType {kernel_type}"
        faults.append(Fault(path="template", message=message))
        return None
    return template


def _declares(cell: ScriptCell) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def _template(path: Path) -> Template:
    script = percent.split(path.read_text(encoding="utf-8"))
    description = " ".join(line.lstrip("# ").strip() for line in script.preamble.splitlines())
    return Template(name=path.stem, description=description, cells=script.cells)
