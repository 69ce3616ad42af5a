"""What catalog has done in child processes: texts that are made to cost are refused or told more plainly, and soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from services.catalog import child_calls
from services.catalog.differences import operations
from services.catalog.document import Document, Json, empty, new_cell
from services.catalog.importing import Imported
from services.catalog.model import Definition
from shared.child_pool import ChildPool
from shared.contracts.notebooks import Environment, Integration
from shared.errors import Invalid

WHO: Any = {"owner": "a", "deadline": None}


@pytest.fixture(scope="module")
async def children() -> AsyncIterator[ChildPool]:
    pool = child_calls.pool()
    yield pool
    await pool.close()


def version_of(*sources: str, outputs: dict[str, Json] | None = None) -> Definition:
    cells = [new_cell(f"c{number}", "code", source) for number, source in enumerate(sources)]
    return Definition(
        name="a",
        description=None,
        kernel_type="python3",
        integration=Integration(),
        environment=Environment(),
        document=Document(body={**empty(), "cells": cells}, outputs=outputs),
    )


async def test_a_script_is_read_with_what_was_made_of_it(children: ChildPool) -> None:
    imported = await child_calls.read_file(children, "a.py", '# %% id="cell-007"\nx = 1\n', None, **WHO)
    assert [cell["source"] for cell in imported.document.cells] == ["x = 1"]
    assert (imported.kernel_type, imported.parsing.nbformat, imported.highest_cell_number) == ("python3", "percent", 7)


async def test_outputs_of_a_file_stay_as_they_are(children: ChildPool) -> None:
    output = {"output_type": "stream", "name": "stdout", "text": "1\n"}
    cell = {"id": "a", "cell_type": "code", "metadata": {}, "source": "1", "outputs": [output], "execution_count": 1}
    file = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    imported = await child_calls.read_file(children, "a.ipynb", orjson.dumps(file).decode(), "r", **WHO)
    assert imported.document.export("r")["cells"][0]["outputs"] == [output]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "# %% " + "a" * 40_000 + "\n1\n"),
        ("a.py", "# %% " + "a=" * 20_000),
        ("a.py", "# %%\n" * 20_000),
        ("a.py", "\n\nx\n" * 20_000),
        ("a.md", "```python\n" * 20_000),
        ("a.md", "- " * 20_000 + "```{code-cell}"),
        ("a.py", "# ---\n# a: &a [x]\n" + "".join(f"# b{n}: [*a, *a]\n" for n in range(2_000)) + "# ---\n"),
        ("a.R", "#' " * 30_000),
        ("a.ipynb", '{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":[' + "{}," * 200_000 + "{}]}"),
    ],
    ids=range(9),
)
async def test_a_costly_file_is_read_or_refused_with_its_name(
    children: ChildPool, name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_calls, "LIMITS", replace(child_calls.LIMITS, processor_s=1))
    (found,) = await asyncio.gather(
        child_calls.read_file(children, name, text, "python3", **WHO), return_exceptions=True
    )
    if isinstance(found, Invalid):
        assert found.faults[0].path.startswith("file")
    else:
        assert isinstance(found, Imported)
        assert found.document.cells


@pytest.mark.timeout(60)
async def test_sources_of_equal_lines_are_told_whole(children: ChildPool) -> None:
    sources = ["a\n" * 3_990 for _ in range(20)]
    a, b = version_of(*sources), version_of(*(f"{source}b\n{source}" for source in sources))
    cells, found = await child_calls.compare(children, a, b, **WHO)
    assert [cell.change for cell in cells] == ["changed"] * 20
    lines = cells[0].lines or []
    assert (lines.count("-a"), lines.count("+a"), lines.count("+b")) == (3_990, 7_980, 1)
    assert found == operations.plain(a.document.export("python3"), b.document.export("python3"))


async def test_ordinary_versions_are_compared_by_nbdime(children: ChildPool) -> None:
    a, b = version_of("x = 1", "y = 2\nz = 3\n"), version_of("x = 1", "y = 2\nz = 4\n")
    cells, found = await child_calls.compare(children, a, b, **WHO)
    assert [(cell.cell_id, cell.lines) for cell in cells] == [("c1", [" y = 2", "-z = 3", "+z = 4"])]
    assert found != operations.plain(a.document.export("python3"), b.document.export("python3"))


async def test_a_comparison_that_costs_too_much_is_plain(children: ChildPool, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = child_calls._ask

    async def costly(pool: ChildPool, function: str, argument: bytes, limits: Any, **more: Any) -> bytes:
        if function == "nbdime_operations" or b'"matchLines":true' in argument:
            limits = replace(limits, output_bytes=1)  # nothing can be said within these
        return await ask(pool, function, argument, limits, **more)

    monkeypatch.setattr(child_calls, "_ask", costly)
    a, b = version_of("x\ny\n"), version_of("x\nz\n")
    cells, found = await child_calls.compare(children, a, b, **WHO)
    assert cells[0].lines == ["-x", "-y", "+x", "+z"]
    assert found == operations.plain(a.document.export("python3"), b.document.export("python3"))


async def test_a_notebook_is_written_as_text(children: ChildPool) -> None:
    text, ending = await child_calls.write_text(children, version_of("x = 1").document, "python3", "script", **WHO)
    assert ending == ".py"
    assert "# %%\nx = 1" in text
    results = await asyncio.gather(
        *(
            child_calls.write_text(children, version_of("x = 1").document, "r", "markdown", **{**WHO, "owner": owner})
            for owner in "aabb"
        )
    )
    assert {ending for _, ending in results} == {".md"}
