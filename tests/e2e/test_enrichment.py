"""Enrichment end to end: checked against its dataset, named results, files, lineage, and the next notebook."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.runs import address

CLIENT = "from mindzie_sdk import ProcessMiningClient\nclient = ProcessMiningClient()\nlog = client.load_dataset()"


@pytest.fixture(scope="module")
async def dataset(api: Api, simulated_log: Path) -> dict[str, Any]:
    return await api.upload_dataset(simulated_log, "orders")


async def enrich(api: Api, dataset: dict[str, Any], *cells: str, form: str = "enriched_dataframe") -> dict[str, Any]:
    integration = {"enrichmentMode": True, "datasetBinding": dataset["datasetId"], "outputFormat": form}
    notebook = await api.create(CLIENT, *cells, integration=integration)
    return await api.run(notebook["notebookId"])


async def test_a_run_is_checked_against_its_dataset(api: Api, dataset: dict[str, Any]) -> None:
    run = await enrich(
        api,
        dataset,
        "log['score'] = 1\nlog['resource'] = 'x'",
        "client.save_enriched_dataset(log.drop(columns='region'), name='scored')",
        "client.save_enriched_dataset(log.head(10), name='few')",
    )
    assert run["status"] == "Completed", run["errorMessage"]
    scored, few = (await api.results(run))["enrichedDatasets"]
    count = dataset["recordCount"]
    assert (scored["recordsBefore"], scored["rowsLost"], scored["rowsAdded"]) == (count, 0, 0)
    assert (scored["newColumns"], scored["lostColumns"]) == (["score"], ["region"])
    (change,) = scored["changedColumns"]
    assert (change["name"], change["change"]) == ("resource", "values")
    assert change["valuesChanged"] == scored["valuesChanged"] == scored["rowsChanged"] > 0
    assert scored["rowsAligned"] is True
    assert few["rowsLost"] == count - 10
    assert "The enriched dataset 'scored' lost the column region of the dataset." in run["warnings"]
    assert any("rows fewer" in warning for warning in run["warnings"])


@pytest.mark.parametrize(("form", "stored"), [("csv", {"csv"}), ("parquet", {"parquet"}), ("none", None)])
async def test_a_table_named_as_the_result_is_taken_in_the_form_of_the_notebook(
    api: Api, dataset: dict[str, Any], form: str, stored: set[str] | None
) -> None:
    run = await enrich(api, dataset, "enriched_df = log.assign(late=log['order_value'] > 100)", form=form)
    assert run["status"] == "Completed", run["errorMessage"]
    assert run["outputs"]["enrichedData"] == {"recordCount": dataset["recordCount"], "newColumns": ["late"]}
    found = (await api.results(run))["enrichedDatasets"]
    if stored is None:
        assert found == []
        return
    assert [(one["name"], one["format"], set(one["downloadUrls"])) for one in found] == [("enriched_df", form, stored)]


async def test_a_result_that_cannot_be_saved_is_a_warning_and_no_result_is_told(
    api: Api, dataset: dict[str, Any]
) -> None:
    run = await enrich(api, dataset, "import pandas as pd\nenriched_df = pd.DataFrame([[1, 2]], columns=['a', 'a'])")
    assert run["status"] == "Completed"
    assert any("two columns are named 'a'" in warning for warning in run["warnings"])
    run = await enrich(api, dataset, "result = log.groupby('region').size().to_frame('n')")
    assert run["warnings"] == ["enrichmentMode is on, but the run saved no enriched dataset."]


async def test_files_left_behind_are_kept_even_when_the_run_fails(api: Api) -> None:
    notebook = await api.create(
        "import os, pathlib\nout = pathlib.Path(os.environ['ATELIER_RUN_DIR'], 'outputs')\n(out / 'sub').mkdir()\n"
        "(out / 'sub' / 'table.csv').write_text('a,b\\n1,2\\n')\n(out / 'link').symlink_to('/etc/passwd')",
        "1/0",
    )
    run = await api.run(notebook["notebookId"])
    assert run["status"] == "Error"
    (file,) = (await api.results(run))["files"]
    assert (file["name"], file["contentType"], file["sizeBytes"]) == ("sub/table.csv", "text/csv", 8)
    async with api.session.get(file["downloadUrl"]) as response:
        assert await response.text() == "a,b\n1,2\n"


async def test_a_result_becomes_the_dataset_of_the_next_notebook_and_lineage_tells_it(
    api: Api, dataset: dict[str, Any]
) -> None:
    run = await enrich(api, dataset, "client.save_enriched_dataset(log.assign(score=1.5), name='scored')")
    (scored,) = (await api.results(run))["enrichedDatasets"]
    path = f"{address(run)}/artifacts/{scored['artifactIds']['parquet']}/dataset"
    status, made, headers = await api.post(path, json={"datasetName": "scored orders"})
    assert status == 201, made
    assert headers["Location"].endswith(made["datasetId"])
    roles = ("caseIdColumn", "activityColumn", "timeColumn")
    assert [made[name] for name in roles] == [dataset[name] for name in roles]
    assert (made["recordCount"], made["caseCount"]) == (dataset["recordCount"], dataset["caseCount"])

    second = await enrich(api, made, "client.save_enriched_dataset(log.assign(twice=log['score'] * 2), name='twice')")
    assert second["status"] == "Completed", second["errorMessage"]
    assert (second["datasetId"], second["datasetVersion"]) == (made["datasetId"], 1)
    (twice,) = (await api.results(second))["enrichedDatasets"]
    assert twice["newColumns"] == ["twice"]
    async with api.session.get(twice["downloadUrl"]) as response:
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert {float(row["twice"]) for row in rows} == {3.0}

    status, lineage, _ = await api.get(f"dataset/{made['datasetId']}/lineage")
    assert status == 200, lineage
    (origin,) = lineage["origins"]
    assert (origin["executionId"], origin["datasetId"], origin["datasetVersion"]) == (
        run["executionId"],
        dataset["datasetId"],
        1,
    )
    assert origin["notebookVersion"] == run["notebookVersion"]
    assert [user["executionId"] for user in lineage["usedBy"]] == [second["executionId"]]
    assert lineage["usedBy"][0]["enrichedDatasets"][0]["name"] == "twice"
    status, forward, _ = await api.get(f"{address(run)}/lineage")
    assert status == 200
    assert [one["datasetId"] for one in forward["datasets"]] == [made["datasetId"]]
    status, backward, _ = await api.get(f"{address(second)}/lineage")
    assert [one["executionId"] for one in backward["origins"]] == [run["executionId"]]

    (csv_id,) = [identity for form, identity in scored["artifactIds"].items() if form == "csv"]
    status, renewed, _ = await api.post(
        f"{address(run)}/artifacts/{csv_id}/dataset", json={"datasetId": made["datasetId"]}
    )
    assert (status, renewed["version"], renewed["datasetName"]) == (201, 2, "scored orders")


async def test_only_tables_become_datasets(api: Api) -> None:
    notebook = await api.create("print('x')")
    run = await api.run(notebook["notebookId"])
    (output,) = (await api.results(run))["outputs"]
    status, problem, _ = await api.post(f"{address(run)}/artifacts/{output['artifactId']}/dataset")
    assert status == 400
    assert problem["errors"][0]["path"] == "artifactId"
