"""Limits of rate: token buckets for keys, tenants and addresses, and how many event streams a key may hold."""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from uuid import UUID

from services.gateway.model import Principal
from shared.errors import TooManyRequests

REMEMBERED = 20_000
"""Buckets kept at most. The one that was unused for the longest time goes first: it is the fullest, or nearly so."""

POLLS_PER_S, POLLS_AT_ONCE = 10.0, 20.0
"""Status reads of one run that count against nothing else, a second and at once: twice what the contract promises never
to limit."""

MISSED_POLLS_PER_S, MISSED_POLLS_AT_ONCE = 20.0, 200.0
"""Status reads of executions that do not exist, by one key, a second and at once."""

BAD_CREDENTIALS_PER_S, BAD_CREDENTIALS_AT_ONCE = 5.0, 100.0
"""Refused credentials from one address, a second and at once. More are refused without a look-up."""


class TokenBuckets:
    """Buckets that fill at `rate` tokens a second up to `burst`, one for each key. A rate of 0 means no limit."""

    def __init__(self, *, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, max(burst, 1.0), clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable) -> float:
        """Take a token and return 0; where there is none, take nothing and return how long to wait, in seconds."""
        if self._rate <= 0:
            return 0.0
        tokens = self._tokens(key)
        if tokens < 1.0:
            return (1.0 - tokens) / self._rate
        self._buckets[key] = (tokens - 1.0, self._clock())
        self._buckets.move_to_end(key)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return 0.0

    def wait(self, key: Hashable) -> float:
        """Return how long it takes until there is a token, in seconds, and take none."""
        return 0.0 if self._rate <= 0 else max(1.0 - self._tokens(key), 0.0) / self._rate

    def _tokens(self, key: Hashable) -> float:
        tokens, since = self._buckets.get(key, (self._burst, 0.0))
        return min(tokens + (self._clock() - since) * self._rate, self._burst)


class RateLimiter:
    """The limits of a gateway process; several gateways each have their own."""

    def __init__(
        self, *, per_key: float, per_tenant: float, burst_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = TokenBuckets(rate=per_key, burst=per_key * burst_s, clock=clock)
        self._tenants = TokenBuckets(rate=per_tenant, burst=per_tenant * burst_s, clock=clock)
        self._polls = TokenBuckets(rate=POLLS_PER_S, burst=POLLS_AT_ONCE, clock=clock)
        self._missed = TokenBuckets(rate=MISSED_POLLS_PER_S, burst=MISSED_POLLS_AT_ONCE, clock=clock)
        self._refused = TokenBuckets(rate=BAD_CREDENTIALS_PER_S, burst=BAD_CREDENTIALS_AT_ONCE, clock=clock)

    def admit(self, principal: Principal, *, polled: UUID | None = None) -> None:
        """Count a request; `polled` is the execution whose status it reads. Raises TooManyRequests."""
        if polled is not None and self._polls.take((principal.credential, polled)) == 0.0:
            if wait := self._missed.wait(principal.credential):
                raise _too_many("this key for executions that do not exist", wait)
            return
        if wait := self._keys.take(principal.credential):
            raise _too_many("this key", wait)
        if wait := self._tenants.take(principal.tenant_id):
            raise _too_many("all keys of this tenant together", wait)

    def count_missed_poll(self, principal: Principal) -> None:
        """Count a status read of an execution that does not exist: ids can be made up without end."""
        self._missed.take(principal.credential)

    def admit_credential(self, address: str) -> None:
        """Raise TooManyRequests when too many credentials from `address` were refused lately."""
        if wait := self._refused.wait(address):
            raise _too_many("credentials that are not valid, from this address,", wait)

    def count_refused_credential(self, address: str) -> None:
        """Count a credential that was not valid."""
        self._refused.take(address)


class OpenStreams:
    """How many event streams each key holds open. A `limit` of 0 means no limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    @contextmanager
    def hold(self, principal: Principal) -> Iterator[None]:
        """Count a stream within the context. Raises TooManyRequests."""
        key = principal.credential
        if 0 < self._limit <= self._open[key]:
            raise TooManyRequests(
                f"This key holds {self._limit} event streams open, which is the most; close one first.",
                extra={"retryAfter": 5},
            )
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


def _too_many(what: str, wait_s: float) -> TooManyRequests:
    seconds = max(math.ceil(wait_s), 1)
    return TooManyRequests(
        f"Too many requests by {what}; try again in {seconds} s. /api/limits shows the rates.",
        extra={"retryAfter": seconds},
    )
