"""Schemas that authors wrote are checked in a child process: honest ones as ever, costly ones at nobody's expense."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from services.executor import parameter_rules, schema_check
from services.executor.parameter_rules import Misfits
from shared.child_pool import ChildPool
from shared.contracts.notebooks import Environment, Integration, PinnedNotebook

TYPED = {"type": "object", "properties": {"year": {"type": "integer"}, "names": {"items": {"type": "string"}}}}


@pytest.fixture(scope="module")
async def children() -> AsyncIterator[ChildPool]:
    children = ChildPool([schema_check.MODULE])
    yield children
    await children.close()


def notebook(schema: dict[str, Any], *, own: bool = True) -> PinnedNotebook:
    return PinnedNotebook(
        notebook_id=uuid4(),
        notebook_name="a test",
        version="1.0.0",
        kernel_type="python3",
        integration=Integration(),
        environment=Environment(),
        parameters=schema,
        content={
            "cells": [],
            "metadata": {"atelier": {"parameters": schema}} if own else {},
            "nbformat": 4,
            "nbformat_minor": 5,
        },
    )


async def misfits(
    children: ChildPool, schema: dict[str, Any], given: dict[str, Any], *, own: bool = True
) -> Misfits | None:
    return await schema_check.misfits(children, notebook(schema, own=own), given, owner="a tenant")


@pytest.mark.parametrize(
    "given", [{"year": 2024, "names": ["a"]}, {"year": "x", "names": ["a", 1]}, {"year": None}, {"other": 1}], ids=str
)
async def test_a_child_finds_what_is_found_without_one(children: ChildPool, given: dict[str, Any]) -> None:
    assert await misfits(children, TYPED, given) == parameter_rules.misfits(TYPED, given, is_ours=False)


async def test_a_schema_that_atelier_made_needs_no_child(children: ChildPool) -> None:
    assert await misfits(children, TYPED, {"year": "x"}, own=False) is None


def doubling(depth: int) -> dict[str, Any]:
    """Definitions that each name the next one twice: twice the work a level."""
    defs: dict[str, Any] = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(depth)}
    return {"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {**defs, f"d{depth}": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (doubling(60), {"a": 1}),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, {"a": 1}),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": [{"b": [n]} for n in range(20_000)]}),
        ({"properties": {"a": {"items": {"enum": [[n] for n in range(10_000)]}}}}, {"a": [[-1]] * 10_000}),
    ],
    ids=["doubling", "a loop", "every item with every other", "every item with every choice"],
)
async def test_a_costly_one_cannot_be_used_and_costs_only_its_child(
    children: ChildPool, schema: dict[str, Any], given: dict[str, Any]
) -> None:
    found = await misfits(children, schema, given)
    assert found is not None
    assert found.unusable or len(found.faults) == 101
    warned = parameter_rules.check(notebook(schema), given, strict=False, found=found)
    assert warned.warnings or warned.faults


async def test_after_it_the_next_one_is_checked(children: ChildPool) -> None:
    found = await misfits(children, TYPED, {"year": "x"})
    assert found is not None
    assert [fault.path for fault in found.faults] == ["parameters.year"]
