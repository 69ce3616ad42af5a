"""The one place that knows HTTP codes: every error of the family, and of aiohttp, as application/problem+json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from shared.errors import (
    MOST_FAULTS,
    AtelierError,
    Conflict,
    DeadlineExceeded,
    ExecutionFailed,
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RangeNotSatisfiable,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

CONTENT_TYPE = "application/problem+json"
"""Media type of RFC 9457."""

RETRY_AFTER_S = 1
"""When to come back after a 503, in seconds: the stack restores its connections within that."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one family of errors looks in HTTP."""

    status: int
    title: str
    meaning: str  # for the documentation


KINDS: dict[type[AtelierError], Kind] = {
    Invalid: Kind(
        status=400, title="Request not valid", meaning="The request is malformed; `errors` lists every fault at once."
    ),
    Unauthorized: Kind(status=401, title="Not authenticated", meaning="There is no credential, or a bad one."),
    Forbidden: Kind(
        status=403, title="Not allowed", meaning="The credential's role is too low for this call on a thing it may see."
    ),
    NotFound: Kind(status=404, title="Not found", meaning="The thing does not exist, or the caller may not see it."),
    Conflict: Kind(
        status=409,
        title="Conflict",
        meaning="The request contradicts the present state; `dateModified` says which state that is, if it has one.",
    ),
    TooLarge: Kind(status=413, title="Too large", meaning="The body is over a limit, which the detail names."),
    RangeNotSatisfiable: Kind(
        status=416,
        title="Range not satisfiable",
        meaning="Nothing is there in that `Range`; see `Content-Range`.",
    ),
    UnsupportedMediaType: Kind(
        status=415, title="Wrong media type", meaning="The body is not in a format that the call takes."
    ),
    ExecutionFailed: Kind(
        status=422,
        title="Execution failed",
        meaning="The notebook was executed and gave no value; `executionId`, `executionStatus`, `errorType`, "
        "`errorMessage` and `failedCell` say why.",
    ),
    TooManyRequests: Kind(status=429, title="Too many requests", meaning="A quota is used up; see `Retry-After`."),
    Unavailable: Kind(
        status=503,
        title="Temporarily unavailable",
        meaning="A part of the system is down. The request had, and will have, no effect; see `Retry-After`.",
    ),
    OutcomeUnknown: Kind(
        status=409,  # no 5xx: clients, the vendor's among them, repeat a POST on those
        title="Outcome unknown",
        meaning="A part of the system went away during a change (`outcomeUnknown: true`). Look at the present state, "
        "or repeat the request with the same Idempotency-Key.",
    ),
    DeadlineExceeded: Kind(
        status=503, title="Temporarily unavailable", meaning="The request waited too long and had no effect."
    ),
    AtelierError: Kind(
        status=500, title="Internal error", meaning="A fault of ours; the log has it under `requestId`."
    ),
}
"""Every family of errors, and what it means to a client."""

_IN_HEADERS = ("retryAfter", "contentRange")
"""Parts of an error's `extra` that are headers of the answer."""

_OF_STATUS = {kind.status: kind.title for kind in reversed(KINDS.values())} | {405: "Method not allowed"}


def response(error: AtelierError, *, instance: str, request_id: str) -> web.Response:
    """The answer that tells a client about `error`."""
    kind = KINDS.get(type(error), KINDS[AtelierError])
    extra: dict[str, Any] = {key: value for key, value in error.extra.items() if key not in _IN_HEADERS}
    headers = {}
    if kind.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if kind.status == 416:
        headers["Content-Range"] = str(error.extra.get("contentRange", "bytes */*"))
    if kind.status in (429, 503):
        headers["Retry-After"] = str(error.extra.get("retryAfter", RETRY_AFTER_S))
    if isinstance(error, OutcomeUnknown):
        extra["outcomeUnknown"] = True
    if isinstance(error, Invalid):
        faults = error.faults or [_whole(error.detail)]
        extra["errors"] = [fault.model_dump() for fault in faults[:MOST_FAULTS]]
        if len(faults) > MOST_FAULTS:
            extra["errorCount"] = len(faults)
    return _problem(
        status=kind.status,
        code=error.kind,
        title=kind.title,
        detail=error.detail,
        instance=instance,
        request_id=request_id,
        extra=extra,
        headers=headers,
    )


def of_http(error: web.HTTPException, *, method: str, instance: str, request_id: str) -> web.Response:
    """aiohttp's own refusals in the same shape: unknown route, wrong method, body too large."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    details = {
        404: "There is no such address, or an id in it is no GUID.",
        405: f"{method} is not possible here; the Allow header lists what is.",
        413: "The body is too large.",
    }
    return _problem(
        status=error.status,
        code={404: "not_found", 405: "method_not_allowed", 413: "too_large"}.get(error.status, "invalid"),
        title=_OF_STATUS.get(error.status, error.reason),
        detail=details.get(error.status, error.reason),
        instance=instance,
        request_id=request_id,
        extra={"errors": [_whole(error.reason).model_dump()]} if error.status == 400 else {},
        headers=headers,
    )


def _whole(message: str) -> Fault:
    """The fault of a request that is refused as a whole: a 400 names at least one (SPEC.md)."""
    return Fault(path="", message=message)


def _problem(
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    instance: str,
    request_id: str,
    extra: dict[str, Any],
    headers: dict[str, str],
) -> web.Response:
    body = {
        **extra,
        "type": f"/docs#{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "error": detail,
        "requestId": request_id,
    }
    return web.Response(body=orjson.dumps(body), status=status, headers={**headers, "Content-Type": CONTENT_TYPE})
