"""What a hostile notebook can reach, tried from real kernels where this machine allows level `strong`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from services.executor.kernels import warm_server
from services.executor.kernels.fork_link import ForkServerGone
from services.executor.kernels.forked import ForkedKernels
from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.isolation import Level, TooLittleIsolation
from services.executor.kernels.plain import PlainKernel
from services.executor.kernels.port import KernelRequest, KernelStartError
from tests.support.kernels import KERNEL_PYTHON, Session, forked_source
from tests.support.polling import until
from tests.support.vanishing import living

MEMORY = 300_000_000
PROCESSES = 60

HOSTILE_LIMITS = Limits(memory_bytes=MEMORY, processes=PROCESSES, open_files=512, file_bytes=10_000_000, cpu_seconds=20)


@pytest.fixture(scope="module")
async def source(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ForkedKernels]:
    kernels = forked_source(tmp_path_factory.mktemp("k"), imports=[], limits=HOSTILE_LIMITS)
    os.environ["ATELIER_TEST_SECRET"] = "canary-of-the-worker"
    await kernels.open()
    if kernels.isolation.level != "strong":
        reasons = kernels.isolation.missing("strong")
        await kernels.close()
        pytest.skip(f"this machine allows only {kernels.isolation.level}: {reasons}")
    yield kernels
    await kernels.close()
    del os.environ["ATELIER_TEST_SECRET"]


@pytest.fixture
async def session(source: ForkedKernels, tmp_path: Path) -> AsyncIterator[Session]:
    kernel = await source.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "run"))
    yield Session(kernel)
    await kernel.close()


@pytest.fixture
def ports() -> Iterator[tuple[socket.socket, socket.socket]]:
    """What a broker, a database or an object store on this machine's loopback would be."""
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        yield tcp, udp


def test_every_layer_was_tried_and_holds(source: ForkedKernels) -> None:
    assert source.isolation.faults == []
    assert all(source.isolation.layers[name]["ok"] for name in ("pid", "mount", "net", "ipc", "landlock", "seccomp"))


async def test_the_workers_memory_environment_and_files_are_out_of_reach(session: Session, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary-of-the-worker")
    secret.chmod(0o644)
    code = f"""
import glob, os
found = []
for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/*/maps'):
    try: found.append(open(path).read())
    except OSError: pass
print('canary' in ''.join(found), sorted(n for n in os.listdir('/proc') if n.isdigit()))
for path in ({str(secret)!r}, '/proc/1/root{secret}', {str(Path.cwd())!r} + '/pyproject.toml', '/etc/shadow', '/root'):
    try: os.listdir(path) if path == '/root' else open(path).read(); print('READ', path)
    except OSError as error: print(type(error).__name__)
"""
    lines = (await session.says(code)).splitlines()
    assert lines[0] == "False ['1', '2']"
    assert set(lines[1:]) <= {"FileNotFoundError", "PermissionError"}


async def test_of_the_checkout_only_the_kernels_environment_is_there(session: Session) -> None:
    names = sorted(path.name for path in Path.cwd().iterdir())
    assert {"services", "tests"} <= set(names)
    code = (
        f"import os; print([name for name in {names!r} if os.path.lexists(os.path.join({str(Path.cwd())!r}, name))])\n"
        "import sys; print([name for name in sys.modules if name.startswith('services')])\n"
        f"print(os.path.exists({sys.prefix!r}))"
    )
    seen, modules, worker = (await session.says(code)).splitlines()
    assert seen in {"[]", "['.venv-kernel']"}
    assert modules == "[]"
    assert worker == "False"


async def test_other_runs_folders_are_not_there(source: ForkedKernels, session: Session, tmp_path: Path) -> None:
    neighbour = await source.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "other"))
    try:
        await Session(neighbour).says("open('mine', 'w').write('x'); print('ok')")
        assert (neighbour.run_dir / "work" / "mine").exists()
        code = (
            f"import os; print(sorted(os.listdir({str(tmp_path)!r})))\n"
            f"print(os.path.exists({str(neighbour.run_dir)!r}))"
        )
        assert (await session.says(code)).splitlines() == ["['run']", "False"]
        ours, theirs = [await each.says("import os; print(os.getuid())") for each in (session, Session(neighbour))]
        if source.isolation.layers["uid"]["ok"]:
            assert ours != theirs
    finally:
        await neighbour.close()


async def test_no_port_of_this_machine_can_be_reached(
    session: Session, ports: tuple[socket.socket, socket.socket]
) -> None:
    tcp, udp = ports
    code = f"""
import socket
import sys
for kind, port in ((socket.SOCK_STREAM, {tcp.getsockname()[1]}), (socket.SOCK_DGRAM, {udp.getsockname()[1]})):
    for family, host in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
        try:
            s = socket.socket(family, kind); s.connect((host, port)); s.send(b'x'); print('REACHED')
        except OSError as error: print(type(error).__name__)
for family in (socket.AF_NETLINK, socket.AF_PACKET):
    try: socket.socket(family, socket.SOCK_RAW); print('MADE')
    except OSError as error: print(type(error).__name__)
"""
    assert set((await session.says(code)).split()) == {"PermissionError"}
    with pytest.raises(BlockingIOError):
        udp.recv(1)


async def test_no_unix_socket_of_the_outside_can_be_reached(session: Session) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0atelier-test-abstract")
        server.listen()
        code = (
            "import socket\ntry:\n    socket.socket(socket.AF_UNIX).connect('\\0atelier-test-abstract')\n"
            "    print('REACHED')\n"
            "except OSError as error: print(type(error).__name__)"
        )
        assert await session.says(code) in {"ConnectionRefusedError", "PermissionError"}


async def test_privileged_calls_fail(source: ForkedKernels, session: Session) -> None:
    code = """
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
def call(name, number, *a):
    ctypes.set_errno(0)
    print(name, c.syscall(number, *a), ctypes.get_errno())
call('ptrace', 101, 16, 1, 0, 0)
call('process_vm_readv', 310, 1, 0, 0, 0, 0, 0)
call('unshare', 272, 0x10000000)
call('clone', 56, 0x10000011, 0, 0, 0, 0)
call('mount', 165, 0, b'/tmp', b'tmpfs', 0, 0)
call('keyctl', 250, 0, 0)
call('bpf', 321, 0, 0, 0)
call('perf_event_open', 298, 0, 0, 0, 0, 0)
call('io_uring_setup', 425, 1, 0)
call('setuid', 105, 0)
call('kill1', 62, 1, 9)
print(open('/proc/self/status').read().split('CapEff:')[1].split()[0])
"""
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    lines = [line.split() for line in (await session.says(code)).splitlines()]
    refused = {name: (result, errno) for name, result, errno in (line for line in lines if len(line) == 3)}
    for name in ("ptrace", "process_vm_readv", "unshare", "clone", "mount", "keyctl", "bpf", "perf_event_open"):
        assert refused[name] == ("-1", "1"), name
    assert refused["io_uring_setup"] == ("-1", "1")
    if not source.isolation.user_namespace:  # there the kernel's user is called 0 and has nobody's rights
        assert refused["setuid"] == ("-1", "1")
    assert int(lines[-1][0], 16) == 0
    assert await session.says("print('alive')") == "alive"


async def test_pid_1_the_parent_and_every_other_process_survive_a_kill(source: ForkedKernels, session: Session) -> None:
    code = (
        "import os, signal\nfor pid in (1, os.getppid(), -1):\n"
        "    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):\n"
        "        try: os.kill(pid, number)\n        except OSError as error: print(type(error).__name__)"
    )
    (outcome,) = await session.run(code)
    assert source.server_pid is not None
    assert psutil.pid_exists(source.server_pid)
    assert not source.isolation.faults
    assert outcome.status in {"Success", "Error"}


async def test_nothing_outside_the_run_folder_can_be_written(session: Session) -> None:
    code = """
import os, sys, numpy
places = [os.path.dirname(numpy.__file__) + '/x', sys.prefix + '/x', '/usr/x', '/etc/x', '/x',
          '/proc/sys/kernel/hostname',
          os.environ['ATELIER_RUN_DIR'] + '/run.json', os.environ['ATELIER_RUN_DIR'] + '/inputs/x', '/dev/x']
for place in places:
    try: open(place, 'w'); print('WROTE', place)
    except OSError as error: print(type(error).__name__)
for place in ('work', 'outputs', 'tmp', 'home'):
    open(os.environ['ATELIER_RUN_DIR'] + f'/{place}/x', 'w').write('x')
open('/tmp/x', 'w').write('x')
"""
    assert "WROTE" not in await session.says(code)
    assert not Path("/tmp/x").exists()
    assert not list((KERNEL_PYTHON.parent.parent).glob("x"))


async def test_devices_cannot_be_made(session: Session) -> None:
    code = (
        "import os, stat\ntry:\n    os.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(254, 0)); print('MADE')\n"
        "except OSError as error: print(type(error).__name__)"
    )
    assert await session.says(code) == "PermissionError"


async def test_a_fork_bomb_stops_at_its_limit_and_a_neighbour_runs_on(
    source: ForkedKernels, session: Session, tmp_path: Path
) -> None:
    bomb = (
        "import os, time\nmade = 0\ntry:\n    for _ in range(2000):\n"
        "        if os.fork() == 0:\n            time.sleep(60); os._exit(0)\n"
        "        made += 1\nexcept BlockingIOError: pass\nprint(made)"
    )
    neighbour = await source.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "other"))
    try:
        (outcome,) = await session.run(bomb)
        if source.isolation.layers["cgroups"]["ok"] or source.isolation.layers["uid"]["ok"]:
            assert 0 < int(session.text()) < PROCESSES
        else:  # nothing refuses the forks, the watchdog ends them
            assert f"limit of {PROCESSES} processes reached" in (outcome.error_message or "")
        assert await Session(neighbour).says("print(6 * 7)") == "42"
    finally:
        await neighbour.close()


async def test_a_memory_hog_is_ended_with_a_plain_reason(session: Session) -> None:
    (outcome,) = await session.run("hog = []\nwhile True: hog.append(bytearray(10_000_000))")
    assert outcome.error_type == "DeadKernelError"
    assert "memory limit of 0.3 GB reached" in (outcome.error_message or "")


async def test_processor_time_over_the_limit_is_named(source: ForkedKernels, tmp_path: Path) -> None:
    kernels = forked_source(tmp_path, imports=[], limits=Limits(cpu_seconds=2))
    await kernels.open()
    try:
        kernel = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "run"))
        (outcome,) = await Session(kernel).run("while True: pass")
        await kernel.close()
    finally:
        await kernels.close()
    assert "CPU time limit of 2 seconds reached" in (outcome.error_message or "")


async def test_a_file_stops_at_its_limit(session: Session) -> None:
    code = (
        "try:\n    with open('big', 'wb') as file:\n        for _ in range(100): file.write(bytes(1_000_000))\n"
        "except OSError as error: print(error.strerror)"
    )
    assert await session.says(code) == "File too large"


async def test_no_process_outlives_its_kernel(source: ForkedKernels, tmp_path: Path) -> None:
    """Sessions and process groups of their own, orphans, daemons: all go with the namespace."""
    kernel = await source.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "run"))
    session = Session(kernel)
    code = (
        "import os, subprocess\n"
        "for _ in range(3):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0: os.execvp('bash', ['bash', '-c', 'exec -a atelier-orphan sleep 1000'])\n"
        "        os._exit(0)\nprint('started')"
    )
    assert await session.says(code) == "started"
    await until(lambda: len(_named("atelier-orphan")) == 3, what="the orphans' start")
    await kernel.close()
    assert _named("atelier-orphan") == []


async def test_a_killed_server_takes_every_kernel_with_it_within_a_second_and_comes_back(tmp_path: Path) -> None:
    kernels = forked_source(tmp_path, imports=[], pool_size=1)
    await kernels.open()
    try:
        kernel = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "a"))
        session = Session(kernel)
        code = (
            "import subprocess; subprocess.Popen(['bash', '-c', 'exec -a atelier-doomed sleep 1000']); print('started')"
        )
        assert await session.says(code) == "started"
        await until(lambda: len(_named("atelier-doomed")) == 1)
        first = kernels.server_pid
        assert first is not None
        family = psutil.Process(first).children(recursive=True)
        assert len(family) >= 3
        running = asyncio.create_task(session.run("import time; time.sleep(60)"))
        os.kill(first, signal.SIGKILL)
        await until(lambda: not living(family), what="the kernels' end")
        (outcome,) = await running
        assert outcome.error_type == "DeadKernelError"
        assert "the fork server ended" in (outcome.error_message or "")
        await kernel.close()
        again = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "b"))
        assert kernels.server_pid != first
        assert await Session(again).says("print('back')") == "back"
        await again.close()
    finally:
        await kernels.close()


async def test_a_killed_maker_of_keepers_ends_no_kernel_and_is_replaced(tmp_path: Path) -> None:
    kernels = forked_source(tmp_path, imports=[])
    await kernels.open()
    try:
        kernel = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "a"))
        session = Session(kernel)
        assert await session.says("print('before')") == "before"
        server = kernels.server_pid
        assert server is not None
        (maker,) = [child.pid for child in psutil.Process(server).children() if _namespaces_deep(child.pid) == 1]
        os.kill(maker, signal.SIGKILL)
        other = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "b"))
        assert await Session(other).says("print('after')") == "after"
        assert await session.says("print('still there')") == "still there"
        assert kernels.server_pid == server
        await other.close()
        await kernel.close()
    finally:
        await kernels.close()


async def test_a_changed_environment_makes_ready_kernels_anew(tmp_path: Path) -> None:
    making = await asyncio.create_subprocess_exec(KERNEL_PYTHON, "-m", "venv", "--without-pip", tmp_path / "env")
    assert await making.wait() == 0
    python = tmp_path / "env" / "bin" / "python"
    (site_packages,) = (tmp_path / "env").glob("lib/python3*/site-packages")
    (base,) = KERNEL_PYTHON.parent.parent.glob("lib/python3*/site-packages")
    (site_packages / "base.pth").write_text(f"{base}\n")
    kernels = forked_source(tmp_path, imports=[], pool_size=1, python=python)
    await kernels.open()
    try:
        await until(lambda: kernels.pool.ready == 1, within_s=20)
        first = kernels.server_pid
        old = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "a"))
        (site_packages / "new_package").mkdir()
        new = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "b"))
        assert kernels.server_pid != first
        assert await Session(old).says("print('still here')") == "still here"
        assert await Session(new).says("print('new')") == "new"
        await new.close()
        await old.close()
        assert first is not None
        await until(lambda: not living([psutil.Process(first)]) if psutil.pid_exists(first) else True, within_s=10)
    finally:
        await kernels.close()


async def test_too_little_isolation_is_refused_by_name(tmp_path: Path) -> None:
    kernels = forked_source(tmp_path, imports=[], minimum="strong", without_layers=["net"])
    with pytest.raises(TooLittleIsolation, match=r"ATELIER_ISOLATION_MINIMUM is strong.*Missing: net \(switched off\)"):
        await kernels.open()


HOGS = {
    "one process": "for _ in range(60):\n    hog.append(bytes(10_000_000)[:-1] + b'x'); time.sleep(0.05)",
    "children": (
        "for _ in range(12):\n    if os.fork() == 0: hog = bytes(40_000_000)[:-1] + b'x'; time.sleep(60)\n"
        "    time.sleep(0.1)\ntime.sleep(60)"
    ),
    "files in memory": (
        "for i in range(60):\n    open(f'/dev/shm/{i}', 'wb').write(bytes(9_000_000)); time.sleep(0.05)\ntime.sleep(60)"
    ),
}


@pytest.mark.parametrize("hog", HOGS)
async def test_without_control_groups_a_watchdog_holds_the_memory(hog: str, tmp_path: Path) -> None:
    kernels = forked_source(tmp_path, imports=[], without_layers=["cgroups"], limits=HOSTILE_LIMITS)
    await kernels.open()
    try:
        assert not kernels.isolation.layers["cgroups"]["ok"]
        kernel = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "run"))
        if hog == "files in memory" and not kernels.isolation.holds("mount"):
            pytest.skip("this machine gives a kernel no file systems of its own")
        refused, outcome = await Session(kernel).run(
            "import os, time, warnings\nwarnings.simplefilter('ignore')\nhog = []\nos.memfd_create('x')", HOGS[hog]
        )
        await kernel.close()
        usage = kernel.usage()
    finally:
        await kernels.close()
    assert "memory limit of 0.3 GB reached" in (outcome.error_message or "")
    assert refused.error_type == "PermissionError"
    assert usage is not None
    assert usage.method == "wait4"
    assert usage.peak_memory_bytes > 250_000_000


async def test_without_a_fork_server_kernels_start_plainly_where_that_is_allowed(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    kernels = forked_source(tmp_path, python=broken)
    await kernels.open()
    try:
        assert "ended while starting" in (await kernels.check())["plain"]
        kernel = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "run"))
        assert await Session(kernel).says("print('plain')") == "plain"
        await kernel.close()
    finally:
        await kernels.close()
    (tmp_path / "strict").mkdir()
    with pytest.raises(TooLittleIsolation, match="plain processes"):
        await forked_source(tmp_path / "strict", python=broken, minimum="confined").open()


@pytest.mark.parametrize("minimum", ["none", "confined"])
async def test_a_server_that_cannot_be_started_again_leaves_plain_kernels_where_those_are_allowed(
    minimum: Level, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_server, "RESTART_PAUSES_S", (0.0, 0.05))
    python, broken = tmp_path / "python", tmp_path / "broken"
    python.write_text(f'#!/bin/sh\n[ -e {broken} ] && exit 3\nexec {KERNEL_PYTHON} "$@"\n')
    python.chmod(0o755)
    kernels = forked_source(
        tmp_path, imports=[], python=python, minimum=minimum, start_timeout_s=120 if minimum == "none" else 1
    )
    try:
        await kernels.open()
    except TooLittleIsolation as error:
        pytest.skip(str(error))
    request = KernelRequest(kernel_type="python3", run_dir=tmp_path / "run")
    try:
        assert kernels.server_pid is not None
        broken.touch()
        os.kill(kernels.server_pid, signal.SIGKILL)
        await until(lambda: not kernels._server.up.is_set())
        if minimum == "none":
            kernel = await kernels.acquire(request)
            assert isinstance(kernel, PlainKernel)
            assert "ended while starting" in (await kernels.check())["plain"]
            await kernel.close()
        else:
            with pytest.raises(KernelStartError, match="no fork server"):
                await kernels.acquire(request)
            with pytest.raises(ForkServerGone):
                await kernels.check()
        broken.unlink()
        await until(kernels._server.up.is_set, within_s=300)
        assert "plain" not in await kernels.check()
        if minimum == "none":
            again = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "again"))
            assert isinstance(again, ForkedKernel)
            await again.close()
    finally:
        await kernels.close()


def _named(name: str) -> list[int]:
    return [
        process.info["pid"]
        for process in psutil.process_iter(["pid", "cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][0] == name
    ]


def _namespaces_deep(pid: int) -> int:
    """In how many namespaces of processes it has a number (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(len(line.split()) - 1 for line in lines if line.startswith("NSpid:"))
