from __future__ import annotations

import builtins
import keyword
from typing import Any
from uuid import uuid4

import pytest

from services.executor import parameter_rules
from shared.contracts.notebooks import Environment, Integration, KernelType, PinnedNotebook


def notebook(
    schema: dict[str, Any] | None = None, *, settings: dict[str, Any] | None = None, kernel: KernelType = "python3"
) -> PinnedNotebook:
    own = settings or {}
    return PinnedNotebook(
        notebook_id=uuid4(),
        notebook_name="a test",
        version="1.0.0",
        kernel_type=kernel,
        integration=Integration(),
        environment=Environment(),
        parameters=schema or {"type": "object", "properties": {}, **own.get("parameters", {})},
        content={"cells": [], "metadata": {"atelier": own}, "nbformat": 4, "nbformat_minor": 5},
    )


def faults(pinned: PinnedNotebook, given: dict[str, Any], *, strict: bool = False) -> dict[str, str]:
    return {fault.path: fault.message for fault in parameter_rules.check(pinned, given, strict=strict).faults}


TYPED = {
    "type": "object",
    "properties": {
        "year": {"type": "integer", "default": 2024},
        "region": {"type": "string", "enum": ["north", "south"]},
        "flag": {"type": "boolean"},
        "names": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["year", "region"],
}


def test_every_fault_is_found_at_once() -> None:
    found = faults(notebook(TYPED), {"year": "2024", "flag": 1, "names": ["a", None], "other": 1}, strict=True)
    assert found == {
        "parameters.region": "is required",
        "parameters.year": "must be an integer, not a string",
        "parameters.flag": "must be a boolean, not an integer",
        "parameters.names[1]": "must be a string, not null",
        "parameters.other": "the notebook does not declare it; it declares: flag, names, region, year",
    }


def test_choices_are_named() -> None:
    assert faults(notebook(TYPED), {"region": "east"})["parameters.region"] == "must be one of: 'north', 'south'"


def test_what_has_a_default_is_not_required() -> None:
    assert faults(notebook(TYPED), {"region": "north"}) == {}


@pytest.mark.parametrize("strict", [True, False])
def test_the_notebook_can_insist_whatever_the_request_says(strict: bool) -> None:
    pinned = notebook(settings={"strictParameters": True})
    assert set(faults(pinned, {"x": 1, "dataset_id": "d"}, strict=strict)) == {"parameters.x"}


def test_a_schema_without_further_properties_is_strict() -> None:
    assert set(faults(notebook({**TYPED, "additionalProperties": False}), {"region": "north", "x": 1})) == {
        "parameters.x"
    }


def test_names_that_cannot_be_variables_are_said_to_be_in_the_client_only() -> None:
    pinned = notebook({"type": "object", "properties": {"my-name": {"type": "integer"}}})
    first, second, third = parameter_rules.check(pinned, {"my-name": 1, "1st": 2, "größe": 3}, strict=False).warnings
    assert "'1st'" in first
    assert "only in client.parameters" in first
    assert "'größe'" in second
    assert "injected all the same" in second
    assert "'my-name'" in third
    assert "only in client.parameters" in third


@pytest.mark.parametrize(
    ("kernel", "good", "bad"),
    [
        ("python3", ["a", "_a", "straße"], ["", "a b", "1a", "class", "a;b", "a\n"]),
        ("r", ["a", "my.name", ".x"], ["", "_a", ".1x", "if", "TRUE", "a b", "a\n"]),
        ("scala", ["a", "aB_1"], ["", "val", "type", "a.b", "_", "a\n"]),
    ],
)
def test_which_names_can_be_variables(kernel: KernelType, good: list[str], bad: list[str]) -> None:
    assert [name for name in good + bad if parameter_rules.nameable(name, kernel)] == good


def compiles(name: str) -> bool:
    try:
        compile(f"{name} = 0", "<parameters>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


ODD_NAMES = [
    *keyword.kwlist,
    *keyword.softkwlist,
    *(name for name in dir(builtins) if name.isidentifier()),
    "__debug__",
    "__\U0001d41debug__",  # a bold d: Python reads it as __debug__
    "\ufb01nally",  # begins with a ligature
    "\U0001d427one",
    "\U0001d40done",  # a bold N: None
    "\U0001d413rue",
    "__name__",
    "__builtins__",
    "straße",
    "ª",
]
"""Every name that Python treats specially, and letters that it reads as others."""


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_python_name_is_taken_when_python_can_assign_to_it(name: str) -> None:
    found = faults(notebook(), {name: 1})
    if compiles(name):
        assert found == {}
        assert parameter_rules.nameable(name, "python3")
    else:
        assert "reserved word of Python" in found[f"parameters.{name}"]
        assert not parameter_rules.nameable(name, "python3")


def test_reserved_words_of_the_other_languages_are_refused() -> None:
    given = {"if": 1, "NA_real_": 1, "fine": 1}
    assert set(faults(notebook(kernel="r"), given)) == {"parameters.if", "parameters.NA_real_"}
    assert set(faults(notebook(kernel="scala"), {"val": 1, "fine": 1})) == {"parameters.val"}


def test_whole_numbers_become_integers_where_the_schema_wants_those() -> None:
    schema = {
        "properties": {
            "n": {"type": "integer"},
            "maybe": {"type": ["integer", "null"]},
            "either": {"type": ["integer", "number"]},
            "x": {"type": "number"},
            "many": {"type": "array", "items": {"type": "integer"}},
            "deep": {"type": "object", "properties": {"n": {"type": "integer"}}},
        }
    }
    given = {"n": 2.0, "maybe": -3.0, "either": 2.0, "x": 2.0, "many": [1.0, 2.5], "deep": {"n": 4.0}, "other": 5.0}
    fitted = parameter_rules.fitted(schema, given)
    assert repr(fitted) == repr(
        {"n": 2, "maybe": -3, "either": 2.0, "x": 2.0, "many": [1, 2.5], "deep": {"n": 4}, "other": 5.0}
    )
    assert repr(parameter_rules.fitted(schema, {"n": 1e300})) == "{'n': 1e+300}"


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"type": "no such type"}}},
        {"properties": {"x": {"$ref": "http://127.0.0.1:9/schema"}}},
        {"properties": {"x": {"$ref": "#/properties/x"}}},
        {"properties": {"x": {"$ref": "#/$defs/none"}}},
        {"properties": {"x": {"minimum": "1"}}},
    ],
)
def test_a_schema_that_cannot_be_used_is_a_warning(schema: dict[str, Any]) -> None:
    findings = parameter_rules.check(notebook(settings={"parameters": schema}), {"x": 1}, strict=False)
    assert findings.faults == []
    assert "cannot be used" in findings.warnings[0]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"type": "string", "pattern": "(a+)+$"}}},
        {"properties": {"x": {"type": "string"}}, "patternProperties": {"(x+)+$": {"type": "integer"}}},
        {"properties": {"x": True, "y": {"patternProperties": {"(a+)+$": True}, "additionalProperties": False}}},
    ],
)
@pytest.mark.timeout(5)
def test_regular_expressions_of_a_schema_are_not_run(schema: dict[str, Any]) -> None:
    given = {"x": "a" * 60 + "!", "y": {"a" * 60 + "!": 1}}
    assert parameter_rules.check(notebook(settings={"parameters": schema}), given, strict=False).faults == []


@pytest.mark.timeout(20)
def test_many_parameters_make_few_words() -> None:
    names = [f"n{number}" for number in range(20_000)]
    schema = {"type": "object", "properties": {name: {"default": 1} for name in names}, "required": names}
    given = {f"other{number}": 1 for number in range(20_000)} | {"\ufdfa" * 500_000: 1}
    findings = parameter_rules.check(notebook(schema), given, strict=False)
    assert findings.faults == []
    assert len(findings.warnings) == 101
    assert findings.warnings[-1] == "There are 19901 more warnings about the parameters."
    assert all(len(message) < 400 for message in faults(notebook(schema), given, strict=True).values())


def test_a_huge_value_makes_a_short_message() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "maxLength": 5}}}
    (message,) = faults(notebook(schema), {"x": "y" * 100_000}).values()
    assert len(message) <= parameter_rules.MESSAGE_LENGTH


def test_a_run_sees_the_defaults_of_the_metadata_but_leaves_those_of_the_cell_to_the_cell() -> None:
    schema = {"properties": {"x": {"default": 1}, "y": {"default": 2}, "z": True}}
    assert parameter_rules.seen_by_run(notebook(settings={"parameters": schema}), {"y": 3}) == {"x": 1, "y": 3}
    assert parameter_rules.seen_by_run(notebook(TYPED), {"region": "north"}) == {"region": "north"}
    assert parameter_rules.defaults(TYPED) == {"year": 2024}
