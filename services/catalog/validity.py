"""Whether a document is valid nbformat 4.5, with the place of every fault."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

from jsonschema import Draft4Validator
from jsonschema.exceptions import ValidationError as SchemaError
from nbformat.validator import ValidationError, get_validator

from services.catalog.faults import path_of
from shared.errors import MOST_FAULTS, Fault

_CELL_TYPES = {"code", "markdown", "raw"}
_OUTPUT_TYPES = {"execute_result", "display_data", "stream", "error"}

Path = tuple[str | int, ...]


def faults_of(body: dict[str, Any], prefix: str = "") -> list[Fault]:
    """What keeps `body` from being valid nbformat 4.5, at most MOST_FAULTS. Quick when it is valid."""
    try:
        _quick().validate(body)
    except ValidationError:
        pass  # said better, and for every place, below
    else:
        return []
    named = islice(_slowly(body), MOST_FAULTS)
    found = [Fault(path=path_of(path, prefix), message=message) for path, message in named]
    return found or [Fault(path=prefix or "cells", message="is not valid nbformat 4.5")]


@cache
def _quick() -> Any:
    return get_validator(4, 5, name="fastjsonschema")


@cache
def _thorough() -> Draft4Validator:
    return Draft4Validator(get_validator(4, 5, name="jsonschema")._schema)  # nbformat offers no other way to its schema


def _slowly(body: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Every fault, asking each cell and output by its own definition, for a useful word instead of `no match`."""
    yield from _by(None, {**body, "cells": []}, ())
    for index, cell in enumerate(body["cells"]):
        place: Path = ("cells", index)
        if not isinstance(cell, dict) or cell.get("cell_type") not in _CELL_TYPES:
            yield (*place, "cell_type"), "must be code, markdown or raw"
            continue
        outputs = cell.get("outputs")
        bare = {**cell, "outputs": []} if cell["cell_type"] == "code" and isinstance(outputs, list) else cell
        yield from _by(f"{cell['cell_type']}_cell", bare, place)
        if bare is not cell:
            yield from _outputs(outputs or [], (*place, "outputs"))


def _outputs(outputs: list[Any], place: Path) -> Iterator[tuple[Path, str]]:
    for index, output in enumerate(outputs):
        kind = output.get("output_type") if isinstance(output, dict) else None
        if kind in _OUTPUT_TYPES:
            yield from _by(kind, output, (*place, index))
        else:
            yield (*place, index, "output_type"), f"must be one of {', '.join(sorted(_OUTPUT_TYPES))}"


def _by(definition: str | None, value: Any, place: Path) -> Iterator[tuple[Path, str]]:
    validator = _thorough()
    if definition:
        validator = validator.evolve(schema={"$ref": f"#/definitions/{definition}", **_definitions()})
    for error in validator.iter_errors(value):
        yield (*place, *error.absolute_path), _words(error)


@cache
def _definitions() -> dict[str, Any]:
    definitions: dict[str, Any] = {"definitions": _thorough().schema["definitions"]}
    return definitions


def _words(error: SchemaError) -> str:
    return error.message if len(error.message) <= 200 else f"{error.message[:200]}…"
