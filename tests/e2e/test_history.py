"""History through the API: why, differences, restore, copy, and two runs side by side."""

from __future__ import annotations

import io
from typing import Any

import aiohttp
import nbformat
import orjson
from nbdime import patch_notebook

from tests.support.api import Api


async def upload(api: Api, file_name: str, content: bytes) -> tuple[int, Any]:
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(content), filename=file_name)
    status, answer, _ = await api.post("notebook/upload", data=form)
    return status, answer


async def test_a_notebooks_life(api: Api) -> None:
    notebook = await api.create("md:# Title", "x = 1", "print(x)")
    path = f"notebook/{notebook['notebookId']}"
    status, changed, headers = await api.put(
        f"{path}/cells/cell-002", json={"content": "x = 2"}, headers={"X-Change-Message": "two, für alle"}
    )
    assert (status, changed["notebookVersion"]) == (200, "1.1.0")
    etag = headers["ETag"]
    status, history, _ = await api.get(f"{path}/versions")
    assert status == 200
    assert [line["version"] for line in history["versions"]] == ["1.1.0", "1.0.0"]
    assert history["versions"][0]["changeMessage"] == "two, für alle"

    status, diff, _ = await api.get(f"{path}/versions/1.0.0/diff/1.1.0")
    assert status == 200
    assert diff["cells"][0]["lines"] == ["-x = 1", "+x = 2"]
    _, first, _ = await api.get(f"{path}/versions/1.0.0/export")
    _, second, _ = await api.get(f"{path}/export")
    before, after = (nbformat.from_dict(orjson.loads(orjson.dumps(each))) for each in (first, second))
    assert patch_notebook(before, nbformat.from_dict(diff["diff"])) == after
    status, page, headers = await api.get(f"{path}/versions/1.0.0/diff/1.1.0", params={"format": "html"})
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert b"+x = 2" in page

    status, restored, _ = await api.post(f"{path}/versions/1.0.0/restore", headers={"If-Match": etag})
    assert (status, restored["notebookVersion"]) == (201, "1.2.0")
    status, _, _ = await api.post(f"{path}/versions/1.1.0/restore", headers={"If-Match": etag})
    assert status == 409
    assert (await api.get(f"{path}/versions/7.0.0"))[0] == 404
    assert (await api.get(f"{path}/versions/1.0.0/diff/7.0.0"))[0] == 404
    status, copy, headers = await api.post(f"{path}/copy", json={"version": "1.1.0"})
    assert (status, copy["notebookName"]) == (201, "Copy of a test")
    assert headers["Location"].endswith(copy["notebookId"])
    assert copy["cells"][1]["content"] == "x = 2"


async def test_an_export_uploads_again_to_the_letter(api: Api) -> None:
    notebook = await api.create("md:![a](b)", "x = '\u2028'\r\n")
    _, exported, _ = await api.get(f"notebook/{notebook['notebookId']}/export")
    status, again = await upload(api, "again.ipynb", orjson.dumps(exported))
    assert (status, again["parsing"]["warnings"]) == (201, [])
    _, twice, _ = await api.get(f"notebook/{again['notebookId']}/export")
    assert twice == exported
    status, problem = await upload(api, "old.ipynb", b'{"nbformat": 2}')
    assert (status, problem["errors"][0]["path"]) == (400, "file.nbformat")


async def test_the_form_of_the_parameters(api: Api) -> None:
    source = "period = '2024-01-01'  # first day\nwindow = 'week'  # one of: day, week\ncount: int = 3"
    cells = [{"cellType": "code", "content": source, "tags": ["parameters"]}]
    notebook = await api.create(initialCells=cells)
    status, schema, _ = await api.get(f"notebook/{notebook['notebookId']}/parameters")
    assert status == 200
    assert schema["x-order"] == ["period", "window", "count"]
    assert schema["properties"]["period"] == {
        "title": "Period",
        "type": "string",
        "format": "date",
        "default": "2024-01-01",
        "description": "first day",
        "x-order": 0,
    }
    assert schema["properties"]["window"]["enum"] == ["day", "week"]
    assert schema["properties"]["count"]["type"] == "integer"


async def test_two_runs_side_by_side(api: Api) -> None:
    cells = [
        {"cellType": "code", "content": "x = 1", "tags": ["parameters"]},
        {"cellType": "code", "content": "print('the same')"},
        {"cellType": "code", "content": "print(x)"},
    ]
    notebook = await api.create(initialCells=cells)
    path = f"notebook/{notebook['notebookId']}"
    first = await api.run(notebook["notebookId"])
    again = await api.run(notebook["notebookId"])
    status, equal, _ = await api.get(f"{path}/execution/{first['executionId']}/compare/{again['executionId']}")
    assert status == 200, equal
    assert equal["sameInputs"] is True
    assert equal["outputs"]["equal"] is True
    assert len(equal["outputs"]["items"]) == 2
    await api.put(f"{path}/cells/cell-002", json={"content": "print('another')"})
    other = await api.run(notebook["notebookId"], {"parameters": {"x": 2}})
    status, found, _ = await api.get(f"{path}/execution/{first['executionId']}/compare/{other['executionId']}")
    assert status == 200, found
    assert (found["source"]["a"], found["source"]["b"]) == ("1.0.0", "1.1.0")
    assert [(cell["cellId"], cell["change"]) for cell in found["source"]["cells"]] == [("cell-002", "changed")]
    assert found["parameters"]["differences"] == [{"name": "x", "change": "changed", "a": 1, "b": 2}]
    assert found["environment"]["equal"] is True
    assert [item["change"] for item in found["outputs"]["items"]] == ["changed", "changed"]
    assert all(cell["statusA"] == cell["statusB"] == "Success" for cell in found["timings"]["cells"])
    elsewhere = await api.create("1")
    wrong = f"notebook/{elsewhere['notebookId']}/execution/{first['executionId']}/compare/{other['executionId']}"
    assert (await api.get(wrong))[0] == 404
