"""The description is valid, whole, and true to the models."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from services.gateway import asyncapi, openapi
from services.gateway.calls import Call, Form, Json
from services.gateway.routes import CALLS
from tests.unit.gateway.fake_ports import Api


async def test_the_document_is_valid_openapi_3_1(api: Api) -> None:
    answer = await api.call("GET", "/openapi.json", role=None)

    assert answer.status == 200
    assert answer.json["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(answer.json).validate()


def test_every_operation_has_its_own_name() -> None:
    names = [
        operation["operationId"]
        for methods in openapi.document(CALLS)["paths"].values()
        for operation in methods.values()
    ]
    assert len(names) == len(CALLS) + sum(call.method == "GET" for call in CALLS)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("call", [call for call in CALLS if call.reply is not None], ids=lambda call: call.name)
def test_the_answer_in_the_example_is_one_that_the_model_writes(call: Call) -> None:
    assert call.reply is not None
    written = json.loads(call.reply.model_validate(call.example).model_dump_json(by_alias=True))
    assert written == call.example


@pytest.mark.parametrize(
    "call", [call for call in CALLS if isinstance(call.body, Json | Form)], ids=lambda call: call.name
)
def test_the_request_in_the_example_is_accepted(call: Call) -> None:
    body = call.body
    assert isinstance(body, Json | Form)
    if body.example is None:
        assert isinstance(body, Json)
        assert body.optional
        return
    checked: BaseModel = body.model.model_validate(body.example, by_alias=True, by_name=False)
    assert checked.model_fields_set or not body.model.model_fields


def test_every_call_has_an_example() -> None:
    assert [call.name for call in CALLS if call.example is None and call.status != 204] == []


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("startExecution", {"200", "202", "400"}),
        ("rerunExecution", {"200", "202"}),
        ("queueNotebook", {"200", "202"}),
        ("removeExecution", {"202", "204"}),
        ("getArtifact", {"200", "206", "304", "416"}),
        ("download", {"200", "206", "304", "416", "400", "404"}),
        ("getDatasetData", {"200", "206", "304", "416"}),
        ("getHealth", {"200", "400"}),
        ("getReadiness", {"200", "400", "503"}),
    ],
)
def test_every_answer_of_a_call_is_listed(name: str, statuses: set[str]) -> None:
    operations = [operation for methods in openapi.document(CALLS)["paths"].values() for operation in methods.values()]
    (found,) = [operation for operation in operations if operation["operationId"] == name]
    assert statuses <= set(found["responses"])


@pytest.mark.parametrize("call", [call for call in CALLS if call.also], ids=lambda call: call.name)
def test_the_further_answers_are_what_their_models_write(call: Call) -> None:
    for also in call.also:
        if also.model is not None:
            written = json.loads(also.model.model_validate(also.example).model_dump_json(by_alias=True))
            assert written == also.example


def test_forms_show_the_file_and_its_fields() -> None:
    for call in CALLS:
        if isinstance(call.body, Form):
            body = openapi.document(CALLS)["paths"][call.path][call.method.lower()]["requestBody"]
            properties = body["content"]["multipart/form-data"]["schema"]["properties"]
            assert {"file", *(field.alias for field in call.body.model.model_fields.values())} == set(properties)


async def test_the_page_loads_nothing_from_anywhere(api: Api) -> None:
    answer = await api.call("GET", "/docs", role=None)
    text = answer.body.decode()

    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<(script|link|img|iframe)\b", text)
    assert all(escape(call.summary) in text for call in CALLS)


def test_asyncapi_lists_every_event_with_its_topic_key() -> None:
    document: dict[str, Any] = asyncapi.document()
    addresses = {channel["address"] for channel in document["channels"].values()}

    assert {"execution.queued.#", "execution.completed.#", "notebook.created.#", "dataset.updated.#"} <= addresses
    assert len(addresses) == len(asyncapi.events())
    text = json.dumps(document)
    for reference in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert reference in document["components"]["schemas"]


def addresses() -> dict[str, dict[str, Any]]:
    """An example of every address, and what is described there."""
    found = {}
    for path, methods in openapi.document(CALLS)["paths"].items():
        filled = path
        for parameter in next(iter(methods.values()))["parameters"]:
            if parameter["in"] == "path":
                filled = filled.replace("{" + parameter["name"] + "}", parameter["example"])
        found[filled] = methods
    return found


async def test_what_is_not_described_at_an_address_is_405_and_allow_says_what_is(api: Api) -> None:
    every = addresses()
    for address, methods in every.items():
        for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} - {
            one.upper() for one in methods
        }:
            answer = await api.call(method, address)
            assert answer.status == 405, (method, address)
            assert set(answer.headers["Allow"].split(",")) == {one.upper() for one in methods}, (method, address)
            assert method == "HEAD" or answer.json["status"] == 405


async def test_a_head_is_answered_as_its_get_without_a_body(api: Api) -> None:
    for address, methods in addresses().items():
        if "head" in methods:
            api.is_described = address != "/api/limits"  # whose quota nobody answers here
            answer = await api.call("HEAD", address, headers={"Last-Event-ID": "1"})
            assert answer.status != 405
            assert answer.body == b"", address
