"""The whole of `/openapi.json`: nothing lacks a description, an example or a header, and all examples are valid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from services.gateway import openapi, openapi_words
from services.gateway.routes import CALLS
from tests.support.conformance import OF_ERRORS

Document = dict[str, Any]
METHODS = ("get", "head", "post", "put", "delete")


@pytest.fixture(scope="module")
def document() -> Document:
    """The description, as clients get it."""
    return openapi.document(CALLS)


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    """Every operation under its name."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method.upper()} {path}", operation


def answers(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Every answer of every operation, references resolved."""
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if "$ref" in answer:
                assert answer["$ref"] == f"#/components/responses/{status}"
                answer = document["components"]["responses"][status]  # noqa: PLW2901
            yield name, status, answer


def bodies(document: Document) -> Iterator[tuple[str, Document]]:
    """Every body that is sent or taken, with its schema and example."""
    for name, operation in operations(document):
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} {media_type}", content
    for name, status, answer in answers(document):
        for media_type, content in answer.get("content", {}).items():
            yield f"{name} {status} {media_type}", content


def schemas(schema: Any, where: str) -> Iterator[tuple[str, Document]]:
    """A schema and all within it."""
    if isinstance(schema, list):
        for item in schema:
            yield from schemas(item, where)
    elif isinstance(schema, dict):
        yield where, schema
        for key, value in schema.items():
            if key == "properties":
                for name, member in value.items():
                    yield from schemas(member, f"{where}.{name}")
            elif key not in ("example", "examples", "default", "const", "enum"):
                yield from schemas(value, where)


def test_it_is_openapi_3_1(document: Document) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_every_operation_and_parameter_is_described(document: Document) -> None:
    missing = []
    for name, operation in operations(document):
        missing += [f"{name} {key}" for key in ("summary", "description", "operationId", "tags") if not operation[key]]
        missing += [f"{name} {one['name']}" for one in operation["parameters"] if not one.get("description")]
        missing += [f"{name} {one['name']}" for one in operation["parameters"] if "schema" not in one]
        if "requestBody" in operation and not operation["requestBody"].get("description"):
            missing.append(f"{name} body")
    assert missing == []


def test_every_model_and_member_is_described(document: Document) -> None:
    roots = list(document["components"]["schemas"].items())
    roots += [(name, content["schema"]) for name, content in bodies(document)]
    missing = [
        name for name, schema in roots if name in document["components"]["schemas"] and "description" not in schema
    ]
    for root, schema in roots:
        for where, part in schemas(schema, root):
            missing += [
                f"{where}.{name}"
                for name, member in part.get("properties", {}).items()
                if not member.get("description")
            ]
    assert missing == []


def test_every_body_has_an_example_that_is_valid(document: Document) -> None:
    resource = DRAFT202012.create_resource(document)
    registry: Registry[Any] = Registry().with_resource("urn:atelier", resource)
    faults = []
    for name, content in bodies(document):
        if "example" not in content:
            faults.append(f"{name}: no example")
            continue
        schema = {"$id": "urn:atelier", **document, "allOf": [content["schema"]]}
        validator = Draft202012Validator(schema, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)
        faults += [
            f"{name}: {fault.json_path} {fault.message[:200]}" for fault in validator.iter_errors(content["example"])
        ]
    assert faults == []


def test_every_get_is_a_head_without_a_body(document: Document) -> None:
    for path, methods in document["paths"].items():
        assert ("get" in methods) == ("head" in methods), path
        if "get" in methods:
            assert set(methods["head"]["responses"]) == set(methods["get"]["responses"])
            assert not any("content" in answer or "$ref" in answer for answer in methods["head"]["responses"].values())
            assert methods["head"]["parameters"] == methods["get"]["parameters"]


def test_every_answer_is_described_with_its_headers(document: Document) -> None:
    known = document["components"]["headers"]
    assert all(header["description"] and header["example"] for header in known.values())
    used = set()
    for name, status, answer in answers(document):
        assert answer["description"], (name, status)
        names = {header["$ref"].rpartition("/")[2] for header in answer["headers"].values()}
        assert names == set(answer["headers"]) <= set(known)
        assert "X-Request-Id" in names
        used |= names
        needed = OF_ERRORS.get(int(status))
        assert needed is None or needed in {header.lower() for header in names}, (name, status)
        if status not in ("204", "304") and not name.startswith("HEAD"):
            assert answer["content"], (name, status)
    assert used == set(known)


def test_every_operation_names_405_and_what_its_kind_may_answer(document: Document) -> None:
    for name, operation in operations(document):
        statuses = set(operation["responses"])
        assert {"400", "405"} <= statuses, name
        if operation.get("security") != []:
            assert {"401", "429", "503"} <= statuses, name
        if "requestBody" in operation:
            assert {"409", "413", "415"} <= statuses, name


def test_no_description_is_without_its_member(document: Document) -> None:
    """What `descriptions.toml` says is said of something."""
    members = {
        where.rpartition(".")[2]
        for root in document["components"]["schemas"].items()
        for where, _ in schemas(root[1], root[0])
    }
    pairs = {
        f"{root.rpartition('__')[2]}.{name}"
        for root, schema in document["components"]["schemas"].items()
        for name in schema.get("properties", {})
    }
    for call in CALLS:
        for model in (call.query, getattr(call.body, "model", call.query)):
            names = {str(field.alias) for field in model.model_fields.values()}
            members |= names
            pairs |= {f"{model.__name__}.{name}" for name in names}
    table = openapi_words.table()
    assert set(table["members"]) - members == set()
    assert set(table["overrides"]) - pairs == set()
    assert set(table["path"]) == {
        one["name"] for _, operation in operations(document) for one in operation["parameters"] if one["in"] == "path"
    }
