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
from tests.support.kernels import until


class Standin:
    """As much of a kernel as a pool looks at."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.run_dir = folder
        self.exited: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Maker:
    def __init__(self, folder: Path) -> None:
        self.made: list[Standin] = []
        self._folder = folder

    async def __call__(self, kind: str, _command: KernelCommand) -> ForkedKernel:
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
    assert await spares.take(scala) is None
    assert spares.ready() == {}
    spares.keep_one(scala)
    await until(lambda: spares.ready() == {"scala": 1})
    taken = await spares.take(scala)
    assert taken is cast("ForkedKernel", maker.made[0])
    await until(lambda: spares.ready() == {"scala": 1})
    assert len(maker.made) == 2
    maker.made[0].closed = True  # by its run


async def test_lasting_ones_stay_when_environments_come_and_go(spares: Spares, tmp_path: Path) -> None:
    spares.keep_one(origin(tmp_path / "r", lasting=True))
    for name in ("one", "two"):
        spares.keep_one(origin(tmp_path / name))
    await until(lambda: spares.ready() == {"r": 1, "two": 1})


async def test_a_changed_environments_kernel_is_not_given_out(spares: Spares, maker: Maker, tmp_path: Path) -> None:
    one = origin(tmp_path / "one")
    spares.keep_one(one)
    await until(lambda: spares.ready() == {"one": 1})
    before = fingerprint(one.command)
    (tmp_path / "one" / "new").write_text("x")
    assert fingerprint(one.command) != before
    assert await spares.take(one) is None
    await until(lambda: maker.made[0].closed)


async def test_eager_ones_are_made_at_once(maker: Maker, tmp_path: Path) -> None:
    spares = Spares(maker, most=0)
    spares.start([(origin(tmp_path / "scala", lasting=True), 2)])
    await until(lambda: spares.ready() == {"scala": 2})
    spares.keep_one(origin(tmp_path / "built"))
    await asyncio.sleep(0)
    assert spares.ready() == {"scala": 2}
    await spares.drop_all()
    assert all(kernel.closed for kernel in maker.made[:2])
    await until(lambda: spares.ready() == {"scala": 2})
    await spares.stop()
