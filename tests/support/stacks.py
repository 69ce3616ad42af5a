"""Stacks and servers of a test's own, in folders that go with them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local import Stack
from tests.support.users import stack_users


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder that any user may enter: PostgreSQL and kernels have users of their own."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_stack(
    *,
    only: Collection[str] | None = None,
    slots: int | None = None,
    env: Mapping[str, str] | None = None,
    service_env: Mapping[str, Mapping[str, str]] | None = None,
    replicas: Mapping[str, int] | None = None,
) -> Iterator[Stack]:
    """A stack, up and ready, or its components in `only`; it ends with the context, or with this process.

    Starting it blocks: call it in a thread where the event loop is needed meanwhile.
    """
    with private_folder() as folder:
        settings = {**stack_users(), **(env or {})}
        stack = Stack(folder / "s", slots=slots, env=settings, service_env=service_env, replicas=replicas)
        stack.end_with_this_process()
        try:
            stack.up(only=only)
            yield stack
        finally:
            stack.delete()
