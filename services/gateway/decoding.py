"""From bytes and query strings to checked models: every fault of a request at once, in the client's own words."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from shared import exact_numbers
from shared.contracts.base import Body
from shared.errors import MOST_FAULTS, Fault, Invalid, TooLarge
from shared.exact_numbers import large_integers
from shared.nesting import MAX_NESTING, MAX_VALUES, brackets_too_deep, skeleton, value_count

M = TypeVar("M", bound=BaseModel)

LONGEST_TYPO = 60
"""Characters of an unknown name that are compared with the known ones."""

_UNNAMED = Fault(path="", message="is one of more faults than are named")

IN_LOOP_BYTES = 256 * 1024
"""Larger bodies are parsed in a thread, in bytes: parsing this many takes a few milliseconds."""


async def parse_json(raw: bytes) -> Any:
    """The value that `raw` holds; None when it is empty. Raises Invalid."""
    if len(raw) <= IN_LOOP_BYTES:
        return _parse(raw)
    return await asyncio.to_thread(_parse, raw)


def _parse(raw: bytes) -> Any:
    if not raw.strip():
        return None
    brackets = skeleton(raw)
    if value_count(brackets) > MAX_VALUES:
        raise TooLarge(
            f"The body has more than {MAX_VALUES:,} values (members and items, at every level). Send large data as a "
            "dataset, or as a file beside the notebook.",
            extra={"limitValues": MAX_VALUES},
        )
    if brackets_too_deep(brackets):
        raise Invalid(
            f"The body is nested deeper than {MAX_NESTING} levels.", faults=[_fault("", "is nested too deeply")]
        )
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        message = f"is not valid JSON: {error}"
        raise Invalid(f"The body {message}.", faults=[_fault("", message)]) from error
    rounded = large_integers(raw, MOST_FAULTS)
    if rounded:
        faults = [_fault(path_of(place), exact_numbers.MESSAGE) for place in rounded]
        raise Invalid(f"{faults[0].path or 'The body'} {exact_numbers.MESSAGE}.", faults=faults)
    if b"\\u0000" in raw:
        faults = [_fault(path, "must not contain the NUL character") for path in _with_nul(value)]
        if faults:
            raise Invalid("The body contains the NUL character.", faults=faults)
    return value


def check(
    model: type[M], data: Any, *, faults: list[Fault], nulls_are_absent: bool = True, strict: bool = False
) -> M | None:
    """`data` as a `model`; what is wrong with it is added to `faults`, and None is returned then. `strict` takes no
    text or number for another type: JSON can tell them apart, forms and queries cannot."""
    if not isinstance(data, dict):
        faults.append(_fault("", "must be a JSON object"))
        return None
    dropped = Dropped()
    if nulls_are_absent:
        data = without_nulls(data, model, dropped)
    elif len(data) > len(_members(model)) + MOST_FAULTS:
        data = _with_few_unknown(data, model, dropped)
    try:
        return _validated(model, data, strict)
    except ValidationError as error:
        faults += faults_of(error, model) + [_UNNAMED] * dropped.members
        return None


@dataclass
class Dropped:
    """How many unknown members were left out before validation, since enough others tell of the fault."""

    members: int = 0


def _validated(model: type[M], data: Any, strict: bool) -> M:
    if strict:  # as JSON again: a GUID or a time may be a text only there
        return model.model_validate_json(orjson.dumps(data), strict=True, by_alias=True, by_name=False)
    return model.model_validate(data, by_alias=True, by_name=False)


def places_of_faults(model: type[BaseModel], data: Any, *, strict: bool = False) -> list[tuple[int | str, ...]]:
    """Where `data` is no `model`."""
    try:
        _validated(model, data, strict)
    except ValidationError as error:
        return [details["loc"] for details in error.errors(include_url=False, include_input=False)]
    return []


def check_query(model: type[M], pairs: Iterable[tuple[str, str]], *, faults: list[Fault]) -> M | None:
    """A query string as a `model`. A parameter given twice is a fault."""
    data: dict[str, str] = {}
    for name, value in pairs:
        if name in data and len(faults) < MOST_FAULTS:
            faults.append(_fault(name, "is given more than once"))
        data[name] = value
    return check(model, data, faults=faults, nulls_are_absent=False)


def refuse(faults: list[Fault]) -> None:
    """Raise Invalid when there are faults."""
    if faults:
        first = faults[0]
        place = f"{first.path} " if first.path else "the request "
        more = f" (and {len(faults) - 1} more, see errors)" if len(faults) > 1 else ""
        sentence = f"{place}{first.message}{more}."
        raise Invalid(sentence[0].upper() + sentence[1:] if not first.path else sentence, faults=faults)


def without_nulls(data: Mapping[str, Any], model: type[BaseModel], dropped: Dropped | None = None) -> dict[str, Any]:
    """`data` without the members that are null, at every level where `model` knows the members: null and absent are the
    same on create. What is free-form, such as a run's parameters, keeps its nulls. Of unknown members the first hundred
    of each object stay, which is as many as an answer names."""
    known = _members(model)
    result: dict[str, Any] = {}
    unknown = 0
    for name, value in data.items():
        field = known.get(name)
        if value is None and field is not None:
            continue
        if field is None:
            unknown += 1
            if unknown > MOST_FAULTS:
                continue
        inner = _body_inside(field.annotation) if field is not None else None
        result[name] = _pruned(value, inner, dropped) if inner is not None else value
    if dropped is not None:
        dropped.members += max(unknown - MOST_FAULTS, 0)
    return result


def _pruned(value: Any, model: type[BaseModel], dropped: Dropped | None) -> Any:
    if isinstance(value, dict):
        return without_nulls(value, model, dropped)
    if isinstance(value, list):
        return [without_nulls(item, model, dropped) if isinstance(item, dict) else item for item in value]
    return value


def _with_few_unknown(data: Mapping[str, Any], model: type[BaseModel], dropped: Dropped) -> dict[str, Any]:
    known = _members(model)
    unknown = [name for name in data if name not in known]
    dropped.members += len(unknown) - MOST_FAULTS
    left_out = set(unknown[MOST_FAULTS:])
    return {name: value for name, value in data.items() if name not in left_out}


@cache
def _members(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _body_inside(annotation: Any) -> type[BaseModel] | None:
    """The Body model in `X`, `X | None` or `list[X]`, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, Body):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, list):
        for argument in get_args(annotation):
            found = _body_inside(argument)
            if found is not None:
                return found
    return None


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """A fault for each that pydantic found, with paths like `cells[2].cellType`; those after the first hundred, which
    no answer names, without place and words."""
    found = error.errors(include_url=False, include_input=False)
    named = [_fault(path_of(details["loc"]), _message(details, model)) for details in found[:MOST_FAULTS]]
    return named + [_UNNAMED] * (len(found) - len(named))


def path_of(location: Iterable[int | str]) -> str:
    """`('cells', 2, 'cellType')` as `cells[2].cellType`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif path:
            path += f".{part}"
        else:
            path = part
    return path


def _message(details: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = details["type"], details.get("ctx", {})
    location = details["loc"]
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        names = list(_members(model)) if len(location) == 1 else []
        close = get_close_matches(str(location[-1])[:LONGEST_TYPO], names, n=1)
        return "is not known" + (f"; did you mean {close[0]}?" if close else "")
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}"
    if kind.startswith(("int_", "greater_than", "less_than")) or kind == "int_parsing_size":
        return _range_message(location, model) or _plain(details)
    if kind in ("bool_parsing", "bool_type"):
        return "must be true or false"
    if kind.startswith("uuid"):
        return "must be a GUID"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_too_long":
        return f"must have at most {context['max_length']} characters"
    if kind == "value_error":
        return str(context.get("error", details["msg"]))
    if kind in ("dict_type", "model_type"):
        return "must be a JSON object"
    return _plain(details)


def _range_message(location: tuple[int | str, ...], model: type[BaseModel]) -> str | None:
    """`must be a whole number from 1 to 100`, for an integer member at the top level."""
    field = _members(model).get(str(location[0])) if len(location) == 1 else None
    if field is None:
        return None
    low = next((item.ge for item in field.metadata if hasattr(item, "ge")), None)
    high = next((item.le for item in field.metadata if hasattr(item, "le")), None)
    if low is None or high is None:
        return None
    return f"must be a whole number from {low} to {high}"


def _plain(details: ErrorDetails) -> str:
    return details["msg"].replace("Input should", "should", 1)


def _with_nul(value: Any) -> list[str]:
    """Paths of the strings and names that contain the NUL character, which PostgreSQL cannot store."""
    found: list[str] = []
    waiting: list[tuple[tuple[int | str, ...], Any]] = [((), value)]
    while waiting:
        location, item = waiting.pop()
        if len(found) >= MOST_FAULTS:
            break
        if isinstance(item, str):
            if "\x00" in item:
                found.append(path_of(location))
        elif isinstance(item, list):
            waiting += [((*location, index), entry) for index, entry in enumerate(item)]
        elif isinstance(item, dict):
            for name, entry in item.items():
                if "\x00" in name:
                    found.append(path_of((*location, name.replace("\x00", "\\u0000"))))
                waiting.append(((*location, name), entry))
    return found


def _fault(path: str, message: str) -> Fault:
    return Fault(path=path, message=message)
