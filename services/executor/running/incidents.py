"""The end of a run in which our own code failed: an error with an incident id, at once, and never another attempt."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg
import structlog
from prometheus_client import Counter

from services.executor import ending
from services.executor.ending import Ending, Fenced
from services.executor.model import Verdict
from services.executor.store import queries
from shared.contracts.executions import Progress
from shared.database import Database
from shared.errors import OutcomeUnknown, Unavailable

log = structlog.get_logger(__name__)

ERROR_TYPE = "InternalError"
"""The error type of such runs (SPEC.md: Executions)."""

RETRY_S = 0.5
"""Pause between attempts while the database is down, in seconds."""

MAX_FAILURES = 3
"""How often ending a run may fail, with the database well, until it is left to the sweeper."""

INCIDENTS = Counter("atelier_executions_internal_errors_total", "Runs that ended because our own code failed on them")


def verdict_of(error: BaseException, *, doing: str) -> Verdict:
    """Write the failure to the log under a new incident id; return the verdict that names the id. `doing` says, for the
    run's owner, when it happened."""
    incident = uuid4().hex[:12]
    INCIDENTS.inc()
    log.error("run failed inside the worker", incident=incident, doing=doing, exc_info=error)
    reason = ""
    if isinstance(error, OSError) and error.strerror:
        reason = f" ({error.strerror})"
    message = (
        f"Atelier itself failed while {doing}{reason}. The notebook is not to blame, and the run is not repeated. "
        f"Give this incident id to the operator: {incident}"
    )
    return Verdict(state="Error", error_type=ERROR_TYPE, error_message=message, cause=None)


async def end_run(database: Database, execution_id: UUID, epoch: int, verdict: Verdict) -> None:
    """End a run that is still held under `epoch`; waits for a database that is down. Does nothing once the run has
    ended or has been taken over. Whatever else fails, the run gets its end: its cells then stay as they were."""
    failures = 0
    while failures <= MAX_FAILURES:
        try:
            async with database.transaction() as transaction:
                row = await transaction.row(queries.find_claimed, execution_id, epoch)
                if row is None:
                    return
                if failures:
                    await ending.end(transaction, row, row["last_seq"], _bare(row, verdict))
                else:
                    await ending.end_as_found(transaction, row, verdict)
                return
        except Fenced:
            return
        except (Unavailable, OutcomeUnknown) as error:
            log.warning("the run's end waits for the database", reason=error.detail)
        except Exception:
            log.exception("the run cannot be ended", failures=failures)
            failures += 1
        await asyncio.sleep(RETRY_S)


def _bare(row: asyncpg.Record, verdict: Verdict) -> Ending:
    progress = Progress.model_validate_json(row["progress"])
    return Ending(verdict=verdict, changed_cells=[], all_cells=[], progress=progress)
