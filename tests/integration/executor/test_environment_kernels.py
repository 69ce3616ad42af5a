"""Kernels of built environments: not trusted from their interpreter's first line, confined, and kept ready."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client import REGISTRY

from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.forked import ForkedKernels
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.port import BUILT, KernelRequest, KernelStartError
from tests.support.kernels import KERNEL_PYTHON, Session, forked_source, plain_source, processes_named
from tests.support.polling import until

LIMITS = Limits(memory_bytes=500_000_000, processes=60, open_files=512, file_bytes=10_000_000, cpu_seconds=30)


@pytest.fixture(scope="module")
async def source(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ForkedKernels]:
    kernels = forked_source(tmp_path_factory.mktemp("k"), imports=[], limits=LIMITS)
    await kernels.open()
    if kernels.isolation.level != "strong":
        reasons = kernels.isolation.missing("strong")
        await kernels.close()
        pytest.skip(f"this machine allows only {kernels.isolation.level}: {reasons}")
    yield kernels
    await kernels.close()


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """As they are built: a virtual environment that sees the base environment's packages by a `.pth`."""
    folder = tmp_path / "environment"
    subprocess.run([KERNEL_PYTHON, "-m", "venv", "--without-pip", folder], check=True)
    (base,) = KERNEL_PYTHON.parent.parent.glob("lib/python3*/site-packages")
    (packages(folder) / "atelier-base.pth").write_text(f"{base}\n")
    return folder


def packages(environment: Path) -> Path:
    (found,) = environment.glob("lib/python3*/site-packages")
    return found


def make_hostile(environment: Path, code: str) -> None:
    """Have the environment's interpreter run `code` before anything else."""
    (packages(environment) / "hostile.py").write_text(code)
    (packages(environment) / "zzz.pth").write_text("import hostile\n")


def request(environment: Path, run_dir: Path) -> KernelRequest:
    return KernelRequest(
        kernel_type="python3", run_dir=run_dir, python=environment / "bin" / "python", readable=(environment,)
    )


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of this machine's loopback, as the broker's or the database's."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


async def test_it_is_confined_like_any_other(source: ForkedKernels, environment: Path, tmp_path: Path) -> None:
    (packages(environment) / "extra.py").write_text("answer = 42\n")
    kernel = await source.acquire(request(environment, tmp_path / "run"))
    try:
        session = Session(kernel)
        assert await session.says("import extra, numpy, sys; print(extra.answer, sys.prefix)") == f"42 {environment}"
        code = f"""
import os, socket
print(sorted(name for name in os.listdir('/proc') if name.isdigit()))
print(open('/proc/self/status').read().split('CapEff:')[1].split()[0].strip('0') or 'none', os.getuid() != 0)
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    try: socket.socket(family, socket.SOCK_RAW if family == socket.AF_NETLINK else socket.SOCK_STREAM); print('MADE')
    except OSError as error: print(type(error).__name__)
for place in ({str(environment)!r} + '/x', os.path.dirname(os.__file__) + '/x', '/x', '/etc/x'):
    try: open(place, 'w'); print('WROTE', place)
    except OSError as error: print(type(error).__name__)
print(sorted(os.listdir({str(tmp_path)!r})), os.path.exists({str(Path.cwd() / "pyproject.toml")!r}))
"""
        lines = (await session.says(code)).splitlines()
        assert lines[0] == "['1', '2']"
        assert lines[1] == "none True" or source.isolation.user_namespace
        assert lines[2:5] == ["PermissionError"] * 3
        assert "WROTE" not in "".join(lines[5:9])
        assert lines[9] == "['environment'] False"
    finally:
        await kernel.close()
    usage = kernel.usage()
    assert usage is not None
    assert usage.cpu_seconds > 0


async def test_its_figures_are_called_what_they_call_themselves(
    source: ForkedKernels, environment: Path, tmp_path: Path
) -> None:
    kernel = await source.acquire(request(environment, tmp_path / "run"))
    try:
        session = Session(kernel)
        code = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.title('Waiting times'); plt.show()"
        names = "print([name for name in dir() if not name.startswith('_')])"
        outcomes = await session.run(names, code)
        assert [outcome.status for outcome in outcomes] == ["Success", "Success"]
        listed, shown = session.notebook.cells
        assert "register" not in listed.outputs[0].text
        assert [output["metadata"].get("title") for output in shown.outputs if "data" in output] == ["Waiting times"]
    finally:
        await kernel.close()


async def test_what_its_forked_children_print_is_seen(source: ForkedKernels, environment: Path, tmp_path: Path) -> None:
    kernel = await source.acquire(request(environment, tmp_path / "run"))
    code = (
        "import os, sys, warnings\nwarnings.simplefilter('ignore')\npid = os.fork()\n"
        "if pid == 0:\n    print('from the child'); sys.stdout.flush(); os._exit(0)\n"
        "os.waitpid(pid, 0)\nimport time; time.sleep(0.5)"
    )
    assert "from the child" in await Session(kernel).says(code)
    await kernel.close()


async def test_a_line_of_a_pth_runs_inside_the_sandbox(
    source: ForkedKernels, environment: Path, tmp_path: Path, listening: int
) -> None:
    """What runs before the kernel does tries what a notebook could, and tells what it reached."""
    secret = tmp_path / "secret"
    secret.write_text("canary-of-the-worker")
    secret.chmod(0o644)
    make_hostile(
        environment,
        f"""
import os, socket
reached = []
for path in ('/proc/1/environ', '/proc/1/mem', {str(secret)!r}, '/proc/1/root{secret}', '/etc/shadow'):
    try: open(path, 'rb').read(1); reached.append(path)
    except OSError: pass
try: socket.create_connection(('127.0.0.1', {listening}), 1); reached.append('tcp')
except OSError: pass
try: os.kill(1, 9); os.kill(os.getppid(), 9)
except OSError: pass
open(os.environ['ATELIER_RUN_DIR'] + '/work/reached', 'w').write(repr((reached, os.getpid(), os.getuid())))
""",
    )
    kernel = await source.acquire(request(environment, tmp_path / "run"))
    try:
        told = await Session(kernel).says("print(open('reached').read())")
        assert told.startswith("([], 2, ")
        assert not told.endswith(" 0)") or source.isolation.user_namespace
    finally:
        await kernel.close()


RUBBISH = """
import os, time, zmq
context, sockets = zmq.Context(), {}
for number, kind in ((1, zmq.ROUTER), (2, zmq.XPUB), (3, zmq.ROUTER), (4, zmq.ROUTER)):
    sockets[number] = context.socket(kind)
    sockets[number].bind(f"ipc://{os.environ['ATELIER_RUN_DIR']}/k/s-{number}")
sockets[2].recv()
while True:
    sockets[2].send_multipart([b'x', b'<IDS|MSG>', b'forged', b'{}', b'[]', b'{}', b'{}'])
    time.sleep(0.01)
"""
"""Speaks in the kernel's place, and speaks no Jupyter."""


@pytest.mark.parametrize("confined", [True, False])
async def test_what_speaks_rubbish_in_a_kernels_place_is_a_kernel_that_did_not_start(
    source: ForkedKernels, environment: Path, tmp_path: Path, *, confined: bool
) -> None:
    make_hostile(environment, RUBBISH)
    plain = plain_source()
    await plain.open()
    try:
        with pytest.raises(KernelStartError, match="could not be understood"):
            await (source if confined else plain).acquire(request(environment, tmp_path / "run"))
    finally:
        await plain.close()
    assert not (tmp_path / "run").exists()


class Eavesdropper:
    """Somebody else's socket on this machine; `visited` when anybody connects to it."""

    def __init__(self, path: Path) -> None:
        self.visited = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self._socket.listen()
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        try:
            self._socket.accept()[0].close()
        except OSError:
            return  # closed: nobody came
        self.visited.set()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.mark.slow(reason="a kernel whose sockets were moved away is waited for until its start counts as stuck")
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_link_in_a_sockets_place_is_not_followed(
    environment: Path, tmp_path_factory: pytest.TempPathFactory, moment: str
) -> None:
    """Whether it is there instead of the socket, or replaces it once the kernel listens."""
    folder = tmp_path_factory.mktemp("s")
    kernels = forked_source(folder, imports=[], limits=LIMITS, start_timeout_s=8 if moment == "before" else 15)
    other = Eavesdropper(folder / "broker")
    await kernels.open()
    if moment == "before":
        code = (
            f"import os, time\nfor n in (1, 2, 3, 4): os.symlink({str(folder / 'broker')!r}, "
            "os.environ['ATELIER_RUN_DIR'] + f'/k/s-{n}')\ntime.sleep(60)\n"
        )
    else:
        code = f"""
import os, threading, time
def swap():
    names = [os.environ['ATELIER_RUN_DIR'] + f'/k/s-{{n}}' for n in (1, 2, 3, 4, 5)]
    while not all(map(os.path.exists, names)): time.sleep(0.0005)
    for name in names:
        os.rename(name, name + 'x'); os.symlink({str(folder / "broker")!r}, name)
threading.Thread(target=swap, daemon=True).start()
"""
    make_hostile(environment, code)
    try:
        try:
            kernel = await kernels.acquire(request(environment, folder / "run"))
        except KernelStartError:
            kernel = None  # it could not be met; that is the kernel's own doing
        if kernel is not None:
            assert moment == "after"
            assert await Session(kernel).says("print(6 * 7)") == "42"
            await kernel.close()
        assert not other.visited.is_set()
    finally:
        await kernels.close()
        other.close()
    assert not other.visited.is_set()


async def test_words_on_stderr_explain_an_end_and_a_link_in_their_place_explains_nothing(
    source: ForkedKernels, environment: Path, tmp_path: Path
) -> None:
    make_hostile(environment, "raise SystemExit('the environment is broken')\n")
    with pytest.raises(KernelStartError, match=r"(?s)ended while starting.*the environment is broken"):
        await source.acquire(request(environment, tmp_path / "a"))
    assert not (tmp_path / "a").exists()
    secret = tmp_path / "secret"
    secret.write_text("canary-of-the-worker")
    make_hostile(
        environment,
        "import os\nname = os.environ['ATELIER_RUN_DIR'] + '/k/stderr'\n"
        f"os.unlink(name); os.symlink({str(secret)!r}, name); os._exit(3)\n",
    )
    with pytest.raises(KernelStartError) as caught:
        await source.acquire(request(environment, tmp_path / "b"))
    assert "status 3" in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_a_killed_server_takes_it_along_within_a_second(environment: Path, tmp_path: Path) -> None:
    kernels = forked_source(tmp_path, imports=[])
    await kernels.open()
    try:
        kernel = await kernels.acquire(request(environment, tmp_path / "run"))
        mark = f"atelier-{tmp_path.name}"
        code = f"import subprocess; subprocess.Popen(['bash', '-c', 'exec -a {mark} sleep 1000']); print('started')"
        assert await Session(kernel).says(code) == "started"
        await until(lambda: len(processes_named(mark)) == 1)
        assert kernels.server_pid is not None
        family = psutil.Process(kernels.server_pid).children(recursive=True)
        os.kill(kernels.server_pid, signal.SIGKILL)
        await until(lambda: not processes_named(mark), what="the end of all it started")
        await until(lambda: not any(process.is_running() for process in family), what="the kernel's end")
        assert (await kernel.exited).cause == "the fork server ended, and every kernel with it"
        await kernel.close()
    finally:
        await kernels.close()


def started() -> float:
    """How many runs have waited for the start of their kernel so far."""
    labels = {"kernel": BUILT, "source": "start"}
    return REGISTRY.get_sample_value("atelier_kernels_acquired_total", labels) or 0.0


async def test_the_second_run_finds_a_ready_kernel_until_the_environment_changes(
    environment: Path, tmp_path: Path
) -> None:
    kernels = forked_source(tmp_path, imports=[], environment_spares=1)
    await kernels.open()
    try:
        before = started()
        first = await kernels.acquire(request(environment, tmp_path / "a"))
        await until(lambda: kernels.spares.ready() == {BUILT: 1}, within_s=30, what="a ready kernel")
        second = await kernels.acquire(request(environment, tmp_path / "b"))
        assert started() == before + 1
        assert await Session(second).says("print('ready')") == "ready"
        await until(lambda: kernels.spares.ready() == {BUILT: 1}, within_s=30, what="another ready kernel")
        (packages(environment) / "extra.py").write_text("answer = 43\n")
        third = await kernels.acquire(request(environment, tmp_path / "c"))
        assert started() == before + 2
        await until(lambda: kernels.spares.ready() == {BUILT: 1}, within_s=30, what="a ready kernel of the new one")
        shutil.rmtree(environment)
        await until(lambda: kernels.spares.ready() == {}, within_s=30, what="the end of what its environment has lost")
        for kernel in (first, second, third):
            await kernel.close()
    finally:
        await kernels.close()


async def test_only_the_environments_last_used_keep_a_kernel(environment: Path, tmp_path: Path) -> None:
    kernels = forked_source(tmp_path, imports=[], environment_spares=1)
    other = tmp_path / "other"
    shutil.copytree(environment, other, symlinks=True)
    await kernels.open()
    try:
        for name, folder in (("a", environment), ("b", other)):
            kernel = await kernels.acquire(request(folder, tmp_path / name))
            await kernel.close()
            await until(lambda: kernels.spares.ready() == {BUILT: 1}, within_s=30, what="one ready kernel")
        before = started()
        again = await kernels.acquire(request(environment, tmp_path / "c"))
        assert started() == before + 1
        await again.close()
    finally:
        await kernels.close()


async def test_a_kernel_that_knows_only_ports_is_refused_without_a_network_namespace(tmp_path: Path) -> None:
    command = KernelCommand(argv=("/bin/true",), transport="tcp")
    kernels = forked_source(
        tmp_path, imports=[], commands={"scala": command}, minimum="confined", without_layers=["net"]
    )
    await kernels.open()
    try:
        with pytest.raises(KernelStartError, match="a scala kernel needs a network namespace"):
            await kernels.acquire(KernelRequest(kernel_type="scala", run_dir=tmp_path / "run"))
    finally:
        await kernels.close()
