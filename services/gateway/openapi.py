"""`/openapi.json`: OpenAPI 3.1 made from the table of calls and the very models that check and write the JSON."""

from __future__ import annotations

import re
from functools import lru_cache

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from services.gateway import examples, history_examples, openapi_answers, openapi_words
from services.gateway.bodies import Expected
from services.gateway.calls import Bytes, Call, Form, Json
from services.gateway.openapi_answers import Document, Problem

TITLE = "Atelier"
VERSION = "1.0.0"
"""Version of the API, not of the program."""

DESCRIPTION = (
    "Runs Jupyter notebooks on request. Every call but the open ones needs `Authorization: Bearer <API key or JWT>`. "
    "Errors are `application/problem+json` (RFC 9457). Every GET can be a HEAD, and every other method that an address "
    "does not take is 405 with `Allow`."
)

_TEMPLATE = "#/components/schemas/{model}"
_EXAMPLE_IDS = {
    "tenantId": examples.TENANT,
    "projectId": examples.PROJECT,
    "notebookId": examples.NOTEBOOK_ID,
    "executionId": examples.EXECUTION_ID,
    "datasetId": examples.DATASET_ID,
    "artifactId": examples.ARTIFACT_ID,
    "uploadId": examples.UPLOAD_ID,
    "cellId": "cell-001",
    "name": "receipt_rules",
    "path": "data/lookup.csv",
    "ticket": "eyJ0IjoiNTUwZSJ9.c2ln",
    "fileName": "cell-008.json",
    "version": "1.3.1",
    "a": "1.3.1",
    "b": "1.3.2",
    "otherId": history_examples.OTHER_EXECUTION_ID,
}

_Key = tuple[type[BaseModel], JsonSchemaMode]


@lru_cache(maxsize=1)
def document(calls: tuple[Call, ...]) -> Document:
    """The whole description."""
    references, schemas = _schemas(calls)
    paths: Document = {}
    for call in calls:
        operations = paths.setdefault(call.path, {})
        operations[call.method.lower()] = _operation(call, references)
        if call.method == "GET":
            operations["head"] = _head(call, operations["get"], references)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(call.tag for call in calls)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "API key or JWT"}},
            "headers": openapi_answers.headers(),
            "responses": openapi_answers.errors(),
        },
    }


def _schemas(calls: tuple[Call, ...]) -> tuple[dict[_Key, Document], Document]:
    wanted: dict[_Key, None] = {(Problem, "serialization"): None}
    for call in calls:
        if call.reply is not None:
            wanted[(call.reply, "serialization")] = None
        for also in call.also:
            if also.model is not None:
                wanted[(also.model, "serialization")] = None
        if isinstance(call.body, Json | Form):
            wanted[(call.body.model, "validation")] = None
    mapping, definitions = models_json_schema(list(wanted), by_alias=True, ref_template=_TEMPLATE)
    schemas: Document = definitions["$defs"]
    for name, schema in schemas.items():
        openapi_words.describe(name, schema.get("properties", {}))
    schemas.get("JsonValue", {})["description"] = "Any JSON value."
    return {(model, mode): dict(mapping[model, mode]) for model, mode in wanted}, schemas


def _operation(call: Call, references: dict[_Key, Document]) -> Document:
    operation: Document = {
        "operationId": _operation_id(call),
        "tags": [call.tag],
        "summary": call.summary,
        "parameters": [*_path_parameters(call), *_query_parameters(call), *_header_parameters(call)],
        "responses": openapi_answers.answers(call, _written(references)),
    }
    description = " ".join(filter(None, [call.notes, f"Role: {call.role.name}." if call.role else "No credential."]))
    operation["description"] = description
    if call.role is None:
        operation["security"] = []
    if call.body is not None:
        operation["requestBody"] = _request_body(call.body, references)
    return operation


def _head(call: Call, get: Document, references: dict[_Key, Document]) -> Document:
    """The HEAD beside a GET: the same but for the body."""
    name = get["operationId"]
    return get | {
        "operationId": f"head{name[0].upper()}{name[1:]}",
        "summary": f"{call.summary}: the headers alone",
        "responses": openapi_answers.answers(call, _written(references), head=True),
    }


def _written(references: dict[_Key, Document]) -> dict[type[BaseModel], Document]:
    return {model: reference for (model, mode), reference in references.items() if mode == "serialization"}


def _operation_id(call: Call) -> str:
    """The handler's name; calls that share a handler are told apart by their path."""
    if not call.handler.__name__.endswith("ping"):
        return call.name
    words = re.findall(r"[a-zA-Z]+", call.path.rpartition("}")[2])
    return "".join(word if number == 0 else word.capitalize() for number, word in enumerate(words))


def _path_parameters(call: Call) -> list[Document]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"} if name in call.id_names else {"type": "string"},
            "description": openapi_words.table()["path"][name],
            "example": _EXAMPLE_IDS[name],
        }
        for name in re.findall(r"{(\w+)}", call.path)
    ]


def _query_parameters(call: Call) -> list[Document]:
    properties = call.query.model_json_schema(by_alias=True).get("properties", {})
    openapi_words.describe(call.query.__name__, properties)
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": member["description"],
            "schema": {key: value for key, value in member.items() if key not in ("title", "description")},
        }
        for name, member in properties.items()
    ]


def _header_parameters(call: Call) -> list[Document]:
    wanted = [("X-Request-Id", "A GUID of your own for the request; the answer and the logs have it.")]
    if call.creates or call.idempotent:
        wanted.append(
            ("Idempotency-Key", "The same key with the same content answers with the first result, for 24 hours.")
        )
    if call.conditional:
        wanted.append(("If-Match", "The ETag of the state that is to be changed; another state is a conflict."))
    if call.explained:
        wanted.append(("X-Change-Message", "Why; kept with the version that the change makes."))
    if call.media_type == "text/event-stream":
        wanted.append(("Last-Event-ID", "The number of the last event seen; the stream goes on after it."))
    if any(also.status == 206 for also in call.also):
        wanted.append(("Range", "Which bytes to send; several ranges are answered with the whole."))
        wanted.append(("If-Range", "The ETag of the bytes of which the range is wanted; others are sent whole."))
        wanted.append(("If-None-Match", "The ETag of bytes that are at hand; 304 when they are still the same."))
    return [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in wanted
    ]


def _request_body(body: Json | Form | Bytes, references: dict[_Key, Document]) -> Document:
    if isinstance(body, Bytes):
        return {
            "required": False,
            "description": body.description,
            "content": {
                media_type: {"schema": {"type": "string" if isinstance(example, str) else "object"}, "example": example}
                for media_type, example in body.media_types.items()
            },
        }
    if isinstance(body, Json):
        example = body.example
        if example is None:
            example = examples.EXPECTED if issubclass(body.model, Expected) else {}
        content = {"schema": references[(body.model, "validation")], "example": example}
        return {
            "required": not body.optional,
            "description": f"In UTF-8.{' May be left out.' if body.optional else ''}",
            "content": {"application/json": content, "application/*+json": content},
        }
    file = {"type": "string", "contentMediaType": "application/octet-stream", "description": body.file}
    fields = body.model.model_json_schema(by_alias=True)
    openapi_words.describe(body.model.__name__, fields["properties"])
    schema: Document = {
        "type": "object",
        "properties": {**fields["properties"], "file": file},
        "required": [*fields.get("required", []), "file"],
        "additionalProperties": False,
    }
    return {
        "required": True,
        "description": "The file, and fields in any order.",
        "content": {"multipart/form-data": {"schema": schema, "example": {**(body.example or {}), "file": "…"}}},
    }
