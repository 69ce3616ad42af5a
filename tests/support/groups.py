"""Which tests run in one process, one after the other, and in which order, when pytest-xdist runs two (`make test`).

A module is one group. Modules that share a stack of their package, or a server, are one group together, so that it is
built once. The session's `stack` and `api` are built once in each process; the modules that use them are spread over
both. The groups come from the tests' names and not from `xdist_group` marks, which pytest 9.2 loses
(pytest-dev/pytest-xdist#1386).
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TOP = "tests/"

CONTROLLED = (
    "e2e/test_kernel_metrics.py",
    "e2e/test_resources.py",
    "e2e/test_run_control.py",
    "e2e/test_run_control_cancel.py",
    "e2e/test_run_control_queue.py",
)
"""Modules that use the `controlled` stack, of which there are two: see tests/e2e/conftest.py."""

FORKED, PLAIN = "e2e/controlled with forked kernels", "e2e/controlled with plain kernels"

FOLDERS = ("abuse", "contract", "faults", "integration/artifacts", "integration/catalog", "integration/transfers")
"""Folders whose modules share a stack, or servers."""

ALONE = ("faults/test_schedules.py",)
"""Modules in them that do not."""

LONGEST_FIRST = (
    "faults",
    "abuse",
    "parity/test_parity.py",
    FORKED,
    "e2e/test_languages.py",
    PLAIN,
    "e2e/test_hostile_notebooks.py",
    "integration/executor/test_kernels.py",
    "integration/executor/test_scala_kernel.py",
    "integration/artifacts",
    "integration/executor/test_confined_languages.py",
    "integration/executor/test_hostile_languages.py",
    "integration/transfers",
    "faults/test_schedules.py",
    "e2e/test_environments.py",
    "integration/local_stack/test_servers.py",
    "integration/local_stack/test_commands.py",
    "e2e/test_leaks.py",
    "integration/catalog",
    "integration/executor/test_isolation.py",
    "e2e/test_output_corpus.py",
    "integration/executor/test_environment_kernels.py",
    "integration/executor/test_environments.py",
    "e2e/test_subscriber.py",
)
"""Groups that take longest, in order: begun first, so that both processes end at about the same time. Then come the
other modules with servers, and the unit tests last: many and short."""


def group_of(nodeid: str) -> str:
    """The group of a test."""
    module, _, test = nodeid.partition("::")
    module = module.removeprefix(TOP)
    if module in CONTROLLED:
        parameters = test.partition("[")[2].rstrip("]").split("-")
        for parameter, group in (("forked", FORKED), ("plain", PLAIN)):
            if parameter in parameters:
                return group
    if module in ALONE:
        return module
    return next((folder for folder in FOLDERS if module.startswith(f"{folder}/")), module)


def check(item: pytest.Item) -> None:
    """Refuse a test that uses a shared stack but would run apart from the others that do."""
    fixtures: list[str] = getattr(item, "fixturenames", [])
    group = group_of(item.nodeid)
    if ("controlled" in fixtures) != (group in {FORKED, PLAIN}) or ("fault_stack" in fixtures and group != "faults"):
        raise pytest.UsageError(f"{item.nodeid} uses another stack than its group: see CONTROLLED in {__file__}")


def order_of(nodeid: str) -> tuple[bool, int, str]:
    """The place of a test's group among the others, for sorting."""
    group = group_of(nodeid)
    place = LONGEST_FIRST.index(group) if group in LONGEST_FIRST else len(LONGEST_FIRST)
    return (group.startswith("unit/"), place, group)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Hands whole groups to the processes, in the order of the tests."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # the groups with most tests are not those that take longest

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
