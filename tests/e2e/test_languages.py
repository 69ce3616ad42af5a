"""Notebooks in R and Scala through HTTP: a dataset in, an enriched one out, a chart, errors in the language's terms.

The cells are the examples of docs/sdk.md.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import psutil
import pytest

from deploy.local import Stack
from tests.support import languages, polling
from tests.support.api import Api
from tests.support.runs import address, terminal_events, until
from tests.support.vanishing import below
from tests.unit.docs import documents

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow(reason="Scala's Java machine and Spark start")]

RUN_S = 600.0
"""How long a run may take on a busy machine: a Scala kernel alone takes a minute to start there, in seconds."""

ROWS = 'case_id,activity,amount,at\nA,"Order, new",10.5,2024-02-29T12:00:00Z\nA,Pay,20,2024-03-01T08:30:00Z\nB,Pay,,\n'

FAILING = {
    "r": ('stop("no such customer")', "simpleError", "no such customer"),
    "scala": ('Map("a" -> 1)("customer")', "java.util.NoSuchElementException", "key not found: customer"),
}
CALM = {"r": "cat(1 + 1)", "scala": "println(1 + 1)"}
ENDLESS = {"r": "Sys.sleep(3000)", "scala": "Thread.sleep(3000000)"}
DYING = {
    "r": "tools::pskill(Sys.getpid(), 9)",
    "scala": 'new ProcessBuilder("kill", "-9", ProcessHandle.current.pid.toString).start().waitFor()',
}
LEAVING = {
    "r": (
        """
.Last <- function() writeLines("ran", file.path(Sys.getenv("ATELIER_RUN_DIR"), "outputs", "last.txt"))
rows <- file(file.path(Sys.getenv("ATELIER_RUN_DIR"), "outputs", "rows.csv"), "w")
writeLines(c("a,b", "1,2"), rows)
""",
        "cat('bye'); quit(status = {})",
    ),
    "scala": (
        """
import java.nio.file.{Files, Paths}
val outputs = Paths.get(sys.env("ATELIER_RUN_DIR"), "outputs")
sys.addShutdownHook { Files.writeString(outputs.resolve("last.txt"), "ran\\n") }
val rows = Files.newBufferedWriter(outputs.resolve("rows.csv")); rows.write("a,b\\n1,2\\n"); rows.flush()
""",
        'print("bye"); sys.exit({})',
    ),
}
"""A cell that leaves things open, and one that ends the run, with the status to be put in."""


@pytest.fixture(scope="module", params=["r", "scala"])
def kernel_type(request: pytest.FixtureRequest) -> str:
    languages.command(request.param)  # skips, or fails in CI, without that kernel
    return str(request.param)


@pytest.fixture(scope="module")
async def dataset(api: Api, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("languages") / "orders.csv"
    path.write_text(ROWS, encoding="utf-8")
    return await api.upload_dataset(path, "orders", caseIdColumn="case_id")


async def _run(api: Api, notebook: dict[str, Any], **body: Any) -> dict[str, Any]:
    execution = await api.start(notebook["notebookId"], body)
    return await api.wait(notebook["notebookId"], execution["executionId"], timeout_s=RUN_S)


async def test_a_notebook_enriches_the_bound_dataset_and_shows_a_chart(
    api: Api, dataset: dict[str, Any], kernel_type: str
) -> None:
    examples = [block.text for block in documents.blocks("docs/sdk.md", kernel_type)]
    cells: list[dict[str, Any]] = [{"cellType": "code", "content": example} for example in examples]
    cells[0]["tags"] = ["parameters"]
    notebook = await api.create(
        kernelType=kernel_type,
        initialCells=cells,
        integration={"enrichmentMode": True, "datasetBinding": dataset["datasetId"]},
    )
    assert set(notebook["parameters"]["properties"]) == {"multiple", "title"}
    run = await _run(api, notebook, parameters={"multiple": 3, "title": 'Grün "und" blau'})
    assert run["status"] == "Completed", (run["errorType"], run["errorMessage"], run["cellResults"])
    assert run["warnings"] == []
    assert run["outputs"]["enrichedData"] == {"recordCount": 3, "newColumns": ["weighted"]}
    assert run["outputs"]["plots"] >= 1
    results = await api.results(run)
    (enriched,) = results["enrichedDatasets"]
    async with api.session.get(enriched["downloadUrls"]["csv"]) as response:
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert [row["activity"] for row in rows] == ["Order, new", "Pay", "Pay"]
    assert [row["weighted"] for row in rows] == ["31.5", "60.0", ""]
    values = {output["title"]: output["content"] for output in results["outputs"] if output["title"] == "Summary"}
    assert values["Summary"]["title"] == 'Grün "und" blau'
    assert {report["name"] for report in results["reports"]} == {"Page"}
    status, environment, _ = await api.get(f"{address(run)}/environment")
    assert status == 200
    assert (environment["pythonVersion"], environment["packages"], environment["lock"]) == (None, [], "")


async def test_errors_are_told_in_the_languages_terms_and_tolerated_where_asked(api: Api, kernel_type: str) -> None:
    code, kind, message = FAILING[kernel_type]
    notebook = await api.create("x = 1" if kernel_type == "r" else "val x = 1", code, "x", kernelType=kernel_type)
    run = await _run(api, notebook, errorPolicy="continue")
    assert run["status"] == "Completed", run["errorMessage"]
    failed = run["cellResults"][1]
    assert (failed["status"], failed["errorType"], failed["errorMessage"]) == ("Error", kind, message)
    assert message in failed["traceback"]
    assert [cell["status"] for cell in run["cellResults"]] == ["Success", "Error", "Success"]
    assert run["progress"]["failedCells"] == 1


async def test_an_error_ends_the_run_and_is_told_as_the_runs_own(api: Api, kernel_type: str) -> None:
    code, kind, message = FAILING[kernel_type]
    notebook = await api.create("x = 1" if kernel_type == "r" else "val x = 1", code, "x", kernelType=kernel_type)
    run = await _run(api, notebook)
    assert (run["status"], run["errorType"], run["errorMessage"]) == ("Error", kind, message)
    assert run["failedCell"] == notebook["cells"][1]["cellId"]
    assert [cell["status"] for cell in run["cellResults"]] == ["Success", "Error", "Skipped"]
    assert run["progress"]["failedCells"] == 1
    _, found, _ = await api.get(f"notebook/{notebook['notebookId']}")
    assert found["status"] == "Error"
    assert await terminal_events(api, run) == ["execution.failed"]


async def test_a_cell_over_its_time_ends_the_run(api: Api, kernel_type: str) -> None:
    cells = [{"cellType": "code", "content": ENDLESS[kernel_type], "metadata": {"execution": {"timeout": 3}}}]
    notebook = await api.create(initialCells=[*cells, {"cellType": "code", "content": "1"}], kernelType=kernel_type)
    run = await _run(api, notebook)
    assert (run["status"], run["errorType"]) == ("Error", "TimeoutError")
    assert "cell's time limit of 3 seconds" in run["errorMessage"]
    assert run["failedCell"] == notebook["cells"][0]["cellId"]
    assert [cell["status"] for cell in run["cellResults"]] == ["Error", "Skipped"]


async def test_cancelling_ends_a_cell(api: Api, kernel_type: str) -> None:
    notebook = await api.create(ENDLESS[kernel_type], kernelType=kernel_type)
    execution = await api.start(notebook["notebookId"])
    await until(api, execution, timeout_s=RUN_S, phase="ExecutingCells")
    status, _, _ = await api.post(f"{address(execution)}/cancel")
    assert status == 202
    ended = await api.wait(notebook["notebookId"], execution["executionId"])
    assert (ended["status"], ended["errorType"]) == ("Cancelled", None)
    assert [cell["status"] for cell in ended["cellResults"]] == ["Cancelled"]
    assert await terminal_events(api, execution) == ["execution.cancelled"]


async def _files(api: Api, run: dict[str, Any]) -> dict[str, str]:
    results = await api.results(run)
    found = {}
    for file in results["files"]:
        async with api.session.get(file["downloadUrl"]) as response:
            found[file["name"]] = await response.text()
    return found


@pytest.mark.parametrize("status", [0, 3])
async def test_a_cell_ends_its_run_with_a_status(api: Api, kernel_type: str, status: int) -> None:
    opening, leaving = LEAVING[kernel_type]
    notebook = await api.create(opening, leaving.format(status), "never", kernelType=kernel_type)
    run = await _run(api, notebook)
    ended, second = ("Completed", "Success") if status == 0 else ("Error", "Error")
    assert run["status"] == ended, (run["errorType"], run["errorMessage"], run["cellResults"])
    assert [cell["status"] for cell in run["cellResults"]] == ["Success", second, "Skipped"]
    if status:
        assert (run["errorType"], run["errorMessage"]) == ("SystemExit", str(status))
    assert await _files(api, run) == {"last.txt": "ran\n", "rows.csv": "a,b\n1,2\n"}
    results = await api.results(run)
    assert [
        output["content"] for output in results["outputs"] if output["cellId"] == notebook["cells"][1]["cellId"]
    ] == ["bye"]


async def test_what_is_open_at_the_end_is_written(api: Api, kernel_type: str) -> None:
    opening, _ = LEAVING[kernel_type]
    run = await _run(api, await api.create(opening, kernelType=kernel_type))
    assert run["status"] == "Completed", run["errorMessage"]
    assert await _files(api, run) == {"last.txt": "ran\n", "rows.csv": "a,b\n1,2\n"}


async def test_a_kernel_that_dies_is_told_plainly(api: Api, kernel_type: str) -> None:
    run = await _run(api, await api.create(DYING[kernel_type], kernelType=kernel_type))
    assert (run["status"], run["errorType"]) == ("Error", "DeadKernelError")
    assert "killed by signal 9 (SIGKILL)" in run["errorMessage"]
    _, found, _ = await api.get(f"notebook/{run['notebookId']}")
    assert found["status"] == "Kernel_Dead"


PROGRAMS = {"r": "R", "scala": "java"}
"""What the kernel's process runs."""


async def test_a_ready_kernel_that_waits_is_stopped(stack: Stack, api: Api, kernel_type: str) -> None:
    """It takes no processor time then: a Java machine would take a tenth of a processor."""

    def stopped() -> list[psutil.Process]:
        return [process for process in below(stack) if _is_stopped(process, PROGRAMS[kernel_type])]

    notebook = await api.create(CALM[kernel_type], kernelType=kernel_type)
    assert (await _run(api, notebook))["status"] == "Completed"  # from now on one is kept ready
    await polling.until(lambda: bool(stopped()), within_s=RUN_S, what="a kernel of the pool is stopped")
    ready = stopped()[0]
    assert (await _run(api, notebook))["status"] == "Completed"
    assert not ready.is_running() or ready.status() == psutil.STATUS_ZOMBIE  # it was the one that ran


def _is_stopped(process: psutil.Process, program: str) -> bool:
    try:
        return process.name() == program and process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


async def test_a_python_template_in_another_language_is_refused(api: Api) -> None:
    body = {"notebookName": "x", "kernelType": "r", "template": "process_mining_starter"}
    status, problem, _ = await api.post("notebook", json=body)
    assert status == 400
    assert problem["errors"] == [
        {"path": "template", "message": "is written for python3 and does not suit kernelType r"}
    ]
