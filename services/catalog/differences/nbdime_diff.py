"""nbdime's operations that lead from one notebook to another; called in a child process.

nbdime matches cells by trial, which takes the square of their number. Where it takes too long, and where its diff is
not exact, the answer is plainer, in the same format (`operations.plain`).
"""

from __future__ import annotations

import sys
from typing import Any

import nbformat
import orjson
from nbdime import diff_notebooks, patch_notebook
from nbdime.diffing.notebooks import notebook_predicates


def exact_diff(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]] | None:
    """nbdime's diff, if applying it to `a` gives `b` to the letter."""
    before, after = nbformat.from_dict(a), nbformat.from_dict(b)
    # nbdime keeps what it looked up in a table of the module, and then takes a list's path for one with rules.
    notebook_predicates.clear()
    try:
        diff = diff_notebooks(before, after)
        patched = patch_notebook(nbformat.from_dict(a), diff)
    except Exception as error:  # of many kinds, from assertions to KeyError: odd notebooks are beyond it
        print(f"nbdime: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    # Python holds 1, 1.0 and true for equal, and so does nbdime; JSON does not.
    return diff if _text(patched) == _text(b) else None


def _text(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
