"""Answers compared with what `/openapi.json` says of them: status, media type and headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from services.gateway import openapi
from services.gateway.routes import CALLS

OF_HTTP = {
    "access-control-allow-origin",
    "access-control-expose-headers",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "server",
    "transfer-encoding",
    "vary",
}
"""Headers that HTTP, the server or CORS add to any answer, in lower case."""

OF_ERRORS = {401: "www-authenticate", 405: "allow", 416: "content-range", 429: "retry-after", 503: "retry-after"}
"""The header without which an error's client cannot go on."""


@cache
def _operations() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    document = openapi.document(CALLS)
    kinds = {"path": ".+", "tenantId": "[0-9a-fA-F-]{36}"}
    found = []
    for call in CALLS:
        parts = re.split(r"{(\w+)}", call.path)
        text = "".join(
            re.escape(part)
            if number % 2 == 0
            else kinds.get(part, "[0-9a-fA-F-]{36}" if part in call.id_names else "[^/]+")
            for number, part in enumerate(parts)
        )
        found.append((re.compile(text), document["paths"][call.path]))
    return found


def faults_of(method: str, path: str, status: int, headers: Mapping[str, str]) -> list[str]:
    """How an answer differs from the description; nothing for addresses that it does not have."""
    components = openapi.document(CALLS)["components"]
    methods = next((methods for pattern, methods in _operations() if pattern.fullmatch(path)), None)
    if methods is None or method == "OPTIONS":
        return []
    operation = methods.get(method.lower())
    described: dict[str, Any] = operation["responses"] if operation else {"405": {"$ref": "#/components/responses/405"}}
    if str(status) not in described:
        return [f"{status} is not described"]
    answer = described[str(status)]
    if "$ref" in answer:
        answer = components["responses"][str(status)]
    sent = {name.lower() for name in headers}
    known = {name.lower() for name in answer["headers"]}
    faults = [f"{status}: the header {name} is not described" for name in sorted(sent - OF_HTTP - known)]
    if status in OF_ERRORS and OF_ERRORS[status] not in sent:
        faults.append(f"{status}: the header {OF_ERRORS[status]} is missing")
    media_type = headers.get("Content-Type", "").partition(";")[0]
    types: dict[str, Any] = answer.get("content", {})
    if method != "HEAD" and status != 304 and media_type and media_type not in types and "*/*" not in types:
        faults.append(f"{status}: {media_type} is not described")
    return faults
