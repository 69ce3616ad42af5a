"""Every notebook of the corpus gives here what it gives under the papermill command (`make parity-record`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.local.services import KERNEL_PYTHON
from tests.parity import environment, record, service_runs
from tests.parity.corpus import Case, cases
from tests.parity.differences import DIFFERENCES, NOT_YET, right_here
from tests.parity.service_runs import Outcome
from tests.support.api import Api

AT_A_TIME = 8
"""Runs under way: more than there are slots, so that none is ever free."""

Outcomes = Mapping[str, Outcome | BaseException]

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """The record, if this machine's kernels are those that it was made with."""
    found = record.load()
    here = record.versions(KERNEL_PYTHON)
    other = {name: (found["made"][name], here[name]) for name in here if found["made"][name] != here[name]}
    if other and os.environ.get("CI") == "true":
        pytest.fail(f"the record was made with other versions (make parity-record): {other}")
    if other:
        pytest.skip(f"the record was made with other versions: {other}")
    return found


def needed(request: pytest.FixtureRequest, test: str) -> list[Case]:
    """The cases that the chosen tests are about."""
    names = {
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test and hasattr(item, "callspec")
    }
    return [case for case in cases().values() if case.id in names]


async def run_all(api: Api, chosen: Iterable[Case], packages: list[str]) -> Outcomes:
    """Run the cases, several at a time."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def run(case: Case) -> Outcome:
        async with gate:
            return await service_runs.run(api, case, packages)

    waiting = {case.id: run(case) for case in chosen}
    return dict(zip(waiting, await asyncio.gather(*waiting.values(), return_exceptions=True), strict=True))


@pytest.fixture(scope="module")
async def base(request: pytest.FixtureRequest, recorded: dict[str, Any], api: Api) -> Outcomes:
    """The outcomes in the base environment."""
    return await run_all(api, needed(request, "test_in_the_base_environment"), [])


@pytest.fixture(scope="module")
async def built(request: pytest.FixtureRequest, recorded: dict[str, Any], api: Api) -> Outcomes:
    """The outcomes in a built environment."""
    return await run_all(api, needed(request, "test_in_a_built_environment"), environment.PACKAGES)


def parameters(*, are_built: bool) -> list[Any]:
    """A parameter a case, marked where it is known to fail."""
    found = []
    for case in cases().values():
        marks = [pytest.mark.xfail(reason=NOT_YET[case.id])] if case.id in NOT_YET else []
        if are_built or not case.built:
            found.append(pytest.param(case.id, marks=marks))
    return found


def compare(recorded: dict[str, Any], outcomes: Outcomes, where: str, name: str) -> None:
    """Assert that the outcome of a case is as recorded."""
    outcome = outcomes[name]
    if isinstance(outcome, BaseException):
        raise outcome
    assert outcome.answer == right_here(name, record.expected(recorded, where, name))
    assert list(service_runs.disagreements(outcome)) == []


@pytest.mark.parametrize("name", parameters(are_built=False))
async def test_in_the_base_environment(recorded: dict[str, Any], base: Outcomes, name: str) -> None:
    compare(recorded, base, "base", name)


@pytest.mark.parametrize("name", parameters(are_built=True))
async def test_in_a_built_environment(recorded: dict[str, Any], built: Outcomes, name: str) -> None:
    compare(recorded, built, "built", name)


def test_the_lists_name_cases_of_the_corpus() -> None:
    named = {name for difference in DIFFERENCES for name in difference.cases} | set(NOT_YET)
    assert named - set(cases()) == set()


def test_the_record_has_an_answer_for_each_case(recorded: dict[str, Any]) -> None:
    assert set(recorded["base"]) == {case.id for case in cases().values() if not case.built}
    assert {case.id for case in cases().values() if case.built} <= set(recorded["built"]) <= set(cases())


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_papermill_still_answers_so(recorded: dict[str, Any], tmp_path: Path) -> None:
    anew = record.without_repetition(await record.record(list(cases().values()), tmp_path))
    for where in record.WHERE:
        assert anew[where] == recorded[where]
