"""Where the values of a notebook's runs are: for clients that use it as a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.executor import parameter_rules
from services.executor.handlers.planning import snapshot_of
from services.executor.store import queries
from services.executor.views import request_of
from shared.contracts.executions import LocateValue, ValueSource
from shared.errors import NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from services.executor.app import ControlApp


async def locate_value(app: ControlApp, command: LocateValue, _context: Context) -> ValueSource:
    """Return the run whose values are asked for; raises NotFound when there is none."""
    scope, notebook_id = command.scope, command.notebook_id
    async with app.database.connection() as connection:
        row = await connection.fetchrow(
            queries.find_completed, notebook_id, scope.tenant_id, scope.project_id, command.execution_id
        )
        if row is None:
            raise NotFound("This notebook has no completed execution, so it has no values yet.")
        notebook, _ = snapshot_of(await connection.fetchrow(queries.snapshot, row["execution_id"]))
    return ValueSource(
        execution_id=row["execution_id"],
        notebook_id=row["notebook_id"],
        notebook_version=row["notebook_version"],
        date_ended=row["ended_at"],
        epoch=row["manifest_epoch"],
        parameters={**parameter_rules.defaults(notebook.parameters), **request_of(row).parameters},
    )
