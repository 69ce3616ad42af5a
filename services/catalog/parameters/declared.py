"""One declared parameter, whatever the language, and how it reads as JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

NO_DEFAULT: Any = object()
"""The declaration has no default, or one that is known only when it runs."""

_CHOICES = re.compile(r"\bone of:\s*(?P<choices>.+?)\s*$", re.IGNORECASE)

_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),  # before int: a bool is one
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)


@dataclass(kw_only=True)
class Declared:
    """A parameter. `types` are JSON Schema's words, empty for any; `constraints` holds further keywords."""

    name: str
    types: list[str] = field(default_factory=list)
    default: Any = NO_DEFAULT
    is_required: bool = False
    description: str = ""
    constraints: dict[str, Any] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        """The parameter as JSON Schema."""
        schema: dict[str, Any] = {}
        default = self.default if is_json(self.default) else NO_DEFAULT
        types = list(self.types) or ([] if default is NO_DEFAULT or default is None else types_of(default))
        if default is None and types and "null" not in types:
            types.append("null")
        if types:
            schema["type"] = types[0] if len(types) == 1 else types
        schema |= self.constraints
        choices = self._choices(types)
        if choices and "enum" not in schema:
            schema["enum"] = choices
        if "enum" in schema and default is not NO_DEFAULT and default not in schema["enum"]:
            schema["enum"] = [*schema["enum"], default]
        if default is not NO_DEFAULT:
            schema["default"] = default
        if self.description:
            schema["description"] = self.description
        return schema

    def _choices(self, types: list[str]) -> list[Any]:
        """The values of `one of: a, b, c` in the description, for plain types."""
        match = _CHOICES.search(self.description)
        if match is None or not types or types[0] in ("array", "object"):
            return []
        words = [word.strip().rstrip(".").strip("\"'`") for word in match["choices"].split(",")]
        if types[0] == "string":
            return [word for word in dict.fromkeys(words) if word]
        try:
            values = [orjson.loads(word) for word in words]
        except orjson.JSONDecodeError:
            return []
        return values if all(types_of(value)[:1] == types[:1] for value in values) else []


def types_of(value: Any) -> list[str]:
    """The JSON Schema type of a default."""
    return next(([word] for kind, word in _TYPES if isinstance(value, kind)), [])


def is_json(value: Any) -> bool:
    """Whether a default can be part of a JSON answer (no sets, bytes, NaN, huge integers or lone surrogates)."""
    if value is NO_DEFAULT:
        return False
    try:
        return bool(orjson.loads(orjson.dumps(value)) == value)
    except (orjson.JSONEncodeError, orjson.JSONDecodeError):
        return False
