"""Every template runs over the API; a notebook becomes a template and begins another."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from tests.support.api import Api
from tests.support.long import LONG

ANALYSES = ("process_mining_starter", "customer_segmentation", "anomaly_detection", "throughput_prediction")


@pytest.mark.slow(reason="four whole analyses")
async def test_every_template_runs(api: Api, simulated_log: Path, sample_data: Path) -> None:
    """Each on a log of its own; on every log in the long run. All with all, without the API: tests/unit/templates."""
    logs = [simulated_log, *(sample_data / name for name in (
        "receipt.csv", "roadtraffic100traces.csv", "running-example.xes"))]  # fmt: skip
    datasets = [await api.upload_dataset(path, path.stem) for path in logs]
    pairs = itertools.product(ANALYSES, datasets) if LONG else zip(ANALYSES, datasets, strict=True)
    for template, dataset in pairs:
        binding = {"enrichmentMode": True, "datasetBinding": dataset["datasetId"]}
        notebook = await api.create(template=template, integration=binding)
        execution = await api.run(notebook["notebookId"])
        assert execution["status"] == "Completed", (template, dataset["datasetName"], execution["errorMessage"])
        results = await api.results(execution, format="summary")
        (enriched,) = results["enrichedDatasets"]
        assert enriched["recordCount"] == dataset["recordCount"]
        assert len(results["reports"]) == 1


async def test_a_notebook_becomes_a_template(api: Api) -> None:
    notebook = await api.create("md:# Ours", "print(1)")
    draft = {"templateName": "ours", "notebookId": notebook["notebookId"]}
    first, again = await asyncio.gather(
        *(api.post("templates", json=draft, headers={"Idempotency-Key": "make-ours"}) for _ in range(2))
    )
    assert first[0] == again[0] == 201
    assert first[2]["Location"].endswith("/templates/ours")
    assert (await api.post("templates", json=draft))[0] == 409
    assert (await api.post("templates", json={**draft, "templateName": "Not Fine"}))[0] == 400
    begun = await api.create(template="ours")
    assert [cell["content"] for cell in begun["cells"]] == ["# Ours", "print(1)"]
    listed = (await api.get("templates", params={"pageSize": "100"}))[1]
    assert "ours" in [item["templateName"] for item in listed["items"]]
    assert (await api.delete("templates/ours"))[0] == 204
    assert (await api.get("templates/ours"))[0] == 404
    assert (await api.delete("templates/blank"))[0] == 409
