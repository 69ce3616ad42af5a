"""Versions, etags, preconditions, cell ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest

from services.catalog import cell_ids
from services.catalog.cell_ids import Numbering
from services.catalog.document import Document, empty, new_cell
from services.catalog.files.file_set import Entry, FileSet
from services.catalog.model import (
    Definition,
    check_precondition,
    etag_of,
    is_version,
    next_modification,
    next_version,
)
from shared.contracts.notebooks import Environment, Integration, Precondition
from shared.errors import Conflict

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("version", "content_changed", "following"),
    [("1.3.2", True, "1.4.0"), ("1.3.2", False, "1.3.3"), ("1.0.9", False, "1.0.10"), ("1.9.9", True, "1.10.0")],
)
def test_versions(version: str, content_changed: bool, following: str) -> None:
    assert next_version(version, content_changed=content_changed) == following


@pytest.mark.parametrize("text", ["1.0", "1.0.0.0", "01.0.0", "1.0.0\n", "v1.0.0", "1.0.-1", "", "1.0.٣", "1" * 40])
def test_what_is_no_version(text: str) -> None:
    assert not is_version(text)


def test_the_etag_tells_definitions_apart() -> None:
    notebook_id = uuid4()
    base = Definition(
        name="a",
        description=None,
        kernel_type="python3",
        integration=Integration(schedule_parameters={"flag": True}),
        environment=Environment(),
        document=Document(body={**empty(), "cells": [new_cell("a", "code", "1")]}),
    )
    members: list[dict[str, object]] = [
        {},
        {"name": "b"},
        {"description": ""},
        {"kernel_type": "r"},
        {"integration": Integration(schedule_parameters={"flag": 1})},
        {"environment": Environment(packages=["pandas"])},
        {"files": FileSet({"helpers.py": Entry("0" * 64, 1, NOW)})},
        {"files": FileSet({"helpers.py": Entry("1" * 64, 1, NOW)})},
        {"files": FileSet({"other.py": Entry("0" * 64, 1, NOW)})},
        {"document": Document(body=base.document.body, outputs={"a": {"outputs": [], "execution_count": 1}})},
    ]
    variants = [Definition(**{**base.__dict__, **changed}) for changed in members]
    assert len({etag_of(notebook_id, "1.0.0", variant) for variant in variants}) == len(variants)
    assert etag_of(notebook_id, "1.0.0", base) == etag_of(notebook_id, "1.0.0", variants[0])
    assert etag_of(notebook_id, "1.0.1", base) != etag_of(notebook_id, "1.0.0", base)


def test_a_change_is_always_later_than_the_one_before() -> None:
    assert next_modification(NOW, NOW + timedelta(seconds=1, microseconds=999)) == NOW + timedelta(seconds=1)
    for clock in (NOW, NOW - timedelta(hours=1), NOW + timedelta(microseconds=999)):
        assert next_modification(NOW, clock) == NOW + timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "given",
    [
        Precondition(),
        Precondition(etag="abc"),
        Precondition(etag='"abc"'),
        Precondition(etag='"x", "abc"'),
        Precondition(etag="*"),
        Precondition(date_modified=NOW),
        Precondition(date_modified=NOW.replace(tzinfo=None)),
        Precondition(date_modified=NOW + timedelta(microseconds=400)),
        Precondition(date_modified=NOW.astimezone(timezone(timedelta(hours=5)))),
    ],
)
def test_preconditions_that_hold(given: Precondition) -> None:
    check_precondition(given, etag="abc", modified_at=NOW)


@pytest.mark.parametrize(
    "given",
    [
        Precondition(etag="abd"),
        Precondition(etag=""),
        Precondition(etag='W/"abc"'),  # a weak tag never matches (RFC 9110 section 13.1.1)
        Precondition(date_modified=NOW - timedelta(milliseconds=1)),
        Precondition(etag="abc", date_modified=NOW + timedelta(seconds=1)),
    ],
)
def test_preconditions_that_are_stale(given: Precondition) -> None:
    with pytest.raises(Conflict) as raised:
        check_precondition(given, etag="abc", modified_at=NOW)
    assert raised.value.extra["dateModified"] == "2026-01-02T03:04:05.678Z"


def test_ids_go_on_above_the_highest_ever_seen() -> None:
    numbering = Numbering(4, known=["cell-007", "cell-x", "other", "cell-6"])
    assert [numbering.give(), numbering.give()] == ["cell-008", "cell-009"]
    numbering.see("cell-1200")
    numbering.see("cell-3")
    assert numbering.give() == "cell-1201"
    assert numbering.highest == 1201


@pytest.mark.parametrize("cell_id", ["a", "A-b_9", "x" * 64])
def test_valid_ids(cell_id: str) -> None:
    assert cell_ids.is_valid(cell_id)


@pytest.mark.parametrize("cell_id", ["", "a b", "x" * 65, "é", "a\n", None, 5, ["a"]])
def test_invalid_ids(cell_id: object) -> None:
    assert not cell_ids.is_valid(cell_id)
