"""What runs by itself: the commands that catalog answers about schedules, and the facts of automatic runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from pydantic import Field

from shared.contracts.base import Command, Event, Moment, Page, Wire
from shared.contracts.notebooks import CatalogCommand

FireKind = Literal["schedule", "manual", "dataset", "chain"]
FireState = Literal["Pending", "Started", "Skipped"]

_FIRES = UUID("5d0ab1f5-6c3b-4a05-9c7e-3d2f1f0f7c11")
"""Namespace of fire ids (RFC 9562, version 5)."""


def fire_id_of(notebook_id: UUID, kind: FireKind, fire_time: datetime) -> UUID:
    """The id of a fire, of the execution it starts and of the command that starts it: one for one fire time."""
    return uuid5(_FIRES, f"{notebook_id} {kind} {fire_time.timestamp():.6f}")


class Trigger(Wire):
    """Why a run was started. Members that the kind does not have are null."""

    kind: Literal["api", "schedule", "dataset", "chain"] = "api"
    fire_id: UUID | None = Field(None, description="the fire in the notebook's history of fires")
    fire_time: Moment | None = Field(None, description="the time by the schedule, or when the reason arose")
    manual: bool = Field(False, description="somebody asked for the scheduled run at once")
    dataset_id: UUID | None = Field(None, description="`dataset`: whose new data it is")
    dataset_version: int | None = Field(None, description="`dataset`: the version that the run reads")
    executions: list[UUID] | None = Field(None, description="`chain`: the completed executions it comes after")


class Fire(Wire):
    """One time that a notebook was to run by itself, and what became of it."""

    fire_id: UUID
    notebook_id: UUID
    kind: FireKind
    fire_time: Moment = Field(description="the time by the schedule, or when the reason arose")
    due_time: Moment = Field(description="not started before: jitter, or the pause in which more data may come")
    state: FireState
    reason: str | None = Field(None, description="why it was skipped, or what it waits for")
    trigger: Trigger
    execution_id: UUID | None = Field(None, description="the execution that was started")
    decided_at: Moment | None = Field(None, description="when it was started or skipped")


class Upstream(Wire):
    """A notebook that must have completed first (`integration.runAfter`)."""

    notebook_id: UUID
    notebook_name: str | None
    completed: bool = Field(description="it has completed since the last start of this notebook")
    deleted: bool = Field(description="it is gone and is not waited for any more")


class Schedule(Wire):
    """When a notebook runs by itself."""

    notebook_id: UUID
    state: Literal["Active", "Paused", "None"] = Field(description="`None`: no schedule is set")
    schedule_execution: str | None
    schedule_time_zone: str
    schedule_overlap: Literal["skip", "queue", "replace"]
    schedule_misfire: Literal["fire_once", "skip"]
    schedule_jitter: int
    schedule_parameters: dict[str, Any]
    paused_at: Moment | None
    paused_by: str | None
    next_times: list[Moment] = Field(description="the next ten times; while paused, as if it were not")
    last_fires: list[Fire] = Field(description="the newest ten, newest first")
    auto_execution: bool
    run_after: list[Upstream]


class FirePage(Page):
    """The answer of `GET notebook/{id}/schedule/fires`, newest first."""

    fires: list[Fire]


class GetSchedule(CatalogCommand, Command[Schedule]):
    """The notebook's schedule with its next times and last fires."""

    notebook_id: UUID


class PauseSchedule(CatalogCommand, Command[Schedule]):
    """Let no time of the schedule fire until it is resumed; a conflict without a schedule."""

    write = True
    notebook_id: UUID


class ResumeSchedule(CatalogCommand, Command[Schedule]):
    """Go on with the next time; what would have fired meanwhile does not."""

    write = True
    notebook_id: UUID


class RunSchedule(CatalogCommand, Command[Fire]):
    """Start the run of the schedule, with its parameters, now."""

    write = True
    notebook_id: UUID


class ListFires(CatalogCommand, Command[FirePage]):
    """The notebook's fires, newest first."""

    notebook_id: UUID
    state: FireState | None = None
    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class FireEvent(Event):
    """What the facts of automatic runs carry."""

    notebook_id: UUID
    fire_id: UUID
    fire_time: Moment
    trigger: Trigger

    def subject(self) -> str:
        """`notebook/<id>`."""
        return f"notebook/{self.notebook_id}"

    def path(self) -> list[UUID]:
        """The notebook's id."""
        return [self.notebook_id]


class ScheduleFired(FireEvent):
    """A notebook was started by itself: by its schedule, on new data or in a chain."""

    type = "schedule.fired"
    execution_id: UUID


class ScheduleSkipped(FireEvent):
    """A time at which a notebook was to run by itself passed without a run."""

    type = "schedule.skipped"
    reason: str
