"""`/openapi.json`: OpenAPI 3.1 made from the table of calls and the very models that check and write the JSON."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from services.gateway import examples, history_examples, problems
from services.gateway.calls import Bytes, Call, Form, Json
from shared.errors import AtelierError, Fault

TITLE = "Atelier"
VERSION = "1.0.0"
"""Version of the API, not of the program."""

DESCRIPTION = (
    "Runs Jupyter notebooks on request. Every call but the open ones needs `Authorization: Bearer <API key or JWT>`. "
    "Errors are `application/problem+json` (RFC 9457)."
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

Document = dict[str, Any]
_Key = tuple[type[BaseModel], JsonSchemaMode]


class Problem(BaseModel):
    """An error as RFC 9457 has it, and what existing clients read."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    error: str
    requestId: str  # noqa: N815 - as it is on the wire
    errors: list[Fault] | None = None
    outcomeUnknown: bool | None = None  # noqa: N815 - as it is on the wire


@lru_cache(maxsize=1)
def document(calls: tuple[Call, ...]) -> Document:
    """The whole description."""
    references, schemas = _schemas(calls)
    paths: Document = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, references)
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
            "responses": {str(status): _problem(status) for status in _statuses()},
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
    return {(model, mode): dict(mapping[model, mode]) for model, mode in wanted}, definitions["$defs"]


def _operation(call: Call, references: dict[_Key, Document]) -> Document:
    operation: Document = {
        "operationId": _operation_id(call),
        "tags": [call.tag],
        "summary": call.summary,
        "parameters": [*_path_parameters(call), *_query_parameters(call), *_header_parameters(call)],
        "responses": _responses(call, references),
    }
    description = " ".join(filter(None, [call.notes, f"Role: {call.role.name}." if call.role else "No credential."]))
    operation["description"] = description
    if call.role is None:
        operation["security"] = []
    if call.body is not None:
        operation["requestBody"] = _request_body(call.body, references)
    return operation


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
            "example": _EXAMPLE_IDS[name],
        }
        for name in re.findall(r"{(\w+)}", call.path)
    ]


def _query_parameters(call: Call) -> list[Document]:
    schema = call.query.model_json_schema(by_alias=True)
    parameters = []
    for name, member in schema.get("properties", {}).items():
        shown = {key: value for key, value in member.items() if key not in ("title", "description")}
        parameter: Document = {"name": name, "in": "query", "required": False, "schema": shown}
        if "description" in member:
            parameter["description"] = member["description"]
        parameters.append(parameter)
    return parameters


def _header_parameters(call: Call) -> list[Document]:
    wanted = []
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
    return [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in wanted
    ]


def _request_body(body: Json | Form | Bytes, references: dict[_Key, Document]) -> Document:
    if isinstance(body, Bytes):
        return {
            "required": False,
            "description": body.description,
            "content": {media_type: {"schema": {}} for media_type in body.media_types},
        }
    if isinstance(body, Json):
        content: Document = {"schema": references[(body.model, "validation")]}
        if body.example is not None:
            content["example"] = body.example
        return {"required": not body.optional, "content": {"application/json": content}}
    file = {"type": "string", "contentMediaType": "application/octet-stream", "description": body.file}
    fields = body.model.model_json_schema(by_alias=True)
    schema: Document = {
        "type": "object",
        "properties": {**fields["properties"], "file": file},
        "required": [*fields.get("required", []), "file"],
        "additionalProperties": False,
    }
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": schema, "example": {**body.example, "file": "…"}}},
    }


def _responses(call: Call, references: dict[_Key, Document]) -> Document:
    answers: Document = {str(call.status): _success(call, references)}
    for also in call.also:
        answers[str(also.status)] = {"description": also.meaning}
        if also.model is not None:
            content = {"schema": references[(also.model, "serialization")], "example": also.example}
            answers[str(also.status)]["content"] = {"application/json": content}
    for status in _refusals(call):
        answers[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return answers


def _success(call: Call, references: dict[_Key, Document]) -> Document:
    answer: Document = {"description": call.summary}
    if call.status == 204:
        return answer
    schema: Document = {}
    if call.reply is not None:
        schema = references[(call.reply, "serialization")]
    elif call.media_type in ("text/event-stream", "text/html"):
        schema = {"type": "string"}
    content: Document = {"schema": schema}
    if call.example is not None:
        content["example"] = call.example
    answer["content"] = {call.media_type: content}
    answer["content"] |= {media_type: {"schema": {"type": "string"}} for media_type in call.texts}
    if call.creates:
        answer["headers"] = {"Location": {"schema": {"type": "string"}, "description": "Where the new thing is found"}}
    return answer


def _refusals(call: Call) -> list[int]:
    if call.role is None:
        return sorted({400, *call.refusals})
    found = {400, 401, 503, *call.refusals}
    if "{projectId}" in call.path:
        found |= {403, 404}
    if call.method != "GET":
        found |= {409, 413, 415}
    return sorted(found)


def _statuses() -> list[int]:
    return sorted({kind.status for kind in problems.KINDS.values()})


def _problem(status: int) -> Document:
    error, kind = next((error, kind) for error, kind in problems.KINDS.items() if kind.status == status)
    detail = (error.__doc__ or AtelierError.__doc__ or "").strip().splitlines()[0]
    example = {
        "type": f"/docs#{error.kind}",
        "title": kind.title,
        "status": status,
        "detail": detail,
        "instance": f"/api/{examples.TENANT}/{examples.PROJECT}/notebook",
        "error": detail,
        "requestId": "ee0e8400-e29b-41d4-a716-446655440000",
    }
    if status == 400:
        example["errors"] = [{"path": "initialCells[2].cellType", "message": "must be 'code', 'markdown' or 'raw'"}]
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": kind.meaning, "content": {problems.CONTENT_TYPE: content}}
