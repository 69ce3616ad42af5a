"""Notebooks that mean harm, through the API on a stack of level `strong`: each ends as it must, reaches nothing, leaves
nothing, and a neighbour's run meanwhile gives its right result. Several run at once, beside one another's harm."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.local import Stack
from tests.integration.executor.hostile_notebooks import ENVIRONMENT, FLOOD, NOTEBOOKS, Hostile
from tests.support.api import Api
from tests.support.leftovers import Leftovers
from tests.support.stacks import private_stack

pytestmark = pytest.mark.slow(reason="four notebooks at once that use up all they may")

AT_ONCE = 4
"""Hostile runs at a time."""

SLOTS = AT_ONCE + 2
"""Runs at a time: the hostile ones, their neighbour and one that goes on all the while."""

END_S = 240.0
"""How long a run may take here at the most, in seconds; its own limits end it far sooner."""

BATCHES = [NOTEBOOKS[at : at + AT_ONCE] for at in range(0, len(NOTEBOOKS), AT_ONCE)]

NEIGHBOUR = [
    "total = sum(n * n for n in range(300_000))",
    "import pandas as pd\nprint(total, pd.Series([1, 2, 3]).sum())",
]
NEIGHBOUR_SAYS = f"{sum(n * n for n in range(300_000))} 6\n"

PATCHES = (
    "import builtins, json, orjson, pandas, zmq\n"
    "print(hasattr(builtins, 'atelier_was_here'), hasattr(zmq.Socket, 'atelier_was_here'), json.dumps(1), "
    "orjson.dumps(2), pandas.DataFrame({'a': [1]}).sum()['a'])"
)
"""What a later run sees of `patching the kernel's own code`."""

MISSING = "the machine allows no isolation of level strong"


@dataclass
class Fortress:
    """The stack, what its notebooks must not get hold of, and what lies about when nothing runs."""

    stack: Stack
    canary: Path
    leftovers: Leftovers
    ports: list[int]
    pids: list[int]


@pytest.fixture(scope="module")
def fortress() -> Iterator[Fortress]:
    """See the module."""
    try:
        with private_stack(slots=SLOTS, env=ENVIRONMENT) as stack:
            canary = stack.folder.data("worker") / "canary"
            canary.write_text("canary-of-the-worker")
            canary.chmod(0o644)
            ports = sorted(json.loads((stack.folder.path / "ports.json").read_text()).values())
            pids = [component.pid for component in stack.components.values() if component.pid is not None]
            yield Fortress(stack, canary, Leftovers(stack), ports, pids)
    except Exception as error:
        if MISSING in str(error) and os.environ.get("CI") != "true":
            pytest.skip(MISSING)
        raise


@pytest.fixture(scope="module")
async def tenant(fortress: Fortress, http: aiohttp.ClientSession) -> Api:
    """Who means harm."""
    return await Api.of(fortress.stack, http)


@pytest.fixture(scope="module")
async def neighbour(fortress: Fortress, http: aiohttp.ClientSession) -> Api:
    """Who means none."""
    return await Api.of(fortress.stack, http)


@pytest.fixture(scope="module")
async def other(fortress: Fortress, neighbour: Api) -> AsyncIterator[Path]:
    """The run folder of a run that goes on all the while."""
    api = neighbour
    says = "import os, time\nopen('mine', 'w').write('canary-of-another-run')\nprint(os.environ['ATELIER_RUN_DIR'])"
    notebook = await api.create(says, "time.sleep(86_000)")
    execution = await api.start(
        notebook["notebookId"], {"timeout": 86_400, "outputOptions": {"saveIntermediateResults": True}}
    )
    outputs: list[Any] = []
    async with asyncio.timeout(60):
        while not outputs:
            outputs = (await api.results(execution))["outputs"]
    yield Path(outputs[0]["content"].strip())
    await api.post(f"notebook/{execution['notebookId']}/execution/{execution['executionId']}/cancel")
    await api.wait(execution["notebookId"], execution["executionId"])


def told(source: str, fortress: Fortress, other: Path) -> str:
    """A cell's source with the addresses of what it is after."""
    places = {"@CANARY@": fortress.canary, "@OTHER@": other, "@PORTS@": fortress.ports, "@PIDS@": fortress.pids}
    for word, value in (places | {"@FLOOD@": FLOOD}).items():
        source = source.replace(word, str(value))
    return source


def printed(results: dict[str, Any]) -> str:
    """All that the run put out, as text."""
    return "".join(str(output["content"]) for output in results["outputs"])


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: ", ".join(hostile.name for hostile in batch))
async def test_they_end_with_a_verdict_and_reach_and_leave_nothing(
    batch: list[Hostile], fortress: Fortress, other: Path, tenant: Api, neighbour: Api
) -> None:
    calm = await neighbour.create(*NEIGHBOUR)
    beside, *faults = await asyncio.gather(
        to_the_end(neighbour, calm, {}), *(fault_of(hostile, fortress, other, tenant) for hostile in batch)
    )
    assert [fault for fault in faults if fault is not None] == []
    assert (beside["status"], beside["errorMessage"]) == ("Completed", None)
    assert printed(await neighbour.results(beside)) == NEIGHBOUR_SAYS
    await fortress.leftovers.gone(kernels=SLOTS + 1)  # the pool's, and the run that goes on


async def fault_of(hostile: Hostile, fortress: Fortress, other: Path, tenant: Api) -> str | None:
    """What is wrong with the end of such a run, if anything."""
    try:
        notebook = await tenant.create(*(told(cell, fortress, other) for cell in hostile.cells))
        ended = await to_the_end(tenant, notebook, hostile.request)
        results = await tenant.results(ended)
        said = printed(results)
        assert "ESCAPED" not in said, said
        check_verdict(hostile, notebook, ended)
        assert hostile.says is None or hostile.says in said, said
        assert_no_canary(await stored(tenant, results))
    except (AssertionError, TimeoutError, aiohttp.ClientError) as error:
        return f"{hostile.name}: {type(error).__name__} {error}"
    return None


async def to_the_end(api: Api, notebook: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """The status object at the run's end, on a busy machine too."""
    execution = await api.start(notebook["notebookId"], request)
    return await api.wait(notebook["notebookId"], execution["executionId"], timeout_s=END_S)


def check_verdict(hostile: Hostile, notebook: dict[str, Any], ended: dict[str, Any]) -> None:
    """The end is what the table says."""
    said = (ended["status"], ended["errorType"], ended["errorMessage"], ended["warnings"])
    if hostile.ends_somehow:
        assert ended["errorType"] not in {"WorkerLostError", "ArtifactStoreError"}, said
    elif hostile.error is None:
        assert ended["status"] == "Completed", said
    else:
        assert ended["status"] == "Error", said
        assert re.search(hostile.error[0], ended["errorType"]), said
        assert hostile.error[1] in ended["errorMessage"], said
        at = len(hostile.cells) - 1 if hostile.failed is None else hostile.failed
        assert ended["failedCell"] == notebook["cells"][at]["cellId"], said
    if hostile.warning is not None:
        assert any(hostile.warning in warning for warning in ended["warnings"]), said


async def stored(api: Api, results: dict[str, Any]) -> list[bytes]:
    """The bytes of everything that the run handed back."""
    bodies = []
    for kind in ("outputs", "enrichedDatasets", "models", "reports"):
        for entry in results[kind][:50]:
            if entry.get("downloadUrl"):
                async with api.session.get(entry["downloadUrl"]) as response:
                    assert response.status == 200
                    bodies.append(await response.content.read(1_000_000))
    return bodies


def assert_no_canary(bodies: list[bytes]) -> None:
    for body in bodies:
        for canary in (b"canary-of", b"root:x:0:0"):
            assert canary not in body


async def test_what_a_run_patched_a_later_one_does_not_see(tenant: Api) -> None:
    for _ in range(4):  # more than there are ready kernels
        notebook = await tenant.create(PATCHES)
        assert printed(await tenant.results(await tenant.run(notebook["notebookId"]))) == "False False 1 b'2' 1\n"
