"""What artifacts has done in child processes (`shared/child_pool.py`): called there by name, bytes in and bytes out.

A file to convert was written by a stranger, and a profile of thousands of columns is minutes of processor time, much of
it with the interpreter's lock held: in a thread of the service both would keep previews, uploads and downloads waiting.
"""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from shared import memory, without_pandas

without_pandas.install()
memory.give_back()  # both before pyarrow is imported

from services.artifacts.conversion_child import convert_file  # noqa: E402
from services.artifacts.formats.profile import profile  # noqa: E402

__all__ = ["convert_file", "profile_table"]

FURTHER_NICENESS = 5
"""How far a profile steps back behind other children, too: nobody waits for it."""


def profile_table(argument: bytes) -> bytes:
    """The profile of a stored table: `{path, columns}` in JSON, each column with its name and type; answers JSON."""
    os.nice(FURTHER_NICENESS)
    asked = orjson.loads(argument)
    return orjson.dumps(profile(Path(asked["path"]), [(name, kind) for name, kind in asked["columns"]]))
