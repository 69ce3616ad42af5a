"""Builds of environments are confined: what a build program can read, write, reach, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import socket
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.executor.environments import growth, untrusted
from services.executor.environments.rules import EnvironmentBuildError
from services.executor.environments.sandbox import BUILD_UID, BuildSandbox
from services.executor.environments.uv import PackageIndex, Uv
from services.executor.kernels.forkserver.confinement import Limits
from tests.support.kernels import processes_named
from tests.support.polling import until

LIMITS = Limits(memory_bytes=300_000_000, processes=60, file_bytes=5_000_000)

NAMESPACES = ["namespaces", "no namespaces"]


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of this machine's loopback, as the broker's or the database's."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


Make = Callable[..., Uv]


@pytest.fixture(params=NAMESPACES)
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A Python program stands for uv; `ports` is what the index listens on."""
    without = ["namespaces"] if request.param != "namespaces" else []

    def made(
        program: str,
        *,
        ports: list[int] | None = None,
        limits: Limits = LIMITS,
        index: PackageIndex | None = None,
        disk_bytes: int | None = None,
    ) -> Uv:
        file = tmp_path / "programs" / "uv"
        file.parent.mkdir(exist_ok=True)
        file.write_text("#!/usr/bin/python3 -I\nimport os, socket, sys\n" + textwrap.dedent(program))
        file.chmod(0o755)
        sandbox = BuildSandbox(
            minimum="confined" if without else "strong",
            limits=limits,
            ports=ports or [443],
            without=without,
            disk_bytes=disk_bytes,
        )
        return Uv(
            file, index=index or PackageIndex(), cache=tmp_path / "cache", scratch=tmp_path / "scratch", sandbox=sandbox
        )

    try:
        await made("print('here')").run()
    except EnvironmentBuildError as error:
        pytest.skip(str(error))
    return made


async def test_it_reads_and_writes_what_it_is_given_and_nothing_else(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_TEST_SECRET", "canary-of-the-worker")
    build, given, other = tmp_path / "build", tmp_path / "given", tmp_path / "other"
    for folder in (build, given, other):
        folder.mkdir()
        (folder / "file").write_text("canary" if folder == other else "given")
    uv = make(
        f"""
        def read(path):
            try: return open(path).read()
            except OSError as error: return type(error).__name__
        def write(path):
            try: open(path, 'w').write('x'); return 'wrote'
            except OSError as error: return type(error).__name__
        print(read({str(given / "file")!r}), write({str(build / "x")!r}), write(os.environ['UV_CACHE_DIR'] + '/x'))
        print(read({str(other / "file")!r}), read({str(Path.cwd() / "pyproject.toml")!r}), read('/etc/shadow'))
        print(write({str(given / "x")!r}), write({str(other / "x")!r}), write('/usr/x'), write('/etc/x'))
        found = []
        for name in os.listdir('/proc'):
            if name.isdigit(): found.append(read(f'/proc/{{name}}/environ') + read(f'/proc/{{name}}/cmdline'))
        print('canary-of-the-worker' in ''.join(found) or 'ATELIER_TEST_SECRET' in os.environ)
        print(open('/proc/self/status').read().split('CapEff:')[1].split()[0].strip('0') or 'none')
        """
    )
    lines = (await uv.run(readable=[given], writable=[build])).splitlines()
    assert lines[0] == "given wrote wrote"
    refused = {"FileNotFoundError", "PermissionError", "OSError"}
    assert set(lines[1].split()) <= refused
    assert set(lines[2].split()) <= refused
    assert lines[3:] == ["False", "none"]
    assert (build / "x").read_text() == "x"
    assert (tmp_path / "cache" / "x").exists()
    assert not (given / "x").exists()
    assert not list((tmp_path / "scratch").iterdir())


async def test_it_is_never_root_where_it_can_have_a_user_of_its_own(make: Make, tmp_path: Path) -> None:
    build = tmp_path / "build"
    (build / "inner").mkdir(parents=True)
    (build / "inner" / "old").write_text("old")
    uv = make(
        f"""
        open({str(build / "inner" / "old")!r}, 'a').write(' new')
        open({str(build / "made")!r}, 'w')
        open(os.environ['UV_CACHE_DIR'] + '/x', 'w')
        print(os.getuid(), os.geteuid(), os.getgid(), os.getgroups())
        """
    )
    printed = await uv.run(writable=[build])
    assert (build / "inner" / "old").read_text() == "old new"
    if os.getuid() == 0 and uv._sandbox is not None and not uv._sandbox.without:
        assert printed.split() == [str(BUILD_UID)] * 3 + ["[]"]
        assert (build / "made").stat().st_uid == BUILD_UID


def test_what_a_package_has_left_loses_its_bits_and_its_owner_when_it_is_published(tmp_path: Path) -> None:
    """A `.pth` line runs when an environment's interpreter starts, in the build too, and could leave such a program."""
    folder, outside = tmp_path / "environment", tmp_path / "outside"
    (folder / "bin").mkdir(parents=True)
    for path, mode in ((folder / "bin" / "shell", 0o6755), (folder / "bin" / "open", 0o666), (outside, 0o4666)):
        path.write_text("x")
        path.chmod(mode)
    (folder / "bin").chmod(0o3777)
    (folder / "link").symlink_to(outside)
    if os.getuid() == 0:
        for path in (folder, folder / "bin", folder / "bin" / "open"):
            os.chown(path, BUILD_UID, BUILD_UID)
    untrusted.take_over(folder)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (folder / "bin", *(folder / "bin").iterdir(), outside)}
    assert modes == {"bin": 0o755, "shell": 0o755, "open": 0o644, "outside": 0o4666}
    assert {path.lstat().st_uid for path in (folder, *folder.rglob("*"))} == {os.getuid()}


async def test_without_the_shared_cache_it_has_one_of_its_own_that_goes_with_it(make: Make, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / "package").write_text("everybody's")
    uv = make(
        f"""
        os.makedirs(os.environ['UV_CACHE_DIR'], exist_ok=True)
        open(os.environ['UV_CACHE_DIR'] + '/mine', 'w').write('x')
        try: open({str(tmp_path / "cache" / "package")!r}, 'a').write('x'); print('WROTE')
        except OSError as error: print(type(error).__name__)
        try: print(open({str(tmp_path / "cache" / "package")!r}).read())
        except OSError as error: print(type(error).__name__)
        """
    )
    assert set((await uv.run(shared_cache=False)).split()) <= {"FileNotFoundError", "PermissionError"}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["package"]
    assert not list((tmp_path / "scratch").iterdir())


async def test_of_the_network_it_has_the_indexs_ports_alone(make: Make, listening: int) -> None:
    program = f"""
    with socket.socket() as client: print(client.connect_ex(('127.0.0.1', {listening})) == 0)
    for family, kind in ((socket.AF_NETLINK, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
        try: socket.socket(family, kind); print('MADE')
        except OSError as error: print(type(error).__name__)
    """
    refused = ["PermissionError", "PermissionError"]
    assert (await make(program).run(online=True)).split() == ["False", *refused]
    assert (await make(program, ports=[listening]).run(online=True)).split() == ["True", *refused]


async def test_only_who_needs_the_index_is_told_of_it_and_reaches_it(make: Make, listening: int) -> None:
    program = f"""
    print(sorted(name for name in os.environ if 'INDEX' in name))
    try: print(socket.create_connection(('127.0.0.1', {listening}), 5) and 'reached')
    except OSError as error: print('refused')
    """
    index = PackageIndex(url=f"http://me:secret@127.0.0.1:{listening}/simple", extra_urls="http://b/simple")
    uv = make(program, ports=[listening], index=index)
    assert (await uv.run(online=True)).splitlines() == ["['UV_DEFAULT_INDEX', 'UV_INDEX']", "reached"]
    assert (await uv.run()).splitlines() == ["[]", "refused"]


BOMBS = {
    "many files in a flash": "for i in range(2_000): open(f'{FOLDER}/{i}', 'w')",
    "many files and no end": "for i in range(2_000): open(f'{FOLDER}/{i}', 'w')\nimport time; time.sleep(1000)",
    "large files": "for i in range(9): open(f'{FOLDER}/{i}', 'wb').write(bytes(4_000_000))",
    "large files and no end": "for i in range(9): open(f'{FOLDER}/{i}', 'wb').write(bytes(4_000_000))\n"
    "import time; time.sleep(1000)",
}


@pytest.mark.parametrize(("bomb", "place"), [*((bomb, "build") for bomb in BOMBS), ("large files and no end", "cache")])
async def test_it_ends_where_it_grows_over_its_limits(
    bomb: str, place: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "MAX_FILES", 1_000)
    for name in ("build", "cache"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "cache" / "before").write_bytes(bytes(30_000_000))
    uv = make(f"FOLDER = {str(tmp_path / place)!r}\n{BOMBS[bomb]}", disk_bytes=20_000_000)
    limit = "1000 files" if "many" in bomb else r"0\.02 GB on the disk"
    async with asyncio.timeout(60):
        with pytest.raises(EnvironmentBuildError, match=rf"the limit of {limit} was reached while the environment"):
            await uv.run(writable=[tmp_path / "build"])


async def test_processor_time_over_the_limit_is_named(make: Make) -> None:
    uv = make("while True: pass", limits=Limits(cpu_seconds=1))
    with pytest.raises(EnvironmentBuildError, match="the CPU time limit of 1 seconds was reached"):
        await uv.run()


async def test_it_stops_at_its_limits(make: Make, tmp_path: Path) -> None:
    build = tmp_path / "build"
    build.mkdir()
    uv = make(
        f"""
        try: open({str(build / "big")!r}, 'wb').write(bytes(20_000_000))
        except OSError as error: print(error.strerror)
        """
    )
    assert (await uv.run(writable=[build])).strip() == "File too large"
    assert (build / "big").stat().st_size <= 5_000_000


async def test_its_failure_is_told_in_its_words(make: Make) -> None:
    uv = make("sys.exit('error: No solution found: absent is not there')")
    with pytest.raises(EnvironmentBuildError, match="No solution found: absent is not there"):
        await uv.run()


async def test_cancelled_it_takes_all_it_started_with_it(make: Make, tmp_path: Path) -> None:
    mark = f"atelier-{tmp_path.name}"
    uv = make(
        f"""
        import subprocess
        subprocess.Popen(['bash', '-c', 'exec -a {mark} sleep 1000'])
        if os.fork() == 0:
            os.setsid()
            if 'setsid' in sys.argv: os.execvp('bash', ['bash', '-c', 'exec -a {mark} sleep 1000'])
            os._exit(0)
        import time; time.sleep(1000)
        """
    )
    escaping = "namespaces" if not uv._sandbox or not uv._sandbox.without else None
    building = asyncio.create_task(uv.run(*(["setsid"] if escaping else [])))
    await until(lambda: len(processes_named(mark)) >= (2 if escaping else 1), within_s=20, what="the children's start")
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    await until(lambda: not processes_named(mark), what="the children's end")


async def test_a_worker_that_wants_more_than_there_is_builds_nothing(tmp_path: Path) -> None:
    sandbox = BuildSandbox(minimum="strong", limits=LIMITS, without=["namespaces"])
    uv = Uv(
        Path("/bin/true"), index=PackageIndex(), cache=tmp_path / "cache", scratch=tmp_path / "scratch", sandbox=sandbox
    )
    with pytest.raises(EnvironmentBuildError, match="missing: pid and mount namespaces"):
        await uv.run()


def test_the_index_tells_what_a_build_reaches() -> None:
    index = PackageIndex(url="https://me:secret@index:8443/simple", extra_urls="http://a/simple, file:///srv/wheels")
    assert index.ports() == [80, 443, 8443]
    assert index.folders() == [Path("/srv/wheels")]
    line = BuildSandbox(minimum="none", limits=LIMITS, ports=index.ports(), readable=index.folders()).command(
        ["uv"], stage=Path("/s"), readable=[], writable=[], online=True
    )
    assert "secret" not in " ".join(line)


def test_links_that_a_package_has_left_are_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "environment"
    for path in (outside / "site-packages", folder / "lib"):
        path.mkdir(parents=True)
    (outside / "secret").write_text("canary")
    (folder / "lib" / "python3.11").symlink_to(outside)
    with pytest.raises(EnvironmentBuildError, match=r"in the place of lib/python3\.11/site-packages"):
        untrusted.real_folder(folder / "lib" / "python3.11" / "site-packages", folder)
    (folder / "wanted.txt").symlink_to(outside / "secret")
    with pytest.raises(EnvironmentBuildError, match=r"wanted\.txt cannot be read"):
        untrusted.read(folder / "wanted.txt")
    untrusted.write(folder / "wanted.txt", b"new")
    assert (outside / "secret").read_text() == "canary"
    assert not (folder / "wanted.txt").is_symlink()
    os.mkfifo(folder / "pipe")
    assert untrusted.read(folder / "pipe") == ""
