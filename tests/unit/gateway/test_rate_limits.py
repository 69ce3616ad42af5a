"""Limits of rate: a flood gets 429, polling never does, and one key or tenant takes nothing from another."""

from __future__ import annotations

from uuid import uuid4

import pytest

from services.gateway.gateway import Gateway
from services.gateway.model import Role
from services.gateway.rate_limits import REMEMBERED, OpenStreams, RateLimiter, TokenBuckets
from shared.contracts.executions import GetExecution
from shared.contracts.notebooks import ListNotebooks, NotebookPage
from shared.errors import TooManyRequests
from tests.unit.gateway.fake_ports import EXECUTION, NOTEBOOK, Api, principal

EMPTY = NotebookPage(notebooks=[], total_count=0, page=1, page_size=20, has_next_page=False)
STATUS = f"notebook/{NOTEBOOK.notebook_id}/execution/{EXECUTION.execution_id}"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def limited(api: Api, clock: Clock, *, per_key: float = 2, per_tenant: float = 3) -> None:
    limiter = RateLimiter(per_key=per_key, per_tenant=per_tenant, burst_s=2, clock=clock)
    object.__setattr__(api.gateway, "rate_limits", limiter)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    buckets = TokenBuckets(rate=2, burst=4, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0]
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.take("b") == 0
    clock.now += 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now += 1_000
    assert [buckets.take("a") > 0 for _ in range(5)] == [False] * 4 + [True]


def test_a_rate_of_nothing_is_no_limit() -> None:
    buckets = TokenBuckets(rate=0, burst=1)
    assert not any(buckets.take("a") for _ in range(1_000))


def test_made_up_keys_take_no_memory_without_end() -> None:
    buckets = TokenBuckets(rate=1, burst=1)
    for number in range(REMEMBERED + 500):
        buckets.take(number)
    assert len(buckets._buckets) == REMEMBERED


async def test_a_flood_is_429_with_the_time_to_come_back_and_leaves_the_other_key_alone(api: Api) -> None:
    clock = Clock()
    limited(api, clock)
    api.requests.on(ListNotebooks, EMPTY)
    answers = [await api.call("GET", "notebooks", role=Role.viewer) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 4 + [429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert "this key" in answers[-1].json["detail"]
    assert (await api.call("GET", "notebooks", role=Role.runner)).status == 200
    clock.now += 1
    assert (await api.call("GET", "notebooks", role=Role.viewer)).status == 200


async def test_all_keys_of_a_tenant_have_a_rate_together(api: Api) -> None:
    limited(api, Clock(), per_key=2, per_tenant=3)
    api.requests.on(ListNotebooks, EMPTY)
    statuses = [
        (await api.call("GET", "notebooks", role=role)).status for role in (Role.viewer, Role.runner) for _ in range(4)
    ]
    assert statuses == [200] * 6 + [429] * 2


async def test_polling_five_times_a_second_is_never_limited(api: Api) -> None:
    clock = Clock()
    limited(api, clock, per_key=1, per_tenant=1)
    api.requests.on(GetExecution, EXECUTION)
    for _ in range(200):
        assert (await api.call("GET", STATUS, role=Role.viewer)).status == 200
        clock.now += 0.2


async def test_made_up_executions_are_limited(api: Api) -> None:
    limited(api, Clock())
    paths = (f"notebook/{NOTEBOOK.notebook_id}/execution/{uuid4()}" for _ in range(300))
    statuses = [(await api.call("GET", path, role=Role.viewer)).status for path in paths]
    assert statuses[:200] == [404] * 200
    assert statuses[-1] == 429


async def test_guessing_keys_is_limited_and_asks_nobody(api: Api) -> None:
    limited(api, Clock())
    headers = [{"Authorization": f"Bearer atl_{number}"} for number in range(150)]
    statuses = [(await api.call("GET", "notebooks", role=None, headers=each)).status for each in headers]
    assert statuses == [401] * 100 + [429] * 50
    assert api.keys.looked_up == 100


async def test_guesses_from_an_address_leave_keys_alone_that_are_known_from_there(api: Api) -> None:
    limited(api, Clock())
    api.requests.on(ListNotebooks, EMPTY)
    assert (await api.call("GET", "notebooks", role=Role.viewer)).status == 200
    for number in range(150):
        await api.call("GET", "notebooks", role=None, headers={"Authorization": f"Bearer atl_{number}"})
    assert (await api.call("GET", "notebooks", role=Role.viewer)).status == 200


async def test_the_same_unknown_key_is_looked_up_once(api: Api) -> None:
    for _ in range(5):
        answer = await api.call("GET", "notebooks", role=None, headers={"Authorization": "Bearer atl_unknown"})
        assert answer.status == 401
    assert api.keys.looked_up == 1


def test_a_key_holds_so_many_event_streams_and_no_more() -> None:
    streams, who = OpenStreams(2), principal(Role.viewer)
    with streams.hold(who), streams.hold(who):
        with pytest.raises(TooManyRequests, match="2 event streams"), streams.hold(who):
            pytest.fail("a third one")
        with streams.hold(principal(Role.runner)):
            pass
    with streams.hold(who):
        pass


def test_the_gateway_has_the_limits_that_it_tells() -> None:
    assert {"rate_limits", "body_budget", "streams"} <= set(Gateway.__dataclass_fields__)
