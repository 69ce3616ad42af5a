"""What runs together, in which order, and what is left to the long run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import groups, long

TESTS = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/e2e/test_contract.py::test_a", "e2e/test_contract.py"),
        ("tests/e2e/test_run_control.py::test_a[forked]", groups.FORKED),
        ("tests/e2e/test_run_control_cancel.py::test_a[ignores-plain]", groups.PLAIN),
        ("tests/e2e/test_resources.py::test_a", "e2e/test_resources.py"),
        ("tests/e2e/test_resources.py::test_a[plain]", groups.PLAIN),
        ("tests/faults/test_saving.py::test_a[worker-storing]", "faults"),
        ("tests/faults/test_schedules.py::test_a", "faults/test_schedules.py"),
        ("tests/integration/catalog/test_uploads.py::test_a", "integration/catalog"),
        ("tests/unit/catalog/test_import.py::test_a[x::y]", "unit/catalog/test_import.py"),
    ],
)
def test_what_shares_a_stack_is_a_group(nodeid: str, group: str) -> None:
    assert groups.group_of(nodeid) == group


def test_long_groups_come_first_and_unit_tests_last() -> None:
    ordered = [
        "tests/faults/test_storing.py::test_a",
        "tests/e2e/test_run_control.py::test_a[forked]",
        "tests/e2e/test_contract.py::test_a",
        "tests/unit/catalog/test_import.py::test_a",
    ]
    shuffled = [ordered[place] for place in (2, 3, 0, 1)]
    assert sorted(shuffled, key=groups.order_of) == ordered


def test_every_name_in_the_tables_is_there() -> None:
    names = {*groups.CONTROLLED, *groups.FOLDERS, *groups.ALONE, *groups.LONGEST_FIRST} - {groups.FORKED, groups.PLAIN}
    assert [name for name in sorted(names) if not (TESTS / name).exists()] == []


def test_the_cases_that_are_not_usual_are_long() -> None:
    usual, other = long.others_are_long(["a", "b"], ["a"])
    assert (usual.values, [mark.name for mark in usual.marks]) == (("a",), [])
    assert (other.values, [mark.name for mark in other.marks]) == (("b",), ["long"])
    (pair,) = long.others_are_long([("a", 1)], [("a", 1)], several=True)
    assert pair.values == ("a", 1)
    with pytest.raises(AssertionError, match="c"):
        long.others_are_long(["a", "b"], ["c"])


def test_a_count_is_told_by_its_own_variable_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long, "LONG", False)
    assert long.count("ATELIER_SO_OFTEN", usual=1, long=20) == 1
    monkeypatch.setattr(long, "LONG", True)
    assert long.count("ATELIER_SO_OFTEN", usual=1, long=20) == 20
    monkeypatch.setenv("ATELIER_SO_OFTEN", "7")
    assert long.count("ATELIER_SO_OFTEN", usual=1, long=20) == 7
