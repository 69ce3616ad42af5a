"""Runs cases through the REST API, as a user would: upload, execute, wait, fetch the notebook and the files."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import nbformat
from nbformat import NotebookNode

from tests.parity.answers import Answer, answer
from tests.parity.corpus import Case
from tests.parity.differences import without_additions
from tests.support.api import Api
from tests.support.runs import address

RUN_DIRS = [r"(?:/[\w.+-]+)*/runs/[0-9a-f]{8}(?:/[0-9a-f]{1,6})?/(?:p[0-9a-fx]+|[0-9a-f]{8})(?=[/\W]|$)"]
"""A run's folder, as its kernel sees it."""

SERVICE_ERRORS = ("DeadKernelError", "KernelMessageError", "OutputLimitError")
"""Errors of a cell that are the service's words, not the notebook's."""

TIMEOUT_S = 100
"""Time limit of a run: none takes longer than a few seconds, on a busy machine neither."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case: its answer, and the run and the executed notebook that it was taken from."""

    answer: Answer
    run: dict[str, Any]
    notebook: NotebookNode


async def run(api: Api, case: Case, packages: Sequence[str] = ()) -> Outcome:
    """Run a case to its end, in an environment that has the `packages`."""
    notebook_id = await upload(api, case.notebook())
    if packages:
        status, changed, _ = await api.put(
            f"notebook/{notebook_id}", json={"environment": {"packages": list(packages)}}
        )
        assert status == 200, changed
    execution = await api.run(notebook_id, {"parameters": case.parameters, "timeout": TIMEOUT_S})
    notebook = await executed(api, execution)
    files = await files_of(api, execution) if case.outputs else {}
    return Outcome(
        answer=answer(without_additions(notebook), _end(execution), files, RUN_DIRS),
        run=execution,
        notebook=notebook,
    )


async def upload(api: Api, notebook: NotebookNode) -> str:
    """Upload a notebook; returns its id."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            form = aiohttp.FormData()
            content = io.BytesIO(nbformat.writes(notebook).encode())
            form.add_field("file", content, filename="case.ipynb")
            form.add_field("notebookName", "a case of the corpus")
            form.add_field("kernelType", "python3")  # as papermill's -k: whatever the file says
            status, created, headers = await api.post("notebook/upload", data=form)
            if status != 503:  # on a busy machine: many notebooks of one tenant are being read
                break
            await asyncio.sleep(float(headers["Retry-After"]))
    assert status == 201, created
    return str(created["notebookId"])


async def executed(api: Api, execution: dict[str, Any]) -> NotebookNode:
    """The executed notebook of a run."""
    status, body, _ = await api.get(f"{address(execution)}/notebook")
    assert status == 200, body
    text = json.dumps(body) if isinstance(body, dict) else body.decode()
    return NotebookNode(nbformat.reads(text, as_version=4))


async def files_of(api: Api, execution: dict[str, Any]) -> dict[str, bytes]:
    """The files that a run left, by name."""
    found: dict[str, bytes] = {}
    for file in (await api.results(execution, format="summary"))["files"]:
        url = api.url(f"{address(execution)}/artifacts/{file['artifactId']}")
        async with api.session.get(url, headers=api.headers) as response:
            assert response.status == 200, await response.text()
            found[file["name"]] = await response.read()
    return found


def _end(execution: dict[str, Any]) -> str:
    """`ok`, `error` where a cell's own error ended the run, else the service's word for it."""
    if execution["status"] == "Completed":
        return "ok"
    is_own = execution["failedCell"] is not None and execution["errorType"] not in SERVICE_ERRORS
    is_limit = "time limit of" in (execution["errorMessage"] or "")
    return "error" if is_own and not is_limit else f"{execution['errorType'] or execution['status']}"


def disagreements(outcome: Outcome) -> Iterator[str]:
    """Where the status object says of a cell something else than the executed notebook."""
    of_cells = {cell.id: cell for cell in outcome.notebook.cells if cell.cell_type == "code"}
    for said in outcome.run["cellResults"]:
        cell = of_cells.get(said["cellId"])
        if cell is None:
            continue
        shown = {
            "executionCount": cell.execution_count,
            "hasOutput": bool(cell.outputs),
        }
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if said["status"] == "Error" and said["traceback"] and errors:  # ipykernel prints exception groups instead
            shown |= {"errorType": errors[-1].ename, "errorMessage": errors[-1].evalue}
        for name, value in shown.items():
            if said[name] != value:
                yield f"{said['cellId']}: {name} is {said[name]!r:.300}, the notebook has {value!r:.300}"
