"""What every command, event and answer has in common: frozen data in camelCase on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel


def rfc3339(moment: datetime) -> str:
    """`moment` as RFC 3339 in UTC with a `Z`, milliseconds kept (SPEC.md: times)."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def in_utc(moment: datetime) -> datetime:
    """`moment` in UTC, as which one without a zone counts. Raises ValueError for one that UTC has no year for."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be within the years 1 to 9999 in UTC") from error


Moment = Annotated[datetime, AfterValidator(in_utc), PlainSerializer(rfc3339, return_type=str, when_used="json")]


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


OptionalId = Annotated[UUID | None, BeforeValidator(_empty_is_none)]
"""An optional id; the empty string means none (SPEC.md: null and absent)."""


class Wire(BaseModel):
    """Data between processes. Unknown members are ignored, so that old and new releases can talk."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Body(BaseModel):
    """Data that a client sends. Unknown members are faults, so that a typo does not pass silently."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid")


class Scope(Wire):
    """Whose things a command is about: every row a service reads or writes is confined to it."""

    tenant_id: UUID
    project_id: UUID


class Caller(Wire):
    """Who asked: the credential's subject, for `createdBy` and for idempotency keys."""

    subject: str
    role: str = "admin"


class Idempotency(Wire):
    """An Idempotency-Key as sent by one caller to one route, with a hash of the decoded fields and files."""

    key: str
    route: str
    fingerprint: str


class Page(Wire):
    """The members every page carries."""

    total_count: int
    page: int
    page_size: int
    has_next_page: bool
    next_cursor: str | None = None


R = TypeVar("R", bound=BaseModel)


class Command(Wire, Generic[R]):
    """A request to one service, answered by an `R`. Imperative name; `write` commands take effect once per id."""

    service: ClassVar[str]
    write: ClassVar[bool] = False

    scope: Scope
    caller: Caller
    idempotency: Idempotency | None = None

    @classmethod
    def name(cls) -> str:
        """The command's type on the wire, such as `CreateNotebook`."""
        return cls.__name__

    @classmethod
    def reply_type(cls) -> type[R]:
        """The model of the answer, as written in `class X(Command[Answer])`."""
        for ancestor in cls.__mro__:
            arguments = getattr(ancestor, "__pydantic_generic_metadata__", {}).get("args", ())
            if arguments and not isinstance(arguments[0], TypeVar):
                reply: type[R] = arguments[0]
                return reply
        raise TypeError(f"{cls.__name__} does not say what it is answered by")


class Nothing(Wire):
    """The answer of a command that has none."""


class Event(Wire):
    """A fact, past tense. Its topic key is `<entity>.<event>.<tenant>.<project>.<notebook>[.<execution>]`."""

    type: ClassVar[str]
    schema_version: ClassVar[int] = 1

    scope: Scope

    def subject(self) -> str:
        """The CloudEvents subject: which thing the fact is about."""
        raise NotImplementedError

    def path(self) -> list[UUID]:
        """The ids after tenant and project in the topic key."""
        raise NotImplementedError

    def routing_key(self) -> str:
        """The topic key (DESIGN.md decision 3)."""
        ids = [self.scope.tenant_id, self.scope.project_id, *self.path()]
        return ".".join([self.type, *map(str, ids)])
