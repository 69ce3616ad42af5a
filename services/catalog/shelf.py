"""The templates that come with the catalog: percent-format scripts in `templates/`, named by their file."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from services.catalog.cell_ids import Numbering
from services.catalog.document import Document, Json, tags_of
from services.catalog.importing import scripts
from shared.contracts.notebooks import Environment, KernelType
from shared.errors import Fault

FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Template:
    """A notebook to begin with. A script's description is the comment that heads it."""

    name: str
    description: str
    document: Document
    kernel_type: KernelType = "python3"
    environment: Environment = field(default_factory=Environment)

    def suits(self, kernel_type: KernelType) -> bool:
        """Whether a notebook of that kernel can begin so; where the only code is its parameters, any can."""
        cells = self.document.cells
        return kernel_type == self.kernel_type or all(
            cell["cell_type"] != "code" or "parameters" in tags_of(cell) for cell in cells
        )

    def cells_for(self, kernel_type: KernelType, numbering: Numbering, taken: Collection[str]) -> list[Json]:
        """The cells to begin with; the parameters' code is left out of a notebook in another language. Ids that other
        cells of the notebook have are given anew."""
        cells = [
            deepcopy(cell)
            for cell in self.document.cells
            if kernel_type == self.kernel_type or cell["cell_type"] != "code"
        ]
        for cell in cells:
            numbering.see(cell["id"])
        for cell in cells:
            if cell["id"] in taken:
                cell["id"] = numbering.give()
        return cells


def load(folder: Path = FOLDER) -> dict[str, Template]:
    """All templates by name."""
    return {path.stem: _template(path) for path in sorted(folder.glob("*.py"))}


def unsuitable(template: Template, kernel_type: KernelType) -> list[Fault]:
    """A fault when a notebook of that kernel cannot begin with the template."""
    if template.suits(kernel_type):
        return []
    message = f"is written for {template.kernel_type} and does not suit kernelType {kernel_type}"
    return [Fault(path="template", message=message)]


def _template(path: Path) -> Template:
    heading, marker, script = path.read_text(encoding="utf-8").partition("\n# %%")
    cells = scripts.read(path.name, (marker + script).lstrip()).document
    description = " ".join(line.lstrip("# ").strip() for line in heading.splitlines())
    return Template(name=path.stem, description=description, document=cells)
