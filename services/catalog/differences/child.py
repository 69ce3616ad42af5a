"""The process that runs nbdime: `python -m services.catalog.differences.child`, one request after the other on stdin.

A request and its answer are four bytes of length and JSON: `{"a": notebook, "b": notebook}` in, nbdime's diff out, or
`null` where nbdime fails or its diff does not lead from a to b exactly.
"""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import nbformat
import orjson
from nbdime import diff_notebooks, patch_notebook
from nbdime.diffing.notebooks import notebook_predicates


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the parent closes the pipe."""
    while len(head := requests.read(4)) == 4:
        given = orjson.loads(requests.read(int.from_bytes(head)))
        answer = orjson.dumps(exact_diff(given["a"], given["b"]))
        answers.write(len(answer).to_bytes(4) + answer)
        answers.flush()


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


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
