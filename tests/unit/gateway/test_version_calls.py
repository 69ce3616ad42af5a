"""History at the API: addresses, headers, forms of a diff, and two runs side by side."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from services.gateway import examples, history_examples
from services.gateway.model import Role
from shared.contracts.comparisons import ExecutionInputs, GetExecutionInputs
from shared.contracts.executions import (
    Execution,
    ExecutionEnvironment,
    GetExecution,
    GetExecutionEnvironment,
    LocateResults,
    ResultsLocation,
)
from shared.contracts.notebooks import CreateNotebook, ExportNotebook, IpynbFile, UpdateNotebook
from shared.contracts.results import ArtifactEntry, ArtifactList, ListArtifacts
from shared.contracts.versions import (
    CopyNotebook,
    DiffVersions,
    GetParameters,
    GetVersion,
    HtmlPage,
    ListVersions,
    NotebookDiff,
    NotebookVersion,
    ParameterSchema,
    RestoreVersion,
    ShowDiff,
    VersionPage,
)
from shared.errors import Fault, Invalid, NotFound
from tests.unit.gateway.fake_ports import NOTEBOOK, Api

NOTEBOOK_PATH = f"notebook/{examples.NOTEBOOK_ID}"
EXECUTION_PATH = f"{NOTEBOOK_PATH}/execution/{examples.EXECUTION_ID}"


async def test_the_reads(api: Api) -> None:
    api.requests.on(ListVersions, VersionPage.model_validate(history_examples.VERSION_PAGE))
    api.requests.on(GetVersion, NotebookVersion.model_validate(history_examples.VERSION))
    api.requests.on(GetParameters, ParameterSchema.model_validate(history_examples.PARAMETER_SCHEMA))
    listed = await api.call("GET", f"{NOTEBOOK_PATH}/versions?pageSize=7&cursor=abc", role=Role.viewer)
    assert listed.json == history_examples.VERSION_PAGE
    asked = api.requests.last(ListVersions)
    assert (asked.page_size, asked.cursor) == (7, "abc")
    one = await api.call("GET", f"{NOTEBOOK_PATH}/versions/1.3.1", role=Role.viewer)
    assert one.json == history_examples.VERSION
    schema = await api.call("GET", f"{NOTEBOOK_PATH}/parameters?version=1.3.1", role=Role.viewer)
    assert schema.json == history_examples.PARAMETER_SCHEMA
    assert api.requests.last(GetParameters).version == "1.3.1"


async def test_exports_of_versions(api: Api) -> None:
    api.requests.on(ExportNotebook, IpynbFile(file_name="a.ipynb", content=examples.IPYNB))
    for path in ("versions/1.3.1/export", "export?version=1.3.1"):
        answer = await api.call("GET", f"{NOTEBOOK_PATH}/{path}", role=Role.viewer)
        assert answer.status == 200
        assert answer.json == examples.IPYNB
        assert api.requests.last(ExportNotebook).version == "1.3.1"
    api.requests.on(ExportNotebook, IpynbFile(file_name="a.R", text="# %%\nx <- 1"))
    for path in ("versions/1.3.1/export?format=script", "export?format=script"):
        answer = await api.call("GET", f"{NOTEBOOK_PATH}/{path}", role=Role.viewer)
        assert (answer.status, answer.body) == (200, b"# %%\nx <- 1")
        assert answer.headers["Content-Type"] == "text/x-r-source; charset=utf-8"
        assert 'filename="a.R"' in answer.headers["Content-Disposition"]
        assert api.requests.last(ExportNotebook).format == "script"
    assert (await api.call("GET", f"{NOTEBOOK_PATH}/export?format=pdf")).status == 400
    costly = Invalid("too costly", faults=[Fault(path="format", message="is too costly")])
    api.requests.on(ExportNotebook, costly)
    assert (await api.call("GET", f"{NOTEBOOK_PATH}/versions/1.3.1/export?format=script")).status == 400
    api.requests.on(ExportNotebook, Invalid("there is no such version"))
    assert (await api.call("GET", f"{NOTEBOOK_PATH}/versions/9.9.9/export")).status == 404
    assert (await api.call("GET", f"{NOTEBOOK_PATH}/export?version=9.9.9")).status == 400


async def test_a_diff_in_both_forms(api: Api) -> None:
    api.requests.on(DiffVersions, NotebookDiff.model_validate(history_examples.NOTEBOOK_DIFF))
    api.requests.on(ShowDiff, HtmlPage(html="<p>1 cell changed"))
    answer = await api.call("GET", f"{NOTEBOOK_PATH}/versions/1.3.1/diff/1.4.0", role=Role.viewer)
    assert answer.json == history_examples.NOTEBOOK_DIFF
    assert (api.requests.last(DiffVersions).a, api.requests.last(DiffVersions).b) == ("1.3.1", "1.4.0")
    shown = await api.call("GET", f"{NOTEBOOK_PATH}/versions/1.3.1/diff/1.4.0?format=html", role=Role.viewer)
    assert shown.body == b"<p>1 cell changed"
    assert shown.headers["Content-Type"] == "text/html; charset=utf-8"
    assert shown.headers["Content-Security-Policy"] == "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    assert shown.headers["X-Content-Type-Options"] == "nosniff"
    assert (await api.call("GET", f"{NOTEBOOK_PATH}/versions/1.3.1/diff/1.4.0?format=pdf")).status == 400


async def test_a_restore(api: Api) -> None:
    api.requests.on(RestoreVersion, NOTEBOOK)
    headers = {"If-Match": '"abc"', "X-Change-Message": "zurück, weil", "Idempotency-Key": "k"}
    answer = await api.call("POST", f"{NOTEBOOK_PATH}/versions/1.0.0/restore", role=Role.editor, headers=headers)
    assert answer.status == 201
    assert answer.headers["Location"].endswith(f"{NOTEBOOK_PATH}/versions/{NOTEBOOK.notebook_version}")
    asked = api.requests.last(RestoreVersion)
    assert (asked.version, asked.precondition.etag, asked.change_message) == ("1.0.0", "abc", "zurück, weil")
    assert asked.idempotency is not None
    api.requests.on(GetVersion, NOTEBOOK)
    assert (await api.call("POST", f"{NOTEBOOK_PATH}/versions/1.0.0/restore", role=Role.runner)).status == 403


async def test_a_copy(api: Api) -> None:
    api.requests.on(CopyNotebook, NOTEBOOK)
    answer = await api.call("POST", f"{NOTEBOOK_PATH}/copy", role=Role.editor)
    assert answer.status == 201
    assert answer.headers["Location"].endswith(NOTEBOOK_PATH)
    assert api.requests.last(CopyNotebook).request.version is None
    body = {"notebookName": " Mine ", "version": "1.0.0"}
    await api.call("POST", f"{NOTEBOOK_PATH}/copy", json=body)
    asked = api.requests.last(CopyNotebook).request
    assert (asked.notebook_name, asked.version) == ("Mine", "1.0.0")
    refused = await api.call("POST", f"{NOTEBOOK_PATH}/copy", json={"name": "typo", "notebookName": ""})
    assert set(refused.faults) == {"name", "notebookName"}


@pytest.mark.parametrize("version", ["x" * 200, "1.0%00"])
async def test_an_odd_version_is_not_found(api: Api, version: str) -> None:
    assert (await api.call("GET", f"{NOTEBOOK_PATH}/versions/{version}")).status == 404
    assert not api.requests.asked


async def test_why_a_change_is_made_goes_along(api: Api) -> None:
    api.requests.on(CreateNotebook, NOTEBOOK)
    api.requests.on(UpdateNotebook, NOTEBOOK)
    headers = {"X-Change-Message": "because"}
    await api.call("POST", "notebook", json={"notebookName": "n"}, headers=headers)
    await api.call("PUT", NOTEBOOK_PATH, json={"notebookName": "n"}, headers=headers)
    assert api.requests.last(CreateNotebook).change_message == "because"
    assert api.requests.last(UpdateNotebook).change_message == "because"
    await api.call("PUT", NOTEBOOK_PATH, json={"notebookName": "n"}, headers={"X-Change-Message": "  "})
    assert api.requests.last(UpdateNotebook).change_message is None
    long = await api.call("PUT", NOTEBOOK_PATH, json={}, headers={"X-Change-Message": "x" * 2_001})
    assert (long.status, set(long.faults)) == (400, {"X-Change-Message"})


def artifact(number: int, sha256: str, **members: Any) -> ArtifactEntry:
    return ArtifactEntry.model_validate(
        {
            "artifactId": f"cc0e8400-e29b-41d4-a716-4466554400{number:02d}",
            "kind": "output",
            "position": number,
            "name": "output",
            "fileName": "a",
            "contentType": "text/plain",
            "sizeBytes": 1,
            "sha256": sha256,
            "cellId": "cell-001",
            **members,
        }
    )


async def test_two_runs_side_by_side(api: Api) -> None:
    other = history_examples.OTHER_EXECUTION_ID

    def is_other(command: Any) -> bool:
        return str(command.execution_id) == other

    changed = copy.deepcopy(examples.EXECUTION) | {"executionId": other, "totalDurationSeconds": 2.5}
    changed["cellResults"][0]["executionTimeSeconds"] = 0.5
    inputs = {
        "executionId": other,
        "notebookVersion": "1.3.1",
        "parameters": {"same": 1, "kind": 1, "gone": True},
        "dataset": history_examples.COMPARISON["dataset"]["a"],
    }
    environment = copy.deepcopy(examples.EXECUTION_ENVIRONMENT)
    packages = [*environment["packages"], {"name": "humanize", "version": "4.1.0"}]
    runs = {False: examples.EXECUTION, True: changed}
    api.requests.on(GetExecution, lambda command: Execution.model_validate(runs[is_other(command)]))
    api.requests.on(
        GetExecutionInputs,
        lambda command: ExecutionInputs.model_validate(
            inputs | {"notebookVersion": "1.4.0", "parameters": {"same": 1, "kind": 1.0, "new": None}, "dataset": None}
            if is_other(command)
            else inputs
        ),
    )
    api.requests.on(
        GetExecutionEnvironment,
        lambda command: ExecutionEnvironment.model_validate(
            environment | {"environmentId": "other", "packages": packages} if is_other(command) else environment
        ),
    )
    api.requests.on(
        LocateResults,
        lambda command: ResultsLocation(
            execution_id=command.execution_id,
            notebook_id=command.notebook_id,
            status="Completed",
            epoch=1,
            cell_ids=["cell-001"],
        ),
    )
    model = {"kind": "model", "name": "m"}
    api.requests.on(
        ListArtifacts,
        lambda command: ArtifactList(
            artifacts=[artifact(1, "1"), artifact(2, "3"), artifact(4, "9", kind="notebook"), artifact(5, "7", **model)]
            if is_other(command)
            else [artifact(1, "1"), artifact(2, "2"), artifact(3, "2"), artifact(4, "8", kind="notebook")]
        ),
    )
    api.requests.on(DiffVersions, NotebookDiff.model_validate(history_examples.NOTEBOOK_DIFF))
    answer = await api.call("GET", f"{EXECUTION_PATH}/compare/{other}", role=Role.viewer)
    assert answer.status == 200, answer.json
    found = answer.json
    assert (found["a"]["executionId"], found["b"]["executionId"]) == (examples.EXECUTION_ID, other)
    assert found["sameInputs"] is False
    assert [(each["name"], each["change"]) for each in found["parameters"]["differences"]] == [
        ("kind", "changed"),
        ("gone", "removed"),
        ("new", "added"),
    ]
    assert found["environment"]["packages"] == [{"name": "humanize", "a": None, "b": "4.1.0"}]
    assert found["dataset"] == {"equal": False, "a": inputs["dataset"], "b": None}
    assert [(each["kind"], each["change"]) for each in found["outputs"]["items"]] == [
        ("output", "same"),
        ("output", "changed"),
        ("output", "removed"),
        ("model", "added"),
    ]
    assert found["outputs"]["equal"] is False
    assert (found["timings"]["totalSecondsA"], found["timings"]["totalSecondsB"]) == (1020.0, 2.5)
    assert found["timings"]["cells"][0]["secondsB"] == 0.5
    assert (api.requests.last(DiffVersions).a, api.requests.last(DiffVersions).b) == ("1.3.1", "1.4.0")


async def test_a_run_that_was_never_prepared_is_compared_all_the_same(api: Api) -> None:
    api.requests.on(GetExecution, Execution.model_validate(examples.EXECUTION))
    inputs: dict[str, Any] = {
        "executionId": examples.EXECUTION_ID,
        "notebookVersion": "1.3.1",
        "parameters": {},
        "dataset": None,
    }
    api.requests.on(GetExecutionInputs, ExecutionInputs.model_validate(inputs))
    api.requests.on(GetExecutionEnvironment, NotFound("not prepared"))
    api.requests.on(
        LocateResults,
        lambda command: ResultsLocation(
            execution_id=command.execution_id, notebook_id=command.notebook_id, status="Error", epoch=None, cell_ids=[]
        ),
    )
    api.requests.on(DiffVersions, NotebookDiff.model_validate(history_examples.NOTEBOOK_DIFF))
    answer = await api.call("GET", f"{EXECUTION_PATH}/compare/{examples.EXECUTION_ID}")
    assert answer.json["environment"]["equal"] is None
    assert answer.json["sameInputs"] is False
    assert answer.json["outputs"] == {"equal": True, "items": []}
    api.requests.on(GetExecution, NotFound("There is no such execution."))
    assert (await api.call("GET", f"{EXECUTION_PATH}/compare/{examples.EXECUTION_ID}")).status == 404
    assert (await api.call("GET", f"{EXECUTION_PATH}/compare/nonsense")).status == 404
