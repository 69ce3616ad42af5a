"""Notebooks that need more than the base environment has; the packages come from the real index."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from deploy.local import Stack
from tests.support import kernels, polling
from tests.support.api import Api
from tests.support.runs import address, terminal_events, until
from tests.support.standstill import NEVER_READY, library_never_ready

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


def made(stack: Stack, event: str, environment_id: str) -> int:
    """So often the worker says that it did that to an environment."""
    lines = stack.worker.log.read_text(encoding="utf-8").splitlines()
    said = [json.loads(line) for line in lines if line.startswith("{")]
    return sum(line["event"] == event and line["environment"] == environment_id for line in said)


async def test_runs_at_once_and_later_ones_share_what_was_built_once(
    runs: list[dict[str, Any]], api: Api, stack: Stack
) -> None:
    """How soon a later run finds it is measured by `make promises`."""
    found = [(await environment(api, run))[1] for run in runs]
    assert {one["source"] for one in found} == {"built"}
    (environment_id,) = {one["environmentId"] for one in found}
    assert made(stack, "environment built", environment_id) == 1
    resolved = made(stack, "environment resolved", environment_id)
    assert resolved >= 1
    again = await api.run(runs[0]["notebookId"])
    assert (await environment(api, again))[1]["environmentId"] == environment_id
    assert made(stack, "environment built", environment_id) == 1
    assert made(stack, "environment resolved", environment_id) == resolved


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
    assert notebook["environment"]["pythonVersion"] == found["pythonVersion"]
    _, shown, _ = await api.get(f"notebook/{notebook['notebookId']}")
    _, changed, _ = await api.put(f"notebook/{notebook['notebookId']}", json=shown)
    assert (changed["environment"], changed["notebookVersion"]) == (shown["environment"], "1.0.0")


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


OLDER = "packaging==23.2"
"""Another version than the base environment has."""

CLASHING = """
import packaging, pandas, numpy, mindzie_sdk, process_mining_utils
print(packaging.__version__, pandas.DataFrame({"a": [1, 2]}).a.sum())
"""


@pytest.mark.timeout(900)
@pytest.mark.slow(reason="a whole environment is built")
async def test_another_version_than_the_base_one_gets_an_environment_of_its_own(api: Api) -> None:
    notebook = await api.create(CLASHING, environment={"packages": [OLDER]})
    execution = await api.start(notebook["notebookId"])
    run = await api.wait(notebook["notebookId"], execution["executionId"], timeout_s=600)
    assert run["status"] == "Completed", run["errorMessage"]
    assert "23.2 3" in str((await api.results(run))["outputs"])
    status, found = await environment(api, run)
    assert (status, found["source"]) == (200, "built")
    versions = {package["name"]: package["version"] for package in found["packages"]}
    assert versions["packaging"] == "23.2"
    base = await api.run((await api.create("1"))["notebookId"])
    usual = {package["name"]: package["version"] for package in (await environment(api, base))[1]["packages"]}
    assert usual["packaging"] != "23.2"
    assert versions["pandas"] == usual["pandas"]
    assert versions["numpy"] == usual["numpy"]


@pytest.mark.slow(reason="an environment is built")
async def test_its_kernel_can_be_cancelled_while_it_starts(api: Api) -> None:
    """A library hangs in the interpreter's first line: only the kernel's end ends that."""
    name, wheel = library_never_ready()
    form = aiohttp.FormData()
    form.add_field("file", wheel, filename=name)
    assert (await api.post("library", data=form))[0] == 201
    notebook = await api.create("print(1)", environment={"customLibraries": [NEVER_READY]})
    run = await api.start(notebook["notebookId"])
    await polling.until(lambda: bool(kernels.processes_named(NEVER_READY)), within_s=90, what="the kernel's start")
    await until(api, run, phase="StartingKernel")
    assert (await api.post(f"{address(run)}/cancel"))[0] == 202
    ended = await api.wait(notebook["notebookId"], run["executionId"])
    assert (ended["status"], [cell["status"] for cell in ended["cellResults"]]) == ("Cancelled", ["Cancelled"])
    assert await terminal_events(api, run) == ["execution.cancelled"]
    await polling.until(lambda: not kernels.processes_named(NEVER_READY), within_s=20, what="the kernel's end")
    assert (await api.delete(f"library/{NEVER_READY}"))[0] == 204
