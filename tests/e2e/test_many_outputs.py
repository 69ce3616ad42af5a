"""A run's outputs share objects of the store; to a client each is a file of its own."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

from deploy.local import Stack
from tests.support.api import Api
from tests.support.runs import address

COUNT, SIZE = 120, 60_000
"""So many outputs of so many bytes: each too large for a row."""

CELL = f"""
import os
for number in range({COUNT}): display({{'text/plain': os.urandom({SIZE} // 2).hex()}}, raw=True)
"""


async def test_outputs_that_share_objects_are_served_singly_and_in_the_zip(api: Api, stack: Stack) -> None:
    notebook = await api.create(CELL)
    execution = await api.start(notebook["notebookId"])
    run = await api.wait(notebook["notebookId"], execution["executionId"])
    assert run["status"] == "Completed", run
    outputs = (await api.results(run))["outputs"]
    assert [output["sizeBytes"] for output in outputs] == [SIZE] * COUNT
    stored = [path for path in stack.folder.data("s3").rglob(f"*/{run['executionId']}/*/*") if path.is_file()]
    assert len(stored) < 5  # the notebook is one of them

    _, body, _ = await api.get(f"{address(run)}/results", params={"format": "download"})
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))["artifacts"]
        zipped = {described["artifactId"]: archive.read(described["path"]) for described in manifest}

    for output in outputs[:: COUNT // 6]:
        whole = zipped[output["artifactId"]]
        assert hashlib.sha256(whole).hexdigest() == output["sha256"]
        for path in (output["downloadUrl"], api.url(f"{address(run)}/artifacts/{output['artifactId']}")):
            async with api.session.get(path, headers=api.headers) as answer:
                assert (answer.status, await answer.read()) == (200, whole)
                etag = answer.headers["ETag"]
            async with api.session.get(path, headers={**api.headers, "Range": "bytes=59000-70000"}) as answer:
                assert (answer.status, await answer.read()) == (206, whole[59_000:])
                assert answer.headers["Content-Range"] == f"bytes 59000-{SIZE - 1}/{SIZE}"
            async with api.session.get(path, headers={**api.headers, "If-None-Match": etag}) as answer:
                assert answer.status == 304
            async with api.session.head(path, headers=api.headers) as answer:
                assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))
