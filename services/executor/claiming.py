"""Choice of the run that a free slot takes, and repair of the counters that the choice goes by."""

from __future__ import annotations

from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter

from services.executor.store import queries
from shared.database import Transaction

log = structlog.get_logger(__name__)

MAX_TENANTS = 10
"""Tenants that one claim looks at. Usually the first has a run; its head may be locked by somebody who cancels it."""

REPAIRED = Counter("atelier_tenant_counters_repaired_total", "Tenants whose counters were wrong and were counted anew")


async def next_run(transaction: Transaction, *, max_active: int, reserved_share: float) -> asyncpg.Record | None:
    """Lock the run to take next, and its tenant's row; return None when there is none to take.

    A tenant whose counter promises a run that does not exist is counted anew and passed over: a wrong row must not stop
    the claims of others.
    """
    tried: list[UUID] = []
    while len(tried) < MAX_TENANTS:
        tenant = await transaction.value(queries.claim_tenant, max_active, reserved_share, tried)
        if tenant is None:
            return None
        waiting = await transaction.row(queries.claim_execution, tenant)
        if waiting is not None:
            return waiting
        await recount(transaction, tenant)
        tried.append(tenant)
    return None


async def recount(transaction: Transaction, tenant_id: UUID) -> None:
    """Set a tenant's counters to what its runs amount to. The caller holds the lock of the tenant's row."""
    before = await transaction.row("SELECT queued, active, delayed FROM tenant WHERE tenant_id = $1", tenant_id)
    after = await transaction.row(queries.recount_tenant, tenant_id)
    if before is not None and after is not None and tuple(before) != tuple(after):
        REPAIRED.inc()
        log.error("counters of a tenant were wrong", tenant_id=str(tenant_id), were=dict(before), are=dict(after))
