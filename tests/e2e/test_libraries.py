"""A project's own libraries: uploaded, named by a notebook, replaced, removed; and never seen by another tenant."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import aiohttp

from deploy.local import Stack
from tests.support.api import Api

MODULE = "receipt_rules"
WHEEL = "house_style-1.0-py3-none-any.whl"


def wheel() -> bytes:
    """A wheel with one package that needs another from the index."""
    info = "house_style-1.0.dist-info"
    files = {
        "house_style/__init__.py": "import inflection\n\ndef title(word):\n    return inflection.titleize(word)\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: house-style\nVersion: 1.0\nRequires-Dist: inflection\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return buffer.getvalue()


async def upload(api: Api, file_name: str, content: bytes, **headers: str) -> tuple[int, Any]:
    form = aiohttp.FormData()
    form.add_field("file", content, filename=file_name)
    status, answer, _ = await api.post("library", data=form, headers=headers)
    return status, answer


async def run(api: Api, source: str, *libraries: str) -> dict[str, Any]:
    notebook = await api.create(source, environment={"customLibraries": list(libraries)})
    return await api.run(notebook["notebookId"])


async def test_a_module_is_used_replaced_and_removed(api: Api) -> None:
    for number in (1, 2):
        status, library = await upload(api, f"{MODULE}.py", f"NUMBER = {number}\n".encode())
        assert (status, library["libraryName"], library["kind"]) == (201, MODULE, "module")
        done = await run(api, f"import {MODULE}, pandas\nassert {MODULE}.NUMBER == {number}", MODULE)
        assert done["status"] == "Completed", done["errorMessage"]
    _, listed, _ = await api.get("libraries")
    assert [item["libraryName"] for item in listed["items"]] == [MODULE]
    assert listed["totalCount"] == 1
    assert (await upload(api, "another.py", b"NUMBER = 3\n"))[0] == 201
    _, first, _ = await api.get("libraries?pageSize=1")
    _, second, _ = await api.get(f"libraries?pageSize=1&cursor={first['nextCursor']}")
    assert [page["items"][0]["libraryName"] for page in (first, second)] == ["another", MODULE]
    assert [page["hasNextPage"] for page in (first, second)] == [True, False]
    assert (await api.delete("library/another"))[0] == 204
    assert (await api.delete(f"library/{MODULE}"))[0] == 204
    assert (await api.delete(f"library/{MODULE}"))[0] == 404
    done = await run(api, "1", MODULE)
    assert (done["status"], done["errorType"]) == ("Error", "EnvironmentBuildError")
    assert MODULE in done["errorMessage"]


async def test_a_wheel_brings_what_it_requires(api: Api) -> None:
    status, library = await upload(api, WHEEL, wheel())
    assert (status, library["libraryName"], library["version"]) == (201, "house-style", "1.0")
    program = "import house_style, mindzie_sdk\nassert house_style.title('a_word') == 'A Word'"
    done = await run(api, program, "house_style")
    assert done["status"] == "Completed", done["errorMessage"]


async def test_a_projects_own_bundled_name_wins_there_and_only_there(stack: Stack, http: aiohttp.ClientSession) -> None:
    name = "process_mining_utils"
    # A project of its own: the library would be every other test's too.
    own, other = await Api.of(stack, http), await Api.of(stack, http)
    assert (await upload(own, f"{name}.py", b"OWN = True\n"))[0] == 201
    mine = await run(own, f"import {name}\nassert {name}.OWN", name)
    assert mine["status"] == "Completed", mine["errorMessage"]
    theirs = await run(other, f"import {name}\nassert not hasattr({name}, 'OWN')", name)
    assert theirs["status"] == "Completed", theirs["errorMessage"]
    _, listed, _ = await other.get("libraries")
    assert listed["items"] == []
    assert (await upload(own, f"{MODULE}.py", b"SECRET = 1\n"))[0] == 201
    assert (await run(other, "1", MODULE))["errorType"] == "EnvironmentBuildError"
    assert (await other.delete(f"library/{MODULE}"))[0] == 404


async def test_a_key_and_the_same_file_answer_with_the_first_result(api: Api) -> None:
    key = {"Idempotency-Key": "once"}
    first = await upload(api, "once.py", b"A = 1\n", **key)
    assert first[0] == 201
    assert await upload(api, "once.py", b"A = 1\n", **key) == first
    assert (await upload(api, "once.py", b"A = 2\n", **key))[0] == 409


async def test_what_is_no_library_is_refused(api: Api) -> None:
    for file_name, content in (("a.txt", b"x"), ("a.whl", b"x"), ("a.py", b"\xff"), ("a.py", b"")):
        status, problem = await upload(api, file_name, content)
        assert status == 400
        assert [fault["path"] for fault in problem["errors"]] == ["file"]
