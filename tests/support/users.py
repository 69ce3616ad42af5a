"""Which of pytest-xdist's processes this one is, and users of kernels that no other one gives to its own."""

from __future__ import annotations

import itertools
import os

NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 3
"""0 where there is but one."""

SOURCE_UIDS = (300_000 + 10_000 * NUMBER, 10_000)
"""The first user and how many, for kernels without a stack: a limit of processes holds for a user, machine-wide."""

UIDS_OF_STACK = 1_000

_stacks = itertools.count()


def stack_users() -> dict[str, str]:
    """Settings that give the kernels of a new stack users of their own, out of leftovers.KERNEL_UIDS."""
    first = 200_000 + 30 * UIDS_OF_STACK * NUMBER + UIDS_OF_STACK * (next(_stacks) % 30)
    return {"ATELIER_KERNEL_FIRST_UID": str(first), "ATELIER_KERNEL_UIDS": str(UIDS_OF_STACK)}
