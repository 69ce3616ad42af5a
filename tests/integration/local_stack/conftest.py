"""What the tests of the native stack share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import Stack, debian
from tests.integration.local_stack.checkout import Checkout


@pytest.fixture(scope="session")
def servers() -> None:
    """The Debian packages of the servers; a CI machine has to have them."""
    missing = debian.missing(["rabbitmq", "postgresql"])
    if missing:
        says = f"not installed: {', '.join(need.package for need in missing)} ('make up' installs them)"
        pytest.fail(says) if os.environ.get("CI") == "true" else pytest.skip(says)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, servers: None) -> Iterator[Checkout]:
    """One checkout for a module; it is up, or can be brought up again quickly."""
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    yield made
    made.run("reset")


@pytest.fixture
def stack(tmp_path: Path, servers: None) -> Iterator[Stack]:
    """A stack of the real checkout's programs, of which nothing runs yet."""
    made = Stack(tmp_path / "stack")
    made.end_with_this_process()
    yield made
    made.delete()
