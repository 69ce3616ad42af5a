"""Results and downloads: the reference's shape, and links that cannot be forged."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from services.gateway.links import Links
from services.gateway.results import results_object
from services.gateway.transfers import attachment
from shared import tickets
from shared.contracts.base import Scope
from shared.contracts.executions import LocateResults, ResultsLocation
from shared.contracts.results import ArtifactEntry, ArtifactList, ListArtifacts
from shared.errors import NotFound
from tests.unit.gateway.fake_ports import EXECUTION, NOTEBOOK, PROJECT, TENANT, Api

PATH = f"notebook/{NOTEBOOK.notebook_id}/execution/{EXECUTION.execution_id}/results"
SCOPE = Scope(tenant_id=TENANT, project_id=PROJECT)


def location(**changes: Any) -> ResultsLocation:
    usual: dict[str, Any] = {
        "execution_id": EXECUTION.execution_id,
        "notebook_id": NOTEBOOK.notebook_id,
        "status": "Completed",
        "epoch": 2,
        "cell_ids": ["cell-001"],
    }
    return ResultsLocation(**{**usual, **changes})


def entry(kind: str, name: str, **more: Any) -> ArtifactEntry:
    usual: dict[str, Any] = {
        "artifact_id": uuid4(),
        "kind": kind,
        "position": 0,
        "name": name,
        "file_name": name,
        "content_type": "text/plain",
        "size_bytes": 3,
        "sha256": "0" * 64,
    }
    return ArtifactEntry(**{**usual, **more})


def enriched(form: str, shown: str, name: str = "e") -> ArtifactEntry:
    details = {"form": form, "format": shown, "recordCount": 5, "columns": ["a", "b"], "newColumns": ["b"]}
    return entry("enriched_dataset", name, file_name=f"{name}.{form}", details=details)


def test_forms_of_one_enriched_dataset_are_one_object() -> None:
    forms = [enriched("parquet", "pandas_dataframe"), enriched("csv", "pandas_dataframe"), enriched("csv", "csv", "f")]
    found = results_object(location(), forms, lambda artifact: artifact.file_name).enriched_datasets
    assert [dataset.name for dataset in found] == ["e", "f"]
    assert found[0].format == "pandas_dataframe"
    assert found[0].download_url == "e.csv"
    assert found[0].download_urls == {"parquet": "e.parquet", "csv": "e.csv"}
    assert (found[0].record_count, found[0].new_columns) == (5, ["b"])
    assert found[1].format == "csv"


def test_a_parquet_dataset_is_downloaded_as_parquet() -> None:
    found = results_object(location(), [enriched("parquet", "parquet")], lambda artifact: artifact.file_name)
    assert (found.enriched_datasets[0].format, found.enriched_datasets[0].download_url) == ("parquet", "e.parquet")


def test_every_kind_has_its_place() -> None:
    entries = [
        entry("report", "R", position=4, details={"format": "html"}),
        entry("output", "o", position=1, output_type="image/png", content_type="image/png", width=8, height=6),
        entry("value", "kpi", position=2, content_type="application/json", content={"a": 1}),
        entry("model", "m", position=3, details={"modelType": "Lasso", "accuracy": None, "metrics": {"r2": 0.5}}),
        entry("notebook", "n", position=5),
    ]
    found = results_object(location(), entries, lambda artifact: artifact.file_name)
    assert [(output.title, output.content) for output in found.outputs] == [(None, None), ("kpi", {"a": 1})]
    assert found.outputs[0].dimensions is not None
    assert (found.outputs[0].dimensions.width, found.outputs[0].dimensions.height) == (8, 6)
    assert found.outputs[1].dimensions is None
    assert (found.models[0].model_type, found.models[0].accuracy, found.models[0].features) == ("Lasso", None, [])
    assert [report.format for report in found.reports] == ["html"]


async def test_before_there_is_anything_all_arrays_are_empty(api: Api) -> None:
    api.requests.on(LocateResults, location(epoch=None, status="Running"))
    answer = await api.call("GET", PATH)
    assert answer.status == 200
    assert answer.json["status"] == "Running"
    assert [answer.json[name] for name in ("outputs", "enrichedDatasets", "models", "reports")] == [[], [], [], []]


async def test_filters_reach_artifacts(api: Api) -> None:
    api.requests.on(LocateResults, location())
    api.requests.on(ListArtifacts, ArtifactList(artifacts=[entry("output", "o")]))
    assert (await api.call("GET", f"{PATH}?outputType=plots&format=summary&cellId=cell-001")).status == 200
    command = api.requests.last(ListArtifacts)
    assert (command.output_type, command.with_content, command.cell_id, command.epoch) == (
        "plots",
        False,
        "cell-001",
        2,
    )


async def test_unknown_filters_are_400(api: Api) -> None:
    api.requests.on(LocateResults, location())
    assert (await api.call("GET", f"{PATH}?cellId=cell-999")).faults == {"cellId": "names no cell of this execution"}
    assert set((await api.call("GET", f"{PATH}?outputType=x&format=y")).faults) == {"outputType", "format"}


async def test_links_are_absolute_and_say_what_they_are(api: Api) -> None:
    api.requests.on(LocateResults, location())
    stored = entry("output", "o", file_name="plot 1.png")
    api.requests.on(ListArtifacts, ArtifactList(artifacts=[stored]))
    url = urlsplit((await api.call("GET", PATH)).json["outputs"][0]["downloadUrl"])
    assert url.scheme == "http"
    assert url.netloc == f"{api.client.host}:{api.client.port}"
    _, downloads, ticket, name = url.path.split("/")
    assert (downloads, name) == ("downloads", "plot%201.png")
    claims = api.gateway.links.read(ticket)
    assert (claims.a, claims.e, claims.n) == (stored.artifact_id, 2, "plot 1.png")
    assert claims.download.scope == SCOPE


def test_the_configured_address_is_used_when_there_is_one() -> None:
    assert Links(key="k" * 16, public_url="https://atelier.example/").public_url == "https://atelier.example"


def sign(**changes: Any) -> str:
    usual: dict[str, Any] = {"key": "l" * 16, "purpose": "download", "life_s": 60.0}
    claims = {"t": str(TENANT), "p": str(PROJECT), "x": str(UUID(int=1)), "e": 1, "a": str(UUID(int=2)), "n": "a.csv"}
    return tickets.sign(changes.pop("claims", claims), **{**usual, **changes})


@pytest.mark.parametrize(
    "ticket",
    [
        "",
        "x",
        "a.b",
        sign(key="other-key-of-another-gateway"),
        sign(purpose="artifact-download"),
        sign(life_s=-10.0),
        sign(claims={"t": "x"}),
        sign()[:-2] + "AA",
    ],
    ids=["empty", "no dot", "nonsense", "other key", "other purpose", "over", "odd claims", "changed"],
)
def test_a_bad_link_leads_nowhere(ticket: str) -> None:
    with pytest.raises(NotFound):
        Links(key="l" * 16, public_url=None).read(ticket)


async def test_a_bad_link_is_404_and_needs_no_credential(api: Api) -> None:
    for ticket in ("nonsense", sign(life_s=-10.0), sign(key="k" * 16)):
        answer = await api.call("GET", f"/downloads/{ticket}/a.csv", role=None)
        assert answer.status == 404


def test_file_names_cannot_break_out_of_the_header() -> None:
    header = attachment('a"\r\nX: y/ü;.csv')
    assert "\r" not in header
    assert "\n" not in header
    assert header.count('"') == 2
    assert header.endswith("filename*=UTF-8''a%22%0D%0AX%3A%20y%2F%C3%BC%3B.csv")
