"""What a client may send: bodies, query strings, ids, sizes."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator

import orjson
import pytest

from services.gateway import decoding, mending
from services.gateway.bodies import NotebooksQuery
from shared import nesting
from shared.contracts.executions import CheckExecution, DryRun, ExecutionRequest, StartExecution
from shared.contracts.notebooks import (
    CheckDraft,
    CheckUpdate,
    CreateNotebook,
    ListNotebooks,
    NotebookDraft,
    NotebookPage,
    UpdateNotebook,
)
from shared.errors import AtelierError, Fault, Invalid, NotFound, OutcomeUnknown, TooLarge, Unavailable
from shared.nesting import MAX_NESTING, skeleton, too_deep, value_count
from tests.unit.gateway.fake_ports import NOTEBOOK, RUNNING, Api

NOTEBOOK_PATH = f"notebook/{NOTEBOOK.notebook_id}"
EMPTY_PAGE = NotebookPage(notebooks=[], total_count=0, page=1, page_size=20, has_next_page=False)


async def test_all_faults_of_a_body_come_at_once_in_the_clients_words(api: Api) -> None:
    body = {
        "kernelTyp": "python3",
        "integration": {"datasetBinding": "no-guid", "enrichmentMode": "perhaps", "x": 1},
        "initialCells": [{"cellType": "code"}, {"cellType": "code"}, {"cellType": "cod"}],
    }
    answer = await api.call("POST", "notebook", json=body)

    assert answer.status == 400
    assert answer.faults == {
        "notebookName": "is required",
        "kernelTyp": "is not known; did you mean kernelType?",
        "integration.datasetBinding": "must be a GUID",
        "integration.enrichmentMode": "must be true or false",
        "integration.x": "is not known",
        "initialCells[2].cellType": "must be 'code', 'markdown' or 'raw'",
    }
    assert {type(command) for command in api.requests.asked} == {CheckDraft}


async def test_snake_case_is_not_a_second_spelling(api: Api) -> None:
    answer = await api.call("POST", "notebook", json={"notebook_name": "x"})
    assert set(answer.faults) == {"notebookName", "notebook_name"}


async def test_null_is_absent_on_create_but_kept_in_parameters(api: Api) -> None:
    api.requests.on(CreateNotebook, NOTEBOOK)
    api.requests.on(StartExecution, RUNNING)
    draft = {
        "notebookName": "n",
        "template": None,
        "kernelType": None,
        "integration": {"outputFormat": None, "datasetBinding": ""},
        "environment": {"packages": None},
        "initialCells": [{"cellType": "code", "content": None, "tags": None}],
    }
    assert (await api.call("POST", "notebook", json=draft)).status == 201
    sent = api.requests.last(CreateNotebook).draft
    assert sent.kernel_type == "python3"
    assert sent.integration.output_format == "enriched_dataframe"
    assert sent.integration.dataset_binding is None
    assert sent.initial_cells[0].content == ""

    run = {"parameters": {"a": None}, "timeout": None, "outputOptions": None, "cellRange": None}
    assert (await api.call("POST", f"{NOTEBOOK_PATH}/execute", json=run)).status == 202
    request = api.requests.last(StartExecution).request
    assert request.parameters == {"a": None}
    assert request.timeout == 1800


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream", None])
async def test_an_empty_body_is_accepted_whatever_its_type(api: Api, content_type: str | None) -> None:
    api.requests.on(StartExecution, RUNNING)
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await api.call("POST", f"{NOTEBOOK_PATH}/execute", data=b"", headers=headers)
    assert answer.status == 202
    assert api.requests.last(StartExecution).request == ExecutionRequest()


async def test_a_body_of_the_wrong_type_is_415(api: Api) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-16"):
        answer = await api.call("POST", f"{NOTEBOOK_PATH}/execute", data=b"{}", headers={"Content-Type": content_type})
        assert answer.status == 415, content_type
    compressed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert (await api.call("POST", "notebook", data=b"\x1f\x8b", headers=compressed)).status == 415


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"x"', b'{"notebookName": "\xff"}', b'{"notebookName": "\\ud800"}', b'{"notebookName": NaN}'],
)
async def test_what_is_no_json_object_is_400(api: Api, body: bytes) -> None:
    answer = await api.call("POST", "notebook", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert answer.faults


async def test_the_nul_character_is_refused_with_its_place(api: Api) -> None:
    body = {"notebookName": "n", "initialCells": [{"cellType": "code", "content": "a\x00b"}]}
    answer = await api.call("POST", "notebook", json=body)
    assert answer.faults == {"initialCells[0].content": "must not contain the NUL character"}


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (("POST", "notebook", '{"notebookName":"x","initialCells":[{"cellType":"code","metadata":{"n":N}}]}'),
         "initialCells[0].metadata.n"),
        (("PUT", f"notebook/{NOTEBOOK.notebook_id}", '{"integration":{"scheduleParameters":{"n":[1,N]}}}'),
         "integration.scheduleParameters.n[1]"),
        (("POST", f"notebook/{NOTEBOOK.notebook_id}/execute", '{"parameters":{"n":N}}'), "parameters.n"),
    ],
)  # fmt: skip
async def test_whole_numbers_that_would_be_rounded_are_refused(api: Api, call: tuple[str, str, str], path: str) -> None:
    method, address, body = call
    for number in ("18446744073709551616", "-9223372036854775809", "1" + "0" * 300):
        answer = await api.call(
            method, address, data=body.replace("N", number), headers={"Content-Type": "application/json"}
        )
        assert answer.status == 400
        assert [(fault["path"], "64 bits" in fault["message"]) for fault in answer.json["errors"]] == [(path, True)]
    assert not api.requests.asked


async def test_bodies_over_the_limit_are_413_announced_or_not(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    announced = await api.call("POST", "notebook", data=b" " * 100_001, headers=headers)

    async def chunks() -> object:
        for _ in range(20):
            yield b" " * 10_000

    streamed = await api.call("POST", "notebook", data=chunks(), headers=headers)
    assert announced.status == streamed.status == 413
    assert streamed.json["limitBytes"] == 100_000


async def test_deep_nesting_is_400(api: Api) -> None:
    body = b'{"notebookName":"n","x":' + b"[" * 40_000 + b"]" * 40_000 + b"}"
    answer = await api.call("POST", "notebook", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert "nested" in answer.json["detail"]


@pytest.mark.parametrize("limit", [1, 5, MAX_NESTING])
def test_nesting_is_counted_exactly(limit: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        just = (opening * limit + "1" + closing * limit).encode()
        over = (opening * (limit + 1) + "1" + closing * (limit + 1)).encode()
        assert not too_deep(just, limit)
        assert too_deep(over, limit)


def test_brackets_in_strings_do_not_count() -> None:
    for text in ("[" * 500, '\\"' + "{" * 500, "\\\\", "a\nb"):
        assert not too_deep(json.dumps({"source": text}).encode())
    assert not too_deep(b'{"unclosed": "' + b'\\"[' * 100_000)
    assert too_deep(b"[" * 100_000)
    assert not too_deep(b"]" * 100_000)


async def test_query_strings_are_checked_all_at_once(api: Api) -> None:
    answer = await api.call(
        "GET", "notebooks?page=0&pageSize=101&sort=name&enrichmentMode=perhaps&statu=Ready&search=%00&page=1"
    )
    assert answer.status == 400
    assert answer.faults == {
        "page": "is given more than once",
        "pageSize": "must be a whole number from 1 to 100",
        "enrichmentMode": "must be true or false",
        "search": "must not contain the NUL character",
        "sort": answer.faults["sort"],
        "statu": "is not known; did you mean status?",
    }
    assert "'-dateCreated'" in answer.faults["sort"]


@pytest.mark.parametrize("text", ["x", "1.5", "1.0", "1_0", "%201", "+1", "\u00b2", "-1", "9" * 5000, "", "1e3"])
async def test_a_page_that_is_no_number_in_range_is_told_the_range(api: Api, text: str) -> None:
    answer = await api.call("GET", f"notebooks?page={text}")
    assert answer.faults == {"page": "must be a whole number from 1 to 1000000"}


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
async def test_booleans_in_queries_are_case_insensitive(api: Api, text: str) -> None:
    api.requests.on(ListNotebooks, EMPTY_PAGE)
    assert (await api.call("GET", f"notebooks?enrichmentMode={text}")).status == 200
    assert api.requests.last(ListNotebooks).enrichment_mode is True


def test_paths_name_members_and_indexes() -> None:
    assert decoding.path_of(("cells", 2, "metadata", "a", 0)) == "cells[2].metadata.a[0]"
    assert decoding.path_of(()) == ""


def test_every_fault_of_a_query_and_of_a_body_is_collected() -> None:
    faults: list[Fault] = []
    assert decoding.check_query(NotebooksQuery, [("page", "0")], faults=faults) is None
    assert decoding.check(NotebookDraft, {}, faults=faults) is None
    assert [fault.path for fault in faults] == ["page", "notebookName"]


@pytest.mark.parametrize(
    "text", ["x", "aa0e8400e29b41d4a716446655440000", "{aa0e8400-e29b-41d4-a716-446655440000}", "%00"]
)
async def test_a_malformed_id_in_a_path_is_404(api: Api, text: str) -> None:
    answer = await api.call("GET", f"notebook/{text}")
    assert answer.status == 404
    assert not api.requests.asked


async def test_ids_are_accepted_in_any_case_and_sent_in_lower(api: Api) -> None:
    api.requests.on(UpdateNotebook, NOTEBOOK)
    answer = await api.call("PUT", f"notebook/{str(NOTEBOOK.notebook_id).upper()}", json={})
    assert answer.json["notebookId"] == str(NOTEBOOK.notebook_id)


async def test_what_a_get_answers_can_be_put_back(api: Api) -> None:
    api.requests.on(UpdateNotebook, NOTEBOOK)
    body = json.loads(NOTEBOOK.model_dump_json(by_alias=True))
    answer = await api.call("PUT", NOTEBOOK_PATH, json=body)

    assert answer.status == 200
    command = api.requests.last(UpdateNotebook)
    assert command.patch == {name: body[name] for name in body if name not in ("etag", "dateModified")}
    assert command.precondition.etag == NOTEBOOK.etag


async def test_null_reaches_the_merge_of_an_update(api: Api) -> None:
    api.requests.on(UpdateNotebook, NOTEBOOK)
    patch = {"notebookDescription": None, "integration": {"scheduleExecution": None}}
    assert (await api.call("PUT", NOTEBOOK_PATH, json=patch)).status == 200
    assert api.requests.last(UpdateNotebook).patch == patch


async def test_unknown_members_of_an_update_are_400(api: Api) -> None:
    answer = await api.call("PUT", NOTEBOOK_PATH, json={"nam": 1, "cells": [{"cellType": "code", "sorce": ""}]})
    assert set(answer.faults) == {"nam", "cells[0].sorce"}


async def test_dry_run_runs_nothing(api: Api) -> None:
    api.requests.on(CheckExecution, DryRun(valid=True, parameters={}, warnings=[], total_cells=3))
    answer = await api.call("POST", f"{NOTEBOOK_PATH}/execute", json={"dryRun": True})
    assert answer.status == 200
    assert answer.json == {"valid": True, "parameters": {}, "warnings": [], "totalCells": 3}
    assert [type(command) for command in api.requests.asked] == [CheckExecution]


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("timeout", True, "must be a whole number from 1 to 86400"),
        ("timeout", "60", "must be a whole number from 1 to 86400"),
        ("timeout", 1.5, "must be a whole number from 1 to 86400"),
        ("dryRun", "yes", "must be true or false"),
        ("dryRun", 1, "must be true or false"),
        ("strictParameters", "no", "must be true or false"),
    ],
)
async def test_a_member_of_a_json_body_has_the_type_that_it_says(
    api: Api, member: str, value: object, message: str
) -> None:
    answer = await api.call("POST", f"{NOTEBOOK_PATH}/execute", json={member: value})
    assert (answer.status, answer.faults) == (400, {member: message})
    nested = await api.call("POST", f"{NOTEBOOK_PATH}/execute", json={"outputOptions": {"captureOutputs": "no"}})
    assert nested.faults == {"outputOptions.captureOutputs": "must be true or false"}


async def test_ids_and_times_in_a_json_body_are_texts(api: Api) -> None:
    api.requests.on(UpdateNotebook, NOTEBOOK)
    body = {"dateModified": "2024-01-20T10:30:00Z", "integration": {"datasetBinding": str(NOTEBOOK.notebook_id)}}
    assert (await api.call("PUT", NOTEBOOK_PATH, json=body)).status == 200


async def test_what_a_service_finds_wrong_is_told_with_the_faults_of_the_shape(api: Api) -> None:
    found = [Fault(path="template", message="there is none such"), Fault(path="notebookName", message="is a stand-in")]
    api.requests.on(CheckDraft, Invalid("No.", faults=found))
    body = {
        "notebookName": "",
        "template": "nope",
        "kernelTyp": "r",
        "initialCells": [{"cellType": "cod", "content": "1"}, {"content": 5}],
        "integration": {"scheduleExecution": "bad", "enrichmentMode": "yes"},
    }
    answer = await api.call(
        "POST", "notebook", json=body, headers={"Idempotency-Key": "", "X-Change-Message": "x" * 2001}
    )
    assert set(answer.faults) == {
        "Idempotency-Key",
        "X-Change-Message",
        "notebookName",
        "kernelTyp",
        "initialCells[0].cellType",
        "initialCells[1].cellType",
        "initialCells[1].content",
        "integration.enrichmentMode",
        "template",
    }
    rest = api.requests.last(CheckDraft).draft
    assert (rest.template, rest.integration.schedule_execution) == ("nope", "bad")
    assert [cell.content for cell in rest.initial_cells] == ["1", ""]
    assert not [command for command in api.requests.asked if isinstance(command, CreateNotebook)]


async def test_parameters_are_checked_although_other_members_are_wrong(api: Api) -> None:
    api.requests.on(CheckExecution, Invalid("No.", faults=[Fault(path="parameters.n", message="must be a number")]))
    answer = await api.call("POST", f"{NOTEBOOK_PATH}/execute", json={"timeout": 0, "parameters": {"n": "x"}})
    assert set(answer.faults) == {"timeout", "parameters.n"}
    assert api.requests.last(CheckExecution).request.parameters == {"n": "x"}


async def test_a_patch_is_checked_although_some_of_it_is_wrong(api: Api) -> None:
    found = [Fault(path="integration.scheduleExecution", message="is no cron line")]
    api.requests.on(CheckUpdate, Invalid("No.", faults=found))
    body = {"kernelType": "x", "integration": {"scheduleExecution": "bad"}, "etag": "old"}
    answer = await api.call("PUT", NOTEBOOK_PATH, json=body, headers={"If-Match": '"'})
    assert set(answer.faults) == {"kernelType", "integration.scheduleExecution", "If-Match"}
    assert api.requests.last(CheckUpdate).patch == {"integration": {"scheduleExecution": "bad"}}


@pytest.mark.parametrize("error", [Unavailable("Away."), OutcomeUnknown("Away."), AtelierError("Not known here.")])
async def test_the_faults_of_the_shape_are_told_when_nobody_can_be_asked(api: Api, error: Exception) -> None:
    api.requests.on(CheckDraft, error)
    answer = await api.call("POST", "notebook", json={"notebookName": ""})
    assert (answer.status, set(answer.faults)) == (400, {"notebookName"})


async def test_a_faulty_request_about_what_is_not_there_is_404(api: Api) -> None:
    api.requests.on(CheckExecution, NotFound("There is no such notebook."))
    assert (await api.call("POST", f"{NOTEBOOK_PATH}/execute", json={"timeout": 0})).status == 404


async def test_a_faulty_query_and_a_body_that_is_no_json_are_told_together(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await api.call("DELETE", f"{NOTEBOOK_PATH}?forc=true", data=b"{", headers=headers)
    assert set(answer.faults) == {"forc", ""}


async def test_an_answer_names_a_hundred_faults_and_says_how_many_there_are(api: Api) -> None:
    body = {"notebookName": "n", **{f"unknown{number}": 1 for number in range(2_000)}}
    answer = await api.call("POST", "notebook", json=body)
    assert answer.status == 400
    assert len(answer.json["errors"]) == 100
    assert answer.json["errorCount"] == 2_000

    answer = await api.call("POST", "notebook", json={"notebookName": "n", "initialCells": [[]] * 2_000})
    assert len(answer.json["errors"]) == 100
    assert answer.json["errorCount"] == 2_000


async def test_few_faults_need_no_count(api: Api) -> None:
    answer = await api.call("POST", "notebook", json={"notebookName": "n", "unknown": 1})
    assert "errorCount" not in answer.json


@pytest.mark.parametrize("values", [b"[" + b"[]," * 200_000 + b"0]", b'{"a":{"b":[' + b"0," * 400_000 + b"0]}}"])
def test_a_body_of_too_many_values_is_refused_before_it_is_parsed(
    values: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.decoding.orjson.loads", lambda _: pytest.fail("was parsed"))
    with pytest.raises(TooLarge, match="more than 300,000 values"):
        decoding._parse(values)


def test_commas_and_brackets_in_texts_are_no_values() -> None:
    text = orjson.dumps({"a": '[{,"' * 10, "b": [1, {"c": "\\,"}]})
    assert value_count(skeleton(text)) == 6  # two objects, an array, two texts, a number


def test_the_rest_of_a_faulty_body_leaves_the_body_as_it_was() -> None:
    data = {"notebookName": "n", "integration": {"x": 1}, "initialCells": [{"cellType": "code", "y": 2}, []]}
    before = orjson.dumps(data)
    assert mending.mended(NotebookDraft, data) == {"notebookName": "n", "integration": {}}
    assert orjson.dumps(data) == before


async def test_a_body_in_very_small_chunks_is_refused_early(api: Api) -> None:
    async def chunks(size: int, count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * size

    headers = {"Content-Type": "application/json"}
    answer = await api.call("POST", "notebook", data=chunks(1, 10_100), headers=headers)
    assert (answer.status, "small chunks" in answer.json["detail"]) == (400, True)
    answer = await api.call("POST", "notebook", data=chunks(1, 500), headers=headers)
    assert "small chunks" not in answer.json["detail"]


@pytest.mark.parametrize("piece_bytes", [2, 3, 7, 1_000])
def test_the_skeleton_is_the_same_however_the_text_is_cut(piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nesting, "PIECE_BYTES", piece_bytes)
    chance = random.Random(piece_bytes)
    for _ in range(300):
        texts = ["".join(chance.choices('a"\\[]{},\n', k=chance.randrange(9))) for _ in range(6)]
        value = {texts[0]: [texts[1], [], {texts[2]: 1}], texts[3]: [[texts[4]], {}], "z": texts[5]}
        found = skeleton(json.dumps(value).encode())
        assert (found.count(b"[") + found.count(b"]"), too_deep(found, 3)) == (_brackets(value), False)


def _brackets(value: object) -> int:
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if entries is None else 2 + sum(map(_brackets, entries))
