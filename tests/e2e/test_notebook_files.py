"""Files beside a notebook through the API: put, listed, fetched, removed, versioned, copied; and one run that uses them
in every way that people write."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import aiohttp
import nbformat
import orjson
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from pydantic import SecretStr

from deploy.local import Stack
from shared.objects import S3ObjectStore
from shared.settings import ObjectStoreSettings
from tests.conftest import ROOT
from tests.support import languages
from tests.support.api import Api

HELPERS = b"def double(x):\n    return 2 * x\n"


async def put(api: Api, notebook: dict[str, Any], path: str, data: bytes, **headers: str) -> tuple[int, Any, Any]:
    address = f"notebook/{notebook['notebookId']}/files/{path}"
    return await api.put(address, data=io.BytesIO(data), headers=headers)


def form(files: dict[str, bytes]) -> aiohttp.MultipartWriter:
    """A form as programs write it, with each path as the file name of its part, unescaped."""
    writer = aiohttp.MultipartWriter("form-data")
    for path, data in files.items():
        part = writer.append(data, {"Content-Type": "application/octet-stream"})
        part.headers["Content-Disposition"] = f'form-data; name="files"; filename="{path}"'
    return writer


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return target.getvalue()


async def paths_of(api: Api, notebook: dict[str, Any], **params: str) -> list[str]:
    status, listed, _ = await api.get(f"notebook/{notebook['notebookId']}/files", params=params)
    assert status == 200, listed
    return [file["path"] for file in listed["files"]]


async def test_one_file_is_put_read_and_deleted(api: Api) -> None:
    notebook = await api.create("import helpers")
    status, answer, headers = await put(api, notebook, "pkg/helpers.py", HELPERS)
    assert status == 200, answer
    assert (answer["notebookVersion"], answer["totalCount"], answer["totalBytes"]) == ("1.1.0", 1, len(HELPERS))
    sha256 = hashlib.sha256(HELPERS).hexdigest()
    (file,) = answer["files"]
    assert (file["path"], file["sizeBytes"], file["sha256"]) == ("pkg/helpers.py", len(HELPERS), sha256)
    assert headers["ETag"].strip('"') == answer["etag"]

    address = f"notebook/{notebook['notebookId']}/files/pkg/helpers.py"
    status, body, headers = await api.get(address)
    assert (status, body, headers["ETag"]) == (200, HELPERS, f'"{sha256}"')
    assert headers["Content-Type"].startswith("text/x-python")
    assert headers["Content-Disposition"].startswith('attachment; filename="helpers.py"')
    status, body, _ = await api.get(address, headers={"Range": "bytes=4-9"})
    assert (status, body) == (206, HELPERS[4:10])
    status, _, _ = await api.get(address, headers={"If-None-Match": f'"{sha256}"'})
    assert status == 304
    status, _, _ = await api.get(address, headers={"Range": "bytes=9999-"})
    assert status == 416

    # Either state may be expected: the notebook's, which every change answers with, or the file's, which GET shows.
    for expected, wanted in ((notebook["etag"], 409), (sha256, 200), (sha256, 409)):
        status, answer, _ = await put(api, notebook, "pkg/helpers.py", b"x = 1", **{"If-Match": f'"{expected}"'})
        assert status == wanted, answer
    assert answer["dateModified"]
    status, _, _ = await api.delete(address, headers={"If-Match": f'"{sha256}"'})
    assert status == 409
    status, _, _ = await api.delete(address)
    assert status == 204
    assert [(await api.get(address))[0], (await api.delete(address))[0]] == [404, 404]
    assert (await api.get(address, params={"version": "1.1.0"}))[1] == HELPERS
    assert await paths_of(api, notebook) == []
    assert await paths_of(api, notebook, version="1.2.0") == ["pkg/helpers.py"]


async def test_many_files_come_as_a_form_or_an_archive(api: Api) -> None:
    notebook = await api.create("1")
    address = f"notebook/{notebook['notebookId']}/files"
    files = {"a.py": b"1", "data/b c.csv": b"2", "empty.txt": b"", ".DS_Store": b"3"}
    status, answer, _ = await api.put(address, data=form(files))
    assert status == 200, answer
    assert [file["path"] for file in answer["files"]] == ["a.py", "data/b c.csv", "empty.txt"]
    assert ".DS_Store" in answer["warnings"][0]

    archive = zipped({"a.py": b"new", "d/e.txt": b"5", "__MACOSX/x": b""})
    status, answer, _ = await api.put(address, data=archive, headers={"Content-Type": "application/zip"})
    assert (status, answer["totalCount"], answer["notebookVersion"]) == (200, 4, "1.2.0"), answer
    assert (await api.get(f"{address}/data/b%20c.csv"))[1] == b"2"
    status, answer, _ = await api.put(
        address, params={"replace": "true"}, data=archive, headers={"Content-Type": "application/zip"}
    )
    assert (status, answer["totalCount"]) == (200, 2)
    assert await paths_of(api, notebook) == ["a.py", "d/e.txt"]

    # One file that a browser's form or `curl -F` sends to its own address.
    status, answer, _ = await api.put(f"{address}/one.txt", data=form({"other.txt": b"1"}))
    assert (status, answer["files"][0]["path"]) == (200, "one.txt")
    for data, headers, wanted in (
        (b"x", {"Content-Type": "text/plain"}, 415),
        (b"no zip", {"Content-Type": "application/zip"}, 400),
        (zipped({}), {"Content-Type": "application/zip"}, 400),
    ):
        status, answer, _ = await api.put(address, data=data, headers=headers)
        assert status == wanted, answer


async def test_the_same_request_again_answers_with_the_first_result(api: Api) -> None:
    notebook = await api.create("1")
    key = {"Idempotency-Key": "files-1", "If-Match": notebook["etag"]}
    first = await put(api, notebook, "a.txt", b"1", **key)
    await put(api, notebook, "a.txt", b"2")
    again = await put(api, notebook, "a.txt", b"1", **key)
    assert (first[0], again[1]) == (200, first[1])
    other = await put(api, notebook, "a.txt", b"3", **key)
    assert other[0] == 409


async def test_bad_names_and_sizes_are_refused(api: Api) -> None:
    notebook = await api.create("1")
    for path, wanted in (
        ("a%2F..%2F..%2Fb", 400),
        ("%2Fetc%2Fpasswd", 400),
        ("a%5Cb", 400),
        ("a%00b", 400),
        ("a%0Ab", 400),
        (".atelier/x", 400),
        ("x" * 256, 400),
    ):
        status, answer, _ = await put(api, notebook, path, b"1")
        assert status == wanted, (path, answer)
        assert (await api.get(f"notebook/{notebook['notebookId']}/files/{path}"))[0] in (400, 404)
    status, answer, _ = await api.put(
        f"notebook/{notebook['notebookId']}/files", data=form({"ok.txt": b"1", "../up.txt": b"2", "b\\c": b"3"})
    )
    assert status == 400
    assert {error["path"] for error in answer["errors"]} >= {"../up.txt"}
    await put(api, notebook, "data", b"1")
    status, answer, _ = await put(api, notebook, "data/a.csv", b"1")
    assert (status, answer["errors"][0]["path"]) == (400, "data/a.csv")
    status, answer, _ = await put(api, notebook, "big.bin", bytes(50_000_001))
    assert status == 413
    assert "50,000,000" in answer["error"]
    assert await paths_of(api, notebook) == ["data"]
    status, limits, _ = await api.get("/api/limits")
    sizes = (limits["notebookFilesFileBytes"], limits["notebookFilesBytes"], limits["notebookFiles"])
    assert sizes == (50_000_000, 200_000_000, 1_000)


async def test_others_neither_see_nor_touch_them(api: Api, stack: Stack) -> None:
    notebook = await api.create("1")
    await put(api, notebook, "secret.txt", b"of this project")
    address = f"notebook/{notebook['notebookId']}/files"
    stranger = await Api.of(stack, api.session)
    intruder = Api(api.base, api.session, tenant=api.tenant, project=api.project, key=stranger.key)
    for other in (stranger, intruder):
        for method, path, options in (
            ("GET", address, {}),
            ("GET", f"{address}/secret.txt", {}),
            ("PUT", f"{address}/secret.txt", {"data": b"changed"}),
            ("PUT", address, {"data": form({"x": b"1"})}),
            ("DELETE", f"{address}/secret.txt", {}),
        ):
            status, answer, _ = await other.call(method, path, **options)
            assert status == 404, (method, path, answer)
    key = await asyncio.to_thread(
        stack.create_key, tenant=api.tenant, project=api.project, role="viewer", name="reader"
    )
    reader = Api(api.base, api.session, tenant=api.tenant, project=api.project, key=key)
    assert (await reader.get(address))[0] == 200
    assert (await reader.get(f"{address}/secret.txt"))[1] == b"of this project"
    assert (await reader.put(f"{address}/secret.txt", data=b"changed"))[0] == 403
    assert (await reader.delete(f"{address}/secret.txt"))[0] == 403
    assert (await reader.delete(f"{address}/none.txt"))[0] == 404
    assert (await api.get(f"{address}/secret.txt"))[1] == b"of this project"


async def test_copies_keep_the_bytes_when_the_original_goes(api: Api, stack: Stack) -> None:
    api = await Api.of(stack, api.session)
    notebook = await api.create("1")
    await put(api, notebook, "kept.txt", b"kept by the copy")
    status, copied, _ = await api.post(f"notebook/{notebook['notebookId']}/copy")
    assert status == 201, copied
    assert (await api.delete(f"notebook/{notebook['notebookId']}"))[0] == 204
    assert (await api.get(f"notebook/{copied['notebookId']}/files/kept.txt"))[1] == b"kept by the copy"
    assert (await api.get("storage"))[1]["fileBytes"] == len(b"kept by the copy")
    assert (await api.delete(f"notebook/{copied['notebookId']}"))[0] == 204
    async with asyncio.timeout(60):
        while (await api.get("storage"))[1]["fileBytes"]:
            await asyncio.sleep(0.1)


OTHER: dict[str, Any] = {
    "cells": [
        {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Other"},
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "a",
            "metadata": {},
            "outputs": [],
            "source": "from_other = helpers.double(5)\nprint('other ran')",
        },
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}

FOLDER = {
    "helpers.py": HELPERS,
    "pkg/__init__.py": b"",
    "pkg/mod.py": b"from pathlib import Path\n\ndef f():\n    return Path(__file__).parent.name\n",
    "prepare.py": b"import helpers\nprepared = helpers.double(21)\nprint(__name__)\n",
    "other.ipynb": orjson.dumps(OTHER),
    "data/lookup.csv": b"code,name\n1,Register\n2,Decide\n",
    "config.yaml": b"threshold: 0.8\n",
    "Größe.txt": "ü".encode(),
    "touched.txt": b"the same",
}

CELLS = [
    "import helpers\nfrom pkg.mod import f\nprint(helpers.double(2), f(), helpers.__file__.startswith('/'))",
    "%run prepare.py\nprint(prepared)",
    "%run other.ipynb\nprint(from_other)",
    "import pandas as pd\npd.read_csv('data/lookup.csv')",
    "print(open('config.yaml').read(), open('Größe.txt', encoding='utf-8').read())",
    "import os\nprint(sorted(name for name in os.listdir('.') if not name.startswith(('.', '__'))))",
    "%%bash\nset -e\ncat data/lookup.csv | wc -l\nls data",
    "%load_ext autoreload\n%autoreload 2\nimport importlib; importlib.reload(helpers); print(helpers.double('a'))",
    (
        "open('config.yaml', 'a').write('more: 1\\n')\nos.makedirs('made')\n"
        "open('made/result.csv', 'w').write('x\\n1\\n')\n"
        "os.utime('touched.txt')\nopen('touched.txt', 'r+').write('the')\nos.remove('data/lookup.csv')\n"
        "import tempfile; tempfile.mkstemp(prefix='.hidden', dir='.')\nprint(open('config.yaml').read())"
    ),
]


def text_of(cell: Any) -> list[tuple[str, str]]:
    """What a cell put out, streams joined as they may come in several pieces."""
    found: list[tuple[str, str]] = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            kind, text = output["name"], output["text"]
        else:
            kind, text = output["output_type"], output.get("data", {}).get("text/plain", output.get("ename", ""))
        text = "".join(text)
        if found and found[-1][0] == kind == "stdout":
            text = found.pop()[1] + text
        found.append((kind, text))
    return found


def by_papermill(folder: Path, kernel_python: Path) -> list[list[tuple[str, str]]]:
    """What the cells put out under the papermill command in a folder with the same files."""
    work = folder / "work"
    for path, data in FOLDER.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(data)
    kernel = folder / "share" / "jupyter" / "kernels" / "oracle"
    kernel.mkdir(parents=True)
    argv = [str(kernel_python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "o", "language": "python"}))
    source, target = folder / "in.ipynb", folder / "out.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in CELLS]), source)
    command = [str(Path(sys.executable).parent / "papermill"), str(source), str(target), "-k", "oracle"]
    environment = {**os.environ, "JUPYTER_PATH": str(folder / "share" / "jupyter")}
    done = subprocess.run([*command, "--cwd", str(work)], env=environment, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [text_of(cell) for cell in nbformat.read(target, as_version=4).cells]


async def test_a_run_has_the_files_as_under_papermill(api: Api, tmp_path: Path) -> None:
    oracle = asyncio.create_task(asyncio.to_thread(by_papermill, tmp_path, ROOT / ".venv-kernel" / "bin" / "python"))
    notebook = await api.create(*CELLS)
    identity = notebook["notebookId"]
    status, answer, _ = await api.put(f"notebook/{identity}/files", data=form(FOLDER))
    assert status == 200, answer
    first = await api.start(identity)
    # A run has the files of its version: what is put after it was accepted is not for it.
    await put(api, notebook, "helpers.py", b"raise RuntimeError('of a later version')")
    run = await api.wait(identity, first["executionId"])
    assert run["status"] == "Completed", run
    assert run["notebookVersion"] == "1.1.0"
    _, executed, _ = await api.get(f"notebook/{identity}/execution/{run['executionId']}/notebook")
    assert [text_of(cell) for cell in executed["cells"]] == await oracle

    # What was changed or made is a result; what lies as it was laid, or has the same bytes, and caches are not.
    files = (await api.results(run))["files"]
    assert sorted(file["name"] for file in files) == ["config.yaml", "made/result.csv"]
    config = next(file for file in files if file["name"] == "config.yaml")
    async with api.session.get(config["downloadUrl"]) as response:
        assert await response.read() == b"threshold: 0.8\nmore: 1\n"
    assert run["cellResults"][0]["resources"]["diskUsageBytes"] < 100_000

    # Another run of that version has the files as they were, not as the first run left them.
    again = await api.run(identity, {"version": "1.1.0"})
    assert again["status"] == "Completed", again
    _, executed, _ = await api.get(f"notebook/{identity}/execution/{again['executionId']}/notebook")
    assert [text_of(cell) for cell in executed["cells"]] == await oracle
    later = await api.run(identity)
    assert (later["status"], later["errorMessage"]) == ("Error", "of a later version")


async def test_an_archive_with_one_notebook_is_uploaded_with_its_files(api: Api) -> None:
    source = orjson.dumps({**OTHER, "cells": [{**OTHER["cells"][1], "source": "import helpers\nhelpers.double(4)"}]})
    files = {"project/main.ipynb": source, "project/helpers.py": HELPERS, "project/data/a.csv": b"1", "__MACOSX/a": b""}

    async def upload(archive: bytes, **headers: str) -> tuple[int, Any]:
        data = aiohttp.FormData()
        data.add_field("file", archive, filename="project.zip", content_type="application/zip")
        status, answer, _ = await api.post("notebook/upload", data=data, headers=headers)
        return status, answer

    key = {"Idempotency-Key": "upload-1"}
    status, notebook = await upload(zipped(files), **key)
    assert status == 201, notebook
    assert (notebook["notebookName"], notebook["notebookVersion"]) == ("main", "1.0.0")
    assert "__MACOSX/a" in str(notebook["parsing"]["warnings"])
    assert await paths_of(api, notebook) == ["data/a.csv", "helpers.py"]
    assert (await upload(zipped(files), **key))[1]["notebookId"] == notebook["notebookId"]
    assert (await upload(zipped({**files, "project/b.txt": b""}), **key))[0] == 409
    run = await api.run(notebook["notebookId"])
    assert run["status"] == "Completed", run

    status, exported, headers = await api.get(f"notebook/{notebook['notebookId']}/export", params={"format": "zip"})
    assert (status, headers["Content-Type"], int(headers["Content-Length"])) == (200, "application/zip", len(exported))
    with zipfile.ZipFile(io.BytesIO(exported)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["data/a.csv", "helpers.py", "main.ipynb"]
        assert archive.read("helpers.py") == HELPERS
    status, again = await upload(exported)
    assert status == 201, again
    assert await paths_of(api, again) == ["data/a.csv", "helpers.py"]

    for wrong, reason in (
        ({"a.py": b""}, "has no notebook"),
        ({"a.ipynb": source, "b.ipynb": source}, "a.ipynb, b.ipynb"),
        ({"n/a.ipynb": source, "up.txt": b""}, "outside of the notebook's folder"),
        ({"a.ipynb": source, "../up.txt": b""}, "'..'"),
        ({"a.ipynb": b"not a notebook"}, ""),
    ):
        status, answer = await upload(zipped(wrong))
        assert status == 400, answer
        assert reason in str(answer["errors"])


async def test_a_built_environment_has_the_files(api: Api) -> None:
    notebook = await api.create(
        "import inflection, helpers\nprint(helpers.double(inflection.pluralize('octopus')))",
        "%run prepare.py\n%run other.ipynb\nassert from_other == 10\nopen('config.yaml', 'a').write('x: 1')",
        environment={"packages": ["inflection"]},
    )
    status, answer, _ = await api.put(f"notebook/{notebook['notebookId']}/files", data=form(FOLDER))
    assert status == 200, answer
    run = await api.run(notebook["notebookId"])
    assert run["status"] == "Completed", run
    assert [file["name"] for file in (await api.results(run))["files"]] == ["config.yaml"]


LANGUAGES = {
    "r": [
        "source('helpers.R')\nprint(double(21))",
        "lookup <- read.csv('data/lookup.csv')\nstopifnot(nrow(lookup) == 2)",
        "write.csv(lookup, 'made.csv')\ncat('more', file = 'config.yaml', append = TRUE)",
    ],
    "scala": [
        'val lines = scala.io.Source.fromFile("data/lookup.csv").getLines.toList\nassert(lines.size == 3)',
        'import java.nio.file._\nassert(Files.readString(Paths.get("config.yaml")).startsWith("threshold"))',
        (
            'Files.writeString(Paths.get("made.csv"), "1")\n'
            'Files.writeString(Paths.get("config.yaml"), "more", StandardOpenOption.APPEND)'
        ),
    ],
}


@pytest.mark.slow(reason="a Scala kernel takes 10 s and more to start")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kernel_type", list(LANGUAGES))
async def test_other_languages_have_the_files(api: Api, kernel_type: str) -> None:
    languages.command(kernel_type)  # skips, or fails in CI, without that kernel
    notebook = await api.create(*LANGUAGES[kernel_type], kernelType=kernel_type)
    files = {**FOLDER, "helpers.R": b"double <- function(x) 2 * x\n"}
    status, answer, _ = await api.put(f"notebook/{notebook['notebookId']}/files", data=form(files))
    assert status == 200, answer
    execution = await api.start(notebook["notebookId"])
    run = await api.wait(notebook["notebookId"], execution["executionId"], timeout_s=600)
    assert run["status"] == "Completed", run
    names = [file["name"] for file in (await api.results(run))["files"]]
    assert names == ["config.yaml", "made.csv"]


async def test_a_content_that_is_gone_ends_the_run_with_its_reason(api: Api, stack: Stack) -> None:
    notebook = await api.create("1")
    body = f"of {notebook['notebookId']}".encode()
    await put(api, notebook, "lost.txt", body)
    access = stack.s3
    objects = S3ObjectStore(
        ObjectStoreSettings(
            endpoint=access.endpoint,
            access_key=access.access_key,
            secret_key=SecretStr(access.secret_key),
            bucket=access.bucket,
            region=access.region,
        )
    )
    await objects.remove(await objects.keys(f"{api.tenant}/{api.project}/files/"))
    await objects.close()
    run = await api.run(notebook["notebookId"])
    assert (run["status"], run["errorType"], run["failedCell"]) == ("Error", "ArtifactStoreError", None)
    assert "lost.txt" in run["errorMessage"]
    assert (await api.get(f"notebook/{notebook['notebookId']}/files/lost.txt"))[0] == 404
