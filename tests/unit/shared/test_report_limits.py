"""What a notebook can cost the process that renders its report."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from shared.reports import outputs, page
from shared.reports.page import render


def test_large_json_is_shown_to_where_it_is_cut() -> None:
    class Counting(list[Any]):
        """A list that tells how far it was read."""

        read = 0

        def __iter__(self) -> Any:
            for value in super().__iter__():
                self.read += 1
                yield value

    values = Counting([{"a": 1}] * 1_000_000)
    shown = outputs.Shown({})._form({"application/json": values})["text/html"]
    assert shown.startswith('<pre class="json">[\n  {\n    &quot;a&quot;: 1\n')
    assert "(cut; the results have all of it)" in shown
    assert values.read < 200_000


def test_small_json_is_shown_whole() -> None:
    shown = outputs.Shown({})._form({"application/json": {"a": [1, "é"]}})["text/html"]
    assert shown == '<pre class="json">{\n  &quot;a&quot;: [\n    1,\n    &quot;é&quot;\n  ]\n}</pre>'


def test_blanks_of_a_heading_do_not_cost_their_square() -> None:
    cell = nbformat.v4.new_markdown_cell("# a" + " " * 1_000_000 + "b")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    text = render(notebook, Path("/nonexistent"), "full", {"title": "t", "lines": []})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 10  # processor time; before: hours
    assert "<h1" in text


def test_a_small_notebook_may_not_take_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that takes it: here the program itself, for want of another way that is left."""
    source = tmp_path / "a.ipynb"
    nbformat.write(NotebookNode(nbformat.v4.new_notebook()), source)
    program = (
        "import sys; from shared.reports import page\n"
        "page.render = lambda *_: 'x' * (page.LEAST_BYTES + 1_000_000)\n"
        "page.main(*sys.argv[1:])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, source, tmp_path / "a.html", tmp_path, "full", '{"title":"t","lines":[]}'],
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(page.__file__).parents[2]), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(f"it needs more than {page.LEAST_BYTES // 1024**2} MB of memory")
