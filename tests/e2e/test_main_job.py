"""The main job through HTTP: a notebook enriches an event log, with live progress and results to take away."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.api import Api

STATUS_MEMBERS = {
    "executionId", "notebookId", "notebookVersion", "status", "phase", "startTime", "estimatedDuration",
    "currentCell", "parameters", "warnings", "cellResults", "progress",
}  # fmt: skip
PROGRESS_MEMBERS = {
    "totalCells", "completedCells", "successfulCells", "failedCells", "currentCellIndex", "percentComplete",
}  # fmt: skip


@pytest.fixture(scope="module")
async def starter_run(api: Api, sample_data: Path) -> dict[str, Any]:
    """The starter template, run on the receipt log."""
    dataset = await api.upload_dataset(sample_data / "receipt.csv", "receipt")
    assert (dataset["caseCount"], dataset["recordCount"]) == (1434, 8577)
    status, notebook, headers = await api.post(
        "notebook",
        json={
            "notebookName": "Process Mining Analysis",
            "template": "process_mining_starter",
            "integration": {"enrichmentMode": True, "datasetBinding": dataset["datasetId"]},
        },
    )
    assert status == 201
    assert headers["Location"].endswith(notebook["notebookId"])
    body = {"outputOptions": {"saveIntermediateResults": True, "generateReport": True}, "priority": "High"}
    return await api.run(notebook["notebookId"], body)


async def test_the_run_completes_with_every_member_of_the_status_object(starter_run: dict[str, Any]) -> None:
    assert starter_run["status"] == "Completed", starter_run["errorMessage"]
    assert set(starter_run) >= STATUS_MEMBERS
    assert set(starter_run["progress"]) == PROGRESS_MEMBERS
    assert starter_run["progress"]["percentComplete"] == 100
    assert starter_run["outputs"]["enrichedData"]["recordCount"] == 8577
    assert starter_run["outputs"]["models"] >= 1
    assert starter_run["outputs"]["plots"] >= 3
    assert starter_run["resources"]["cpuTimeSeconds"] > 0


async def test_results_list_everything_and_the_enriched_csv_downloads_without_a_header(
    api: Api, starter_run: dict[str, Any]
) -> None:
    results = await api.results(starter_run)
    (dataset,) = results["enrichedDatasets"]
    assert dataset["format"] == "pandas_dataframe"
    assert set(dataset["downloadUrls"]) == {"csv", "parquet"}
    async with api.session.get(dataset["downloadUrl"]) as response:
        assert response.status == 200
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert len(rows) == dataset["recordCount"] == 8577
    assert dataset["newColumns"]
    assert set(dataset["newColumns"]) <= set(rows[0])
    assert {report["format"] for report in results["reports"]} == {"html"}
    assert {"Notebook report"} < {report["name"] for report in results["reports"]}
    for model in results["models"]:
        async with api.session.get(model["downloadUrl"], headers={"Range": "bytes=0-9"}) as response:
            assert response.status == 206
            assert len(await response.read()) == 10
    pictures = [output for output in results["outputs"] if output["outputType"].startswith("image/")]
    assert pictures
    assert all(picture["dimensions"]["width"] > 100 and picture["content"] is None for picture in pictures)


@pytest.mark.parametrize(
    ("output_type", "filled"),
    [("data", "enrichedDatasets"), ("plots", "outputs"), ("models", "models"), ("reports", "reports")],
)
@pytest.mark.parametrize("form", ["summary", "detailed"])
async def test_filters_keep_what_they_name(
    api: Api, starter_run: dict[str, Any], output_type: str, filled: str, form: str
) -> None:
    results = await api.results(starter_run, outputType=output_type, format=form)
    for member in ("outputs", "enrichedDatasets", "models", "reports"):
        assert isinstance(results[member], list)
    assert results[filled]
    if output_type != "data":
        assert [m for m in ("outputs", "enrichedDatasets", "models", "reports") if results[m]] == [filled]
    if form == "summary":
        assert all(output["content"] is None for output in results["outputs"])


async def test_results_of_one_cell(api: Api, starter_run: dict[str, Any]) -> None:
    everything = await api.results(starter_run)
    cell_id = everything["outputs"][0]["cellId"]
    results = await api.results(starter_run, cellId=cell_id)
    assert {output["cellId"] for output in results["outputs"]} == {cell_id}
    path = f"notebook/{starter_run['notebookId']}/execution/{starter_run['executionId']}/results"
    status, problem, _ = await api.get(path, params={"cellId": "no-such-cell"})
    assert status == 400
    assert problem["errors"][0]["path"] == "cellId"


async def test_download_is_one_zip_with_a_manifest(api: Api, starter_run: dict[str, Any]) -> None:
    path = f"notebook/{starter_run['notebookId']}/execution/{starter_run['executionId']}/results"
    status, body, headers = await api.get(path, params={"format": "download"})
    assert status == 200
    assert headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        assert manifest
        assert any(name.endswith(".csv") for name in archive.namelist())


async def test_the_executed_notebook_opens(api: Api, starter_run: dict[str, Any]) -> None:
    path = f"notebook/{starter_run['notebookId']}/execution/{starter_run['executionId']}/notebook"
    status, body, _ = await api.get(path)
    assert status == 200
    notebook = nbformat.from_dict(body if isinstance(body, dict) else json.loads(body))
    nbformat.validate(notebook)
    assert any(cell.get("outputs") for cell in notebook.cells)


async def test_the_notebook_object_follows(api: Api, starter_run: dict[str, Any]) -> None:
    status, notebook, _ = await api.get(f"notebook/{starter_run['notebookId']}")
    assert status == 200
    assert (notebook["status"], notebook["executionCount"]) == ("Ready", 1)
    code = [cell for cell in notebook["cells"] if cell["cellType"] == "code"]
    assert {cell["executionStatus"] for cell in code} == {"Success"}


async def test_a_failing_third_cell_stops_the_run_and_a_good_run_heals_the_notebook(api: Api) -> None:
    notebook = await api.create("a = 1", "b = 2", "{}['customer_id']", "c = 3", "d = 4", "e = 5")
    identity = notebook["notebookId"]
    execution = await api.run(identity)
    assert execution["status"] == "Error"
    assert [cell["status"] for cell in execution["cellResults"]] == [
        "Success", "Success", "Error", "Skipped", "Skipped", "Skipped",
    ]  # fmt: skip
    failed = execution["cellResults"][2]
    assert (failed["errorType"], failed["errorMessage"]) == ("KeyError", "'customer_id'")
    assert (execution["errorType"], execution["failedCell"]) == ("KeyError", failed["cellId"])
    assert (await api.get(f"notebook/{identity}"))[1]["status"] == "Error"
    status, _, _ = await api.put(f"notebook/{identity}/cells/{failed['cellId']}", json={"content": "x = 0"})
    assert status == 200
    assert (await api.run(identity))["status"] == "Completed"
    assert (await api.get(f"notebook/{identity}"))[1]["status"] == "Ready"


async def test_a_dead_kernel_is_told_plainly(api: Api) -> None:
    notebook = await api.create("import os", "os._exit(7)", "print(1)")
    execution = await api.run(notebook["notebookId"])
    assert (execution["status"], execution["errorType"]) == ("Error", "DeadKernelError")
    assert "os._exit" in execution["errorMessage"]
    assert execution["failedCell"] == notebook["cells"][1]["cellId"]
    assert (await api.get(f"notebook/{notebook['notebookId']}"))[1]["status"] == "Kernel_Dead"


async def test_an_empty_notebook_completes_at_100(api: Api) -> None:
    notebook = await api.create()
    execution = await api.run(notebook["notebookId"])
    assert execution["status"] == "Completed"
    assert execution["progress"]["percentComplete"] == 100
    assert execution["cellResults"] == []


async def test_a_missing_package_is_named_before_any_cell_runs(api: Api) -> None:
    notebook = await api.create("print(1)", environment={"packages": ["no-such-package-of-ours"]})
    execution = await api.run(notebook["notebookId"])
    assert (execution["status"], execution["errorType"]) == ("Error", "EnvironmentBuildError")
    assert "no-such-package-of-ours" in execution["errorMessage"]
    assert execution["failedCell"] is None


async def test_timeouts_are_errors_that_keep_what_there_was(api: Api) -> None:
    notebook = await api.create("print('kept')", "import time; time.sleep(60)")
    execution = await api.run(notebook["notebookId"], {"timeout": 4})
    assert (execution["status"], execution["errorType"]) == ("Error", "TimeoutError")
    assert "kept" in str((await api.results(execution))["outputs"])


async def test_cancelling_a_running_and_an_ended_run(api: Api) -> None:
    notebook = await api.create("import time; time.sleep(60)")
    execution = await api.start(notebook["notebookId"])
    path = f"notebook/{notebook['notebookId']}/execution/{execution['executionId']}"
    status, _, _ = await api.post(f"{path}/cancel")
    assert status == 202
    ended = await api.wait(notebook["notebookId"], execution["executionId"])
    assert ended["status"] == "Cancelled"
    assert {cell["status"] for cell in ended["cellResults"]} == {"Cancelled"}
    status, problem, _ = await api.delete(path)
    assert status == 409
    assert problem["error"] == problem["detail"]


async def test_policy_continue_and_tags(api: Api) -> None:
    notebook = await api.create("1/0", "print('after')")
    execution = await api.run(notebook["notebookId"], {"errorPolicy": "continue"})
    assert execution["status"] == "Completed"
    assert (execution["progress"]["failedCells"], execution["progress"]["percentComplete"]) == (1, 100)


async def test_parameters_reach_the_cells_and_dataset_id_selects_the_data(api: Api, simulated_log: Path) -> None:
    dataset = await api.upload_dataset(simulated_log)
    notebook = await api.create(
        "from mindzie_sdk import ProcessMiningClient\nclient = ProcessMiningClient()",
        "print(region, len(client.load_dataset()), client.parameters['region'])",
    )
    body = {"parameters": {"region": "north", "dataset_id": dataset["datasetId"]}}
    execution = await api.run(notebook["notebookId"], body)
    assert execution["status"] == "Completed", execution["errorMessage"]
    assert execution["parameters"] == body["parameters"]
    assert any("region" in warning for warning in execution["warnings"])
    assert f"north {dataset['recordCount']} north" in str((await api.results(execution))["outputs"])
    status, problem, _ = await api.post(
        f"notebook/{notebook['notebookId']}/execute", json={"parameters": {"dataset_id": dataset["projectId"]}}
    )
    assert status == 400
    assert problem["errors"][0]["path"] == "parameters.dataset_id"


async def test_tenants_do_not_see_each_other(api: Api, stack: Any) -> None:
    notebook = await api.create("print('secret')")
    stranger = await Api.of(stack, api.session)
    path = f"/api/{api.tenant}/{api.project}/notebook/{notebook['notebookId']}"
    for method in ("GET", "DELETE"):
        status, _, _ = await stranger.call(method, path)
        assert status == 404
    status, _, _ = await stranger.get(f"notebook/{notebook['notebookId']}")
    assert status == 404
    status, page, _ = await stranger.get("notebooks")
    assert (status, page["totalCount"]) == (200, 0)


async def test_notebooks_and_outputs_over_the_bus_limit_go_by_reference(api: Api) -> None:
    comment = "# " + "x" * 1_500_000
    notebook = await api.create(
        f"{comment}\nprint('y' * 3_000_000)", "from IPython.display import JSON\nJSON({'a': 1})"
    )
    status, shown, _ = await api.get(f"notebook/{notebook['notebookId']}")
    assert (status, len(shown["cells"][0]["content"])) == (200, len(comment) + len("\nprint('y' * 3_000_000)"))
    execution = await api.run(notebook["notebookId"])
    assert execution["status"] == "Completed", execution["errorMessage"]
    long, short = (await api.results(execution))["outputs"]
    assert long["contentTruncated"] is True
    assert len(long["content"]) <= 1024 * 1024
    assert short["content"] == {"a": 1}
    async with api.session.get(long["downloadUrl"]) as response:
        assert len(await response.read()) == 3_000_001


async def test_many_outputs_of_one_run_are_all_listed(api: Api) -> None:
    notebook = await api.create(
        "from IPython.display import display\nfor i in range(3000): display({'number': i, 'text': 'z' * 500})"
    )
    execution = await api.run(notebook["notebookId"])
    assert execution["status"] == "Completed", execution["errorMessage"]
    outputs = (await api.results(execution))["outputs"]
    assert len(outputs) == 3000
    assert "'number': 2999" in outputs[-1]["content"]
