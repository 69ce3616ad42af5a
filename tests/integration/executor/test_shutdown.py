"""A kernel's orderly end: what it has opened is written, its exit functions run, and nobody waits for it for long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.executor.kernels.port import KernelRequest, KernelSource
from tests.support.kernels import Session, forked_source, plain_source

GRACE_S = 30.0
"""Longer than any orderly end takes: only a kernel that does not end would use it up, in seconds."""


@pytest.fixture(scope="module", params=["plain", "forked", "confined"])
async def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KernelSource]:
    without = ["pid", "mount", "net", "ipc", "uts", "uid"] if request.param == "confined" else []
    kernels: KernelSource = (
        plain_source()
        if request.param == "plain"
        else forked_source(tmp_path_factory.mktemp("k"), without_layers=without, imports=[])
    )
    await kernels.open()
    yield kernels
    await kernels.close()


@pytest.fixture
async def session(source: KernelSource, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Session]:
    request = KernelRequest(kernel_type="python3", run_dir=tmp_path_factory.mktemp("r") / "run")
    kernel = await source.acquire(request)
    yield Session(kernel)
    await kernel.close()


def work(session: Session, name: str) -> Path:
    return session.run_dir / "work" / name


async def test_a_kernel_that_is_asked_to_end_ends_by_itself(session: Session) -> None:
    await session.run("x = 1")
    await session.kernel.shut_down(GRACE_S)
    assert session.kernel.exited.done()
    assert session.kernel.exited.result().code == 0
    await session.kernel.shut_down(GRACE_S)  # again: nothing happens
