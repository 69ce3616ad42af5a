"""The answers of calls in `/openapi.json`: their bodies in every media type, their headers, and the errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from services.gateway import examples, problems
from services.gateway.calls import Also, Call
from services.gateway.frame import HEADERS_OF_ALL
from shared.errors import AtelierError, Fault

Document = dict[str, Any]

METHOD_NOT_ALLOWED = 405

HEADERS: dict[str, tuple[str, str]] = {
    "Accept-Ranges": ("`bytes`: `Range` is honoured.", "bytes"),
    "Allow": ("The methods that are possible at the address.", "GET,HEAD,PUT,DELETE"),
    "Cache-Control": ("`no-store`, since answers change and are private; stored bytes may be kept.", "no-store"),
    "Content-Disposition": (
        "`attachment` with the name under which to save the bytes (RFC 6266).",
        "attachment; filename=\"rows.csv\"; filename*=UTF-8''rows.csv",
    ),
    "Content-Range": ("Which part of how many bytes was sent, or how many there are.", "bytes 0-99/2048"),
    "Content-Security-Policy": ("What a browser may do with the answer: show it, and load nothing.", "sandbox"),
    "Cross-Origin-Resource-Policy": ("Pages of other origins may load the bytes.", "cross-origin"),
    "ETag": ("Names the state of what was sent; for `If-Match`, or `If-None-Match` and `If-Range`.", '"1.3.2-5f3a"'),
    "Last-Modified": ("When the bytes were stored.", "Mon, 15 Jan 2024 10:30:00 GMT"),
    "Location": ("Where the new thing is found.", f"{examples.BASE}/api/{examples.TENANT}/{examples.PROJECT}/…"),
    "Retry-After": ("Seconds after which to come again.", "1"),
    "WWW-Authenticate": ("`Bearer`.", "Bearer"),
    "X-Accel-Buffering": ("`no`: a proxy must not hold events back.", "no"),
    "X-Content-Type-Options": ("`nosniff`: the bytes are of the named media type.", "nosniff"),
    "X-Request-Id": ("The request's own GUID, else a new one; `requestId` of a problem.", examples.NOTEBOOK_ID),
}
"""Headers of answers: what they say, and an example."""

BYTES = (
    "Accept-Ranges",
    "Cache-Control",
    "Content-Disposition",
    "Content-Security-Policy",
    "Cross-Origin-Resource-Policy",
    "ETag",
    "Last-Modified",
    "X-Content-Type-Options",
)
"""Headers of files."""

_OF_ERRORS = {401: ("WWW-Authenticate",), 405: ("Allow",), 416: ("Content-Range",), 429: ("Retry-After",)}
_OF_ERRORS[503] = ("Retry-After",)


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
    errorCount: int | None = None  # noqa: N815
    outcomeUnknown: bool | None = None  # noqa: N815
    dateModified: str | None = None  # noqa: N815
    etag: str | None = None
    checks: dict[str, Any] | None = None
    executionId: str | None = None  # noqa: N815
    executionStatus: str | None = None  # noqa: N815
    errorType: str | None = None  # noqa: N815
    errorMessage: str | None = None  # noqa: N815
    failedCell: str | None = None  # noqa: N815


def headers() -> Document:
    """Every header of answers, for the components."""
    return {
        name: {"description": text, "schema": {"type": "string"}, "example": example}
        for name, (text, example) in HEADERS.items()
    }


def errors() -> Document:
    """The answer of every error, for the components."""
    found = {str(status): _error(status) for status in sorted({kind.status for kind in problems.KINDS.values()})}
    return found | {str(METHOD_NOT_ALLOWED): _method_not_allowed()}


def answers(call: Call, references: dict[type[BaseModel], Document], *, head: bool = False) -> Document:
    """All answers of a call by their status; with `head`, those to its HEAD, which have no body."""
    found: Document = {str(call.status): _success(call, references)}
    for also in call.also:
        if also.status < 400:
            found[str(also.status)] = _further(call, also, references)
    for status in refusals(call):
        found[str(status)] = {"$ref": f"#/components/responses/{status}"}
    if head:
        whole = errors()
        found = {status: _bare(answer if "$ref" not in answer else whole[status]) for status, answer in found.items()}
    return found


def refusals(call: Call) -> list[int]:
    """The errors that a call may answer with."""
    found = {400, METHOD_NOT_ALLOWED, 500, *call.refusals, *(also.status for also in call.also if also.status >= 400)}
    if call.role is not None:
        found |= {401, 429, 503}
    if "{" in call.path and call.role is not None:
        found |= {403, 404}
    if call.method != "GET":
        found |= {409, 413, 415}
    return sorted(found)


def _bare(answer: Document) -> Document:
    return {key: value for key, value in answer.items() if key != "content"}


def _headers(*names: str) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in sorted({*names, *HEADERS_OF_ALL})}


def _success(call: Call, references: dict[type[BaseModel], Document]) -> Document:
    names = {"Location"} if call.creates else set()
    if call.reply is not None:
        names.add("Cache-Control")
        if "etag" in call.reply.model_fields or isinstance(getattr(call.reply, "etag", None), property):
            names.add("ETag")
    if call.forms or (call.reply is None and _sends_bytes(call)):
        names |= {*BYTES}
    if call.media_type == "text/event-stream":
        names |= {"Cache-Control", "X-Accel-Buffering"}
    if call.media_type == "text/html":
        names.add("Content-Security-Policy")
    answer: Document = {"description": call.summary, "headers": _headers(*names)}
    if call.status != 204:
        answer["content"] = _content(call, references)
    return answer


def _sends_bytes(call: Call) -> bool:
    return call.media_type not in ("application/json", "text/event-stream", "text/html") or bool(call.also)


def _content(call: Call, references: dict[type[BaseModel], Document]) -> Document:
    schema: Document = {}
    if call.reply is not None:
        schema = references[call.reply]
    elif isinstance(call.example, str):
        schema = {"type": "string"}
    elif isinstance(call.example, dict):
        schema = {"type": "object"}
    content = {call.media_type: {"schema": schema, "example": call.example}}
    for media_type, example in call.forms.items():
        content[media_type] = {"schema": {"type": "string"}, "example": example}
    return content


def _further(call: Call, also: Also, references: dict[type[BaseModel], Document]) -> Document:
    names = {206: (*BYTES, "Content-Range"), 304: BYTES, 202: ("Location", "Cache-Control"), 200: ("Cache-Control",)}
    answer: Document = {"description": also.meaning, "headers": _headers(*names.get(also.status, ()))}
    if also.model is not None:
        answer["content"] = {"application/json": {"schema": references[also.model], "example": also.example}}
    elif also.status == 206:
        answer["content"] = _content(call, references)
    return answer


def _error(status: int) -> Document:
    error, kind = next((error, kind) for error, kind in problems.KINDS.items() if kind.status == status)
    detail = (error.__doc__ or AtelierError.__doc__ or "").strip().splitlines()[0]
    example = _example(status, error.kind, kind.title, detail)
    if status == 400:
        example["errors"] = [{"path": "initialCells[2].cellType", "message": "must be 'code', 'markdown' or 'raw'"}]
    return _problem(status, kind.meaning, example)


def _method_not_allowed() -> Document:
    text = "The address takes other methods; `Allow` lists them."
    example = _example(
        METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed",
        "PATCH is not possible here; Allow lists what is.",
    )
    return _problem(METHOD_NOT_ALLOWED, text, example)


def _example(status: int, code: str, title: str, detail: str) -> Document:
    return {
        "type": f"/docs#{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"/api/{examples.TENANT}/{examples.PROJECT}/notebook",
        "error": detail,
        "requestId": "ee0e8400-e29b-41d4-a716-446655440000",
    }


def _problem(status: int, meaning: str, example: Document) -> Document:
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {
        "description": meaning,
        "headers": _headers(*_OF_ERRORS.get(status, ())),
        "content": {problems.CONTENT_TYPE: content},
    }
