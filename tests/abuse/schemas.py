"""Parameter schemas that a notebook brings along (`metadata.atelier.parameters`), and values for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.abuse.attacker import Attacker, Input, grouped

JsonObject = dict[str, Any]


def _doubling(keyword: str, depth: int) -> JsonObject:
    """Each definition holds the next one twice."""
    definitions = {
        f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(depth)
    }
    return {"$defs": {**definitions, f"d{depth}": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/d0"}}}


def _chain(depth: int) -> JsonObject:
    definitions: JsonObject = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(depth)}
    return {"$defs": {**definitions, f"d{depth}": {}}, "properties": {"x": {"$ref": "#/$defs/d0"}}}


def _within(keyword: str, depth: int) -> JsonObject:
    schema: JsonObject = {"type": "integer"}
    for _ in range(depth):
        schema = {keyword: schema}
    return {"properties": {"x": schema}}


def _of_x(**schema: Any) -> JsonObject:
    return {"properties": {"x": schema}}


def _text(text: str) -> Callable[[], Any]:
    return lambda: text


def _backtracking(pattern: str) -> Callable[[], JsonObject]:
    return lambda: _of_x(pattern=pattern)


def _list(length: int) -> Callable[[], Any]:
    return lambda: [{"n": n} for n in range(length)]


EVIL = _text("a" * 50_000 + "!")

SHAPES: dict[str, tuple[Callable[[], JsonObject], Callable[[], Any]]] = {
    "$defs doubling 25 levels, allOf": (lambda: _doubling("allOf", 25), _text("a")),
    "$defs doubling 25 levels, anyOf": (lambda: _doubling("anyOf", 25), lambda: 1),
    "$defs doubling 25 levels, oneOf": (lambda: _doubling("oneOf", 25), _text("a")),
    "a chain of 5,000 $refs": (lambda: _chain(5_000), lambda: 1),
    "$ref to itself": (lambda: {"$defs": {"a": {"$ref": "#/$defs/a"}}, **_of_x(**{"$ref": "#/$defs/a"})}, lambda: 1),
    "$ref to the whole": (lambda: _of_x(**{"$ref": "#"}), lambda: {"x": {"x": {"x": 1}}}),
    "$ref to another machine": (lambda: _of_x(**{"$ref": "http://127.0.0.1:1/schema"}), lambda: 1),
    "$dynamicRef": (lambda: {"$dynamicAnchor": "n", **_of_x(**{"$dynamicRef": "#n"})}, lambda: {"x": {"x": 1}}),
    "90 levels of not": (lambda: _within("not", 90), lambda: 1),
    "90 levels of items": (lambda: _within("items", 90), lambda: json.loads("[" * 60 + "1" + "]" * 60)),
    "nested repeats": (_backtracking(r"^(a+)+$"), EVIL),
    "adjacent repeats": (_backtracking(r"a*a*a*a*a*a*a*a*b"), EVIL),
    "alternatives": (_backtracking(r"^(a|a|aa)*$"), EVIL),
    "a pattern of 100,000 characters": (_backtracking("(" * 20_000 + "a" + ")*" * 20_000), EVIL),
    "a counted repeat": (_backtracking("((a{1,300}){1,300}){1,300}b"), EVIL),
    "patternProperties": (
        lambda: {"patternProperties": {f"^(a|a{n})*$": {} for n in range(1_000)}},
        lambda: 1,
    ),
    "anyOf of 10,000": (lambda: _of_x(anyOf=[{"const": n} for n in range(10_000)]), _text("none of them")),
    "enum of 100,000": (lambda: _of_x(enum=list(range(100_000))), lambda: -1),
    "enum of alike texts": (lambda: _of_x(enum=["alike" * 200 + str(n) for n in range(5_000)]), _text("alike" * 200)),
    "uniqueItems of 20,000 objects": (lambda: _of_x(uniqueItems=True), _list(20_000)),
    "contains among 20,000": (lambda: _of_x(contains={"required": ["no"]}), _list(20_000)),
    "unevaluatedProperties": (
        lambda: _of_x(anyOf=[{"properties": {f"n{n}": {}}} for n in range(500)], unevaluatedProperties=False),
        lambda: {f"m{n}": 1 for n in range(2_000)},
    ),
    "multipleOf of next to nothing": (lambda: _of_x(multipleOf=5e-324), lambda: 1e308),
    "50,000 properties": (lambda: {"properties": {f"p{n}": {"type": "integer"} for n in range(50_000)}}, lambda: 1),
    "50,000 required": (lambda: {"required": [f"p{n}" for n in range(50_000)]}, lambda: 1),
    "20,000 dependencies": (
        lambda: {"dependentRequired": {"x": [f"p{n}" for n in range(20_000)]}},
        lambda: 1,
    ),
    "no schema": (lambda: {"type": 5, "properties": [1, {"$ref": 7}], "$defs": "x"}, lambda: 1),
}


async def _check(attacker: Attacker, *, schema: Callable[[], JsonObject], value: Callable[[], Any]) -> None:
    cell: JsonObject = {
        "id": "a",
        "cell_type": "code",
        "source": "1",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    metadata = {"atelier": {"parameters": {"type": "object", **schema()}}}
    content = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]}).encode()
    status, notebook = await attacker.upload("notebook/upload", content, "schema.ipynb", notebookName="schema")
    if status == 201:
        await attacker.look(notebook)
        for body in ({"parameters": {"x": value()}, "dryRun": True}, {"parameters": {"x": value()}}):
            _, started = await attacker.send("runner", "POST", f"notebook/{notebook['notebookId']}/execute", body)
            await _end(attacker, notebook["notebookId"], started)


async def _end(attacker: Attacker, notebook_id: str, started: Any) -> None:
    if isinstance(started, dict) and "executionId" in started:
        await attacker.runner.post(f"notebook/{notebook_id}/execution/{started['executionId']}/cancel")


INPUTS = grouped(
    "schema",
    [Input(name, partial(_check, schema=schema, value=value)) for name, (schema, value) in SHAPES.items()],
)
