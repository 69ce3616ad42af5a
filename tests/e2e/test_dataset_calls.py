"""Datasets through HTTP: up, listed, bound, down again, and kept while they are bound."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from tests.support.api import Api


@pytest.mark.parametrize(
    ("file", "cases"), [("receipt.csv", 1434), ("roadtraffic100traces.csv", 100), ("running-example.xes", 6)]
)
async def test_public_logs_have_their_cases(api: Api, sample_data: Path, file: str, cases: int) -> None:
    dataset = await api.upload_dataset(sample_data / file, file)
    assert dataset["caseCount"] == cases
    status, found, _ = await api.get(f"dataset/{dataset['datasetId']}")
    assert (status, found) == (200, dataset)
    status, body, _ = await api.get(f"dataset/{dataset['datasetId']}/data", params={"format": "csv"})
    assert status == 200
    assert sum(1 for _ in csv.DictReader(io.StringIO(body.decode()))) == dataset["recordCount"]


async def test_a_bound_dataset_goes_only_by_force(api: Api, simulated_log: Path) -> None:
    dataset = await api.upload_dataset(simulated_log)
    path = f"dataset/{dataset['datasetId']}"
    await api.create(notebookName="the bound one", integration={"datasetBinding": dataset["datasetId"]})
    status, problem, _ = await api.delete(path)
    assert status == 409
    assert "the bound one" in problem["detail"]
    status, _, _ = await api.delete(path, params={"force": "true"})
    assert status == 204
    status, _, _ = await api.get(path)
    assert status == 404


async def test_new_data_is_the_next_version(api: Api, simulated_log: Path) -> None:
    dataset = await api.upload_dataset(simulated_log)
    path = f"dataset/{dataset['datasetId']}"
    _, _, headers = await api.get(path)
    data = simulated_log.read_bytes()
    fewer = b"\n".join(data.split(b"\n")[:11]) + b"\n"
    status, second, answered = await api.put(path, data=_form(fewer), headers={"If-Match": headers["ETag"]})
    assert (status, second["version"], second["recordCount"]) == (200, 2, 10)
    assert second["datasetName"] == dataset["datasetName"]
    assert answered["ETag"] == f'"{second["etag"]}"' != headers["ETag"]
    for sent, fields in (({"If-Match": headers["ETag"]}, {}), ({}, {"etag": dataset["etag"]})):
        status, problem, _ = await api.put(path, data=_form(data, **fields), headers=sent)
        assert (status, problem["dateModified"]) == (409, second["dateModified"])
    assert (await api.delete(path, headers={"If-Match": headers["ETag"]}))[0] == 409
    assert (await api.put(f"dataset/{uuid4()}", data=_form(data)))[0] == 404
    status, body, _ = await api.get(f"{path}/data", params={"version": "1"})
    assert (status, body.count(b"\n")) == (200, dataset["recordCount"] + 1)
    assert (await api.get(f"{path}/data", params={"version": "9"}))[0] == 404


def _form(content: bytes, **fields: str) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for field, value in fields.items():
        form.add_field(field, value)
    form.add_field("file", content, filename="log.csv")
    return form


async def test_the_same_idempotency_key_uploads_once(api: Api, simulated_log: Path) -> None:
    key = str(uuid4())

    async def upload(content: bytes) -> tuple[int, dict[str, str]]:
        form = aiohttp.FormData()
        form.add_field("datasetName", "once")
        form.add_field("file", content, filename="log.csv")
        status, body, _ = await api.post("dataset", data=form, headers={"Idempotency-Key": key})
        return status, body

    content = simulated_log.read_bytes()
    first, again, other = await upload(content), await upload(content), await upload(content + b"\n")
    assert first[0] == again[0] == 201
    assert first[1]["datasetId"] == again[1]["datasetId"]
    assert other[0] == 409


async def test_what_is_no_table_is_refused_with_the_place(api: Api) -> None:
    form = aiohttp.FormData()
    form.add_field("datasetName", "ragged")
    form.add_field("file", b"a,b\n1,2\n1,2,3\n", filename="ragged.csv")
    status, problem, _ = await api.post("dataset", data=form)
    assert status == 400
    assert "3" in problem["detail"] + str(problem["errors"])
