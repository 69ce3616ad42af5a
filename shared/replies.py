"""What comes back for a command: the answer, or the error in the family's words."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel

from shared.errors import FAMILY, MOST_FAULTS, AtelierError, Fault

_UNNAMED = Fault(path="", message="is one of more faults than are named")


class Reply(BaseModel):
    """Either `data` (or `dataref`, when it is over the bus's limit) or `error` is set."""

    data: Any = None
    dataref: str | None = None
    error: str | None = None
    detail: str = ""
    faults: list[Fault] = []
    more_faults: int = 0  # beside those, which are as many as an answer names
    extra: dict[str, Any] = {}

    def encode(self) -> bytes:
        """The reply as JSON."""
        return orjson.dumps(self.model_dump(mode="json", exclude_defaults=True))

    @classmethod
    def of(cls, answer: BaseModel) -> Reply:
        """The reply that carries `answer`."""
        return cls(data=answer.model_dump(mode="json", by_alias=True))

    @classmethod
    def of_error(cls, error: AtelierError) -> Reply:
        """The reply that carries `error`."""
        more = max(len(error.faults) - MOST_FAULTS, 0)
        named = error.faults[:MOST_FAULTS]
        return cls(error=error.kind, detail=error.detail, faults=named, more_faults=more, extra=error.extra)

    def raise_error(self) -> None:
        """Raise the error the reply carries, if it does."""
        if self.error is not None:
            family = FAMILY.get(self.error, AtelierError)
            faults = self.faults + [_UNNAMED] * self.more_faults
            raise family(self.detail, faults=faults, extra=self.extra)


def decode(body: bytes) -> Reply:
    """Read a reply."""
    return Reply.model_validate(orjson.loads(body))
