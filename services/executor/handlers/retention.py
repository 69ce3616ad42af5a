"""How long a project keeps its ended runs: the policy, read and set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from services.executor.store import queries
from shared.contracts.storage import GetRetention, Retention, SetRetention
from shared.responder import Context

if TYPE_CHECKING:
    from services.executor.app import ControlApp


async def get_retention(app: ControlApp, command: GetRetention, _context: Context) -> Retention:
    """The policy in force; without one everything is kept."""
    async with app.database.connection() as connection:
        row = await connection.fetchrow(queries.retention, command.scope.tenant_id, command.scope.project_id)
    return Retention() if row is None else _shown(row)


async def set_retention(_app: ControlApp, command: SetRetention, context: Context) -> Retention:
    """Replace the policy."""
    policy, scope = command.policy, command.scope
    async with context.transaction() as transaction:
        row = await transaction.sql.row(
            queries.set_retention,
            scope.tenant_id,
            scope.project_id,
            policy.max_age_days,
            policy.max_runs_per_notebook,
            policy.max_bytes,
            command.caller.subject.replace("\x00", ""),
        )
        assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
        return transaction.reply(_shown(row))


def _shown(row: asyncpg.Record) -> Retention:
    return Retention(
        max_age_days=row["max_age_days"],
        max_runs_per_notebook=row["max_runs_per_notebook"],
        max_bytes=row["max_bytes"],
        date_modified=row["modified_at"],
        modified_by=row["modified_by"],
        last_applied=row["applied_at"],
    )
