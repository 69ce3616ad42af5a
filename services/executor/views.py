"""From stored rows to the status object of the API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from services.executor import model, wording
from shared.contracts.executions import CellResult, Execution, ExecutionRequest, OutputCounts, Progress, Resources
from shared.contracts.retries import Attempt
from shared.contracts.schedules import Trigger

Row = Mapping[str, Any]
"""A row of `execution`."""


def request_of(row: Row) -> ExecutionRequest:
    """The request as it was accepted."""
    return ExecutionRequest.model_validate_json(row["request"])


def has_earlier_attempts(row: Row) -> bool:
    """Whether attempts of the run are kept beside its row: all but the one that the row tells of."""
    return bool(row["attempt"] > (1 if row["started_at"] else 0))


def earlier_attempt(row: Mapping[str, Any]) -> Attempt:
    """An attempt that another one follows, from its row in `execution_attempt`."""
    members = ("attempt", "started_at", "ended_at", "error_type", "error_message", "failed_cell")
    return Attempt(status="Error", **{name: row[name] for name in members})


def _last_attempt(row: Row) -> list[Attempt]:
    """The attempt that the run's own row tells of; none while it waits to be begun."""
    if row["started_at"] is None:
        return []
    return [
        Attempt(
            attempt=row["attempt"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            status=model.status_of(row["state"]),
            error_type=row["error_type"],
            error_message=row["error_message"],
            failed_cell=row["failed_cell"],
        )
    ]


def execution(
    row: Row, cells: list[CellResult], queue_position: int | None, queue_reason: str | None, earlier: list[Attempt]
) -> Execution:
    """The status object; position and reason are those of a run that waits, `earlier` its attempts but the last."""
    request = request_of(row)
    state: model.State = row["state"]
    now = datetime.now(UTC)
    if state == "Delayed":
        left_s = (row["retry_at"] - now).total_seconds()
        queue_reason = model.reason_of_delay(
            request.retry, attempt=row["attempt"], retries=row["retries"], seconds=left_s
        )
    started, ended = row["started_at"], row["ended_at"]
    elapsed = _seconds(started, ended or now) if started else None
    waited = _seconds(row["accepted_at"], started or ended or now)
    return Execution(
        execution_id=row["execution_id"],
        notebook_id=row["notebook_id"],
        notebook_version=row["notebook_version"],
        status=model.status_of(state),
        phase=model.phase_of(state, row["phase"]),
        start_time=row["accepted_at"],
        end_time=ended,
        estimated_duration=wording.estimate(row["estimated_seconds"]),
        estimated_duration_seconds=_rounded(row["estimated_seconds"]),
        total_duration=wording.duration(elapsed),
        total_duration_seconds=elapsed,
        queued_seconds=waited,
        queue_position=queue_position,
        queue_reason=queue_reason if state in model.WAITING else None,
        current_cell=row["current_cell"],
        progress=Progress.model_validate_json(row["progress"]),
        parameters=request.parameters,
        warnings=orjson.loads(row["warnings"]),
        cell_results=cells,
        outputs=OutputCounts.model_validate_json(row["outputs"]),
        resources=Resources.model_validate_json(row["resources"]),
        error_type=row["error_type"],
        error_message=row["error_message"],
        failed_cell=row["failed_cell"],
        execution_mode=request.execution_mode,
        priority=request.priority,
        timeout=request.timeout,
        created_by=row["created_by"],
        trigger=Trigger.model_validate_json(row["trigger"]),
        dataset_id=row["dataset_id"],
        dataset_version=row["dataset_version"],
        rerun_of=row["rerun_of"],
        from_cell=row["from_cell"],
        attempt=row["attempt"],
        attempts=[*earlier, *_last_attempt(row)],
        retry=request.retry,
    )


def cell(result: CellResult) -> CellResult:
    """A cell's result with its duration and its use in words."""
    words: dict[str, Any] = {}
    if result.execution_time_seconds is not None:
        words["execution_time"] = wording.duration(result.execution_time_seconds)
    if (used := result.resources) is not None:
        in_words = {
            "peak_memory_usage": wording.size(used.peak_memory_usage_bytes),
            "cpu_time": wording.duration(used.cpu_time_seconds),
            "disk_usage": wording.size(used.disk_usage_bytes),
        }
        words["resources"] = used.model_copy(update=in_words)
    return result.model_copy(update=words) if words else result


def _seconds(start: datetime, end: datetime) -> float:
    return round(max((end - start).total_seconds(), 0.0), 3)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
