"""Every error has the same shape and the right code."""

from __future__ import annotations

from uuid import UUID

import aiohttp
import pytest

from services.gateway.problems import KINDS
from services.gateway.server import PublicServer
from shared.contracts.notebooks import GetNotebook, ListNotebooks, UpdateNotebook
from shared.errors import (
    AtelierError,
    Conflict,
    DeadlineExceeded,
    Invalid,
    NotFound,
    OutcomeUnknown,
    TooManyRequests,
    Unavailable,
)
from tests.unit.gateway.fake_ports import BASE, NOTEBOOK, Answer, Api

NOTEBOOK_PATH = f"notebook/{NOTEBOOK.notebook_id}"


def assert_problem(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert {"type", "title", "status", "detail", "instance", "error", "requestId"} <= set(problem)
    assert problem["status"] == status
    assert problem["error"] == problem["detail"]
    assert problem["requestId"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Invalid("No."), 400),
        (NotFound("No."), 404),
        (Conflict("No."), 409),
        (TooManyRequests("No.", extra={"retryAfter": 7}), 429),
        (Unavailable("No."), 503),
        (DeadlineExceeded("No."), 503),
        (OutcomeUnknown("No."), 409),
        (AtelierError("No."), 500),
        (ZeroDivisionError(), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_each_family_has_its_code(api: Api, error: Exception, status: int) -> None:
    api.is_described = status != 409  # which no list answers
    api.requests.on(ListNotebooks, error)
    answer = await api.call("GET", "notebooks")
    assert_problem(answer, status)
    assert answer.json["instance"] == f"{BASE}/notebooks"


async def test_a_400_names_at_least_one_fault(api: Api) -> None:
    api.requests.on(ListNotebooks, Invalid("Not so."))
    assert (await api.call("GET", "notebooks")).faults == {"": "Not so."}


async def test_a_process_that_cannot_work_says_so_in_the_one_shape(api: Api) -> None:
    assert (await api.call("GET", "/readyz", role=None)).json == {"status": "ready", "checks": {}}

    async def down() -> None:
        raise OSError

    api.gateway.readiness.add("broker", down)
    answer = await api.call("GET", "/readyz", role=None)
    assert_problem(answer, 503)
    assert answer.headers["Retry-After"]
    assert answer.json["checks"] == {"broker": {"ok": False, "reason": "OSError"}}


async def test_retry_after_tells_when_to_come_back(api: Api) -> None:
    api.requests.on(ListNotebooks, Unavailable("Down."))
    assert (await api.call("GET", "notebooks")).headers["Retry-After"] == "1"
    api.requests.on(ListNotebooks, TooManyRequests("Full.", extra={"retryAfter": 7}))
    assert (await api.call("GET", "notebooks")).headers["Retry-After"] == "7"


async def test_an_unknown_outcome_says_so(api: Api) -> None:
    api.requests.on(UpdateNotebook, OutcomeUnknown("Who knows."))
    answer = await api.call("PUT", NOTEBOOK_PATH, json={})
    assert_problem(answer, 409)
    assert answer.json["outcomeUnknown"] is True


async def test_a_conflict_carries_what_the_service_added(api: Api) -> None:
    api.requests.on(UpdateNotebook, Conflict("Stale.", extra={"dateModified": "2024-01-20T10:30:00.000Z"}))
    answer = await api.call("PUT", NOTEBOOK_PATH, json={}, headers={"If-Match": '"old"'})
    assert_problem(answer, 409)
    assert answer.json["dateModified"] == "2024-01-20T10:30:00.000Z"
    assert api.requests.last(UpdateNotebook).precondition.etag == "old"


async def test_an_internal_error_gives_nothing_away(api: Api) -> None:
    api.requests.on(ListNotebooks, ZeroDivisionError("secret"))
    answer = await api.call("GET", "notebooks")
    assert b"secret" not in answer.body


@pytest.mark.parametrize(
    "path", ["/api", "/nothing", "nothing", f"{NOTEBOOK_PATH}/history", "execution/queue/investigation/x"]
)
async def test_unknown_addresses_are_404(api: Api, path: str) -> None:
    assert_problem(await api.call("GET", path, role=None), 404)


async def test_a_wrong_method_is_405_and_told_the_right_ones(api: Api) -> None:
    answer = await api.call("DELETE", "notebooks")
    assert_problem(answer, 405)
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}


async def test_the_clients_request_id_is_kept_when_it_is_a_guid(api: Api) -> None:
    api.requests.on(GetNotebook, NotFound("No."))
    own = "AA0E8400-e29b-41d4-a716-446655440000"
    answer = await api.call("GET", NOTEBOOK_PATH, headers={"X-Request-Id": own})
    assert answer.headers["X-Request-Id"] == own.lower()
    answer = await api.call("GET", NOTEBOOK_PATH, headers={"X-Request-Id": "'; drop table"})
    assert UUID(answer.headers["X-Request-Id"])


async def test_bytes_that_are_no_http_get_the_same_shape(api: Api) -> None:
    gateway = api.gateway
    server = PublicServer(gateway, announce_close=lambda: None)
    await server.open()
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.port}/api?x={'a' * 40_000}"
            async with session.get(url) as response:
                problem = await response.json(content_type="application/problem+json")
                assert response.status == 400
                assert problem["error"] == problem["detail"]
                assert problem["requestId"] == response.headers["X-Request-Id"]
                assert [fault["path"] for fault in problem["errors"]] == [""]
    finally:
        await server.close()


async def test_preflights_need_no_credential_and_name_known_origins_only(api: Api) -> None:
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    known = await api.call("OPTIONS", "notebook", role=None, headers={**asking, "Origin": "https://studio.example"})
    assert known.status == 204
    assert known.headers["Access-Control-Allow-Origin"] == "https://studio.example"
    assert "Authorization" in known.headers["Access-Control-Allow-Headers"]
    unknown = await api.call("OPTIONS", "notebook", role=None, headers={**asking, "Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in unknown.headers


async def test_errors_can_be_read_by_browsers_too(api: Api) -> None:
    answer = await api.call("GET", "nothing", headers={"Origin": "https://studio.example"})
    assert_problem(answer, 404)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://studio.example"
    assert answer.headers["Vary"] == "Origin"


def test_every_family_is_documented() -> None:
    from shared.errors import FAMILY

    assert set(KINDS) == set(FAMILY.values())
