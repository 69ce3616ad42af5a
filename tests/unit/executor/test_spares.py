"""Ready kernels by origin: which are kept, which given up; kernels are stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.spares import Origin, Spares, fingerprint
from services.executor.kernels.start_priority import StartPriority
from tests.support.polling import until


class Standin:
    """As much of a kernel as a pool looks at."""

    meter = None

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.run_dir = folder
        self.exited: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.closed = False

    async def suspend(self) -> None:
        assert not self.closed

    async def resume(self) -> None:
        assert not self.closed

    async def close(self) -> None:
        self.closed = True


class Maker:
    def __init__(self, folder: Path) -> None:
        self.made: list[Any] = []
        self._folder = folder

    async def __call__(self, kind: str, _command: KernelCommand, _priority: StartPriority) -> ForkedKernel:
        self.made.append(Standin(kind, self._folder / f"k{len(self.made)}"))
        return cast("ForkedKernel", self.made[-1])


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture
async def spares(maker: Maker) -> AsyncIterator[Spares]:
    spares = Spares(maker, most=1)
    spares.start()
    yield spares
    await spares.stop()
    assert all(kernel.closed for kernel in maker.made)


def origin(folder: Path, *, lasting: bool = False) -> Origin:
    folder.mkdir(exist_ok=True)
    command = KernelCommand(argv=(str(folder / "bin" / "python"), "-m", "kernel"), readable=(folder,))
    return Origin(kind=folder.name, command=command, lasting=lasting)


async def test_one_is_kept_from_the_first_use_on_and_replaced_when_taken(
    spares: Spares, maker: Maker, tmp_path: Path
) -> None:
    scala = origin(tmp_path / "scala", lasting=True)
    assert await spares.take(scala) == (maker.made[0], False)
    await until(lambda: spares.ready() == {"scala": 1})
    assert await spares.take(scala) == (maker.made[1], True)
    await until(lambda: spares.ready() == {"scala": 1})
    assert len(maker.made) == 3
    for taken in maker.made[:2]:
        taken.closed = True  # by its run


async def test_lasting_ones_stay_when_environments_come_and_go(spares: Spares, maker: Maker, tmp_path: Path) -> None:
    for one in (origin(tmp_path / "r", lasting=True), origin(tmp_path / "one"), origin(tmp_path / "two")):
        kernel, _ = await spares.take(one)
        await kernel.close()
    await until(lambda: spares.ready() == {"r": 1, "two": 1})


async def test_a_changed_environments_kernel_is_not_given_out(spares: Spares, maker: Maker, tmp_path: Path) -> None:
    one = origin(tmp_path / "one")
    kernel, _ = await spares.take(one)
    await kernel.close()
    await until(lambda: spares.ready() == {"one": 1})
    before = fingerprint(one.command)
    (tmp_path / "one" / "new").write_text("x")
    assert fingerprint(one.command) != before
    kernel, was_ready = await spares.take(one)
    assert (kernel, was_ready) == (maker.made[2], False)
    await kernel.close()
    await until(lambda: maker.made[1].closed)


async def test_eager_ones_are_made_at_once(maker: Maker, tmp_path: Path) -> None:
    spares = Spares(maker, most=0)
    spares.start([(origin(tmp_path / "scala", lasting=True), 2)])
    await until(lambda: spares.ready() == {"scala": 2})
    kernel, _ = await spares.take(origin(tmp_path / "built"))
    await kernel.close()
    await asyncio.sleep(0)
    assert spares.ready() == {"scala": 2}
    await spares.drop_all()
    assert all(kernel.closed for kernel in maker.made[:2])
    await until(lambda: spares.ready() == {"scala": 2})
    await spares.stop()
    assert all(kernel.closed for kernel in maker.made)
