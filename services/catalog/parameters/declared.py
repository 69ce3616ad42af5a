"""One declared parameter, whatever the language, and how it reads as JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

NO_DEFAULT: Any = object()
"""The declaration has no default, or one that is known only when it runs."""

LONGEST_DESCRIPTION = 1_000
"""Characters of a description that are kept: a comment may be that of thousands of parameters."""

LONGEST_NUMBER = 400
"""Characters of a number that is read as one; no double has more digits before its point."""

_CHOICES = re.compile(r"\bone of:", re.IGNORECASE)

_NUMBER = re.compile(r"^(-?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)[lLdDfF]?\Z", re.ASCII)
"""A number as any of the three languages writes it."""

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
        default = self.default if is_json(self.default) else NO_DEFAULT
        types = list(self.types) or ([] if default is NO_DEFAULT or default is None else types_of(default))
        enum = self.constraints.get("enum") or self._choices(types)
        if enum:
            enum = [*enum, default] if default is not NO_DEFAULT and default not in enum else enum
            if not all(_fits(value, types) for value in enum):
                types = _types_of_all(enum)
        elif default is None and types and "null" not in types:
            types.append("null")
        schema: dict[str, Any] = {}
        if types:
            schema["type"] = types[0] if len(types) == 1 else types
        schema |= self.constraints
        if enum:
            schema["enum"] = enum
        if default is not NO_DEFAULT:
            schema["default"] = default
        if self.description:
            schema["description"] = shortened(self.description)
        return schema

    def _choices(self, types: list[str]) -> list[Any]:
        """The values of `one of: a, b, c` in the description, for plain types."""
        match = _CHOICES.search(self.description)
        plain = [word for word in types if word != "null"]
        if match is None or not plain or {"array", "object"} & set(plain):
            return []
        if plain == ["integer"] and not self.types:
            plain = ["number"]  # the default happens to be whole; the others need not be
        choices = self.description[match.end() :]
        words = [word.strip().rstrip(".").strip("\"'`") for word in choices.split(",")]
        values = [_choice(word, plain) for word in dict.fromkeys(words) if word]
        if NO_DEFAULT in values:
            return []
        return [*values, None] if "null" in types else values


def shortened(text: str) -> str:
    """A description that is not too long."""
    return text if len(text) <= LONGEST_DESCRIPTION else text[: LONGEST_DESCRIPTION - 1] + "…"


def _choice(word: str, types: list[str]) -> Any:
    """A value as a comment names it, of one of the types; NO_DEFAULT when it is none."""
    value: Any = NO_DEFAULT
    if word.lower() in ("true", "false"):
        value = word.lower() == "true"
    elif len(word) <= LONGEST_NUMBER and (number := _NUMBER.match(word)):
        value = float(number[1]) if set(number[1]) & set(".eE") else int(number[1])
    if is_json(value) and _fits(value, types):
        return value
    return word if "string" in types else NO_DEFAULT


def _fits(value: Any, types: list[str]) -> bool:
    (word,) = types_of(value) or ["null"]
    return word in types or (word == "integer" and "number" in types)


def _types_of_all(values: list[Any]) -> list[str]:
    words = dict.fromkeys(word for value in values for word in types_of(value) or ["null"])
    return [word for word in words if word != "integer" or "number" not in words]


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
