"""Notebooks that mean harm in R and Scala, and in Python and R at level `confined`: a few each. Bounded, so that a
hole in the sandbox cannot take the machine down; what gets hold of what it must not have prints `ESCAPED`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.forked import ForkedKernels
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.output_limits import CELL_LIMITS
from services.executor.kernels.port import KernelRequest
from tests.support import languages
from tests.support.kernels import Session, forked_source
from tests.support.long import others_are_long

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow(reason="kernels use up all they may")]

SLOW_S = 300.0
"""How long a Scala kernel or a cell of it may take on a busy machine, in seconds."""

PROCESSES = {"python3": 60, "r": 60, "scala": 250}
"""A Java machine has many threads."""

MEMORY = {"python3": 500_000_000, "r": 500_000_000, "scala": 2_500_000_000}

CONFINED = ["pid", "mount", "net", "ipc", "uts", "uid"]
"""Layers that a container without namespaces does not have."""

CANARY = "canary-of-the-worker"

PLACES = [("python3", "confined"), ("r", "strong"), ("r", "confined"), ("scala", "strong")]
"""Scala's kernel, which knows only TCP, is not started at `confined`: what it must not reach is seen in
test_confined_languages.py as well. Python at `strong` has the end-to-end tests."""

USUAL = [("python3", "confined"), ("r", "strong")]
"""Each level once; Scala's Java machine takes minutes to come to its limits."""


@dataclass
class Place:
    """Where hostile cells run: the source of kernels, its language, and what is to be out of reach."""

    source: ForkedKernels
    kernel_type: str
    folder: Path
    port: int

    def told(self, code: str) -> str:
        """A cell with the addresses of what it is after."""
        words = {
            "@SECRET@": str(self.folder / "secret"), "@PORT@": str(self.port), "@WORKER@": str(os.getpid()),
            "@SERVER@": str(self.source.server_pid),
        }  # fmt: skip
        for word, value in words.items():
            code = code.replace(word, value)
        return code

    async def session(self, run_dir: Path) -> Session:
        """A new kernel."""
        return Session(await self.source.acquire(KernelRequest(kernel_type=self.kernel_type, run_dir=run_dir)))


@pytest.fixture(scope="module")
def listening() -> Iterator[int]:
    """A port of this machine's loopback, as the broker's or the database's."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture(scope="module", params=others_are_long(PLACES, USUAL), ids="-".join)
async def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, listening: int
) -> AsyncIterator[Place]:
    kernel_type, level = request.param
    commands: dict[str, KernelCommand] = {}
    if kernel_type != "python3":
        commands[kernel_type] = languages.command(kernel_type)
    folder = tmp_path_factory.mktemp("h")
    (folder / "secret").write_text(CANARY)
    (folder / "secret").chmod(0o644)
    os.environ["ATELIER_TEST_SECRET"] = CANARY
    source = forked_source(
        folder,
        imports=[],
        limits=Limits(memory_bytes=MEMORY[kernel_type], processes=PROCESSES[kernel_type], open_files=2048),
        without_layers=CONFINED if level == "confined" else [],
        commands=commands,
        start_timeout_s=SLOW_S,
    )
    await source.open()
    if source.isolation.level != level:
        missing = source.isolation.missing(level)
        await source.close()
        pytest.skip(f"this machine allows only {source.isolation.level}: {missing}")
    yield Place(source, kernel_type, folder, listening)
    await source.close()
    del os.environ["ATELIER_TEST_SECRET"]


REACHING = {
    "python3": """
import os, signal, socket
for path in ('@SECRET@', '/etc/shadow', '/proc/@WORKER@/environ', '/proc/@WORKER@/mem', '/proc/@SERVER@/environ',
             '/proc/@WORKER@/root@SECRET@', '/proc/self/root/../@SECRET@'):
    try: print('ESCAPED', path, open(path, 'rb').read(1))
    except OSError: pass
try: socket.create_connection(('127.0.0.1', @PORT@), 2); print('ESCAPED port')
except OSError: pass
for pid in (@WORKER@, @SERVER@, os.getppid()):
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        try: os.kill(pid, number); print('ESCAPED kill', pid)
        except OSError: pass
print('done')
""",
    "r": """
quietly <- function(work) tryCatch(suppressWarnings(work), error = function(e) NULL)
for (path in c('@SECRET@', '/etc/shadow', '/proc/@WORKER@/environ', '/proc/@SERVER@/environ', '/proc/1/environ',
               '/proc/@WORKER@/root@SECRET@'))
  if (length(quietly(readBin(path, 'raw', 1L))) > 0) cat('ESCAPED', path, '\\n')
if (!is.null(quietly(socketConnection('127.0.0.1', @PORT@, timeout = 2)))) cat('ESCAPED port\\n')
for (pid in c(@WORKER@, @SERVER@, 1L)) for (number in c(9L, 15L, 2L)) quietly(tools::pskill(pid, number))
cat('done\\n')
""",
    "scala": """
import scala.util.Try
import java.nio.file._
for (path <- Seq("@SECRET@", "/etc/shadow", "/proc/@WORKER@/environ", "/proc/@SERVER@/environ", "/proc/1/environ"))
  if (Try(Files.newInputStream(Paths.get(path)).read()).getOrElse(-1) >= 0) println("ESCAPED " + path)
if (Try(new java.net.Socket("127.0.0.1", @PORT@).close()).isSuccess) println("ESCAPED port")
ProcessHandle.current().parent().ifPresent(parent => Try(parent.destroyForcibly()))
for (pid <- Seq("@WORKER@", "@SERVER@", "1")) Try(new ProcessBuilder("kill", "-9", pid).start().waitFor())
println("done")
""",
}

FORKING = {
    "python3": """
import os, time
made = 0
try:
    for _ in range(2_000):
        if os.fork() == 0: time.sleep(600); os._exit(0)
        made += 1
except OSError: pass
print(made)
""",
    "r": """
made <- 0
for (n in 1:2000) {
  job <- tryCatch(parallel::mcparallel(Sys.sleep(600)), error = function(e) NULL, warning = function(w) NULL)
  if (is.null(job)) break
  made <- made + 1
}
cat(made, '\\n')
""",
    "scala": """
import scala.util.Try
println(Iterator.range(0, 2000).takeWhile(_ => Try(new ProcessBuilder("sleep", "600").start()).isSuccess).size)
""",
}

HOGGING = {
    "python3": "hog = []\nwhile True: hog.append(bytearray(10_000_000))",
    "r": "hog <- list()\nrepeat hog[[length(hog) + 1L]] <- numeric(1e6) + 1",
    "scala": "val hog = scala.collection.mutable.Buffer[Array[Byte]]()\nwhile (true) hog += new Array[Byte](50000000)",
}


FLOODING = {
    "python3": "while True: print('x' * 10_000)",
    "r": "repeat { cat(strrep('x', 10000), '\\n'); flush.console() }",
    "scala": 'while (true) println("x" * 10000)',
}


async def test_files_ports_and_processes_of_others_are_out_of_reach(place: Place, tmp_path: Path) -> None:
    session = await place.session(tmp_path / "run")
    try:
        (outcome,) = await session.run(place.told(REACHING[place.kernel_type]), timeout_s=SLOW_S)
        # A signal to its own keeper may cost the kernel its life, and nobody else's.
        assert outcome.status == "Success" or outcome.kernel_died, outcome
        assert "ESCAPED" not in session.text()
        assert "done" in session.text() or outcome.kernel_died
    finally:
        await session.kernel.close()
    assert place.source.server_pid is not None
    assert Path("/proc", str(place.source.server_pid)).exists()


async def test_forks_stop_at_the_limit_and_go_with_their_kernel(place: Place, tmp_path: Path) -> None:
    session, neighbour = await place.session(tmp_path / "run"), await place.session(tmp_path / "other")
    most = PROCESSES[place.kernel_type]
    try:
        (outcome,) = await session.run(FORKING[place.kernel_type], timeout_s=SLOW_S)
        if outcome.kernel_died:
            assert f"limit of {most} processes reached" in (outcome.error_message or "")
        else:
            assert outcome.status == "Success", outcome
            assert 0 < int(session.text().split()[-1]) < most
        (works,) = await neighbour.run("20 + 22", timeout_s=SLOW_S)
        assert works.status == "Success"
    finally:
        await session.kernel.close()
        await neighbour.kernel.close()


async def test_a_memory_hog_ends_with_a_plain_reason(place: Place, tmp_path: Path) -> None:
    session = await place.session(tmp_path / "run")
    try:
        (outcome,) = await session.run(HOGGING[place.kernel_type], timeout_s=SLOW_S)
    finally:
        await session.kernel.close()
    assert outcome.status == "Error"
    if place.kernel_type == "scala":  # its heap is smaller than its limit
        assert "OutOfMemoryError" in str(outcome.error_type) or outcome.kernel_died, outcome
    else:
        assert outcome.error_type == "DeadKernelError"
        assert "memory limit of 0.5 GB reached" in (outcome.error_message or "")


async def test_a_flood_of_text_ends_at_the_limit_of_outputs(place: Place, tmp_path: Path) -> None:
    """The kernel waits for its reader: what is too much lies neither in its memory nor in the worker's."""
    session = await place.session(tmp_path / "run")
    try:
        (outcome,) = await session.run(FLOODING[place.kernel_type], timeout_s=SLOW_S)
    finally:
        await session.kernel.close()
    assert outcome.error_type == "OutputLimitError", outcome
    assert "output limit" in (outcome.error_message or "")
    assert sum(len(output.get("text", "")) for output in session.notebook.cells[0].outputs) <= CELL_LIMITS.output_bytes
