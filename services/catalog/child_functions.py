"""What catalog has done in child processes (`shared/child_pool.py`): called there by name, bytes in and bytes out."""

from __future__ import annotations

import orjson

from services.catalog import importing
from services.catalog.document import Document
from services.catalog.importing import scripts
from services.catalog.limits import check_values
from shared import frames


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
