"""The words in which a dataset file is refused."""

from __future__ import annotations

from shared.errors import Fault, Invalid

FILE_FIELD = "file"
"""The multipart part that the caller sent the data in."""


def refuse(
    reason: str,
    *,
    line: int | None = None,
    column: str | None = None,
    character: int | None = None,
    field: str = FILE_FIELD,
) -> Invalid:
    """The error for a file that is no proper table: the reason, with the place as far as that is known. Lines and
    characters count from 1."""
    where = [f"line {line}"] if line is not None else []
    if column is not None:
        where.append(f"column {column!r}")
    if character is not None:
        where.append(f"character {character}")
    sentence = f"{', '.join(where)}: {reason}" if where else reason
    sentence = sentence[0].upper() + sentence[1:]
    return Invalid(sentence, faults=[Fault(path=field, message=sentence)])
