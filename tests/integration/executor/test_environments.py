"""Environments on the disk: resolved and built once, found again, removed when unused, given up when cancelled.

A program stands for uv, so that no index is needed and every call is counted.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from services.executor.environments import shelf
from services.executor.environments.base import BaseEnvironment
from services.executor.environments.building import BASE_LINK
from services.executor.environments.preparing import RESOLUTION_AGE_S, Environments, Prepared
from services.executor.environments.rules import EnvironmentBuildError
from services.executor.environments.sandbox import BuildSandbox
from services.executor.environments.shelf import Shelf
from services.executor.environments.uv import PackageIndex
from services.executor.kernels.forkserver.confinement import Limits
from shared.contracts.libraries import Library, PinnedLibrary
from shared.contracts.notebooks import Environment

pytestmark = pytest.mark.slow(reason="uv resolves and builds environments")

FAKE_UV = """#!{python}
import os, pathlib, subprocess, sys, time
root = pathlib.Path({root!r})
words = sys.argv[1:]
with (root / "calls").open("a") as calls:
    calls.write(" ".join(words[:2]) + "\\n")
(root / "environment").write_text("\\n".join(sorted(os.environ)))
if words[:2] == ["pip", "compile"]:
    asked = pathlib.Path(words[2]).read_text().split()
    if "absent" in asked:
        print("error: No solution", file=sys.stderr)
        sys.exit(f"  cause: Because absent was not found at https://me:secret@index/simple in {{root}}")
    if "slow" in asked:
        child = subprocess.Popen(["sleep", "600"])
        (root / "child").write_text(str(child.pid))
        time.sleep(600)
    constraints = pathlib.Path(words[words.index("--constraints") + 1]).read_text()
    if "xclash" in asked and "pandas==" in constraints:
        sys.exit("  cause: Because xclash needs pandas==0.1 and there is another, the requirements are unsatisfiable")
    lock = pathlib.Path(words[words.index("--output-file") + 1])
    chosen = dict(line.split()[0].split("==") for line in lock.read_text().splitlines() if "==" in line)
    chosen |= {{name: "1.0" for name in asked if name[0] == "x"}}
    if "xclash" in asked:
        chosen["pandas"] = "0.1"
    names = sorted(name for name in chosen if name in asked)
    lock.write_text("".join(f"{{name}}=={{chosen[name]}} \\\\\\n    --hash=sha256:aa\\n" for name in names))
elif words[0] == "venv":
    made = subprocess.run([sys.executable, "-m", "venv", "--without-pip", words[-1]]).returncode
    wanted = pathlib.Path(words[words.index("--python") + 1]).name
    if wanted == "python3.99":
        (library,) = pathlib.Path(words[-1], "lib").iterdir()
        library.rename(library.with_name(wanted))
    sys.exit(made)
else:
    time.sleep(0.2)
    folder = pathlib.Path(words[words.index("--python") + 1]).parents[1]
    (folder / "filling").write_bytes(os.urandom(1_000_000))
"""


@pytest.fixture
def kernel_python() -> Path:
    return Path(__file__).resolve().parents[3] / ".venv-kernel/bin/python"


Make = Callable[..., Environments]


@pytest.fixture
async def make(tmp_path: Path, kernel_python: Path) -> AsyncIterator[Make]:
    uv = tmp_path / "uv"
    uv.write_text(FAKE_UV.format(python=sys.executable, root=str(tmp_path)))
    uv.chmod(0o755)
    base = BaseEnvironment(kernel_python)
    recorded: list[str] = []

    def made(*, max_bytes: int = 10**9, **index: object) -> Environments:
        async def record(prepared: Prepared) -> None:
            recorded.append(prepared.environment_id)

        async def fetch(key: str, path: Path) -> None:
            path.write_text(f"KEY = {key!r}")

        place = Shelf(tmp_path / "environments", max_bytes=max_bytes)
        return Environments(base, place, uv=uv, index=PackageIndex(**index), sandbox=None, fetch=fetch, record=record)  # type: ignore[arg-type]

    await base.open()
    yield made
    assert not list((tmp_path / "environments" / "building").iterdir())


def calls(tmp_path: Path) -> list[str]:
    path = tmp_path / "calls"
    return path.read_text().splitlines() if path.exists() else []


def built(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "environments" / "built").iterdir()}


async def prepare(environments: Environments, *packages: str) -> Prepared:
    return await environments.prepare(Environment(packages=list(packages)), "python3")


async def test_the_base_environment_serves_what_it_has(make: Make, tmp_path: Path, kernel_python: Path) -> None:
    environments = make()
    await environments.open()
    prepared = await prepare(environments, "pandas>=2", "scikit-learn", "process_mining_utils")
    assert (prepared.source, prepared.python) == ("base", kernel_python)
    assert "pandas==" in prepared.lock
    assert calls(tmp_path) == []


async def test_what_is_missing_is_built_once_and_found_again(make: Make, tmp_path: Path) -> None:
    one, other = make(), make()
    await one.open()
    await other.open()
    found = await asyncio.gather(*(prepare(who, "xa") for who in (one, other) for _ in range(5)))
    assert {prepared.environment_id for prepared in found} == built(tmp_path)
    assert calls(tmp_path) == ["pip compile", "venv --relocatable", "pip install"]
    again = await prepare(one, "xa")
    assert len(calls(tmp_path)) == 3  # nothing was resolved or built a second time
    assert "xa==1.0 \\\n    --hash=sha256:aa" in again.lock
    assert "pandas==" in again.lock
    process = await asyncio.create_subprocess_exec(
        again.python, "-c", "import ipykernel, mindzie_sdk, process_mining_utils"
    )
    assert await process.wait() == 0
    for prepared in (*found, again):
        prepared.close()


async def test_versions_are_chosen_anew_after_a_day(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = make()
    await environments.open()
    (await prepare(environments, "xa")).close()
    later = time.time() + RESOLUTION_AGE_S + 1
    monkeypatch.setattr(time, "time", lambda: later)
    (await prepare(environments, "xa")).close()
    assert calls(tmp_path)[3:] == ["pip compile"]  # to the same lock, so nothing is built


def packages_of(prepared: Prepared) -> Path:
    (found,) = prepared.python.parents[1].glob("lib/python3*/site-packages")
    return found


async def test_versions_that_clash_with_the_base_ones_get_a_whole_environment(
    make: Make, tmp_path: Path, kernel_python: Path
) -> None:
    environments = make()
    await environments.open()
    base = await environments.prepare(Environment(), "python3")
    clash, beside = await prepare(environments, "xclash"), await prepare(environments, "xa")
    assert calls(tmp_path)[:2] == ["pip compile", "pip compile"]  # beside the base environment, then without it
    assert (clash.source, clash.python_version) == ("built", base.python_version)
    chosen, before = (dict(pin.split("==") for pin in pins(one.lock)) for one in (clash, base))
    assert (chosen["xclash"], chosen["pandas"]) == ("1.0", "0.1")
    del before["pandas"], before["mindzie-sdk"]
    assert before.items() <= chosen.items()  # all else at the base environment's versions
    assert not (packages_of(clash) / BASE_LINK).exists()
    assert (packages_of(clash) / "mindzie_sdk").is_dir()
    assert (packages_of(clash) / "process_mining_utils").exists() or (
        packages_of(clash) / "process_mining_utils.py"
    ).exists()
    assert (packages_of(beside) / BASE_LINK).exists()
    made = len(calls(tmp_path))
    again = await prepare(environments, "xclash")
    assert (again.environment_id, len(calls(tmp_path))) == (clash.environment_id, made)
    for prepared in (clash, beside, again):
        prepared.close()


def pins(lock: str) -> list[str]:
    """`name==version` of each package."""
    return [line.split()[0] for line in lock.splitlines() if "==" in line]


async def test_another_python_that_is_there_gets_a_whole_environment(
    make: Make, tmp_path: Path, kernel_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program on the PATH that says it is another version."""
    other = tmp_path / "bin" / "python3.99"
    other.parent.mkdir()
    own = ".".join(map(str, sys.version_info[:3]))
    other.write_text(f"#!/bin/sh\n{kernel_python} \"$@\" | sed 's/{own}/3.99.1/'\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:{os.environ['PATH']}")
    environments = make()
    await environments.open()
    prepared = await environments.prepare(Environment(python_version="3.99"), "python3")
    assert (prepared.source, prepared.python_version) == ("built", "3.99.1")
    assert calls(tmp_path) == ["pip compile", "venv --relocatable", "pip install"]  # never beside the base environment
    assert packages_of(prepared).parent.name == "python3.99"
    assert not (packages_of(prepared) / BASE_LINK).exists()
    assert (packages_of(prepared) / "mindzie_sdk").is_dir()
    assert any(pin.startswith("pandas==") for pin in pins(prepared.lock))
    with pytest.raises(EnvironmentBuildError, match=r"available: .*3\.99"):
        await environments.prepare(Environment(python_version="3.98"), "python3")
    prepared.close()


async def test_the_longest_unused_goes_and_never_one_in_use(make: Make, tmp_path: Path) -> None:
    environments = make(max_bytes=3_500_000)
    await environments.open()
    held = await prepare(environments, "xa")
    names = {}
    for number, package in enumerate(("xb", "xc")):
        prepared = await prepare(environments, package)
        names[package] = prepared.environment_id
        prepared.close()
        use = tmp_path / "environments" / "locks" / f"{prepared.environment_id}.use"
        os.utime(use, (1_000_000 + number, 1_000_000 + number))
    os.utime(tmp_path / "environments" / "locks" / f"{held.environment_id}.use", (1, 1))
    last = await prepare(environments, "xd")
    assert built(tmp_path) == {held.environment_id, names["xc"], last.environment_id}
    held.close()
    last.close()
    (await prepare(environments, "xb")).close()
    assert held.environment_id not in built(tmp_path)


async def test_what_is_left_of_old_requests_goes_in_time(make: Make, tmp_path: Path) -> None:
    environments, root = make(), tmp_path / "environments"
    await environments.open()
    used = await prepare(environments, "xa")
    long_ago = time.time() - shelf.KEPT_S - 60
    for name in ("locks/gone.use", "locks/gone.build", "locks/fresh.use", "resolved/gone.json"):
        (root / name).touch()
    for file in (*root.glob("locks/*"), root / "resolved/gone.json"):
        if file.name != "fresh.use":
            os.utime(file, (long_ago, long_ago))
    (await prepare(environments, "xb")).close()
    names = {file.name for file in (*root.glob("locks/*"), *root.glob("resolved/*"))}
    assert not names & {"gone.use", "gone.build", "gone.json"}
    assert {"fresh.use", f"{used.environment_id}.use", shelf.CACHE_LOCK} <= names
    used.close()


async def test_the_resolvers_words_arrive_and_nothing_is_left(make: Make, tmp_path: Path) -> None:
    environments = make()
    await environments.open()
    with pytest.raises(EnvironmentBuildError) as caught:
        await prepare(environments, "absent")
    assert "Because absent was not found at the package index" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert built(tmp_path) == set()


async def test_a_cancelled_build_ends_with_all_it_started(make: Make, tmp_path: Path) -> None:
    environments = make()
    await environments.open()
    building = asyncio.create_task(prepare(environments, "slow"))
    async with asyncio.timeout(20):
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
            await asyncio.sleep(0.02)
    child = int((tmp_path / "child").read_text())
    building.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await building
        while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)


async def test_a_build_sees_nothing_of_the_workers_environment(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_INTERNAL_SECRET", "s" * 16)
    monkeypatch.setenv("UV_INDEX_URL", "http://elsewhere")
    environments = make(url="http://index/simple", extra_urls="http://a, http://b")
    await environments.open()
    (await prepare(environments, "xa")).close()
    seen = set((tmp_path / "environment").read_text().split())
    assert {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_NO_CONFIG"} <= seen
    assert not {name for name in seen if name.startswith("ATELIER")} | ({"UV_INDEX_URL"} & seen)


async def test_an_absent_python_is_told_with_those_that_are_there(make: Make) -> None:
    environments = make()
    await environments.open()
    base = (await environments.prepare(Environment(), "python3")).python_version
    with pytest.raises(EnvironmentBuildError, match=rf"Python 3\.2\.1 is not available here; available: .*{base[:4]}"):
        await environments.prepare(Environment(python_version="3.2.1"), "python3")
    assert (await environments.prepare(Environment(python_version=base), "python3")).source == "base"


def library(name: str, key: str) -> PinnedLibrary:
    described = Library(
        library_name=name,
        kind="module",
        version=None,
        file_name=f"{name}.py",
        size_bytes=1,
        sha256=key,
        date_created=datetime.now(UTC),
        created_by="me",
    )
    return PinnedLibrary(library=described, requires=["xa"], object_key=key)


async def test_a_projects_library_wins_over_the_bundled_one_and_brings_what_it_needs(make: Make) -> None:
    environments = make()
    await environments.open()
    wanted = Environment(custom_libraries=["process_mining_utils"])
    assert (await environments.prepare(wanted, "python3")).source == "base"
    found = [
        await environments.prepare(wanted, "python3", [library("process_mining_utils", key)]) for key in ("one", "two")
    ]
    assert found[0].environment_id != found[1].environment_id
    for prepared, key in zip(found, ("one", "two"), strict=True):
        assert "xa==1.0" in prepared.lock
        assert f"process_mining_utils.py sha256:{key}" in prepared.lock
        program = f"import process_mining_utils, mindzie_sdk; assert process_mining_utils.KEY == {key!r}"
        process = await asyncio.create_subprocess_exec(prepared.python, "-c", program)
        assert await process.wait() == 0
        prepared.close()


async def test_what_cannot_be_had_is_refused(make: Make, tmp_path: Path) -> None:
    environments = make()
    await environments.open()
    with pytest.raises(EnvironmentBuildError, match="no library named elsewhere"):
        await environments.prepare(Environment(custom_libraries=["elsewhere", "process_mining_utils"]), "python3")
    with pytest.raises(EnvironmentBuildError, match="python3 kernels only"):
        await environments.prepare(Environment(packages=["xa"]), "r")
    assert calls(tmp_path) == []


def wheel(path: Path, name: str, files: dict[str, bytes]) -> Path:
    """A wheel of these files."""
    described = {
        f"{name}-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode(),
        f"{name}-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path / f"{name}-1-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in {f"{name}/__init__.py": b"", **files, **described}.items():
            archive.writestr(member, content)
        record = "".join(f"{member},,\n" for member in [*archive.namelist(), f"{name}-1.dist-info/RECORD"])
        archive.writestr(f"{name}-1.dist-info/RECORD", record)
    return path


def wheel_library(name: str) -> PinnedLibrary:
    brought = library(name, name)
    described = brought.library.model_copy(update={"kind": "wheel", "file_name": f"{name}-1-py3-none-any.whl"})
    return brought.model_copy(update={"library": described, "requires": []})


@pytest.fixture
async def real(tmp_path: Path, kernel_python: Path) -> Environments:
    """With uv itself, in the sandbox that there is here; the libraries are the wheels in the test's folder."""
    base = BaseEnvironment(kernel_python)

    async def record(_prepared: Prepared) -> None:
        """Nobody asks for it."""

    async def fetch(key: str, path: Path) -> None:
        shutil.copy(tmp_path / f"{key}-1-py3-none-any.whl", path)

    environments = Environments(
        base,
        Shelf(tmp_path / "environments", max_bytes=10**9),
        uv=None,
        index=PackageIndex(url="http://me:secret@127.0.0.1:9/simple"),
        sandbox=BuildSandbox(minimum="none", limits=Limits(file_bytes=10**9), disk_bytes=60_000_000),
        fetch=fetch,
        record=record,
    )
    await environments.open()
    return environments


async def test_an_uploaded_wheel_learns_nothing_of_the_index(real: Environments, tmp_path: Path) -> None:
    """A line of the first one's `.pth` runs when uv looks at the environment to install the second."""
    spy = b"import os, sys; open(sys.prefix + '/told', 'a').write(' '.join(os.environ.values()) + chr(10))\n"
    wheel(tmp_path, "spy", {"spy.pth": spy})
    wheel(tmp_path, "later", {})
    wanted = Environment(custom_libraries=["spy", "later"])
    prepared = await real.prepare(wanted, "python3", [wheel_library("spy"), wheel_library("later")])
    prepared.close()
    told = (prepared.python.parents[1] / "told").read_text()
    assert "UTF-8" in told
    assert "secret" not in told


async def test_a_wheel_that_unfolds_to_more_than_may_be_is_refused_by_name(real: Environments, tmp_path: Path) -> None:
    wheel(tmp_path, "bomb", {f"bomb/{number}": bytes(20_000_000) for number in range(5)})
    with pytest.raises(EnvironmentBuildError, match=r"the limit of 0\.06 GB on the disk was reached"):
        await real.prepare(Environment(custom_libraries=["bomb"]), "python3", [wheel_library("bomb")])
    for place in ("building", "built", "scratch"):
        assert not list((tmp_path / "environments" / place).iterdir())
