"""The envelope of every message: CloudEvents 1.0 in JSON, the same bytes on the bus and in an SSE reader's hands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.contracts.base import Command, Event, Moment

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
"""Structured content mode of the CloudEvents AMQP binding, section 3.2."""


class Undecodable(Exception):
    """The bytes are no envelope; `reason` says why. Such a message is dead-lettered, never retried."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Envelope(BaseModel):
    """CloudEvents 1.0 context attributes, with these extension attributes:

    `schemaversion`, `traceparent` (W3C), `correlationid` (one per request from outside), `causationid` (the message
    that led to this one), `tenantid`, `projectid`, `sequence` (a run's gapless number), `deadline` (of a command) and
    `dataref` (the claim-check extension: the data is elsewhere because it is over the bus's limit).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    source: str
    type: str
    subject: str | None = None
    time: Moment
    datacontenttype: str = "application/json"
    schemaversion: int = 1
    traceparent: str | None = None
    correlationid: UUID
    causationid: UUID | None = None
    tenantid: UUID | None = None
    projectid: UUID | None = None
    sequence: int | None = None
    deadline: Moment | None = None
    dataref: str | None = None
    data: Any = None

    def encode(self, data: bytes | None = None) -> bytes:
        """The envelope as JSON; members without a value are left out (CloudEvents JSON format, 3.1). `data` is JSON
        that takes the place of the member of this name."""
        body = self.model_dump_json(exclude_none=True).encode()
        return body if data is None else body[:-1] + b',"data":' + data + b"}"

    @classmethod
    def decode(cls, body: bytes) -> Envelope:
        """Read an envelope; raises Undecodable."""
        try:
            return cls.model_validate(orjson.loads(body))
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise Undecodable(str(error)) from error


def of_event(
    event: Event,
    *,
    source: str,
    traceparent: str | None = None,
    correlation: UUID | None = None,
    causation: UUID | None = None,
    sequence: int | None = None,
) -> Envelope:
    """Wrap a fact."""
    identity = uuid4()
    return Envelope(
        id=identity,
        source=f"/atelier/{source}",
        type=event.type,
        subject=event.subject(),
        time=datetime.now(UTC),
        schemaversion=event.schema_version,
        traceparent=traceparent,
        correlationid=correlation or identity,
        causationid=causation,
        tenantid=event.scope.tenant_id,
        projectid=event.scope.project_id,
        sequence=sequence,
        data=event.model_dump(mode="json", by_alias=True, exclude={"scope"}),
    )


def of_command(
    command: Command[Any],
    *,
    source: str,
    identity: UUID,
    deadline: datetime,
    traceparent: str | None = None,
    correlation: UUID | None = None,
    with_data: bool = True,
) -> Envelope:
    """Wrap a command. The same `identity` asks for the same piece of work again. Without `with_data` the data are left
    to `encode`."""
    return Envelope(
        id=identity,
        source=f"/atelier/{source}",
        type=command.name(),
        time=datetime.now(UTC),
        traceparent=traceparent,
        correlationid=correlation or identity,
        tenantid=command.scope.tenant_id,
        projectid=command.scope.project_id,
        deadline=deadline,
        data=command.model_dump(mode="json", by_alias=True) if with_data else None,
    )


def event_data(envelope: Envelope, model: type[Event]) -> Any:
    """The fact inside an envelope, as `model`; raises Undecodable."""
    scope = {"tenantId": envelope.tenantid, "projectId": envelope.projectid}
    try:
        return model.model_validate({**(envelope.data or {}), "scope": scope})
    except ValidationError as error:
        raise Undecodable(str(error)) from error
