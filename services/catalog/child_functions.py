"""What catalog has done in child processes (`shared/child_pool.py`): called there by name, bytes in and bytes out."""

from __future__ import annotations

import orjson

from services.catalog import importing
from services.catalog.differences import cells, nbdime_diff, operations, page
from services.catalog.document import Document, Json
from services.catalog.importing import scripts
from services.catalog.limits import check_values
from shared import frames
from shared.contracts.versions import NotebookDiff


def read_file(argument: bytes) -> bytes:
    """Read an uploaded file: `{fileName, kernelType}` and its text; answers what it became, and the document."""
    about, text = frames.split(argument)
    asked = orjson.loads(about)
    imported = importing.read(asked["fileName"], text.decode(), asked["kernelType"])
    check_values(imported.document)
    told = {
        "kernelType": imported.kernel_type,
        "parsing": imported.parsing.model_dump(),
        "highestCellNumber": imported.highest_cell_number,
    }
    document = imported.document
    return frames.joined(orjson.dumps(told), document.body_bytes, document.outputs_bytes or b"")


def write_text(argument: bytes) -> bytes:
    """Write a notebook as a script or Markdown: `{kernelType, format}` and its body; answers the ending of its name and
    its text."""
    about, body = frames.split(argument)
    asked = orjson.loads(about)
    text, ending = scripts.write(Document.stored(body, None), asked["kernelType"], asked["format"])
    return frames.joined(ending.encode(), text.encode())


def compare_notebooks(argument: bytes) -> bytes:
    """Compare two notebooks (`_pair`): answers the differences of their cells, and plain operations."""
    match_lines, before, after = _pair(argument)
    found = cells.compare(before["cells"], after["cells"], match_lines=match_lines)
    told = orjson.dumps([difference.model_dump(mode="json") for difference in found])
    return frames.joined(told, orjson.dumps(operations.plain(before, after)))


def nbdime_operations(argument: bytes) -> bytes:
    """nbdime's operations between two notebooks (`_pair`); null where it has none that are exact."""
    _, before, after = _pair(argument)
    return orjson.dumps(nbdime_diff.exact_diff(before, after))


def render_page(argument: bytes) -> bytes:
    """A diff as a page to read: the notebook's name and the diff."""
    name, diff = frames.split(argument)
    return page.render(NotebookDiff.model_validate_json(diff), name.decode()).encode()


def _pair(argument: bytes) -> tuple[bool, Json, Json]:
    """`{kernelTypes, matchLines}`, and body and outputs of both, as exported."""
    about, *stored = frames.split(argument)
    asked = orjson.loads(about)
    first, second = asked["kernelTypes"]
    before = Document.stored(stored[0], stored[1] or None).export(first)
    after = Document.stored(stored[2], stored[3] or None).export(second)
    return asked["matchLines"], before, after
