"""A notebook as a function: what it saves under names is its value, of the newest run by GET, of a new one by POST."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from tests.support.api import RUN_TIMEOUT_S, Api
from tests.support.runs import address

GLUE = """
def glue(name, data, encoder='json'):
    mime = f'application/scrapbook.scrap.{encoder}+json'
    payload = {'name': name, 'data': data, 'encoder': encoder, 'version': 1}
    display({mime: payload}, metadata={'scrapbook': {'name': name, 'data': True, 'display': False}}, raw=True)
"""
"""What scrapbook 0.5.0 does, by the shapes that tests/unit/executor/test_scraps.py has recorded."""

SAVE = """
import time; time.sleep(wait)
client.save_value('twice', 21 * factor)
client.save_value('name', 'old')
client.save_value('both', 'saved')
client.save_value('none', None)
"""
GLUED = """
glue('name', 'new', 'text')
glue('table', {'a': [1, 2.5, 'ü😀']})
glue('long', 'x' * 2_000_000, 'text')
glue('again', 1); glue('again', 2)
print('shown')
"""
SOURCE = (
    "factor: int = 2\nwait = 0",
    "from mindzie_sdk import ProcessMiningClient\nclient = ProcessMiningClient()" + GLUE,
    SAVE,
    GLUED,
    "if factor < 0:\n    raise ValueError('a negative factor')",
)


async def notebook_of(api: Api) -> dict[str, Any]:
    cells = [{"cellType": "code", "content": source} for source in SOURCE]
    cells[0] |= {"tags": ["parameters"]}  # type: ignore[dict-item]
    code, notebook, _ = await api.post("notebook", json={"notebookName": "a function", "initialCells": cells})
    assert code == 201, notebook
    return dict(notebook)


async def called(api: Api, path: str, body: dict[str, Any], key: str) -> tuple[int, Any]:
    """The answer once the run has ended, however busy the machine is: the same key asks for the same run."""
    async with asyncio.timeout(RUN_TIMEOUT_S):
        while True:
            code, answer, _ = await api.post(path, json=body, headers={"Idempotency-Key": key})
            if code != 202:
                return code, answer


async def test_a_notebook_serves_as_a_function(api: Api) -> None:
    notebook = await notebook_of(api)
    path = f"notebook/{notebook['notebookId']}/value"
    code, problem, _ = await api.get(path)
    assert (code, "no completed execution" in problem["detail"]) == (404, True)
    code, problem, _ = await api.get(f"notebook/{uuid4()}/value")
    assert (code, "completed" in problem["detail"]) == (404, False)

    # By POST: the values, or where to find them.
    code, started, headers = await api.post(path, params={"wait": "0"}, json={"parameters": {"factor": 3, "wait": 1}})
    assert (code, started["status"]) == (202, "Running")
    assert headers["Location"].endswith(address(started))
    ended = await api.wait(notebook["notebookId"], started["executionId"])
    assert ended["status"] == "Completed", ended["errorMessage"]
    code, value, _ = await api.get(path)
    assert code == 200
    assert value["values"] == {
        "twice": 63, "both": "saved", "none": None, "name": "new", "table": {"a": [1, 2.5, "ü😀"]}, "again": 2,
    }  # fmt: skip
    assert value["parameters"] == {"factor": 3, "wait": 1}
    assert (value["executionId"], value["notebookVersion"]) == (ended["executionId"], ended["notebookVersion"])
    assert value["dateEnded"] == ended["endTime"]
    assert value["largeValues"]["long"]["sizeBytes"] == 2_000_002
    async with api.session.get(value["largeValues"]["long"]["downloadUrl"]) as response:
        assert (response.status, await response.json()) == (200, "x" * 2_000_000)

    # Values are results like others: each once, and not as outputs besides.
    results = await api.results(ended)
    titles = [output["title"] for output in results["outputs"] if output["contentType"] == "application/json"]
    assert sorted(titles) == sorted([*value["values"], "long"])
    assert not any("scrapbook" in output["contentType"] for output in results["outputs"])

    # A run that fails is a problem, and leaves the value of the one before; the same key runs nothing again.
    key = str(uuid4())
    for _ in range(2):
        code, problem = await called(api, path, {"parameters": {"factor": -1}}, key)
        assert code == 422
        assert problem["detail"] == problem["error"]
        assert (problem["errorType"], problem["errorMessage"]) == ("ValueError", "a negative factor")
        assert (problem["failedCell"], problem["executionStatus"]) == (notebook["cells"][-1]["cellId"], "Error")
    code, failed, _ = await api.get(f"notebook/{notebook['notebookId']}/execution/{problem['executionId']}")
    assert (code, failed["status"]) == (200, "Error")
    assert (await api.get(path))[1]["executionId"] == ended["executionId"]
    code, page, _ = await api.get(f"notebook/{notebook['notebookId']}/executions")
    assert (code, page["totalCount"]) == (200, 2)

    code, value = await called(api, path, {}, str(uuid4()))
    assert (code, value["values"]["twice"], value["parameters"]) == (200, 42, {"factor": 2, "wait": 0})
    code, newest, _ = await api.get(path)
    links = [answer.pop("largeValues")["long"].pop("downloadUrl") for answer in (newest, value)]  # they expire
    assert (code, newest, len(links)) == (200, value, 2)
    code, checked, _ = await api.post(path, json={"dryRun": True})
    assert (code, checked["valid"]) == (200, True)
    code, problem, _ = await api.post(path, json={"parameters": {"factor": "many"}, "retry": {"limit": 99}})
    assert (code, {fault["path"] for fault in problem["errors"]}) == (400, {"parameters.factor", "retry.limit"})
