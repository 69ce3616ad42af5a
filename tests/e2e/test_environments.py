"""Notebooks that need more than the base environment has; the packages come from the real index."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.api import Api

PACKAGE = "inflection"
"""Small, pure Python, without requirements, and not in the base environment."""

PROGRAM = f"""
import {PACKAGE}, pandas, mindzie_sdk, process_mining_utils
{PACKAGE}.pluralize("octopus")
"""


async def environment(api: Api, run: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The answer of `GET …/environment`."""
    path = f"notebook/{run['notebookId']}/execution/{run['executionId']}/environment"
    status, answer, _ = await api.get(path)
    return status, answer


@pytest.fixture(scope="module")
async def runs(api: Api) -> list[dict[str, Any]]:
    """A notebook with one extra package: twice at once, then once more."""
    notebook = await api.create(PROGRAM, environment={"packages": [PACKAGE, "pandas"]})
    first = await asyncio.gather(api.run(notebook["notebookId"]), api.run(notebook["notebookId"]))
    return [*first, await api.run(notebook["notebookId"])]


async def test_an_extra_package_is_there_beside_what_always_is(runs: list[dict[str, Any]], api: Api) -> None:
    for run in runs:
        assert run["status"] == "Completed", run["errorMessage"]
    results = await api.results(runs[0])
    assert any("octopi" in str(output["content"]) for output in results["outputs"])


async def test_later_runs_find_it_prepared(runs: list[dict[str, Any]], api: Api) -> None:
    found = [(await environment(api, run))[1] for run in runs]
    assert len({one["environmentId"] for one in found}) == 1
    assert found[0]["preparationSeconds"] > found[2]["preparationSeconds"]


async def test_the_lock_tells_all_that_the_kernel_had(runs: list[dict[str, Any]], api: Api) -> None:
    status, found = await environment(api, runs[0])
    assert status == 200
    assert found["source"] == "built"
    names = {package["name"] for package in found["packages"]}
    assert {PACKAGE, "pandas", "ipykernel", "mindzie-sdk"} <= names
    version = next(package["version"] for package in found["packages"] if package["name"] == PACKAGE)
    assert f"{PACKAGE}=={version} \\\n    --hash=sha256:" in found["lock"]


async def test_a_run_in_the_base_environment_says_so(api: Api) -> None:
    notebook = await api.create("1 + 1", environment={"packages": ["pandas"]})
    run = await api.run(notebook["notebookId"])
    status, found = await environment(api, run)
    assert (status, found["source"]) == (200, "base")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"packages": ["atelier-has-no-such-package"]}, "atelier-has-no-such-package was not found in the package"),
        ({"packages": [f"{PACKAGE}==99"]}, f"there is no version of {PACKAGE}==99"),
        ({"packages": [f"{PACKAGE} @ file:///etc/passwd"]}, "package index only"),
        ({"pythonVersion": "3.2"}, "available: 3."),
        ({"customLibraries": ["nobodys_library"]}, "nobodys_library"),
    ],
)
async def test_what_cannot_be_had_fails_the_run_in_words(api: Api, wanted: dict[str, Any], words: str) -> None:
    notebook = await api.create("1", environment=wanted)
    run = await api.run(notebook["notebookId"])
    assert (run["status"], run["errorType"]) == ("Error", "EnvironmentBuildError")
    assert words in run["errorMessage"]
    assert "://" not in run["errorMessage"].replace("file:///etc/passwd", "")
    assert run["failedCell"] is None
    assert (await environment(api, run))[0] == 404
