"""The rules of a run's parameters: do they fit the notebook's schema, which can be variables, what are the defaults.

Pure, no I/O. A schema may come from a client (`metadata.atelier.parameters`), so nothing here trusts it: it fetches no
reference, and `pattern` is not checked, because a regular expression can be made to run for ever. Checking against such
a schema may take for ever all the same: services do it in a child process (`schema_check.py`).
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import jsonschema
import orjson
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from shared.contracts.notebooks import KernelType, PinnedNotebook
from shared.errors import MOST_FAULTS, Fault
from shared.exact_numbers import INTEGERS

DATASET_PARAMETER = "dataset_id"
"""Selects the run's dataset; every notebook takes it (SPEC.md: Executions)."""

MESSAGE_LENGTH = 300
"""Longest message about one value, in characters: the value itself may be megabytes."""

_DEBUG = "__debug__"
"""No keyword of Python, but a name that it refuses to assign."""

_R_NAME = re.compile(r"^([A-Za-z]|\.(?![0-9]))[A-Za-z0-9._]*\Z")
_R_WORDS = frozenset({"if", "else", "repeat", "while", "function", "for", "next", "break", "in"})
_R_WORDS |= {"TRUE", "FALSE", "NULL", "Inf", "NaN", "NA", "NA_integer_", "NA_real_", "NA_complex_", "NA_character_"}
_SCALA_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]*\Z")
# fmt: off
_SCALA_WORDS = frozenset({
    "abstract", "case", "catch", "class", "def", "do", "else", "extends", "false", "final", "finally", "for",
    "forSome", "if", "implicit", "import", "lazy", "match", "new", "null", "object", "override", "package",
    "private", "protected", "return", "sealed", "super", "this", "throw", "trait", "try", "true", "type", "val",
    "var", "while", "with", "yield",
})
# fmt: on

_JSON_WORDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),  # before int: a bool is one
    (int, "an integer"),
    (float, "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)
_RESERVED = {
    kernel: f"is a reserved word of {language}, so no variable can have this name; choose another"
    for kernel, language in (("python3", "Python"), ("r", "R"), ("scala", "Scala"))
}
_SCHEMA_WORDS = {"null": "null"} | {word.split()[1]: word for _, word in _JSON_WORDS}


def _additional_properties(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """jsonschema's own, except beside `patternProperties`, which it would match."""
    if "patternProperties" not in schema:
        yield from jsonschema.Draft202012Validator.VALIDATORS["additionalProperties"](
            validator, wanted, instance, schema
        )


_Validator: Any = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {
        "pattern": None,
        "patternProperties": None,
        "unevaluatedProperties": None,
        "additionalProperties": _additional_properties,
    },
)


@dataclass(frozen=True, kw_only=True)
class Misfits:
    """Values that a schema refuses, or why the schema cannot be used."""

    faults: list[Fault] = field(default_factory=list)
    unusable: str | None = None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What there is to say about the parameters of a request."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def nameable(name: str, kernel_type: KernelType) -> bool:
    """Whether a parameter can be a variable in the notebook's language."""
    return _is_identifier(name, kernel_type) and not reserved(name, kernel_type)


def reserved(name: str, kernel_type: KernelType) -> bool:
    """Whether the language keeps the name for itself: it reads like a variable's, but nothing can be assigned to it."""
    if kernel_type == "python3":
        # Python compares identifiers in normal form, keywords as they are written.
        # A normal form in plain letters is never shorter than the name, and that of a long name may be very long.
        return keyword.iskeyword(name) or (len(name) <= len(_DEBUG) and unicodedata.normalize("NFKC", name) == _DEBUG)
    return name in (_R_WORDS if kernel_type == "r" else _SCALA_WORDS)


def _is_identifier(name: str, kernel_type: KernelType) -> bool:
    if kernel_type == "python3":
        return name.isidentifier()
    return (_R_NAME if kernel_type == "r" else _SCALA_NAME).match(name) is not None


def fitted(schema: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`given` with whole numbers as integers where the schema wants those: JSON Schema takes 2.0 for an integer, but
    the notebook's code (`range(n)`) does not. Only numbers of 64 bits are changed; `check` refuses others."""
    declared = _properties(schema)
    return {name: _as_integers(declared.get(name), value) for name, value in given.items()}


def _as_integers(schema: Any, value: Any) -> Any:
    """Goes as deep as the value, which the gateway bounds; the schema is looked at only beside it."""
    if not isinstance(schema, dict):
        return value
    if isinstance(value, float):
        whole = value.is_integer() and _wants_integer(schema) and INTEGERS.start <= value < INTEGERS.stop
        return int(value) if whole else value
    if isinstance(value, list):
        return [_as_integers(schema.get("items"), item) for item in value]
    if isinstance(value, dict):
        return fitted(schema, value)
    return value


def _wants_integer(schema: dict[str, Any]) -> bool:
    types = schema.get("type")
    types = types if isinstance(types, list) else [types]
    return "integer" in types and "number" not in types


def defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """The defaults of a schema's properties."""
    return {
        name: member["default"]
        for name, member in _properties(schema).items()
        if isinstance(member, dict) and "default" in member
    }


def seen_by_run(notebook: PinnedNotebook, given: dict[str, Any]) -> dict[str, Any]:
    """The values that a run is given: those of the request over the defaults of a schema in the notebook's metadata.
    Defaults of a cell tagged `parameters` are not among them: the cell itself sets those."""
    explicit = _settings(notebook).get("parameters")
    return {**(defaults(explicit) if isinstance(explicit, dict) else {}), **given}


def has_own_schema(notebook: PinnedNotebook) -> bool:
    """Return whether the notebook's author wrote the schema, so that checking against it may cost anything."""
    return "parameters" in _settings(notebook)


def misfits_as_bytes(question: bytes) -> bytes:
    """`misfits` for a child process: JSON in (`schema`, `given`), JSON out (`faults`, `unusable`)."""
    asked = orjson.loads(question)
    found = misfits(asked["schema"], asked["given"], is_ours=False)
    return orjson.dumps({"faults": [fault.model_dump() for fault in found.faults], "unusable": found.unusable})


def check(notebook: PinnedNotebook, given: dict[str, Any], *, strict: bool, found: Misfits | None = None) -> Findings:
    """Hold `given` against the notebook's schema; every fault is found. `strict`, or the notebook's own
    `strictParameters`, makes names that the notebook does not declare faults; otherwise they are warnings. `found` is
    what `misfits` says, where that was asked elsewhere."""
    schema = notebook.parameters
    declared = _properties(schema)
    strict = strict or _settings(notebook).get("strictParameters") is True
    strict = strict or schema.get("additionalProperties") is False
    with_default = defaults(schema)
    faults = [
        Fault(path=f"parameters.{name}", message="is required")
        for name in _required(schema)
        if name not in given and name not in with_default
    ]
    faults += [
        Fault(path=f"parameters.{_short(name)}", message=_RESERVED[notebook.kernel_type])
        for name in sorted(given)
        if reserved(name, notebook.kernel_type)
    ]
    warnings: list[str] = []
    found = found or misfits(schema, given, is_ours=not has_own_schema(notebook))
    faults += found.faults
    if found.unusable is not None:
        warnings.append(
            f"The notebook's own parameter schema cannot be used ({found.unusable}); the values were not checked "
            "against it."
        )
    undeclared = sorted(set(given) - set(declared) - {DATASET_PARAMETER})
    if strict:
        known = ", ".join(sorted(declared)) or "none"
        message = _short(f"the notebook does not declare it; it declares: {known}")
        faults += [Fault(path=f"parameters.{name}", message=message) for name in undeclared]
    else:
        warnings += [
            _undeclared(name, notebook.kernel_type) for name in undeclared if not reserved(name, notebook.kernel_type)
        ]
    warnings += [
        f"The parameter {_short(repr(name))} cannot be the name of a variable; {_elsewhere(notebook.kernel_type)}."
        for name in sorted(set(given) & set(declared))
        if not nameable(name, notebook.kernel_type) and not reserved(name, notebook.kernel_type)
    ]
    if len(warnings) > MOST_FAULTS:
        more = len(warnings) - MOST_FAULTS
        warnings[MOST_FAULTS:] = [f"There are {more} more warnings about the parameters."]
    return Findings(faults=faults, warnings=warnings)


def _undeclared(name: str, kernel_type: KernelType) -> str:
    shown = _short(repr(name))
    if nameable(name, kernel_type):
        return f"The notebook does not declare the parameter {shown}; it is injected all the same."
    return (
        f"The notebook does not declare the parameter {shown}, and it cannot be the name of a variable; "
        f"{_elsewhere(kernel_type)}."
    )


def _elsewhere(kernel_type: KernelType) -> str:
    place = "client.parameters" if kernel_type == "python3" else "the parameters of the run folder's run.json"
    return f"it is only in {place}"


def _settings(notebook: PinnedNotebook) -> dict[str, Any]:
    metadata = notebook.content.get("metadata")
    settings = metadata.get("atelier") if isinstance(metadata, dict) else None
    return settings if isinstance(settings, dict) else {}


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _required(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required")
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def misfits(schema: dict[str, Any], given: dict[str, Any], *, is_ours: bool) -> Misfits:
    """Find the values that do not fit. What is missing or not declared is the caller's to say, in its own words. A
    schema that is not `is_ours` may cost anything: only a child process may be given one."""
    try:
        return Misfits(faults=_misfits(schema, given, is_ours=is_ours))
    except (SchemaError, Unresolvable, RecursionError, ValueError, TypeError) as error:
        return Misfits(unusable=_short(_first_line(error)))


def _misfits(schema: dict[str, Any], given: dict[str, Any], *, is_ours: bool) -> list[Fault]:
    plain = {name: member for name, member in schema.items() if name not in ("required", "additionalProperties")}
    if not is_ours:
        _Validator.check_schema(plain)
    errors = islice(_Validator(plain, registry=Registry()).iter_errors(given), MOST_FAULTS + 1)
    return [Fault(path=_path(error.absolute_path), message=_words(error)) for error in errors]


def _path(parts: Any) -> str:
    return "parameters" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _words(error: Any) -> str:
    if error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        names = " or ".join(_SCHEMA_WORDS.get(word, str(word)) for word in wanted)
        return f"must be {names}, not {_kind(error.instance)}"
    if error.validator == "enum":
        return _short("must be one of: " + ", ".join(map(repr, error.validator_value)))
    return _short(error.message)


def _kind(value: Any) -> str:
    return next((word for kind, word in _JSON_WORDS if isinstance(value, kind)), "null")


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "message", error)) or type(error).__name__).splitlines()[0]


def _short(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"
