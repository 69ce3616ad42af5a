"""RFC 7396 merge patches, and reading what comes out of them with every fault named."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from services.catalog import faults
from shared.errors import Fault

B = TypeVar("B", bound=BaseModel)


def wire_names(model: type[BaseModel]) -> set[str]:
    """The names that a model's members have on the wire."""
    return {field.alias or name for name, field in model.model_fields.items()}


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2. The patch's depth must have been checked."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def parse(model: type[B], value: Any, prefix: str, found: list[Fault]) -> B | None:
    """`value` as a `model`, or None with its faults added to `found`, below `prefix`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found += faults.of_validation(error, prefix)
        return None


def checked(adapter: TypeAdapter[Any], value: Any, path: str, found: list[Fault]) -> Any:
    """`value` as the adapter reads it, or None with its faults added to `found`."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        found += faults.of_validation(error, path)
        return None
