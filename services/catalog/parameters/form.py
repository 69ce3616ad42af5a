"""The parameter schema as a form wants it: a title a field, an order, and formats that call for a special widget.

What the schema says already stays as it is; the keywords that are added constrain nothing (JSON Schema treats titles,
formats and unknown keywords as notes).
"""

from __future__ import annotations

import re
from typing import Any

DATASET_PARAMETER = "dataset_id"
"""Selects the run's dataset (SPEC.md: Executions)."""

LONG_TEXT = 80
"""A default longer than this, in characters, or with a line break, wants a text area."""

_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_MOMENT = re.compile(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})\Z", re.ASCII)
_ADDRESS = re.compile(r"^https?://\S+\Z")
_FORMATS = (("date", _DATE), ("date-time", _MOMENT), ("uri", _ADDRESS))
_GAPS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])")


def ready(schema: dict[str, Any], title: str) -> dict[str, Any]:
    """`schema` with what a form needs. `x-order` lists the fields as the notebook declares them, and stands in each."""
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    fields = {
        name: _field(name, member, number) if isinstance(member, dict) else member
        for number, (name, member) in enumerate(properties.items())
    }
    return {"title": title, **schema, "properties": fields, "x-order": list(fields)}


def title_of(name: str) -> str:
    """`analysis_period` and `analysisPeriod` as `Analysis period`; words in capitals stay."""
    words = [word if word.isupper() and len(word) > 1 else word.lower() for word in _GAPS.split(name) if word]
    text = " ".join(words) or name
    return text[:1].upper() + text[1:]


def _field(name: str, member: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = {"title": title_of(name), **member, "x-order": number}
    if "format" not in member and "enum" not in member:
        form = _format(name, member)
        if form is not None:
            found["format"] = form
    return found


def _format(name: str, member: dict[str, Any]) -> str | None:
    """A format that the name or the default gives away, for text alone."""
    types = member.get("type")
    if "string" not in (types if isinstance(types, list) else [types]):
        return None
    if name == DATASET_PARAMETER:
        return "uuid"
    default = member.get("default")
    if not isinstance(default, str):
        return None
    if len(default) > LONG_TEXT or "\n" in default:
        return "textarea"
    return next((form for form, pattern in _FORMATS if pattern.match(default)), None)
