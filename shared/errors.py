"""The one error family that crosses the bus: what went wrong, in words for the caller, without HTTP codes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel

MOST_FAULTS = 100
"""Faults that one answer names; where there are more, it says how many."""

LONGEST_PATH, LONGEST_MESSAGE, LONGEST_DETAIL = 300, 1_000, 4_000
"""Characters of a fault's path and message, and of an error's sentence: names and values in them may be megabytes. So
an error always fits a message of the bus."""


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


class Fault(BaseModel):
    """One thing wrong with a request: where (`path`, like `cells[2].cellType`) and what to do about it; both cut when
    they are very long."""

    path: Annotated[str, AfterValidator(lambda path: _cut(path, LONGEST_PATH))]
    message: Annotated[str, AfterValidator(lambda message: _cut(message, LONGEST_MESSAGE))]


class AtelierError(Exception):
    """Something the caller should hear about.

    `kind` names the family on the bus, `detail` is a sentence for people, `faults` lists every fault of a
    request at once, `extra` holds further members for the answer (such as `dateModified` of a conflict).
    """

    kind: ClassVar[str] = "internal"

    def __init__(self, detail: str, *, faults: list[Fault] | None = None, extra: dict[str, Any] | None = None) -> None:
        detail = _cut(detail, LONGEST_DETAIL)
        super().__init__(detail)
        self.detail = detail
        self.faults = faults or []
        self.extra = extra or {}


class NotFound(AtelierError):
    """The thing does not exist, or the caller may not see it."""

    kind = "not_found"


class Invalid(AtelierError):
    """The request is malformed; `faults` names each field."""

    kind = "invalid"


class Conflict(AtelierError):
    """The request contradicts the present state."""

    kind = "conflict"


class Forbidden(AtelierError):
    """The caller sees the thing but lacks the role."""

    kind = "forbidden"


class Unauthorized(AtelierError):
    """No credentials, or bad ones."""

    kind = "unauthorized"


class ExecutionFailed(AtelierError):
    """A run that was made for its values has none: it failed or was cancelled; `extra` says how."""

    kind = "execution_failed"


class TooLarge(AtelierError):
    """The body is over a limit; the detail names the limit."""

    kind = "too_large"


class RangeNotSatisfiable(AtelierError):
    """The range lies outside the bytes there are; `extra.contentRange` is the header that says how many those are."""

    kind = "range_not_satisfiable"


class UnsupportedMediaType(AtelierError):
    """The body is in a format that the call does not take."""

    kind = "unsupported_media_type"


class TooManyRequests(AtelierError):
    """A quota or rate limit is exhausted; `extra.retryAfter` says when to come back, in seconds."""

    kind = "too_many_requests"


class Unavailable(AtelierError):
    """A dependency is down. The request had, and will have, no effect."""

    kind = "unavailable"


class OutcomeUnknown(AtelierError):
    """A dependency is down and nobody could tell whether the write took effect."""

    kind = "outcome_unknown"


class DeadlineExceeded(AtelierError):
    """The deadline passed before the work was committed; it had no effect."""

    kind = "deadline_exceeded"


FAMILY: dict[str, type[AtelierError]] = {
    error.kind: error
    for error in (
        AtelierError,
        NotFound,
        Invalid,
        Conflict,
        ExecutionFailed,
        Forbidden,
        Unauthorized,
        TooLarge,
        RangeNotSatisfiable,
        UnsupportedMediaType,
        TooManyRequests,
        Unavailable,
        OutcomeUnknown,
        DeadlineExceeded,
    )
}
