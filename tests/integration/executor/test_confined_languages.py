"""R and Scala kernels inside the sandbox: what they are for works there, what they must not reach is out of reach."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from services.executor.kernels.forked import ForkedKernels
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.port import KernelRequest
from tests.support import languages
from tests.support.kernels import Session, forked_source
from tests.support.polling import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow(reason="Scala's Java machine and Spark start")]

SLOW_S = 300.0
"""How long Toree may take on a busy machine, in seconds."""

LIMITS = Limits(memory_bytes=2_500_000_000, processes=300, open_files=2048, file_bytes=100_000_000)


@pytest.fixture(scope="module", params=["r", "scala"])
async def kernel_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
async def source(kernel_type: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ForkedKernels]:
    kernels = forked_source(
        tmp_path_factory.mktemp("k"),
        imports=[],
        limits=LIMITS,
        commands={kernel_type: languages.command(kernel_type)},
        start_timeout_s=SLOW_S,
    )
    await kernels.open()
    if kernels.isolation.level != "strong":
        reasons = kernels.isolation.missing("strong")
        await kernels.close()
        pytest.skip(f"this machine allows only {kernels.isolation.level}: {reasons}")
    yield kernels
    await kernels.close()


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of this machine's loopback, as the broker's or the database's."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def states(base: Path) -> set[str]:
    """Of the processes of all kernels below `base`."""
    found = psutil.process_iter(["cmdline", "status"])
    words = f"{base}/"
    return {each.info["status"] for each in found if any(part.startswith(words) for part in each.info["cmdline"] or ())}


ATTEMPTS = {
    "r": """
read <- function(path) tryCatch(length(readLines(path, n = 1L, warn = FALSE)), error = function(e) 0L, warning = \
function(w) 0L)
connect <- function(port) tryCatch({{ close(socketConnection("127.0.0.1", port, timeout = 2)); 1L }}, error = \
function(e) 0L, warning = function(w) 0L)
write <- function(path) tryCatch({{ writeLines("x", path); 1L }}, error = function(e) 0L, warning = function(w) 0L)
cat(read("{secret}"), read("/etc/shadow"), read("/proc/1/environ"), connect({port}), write("/usr/x"), \
write("{folder}/x"), write("mine"), "\\n")
""",
    "scala": """
import scala.util.Try
import java.nio.file._
def read(path: String) = Try(Files.readAllBytes(Paths.get(path)).length.min(1)).getOrElse(0)
def connect(port: Int) = Try {{ new java.net.Socket("127.0.0.1", port).close(); 1 }}.getOrElse(0)
def write(path: String) = Try {{ Files.write(Paths.get(path), "x".getBytes); 1 }}.getOrElse(0)
println(Seq(read("{secret}"), read("/etc/shadow"), read("/proc/1/environ"), connect({port}), write("/usr/x"), \
write("{folder}/x"), write("mine")).mkString(" "))
""",
}


async def test_it_runs_reaches_nothing_and_the_second_run_finds_a_ready_one(
    source: ForkedKernels, kernel_type: str, tmp_path: Path, listening: int
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary\n")
    secret.chmod(0o644)
    first = await source.acquire(KernelRequest(kernel_type=kernel_type, run_dir=tmp_path / "a"))
    session = Session(first)
    (outcome,) = await session.run("20 + 22", timeout_s=SLOW_S)
    assert outcome.status == "Success"
    code = ATTEMPTS[kernel_type].format(secret=secret, folder=tmp_path, port=listening)
    (outcome,) = await session.run(code, timeout_s=SLOW_S)
    assert outcome.status == "Success", outcome
    assert session.text().split()[-7:] == ["0", "0", "0", "0", "0", "0", "1"]
    await until(lambda: source.spares.ready() == {kernel_type: 1}, within_s=SLOW_S, what="a ready kernel")
    base = first.run_dir.parent
    await until(lambda: psutil.STATUS_STOPPED in states(base), within_s=SLOW_S, what="its suspension")
    second = await source.acquire(KernelRequest(kernel_type=kernel_type, run_dir=tmp_path / "b"))
    await until(lambda: psutil.STATUS_STOPPED not in states(base), within_s=SLOW_S, what="a kernel that goes on")
    (outcome,) = await Session(second).run("1 + 1", timeout_s=SLOW_S)
    assert outcome.status == "Success"
    for kernel in (first, second):
        await kernel.close()
        assert not [path for path in kernel.run_dir.rglob("*") if path.is_socket()]
        usage = kernel.usage()
        assert usage is not None
        assert usage.cpu_seconds > 0
