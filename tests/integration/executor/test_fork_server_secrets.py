"""The fork server is privileged, so it holds no secret: not in its environment, its command line, its memory."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from services.executor.kernels.port import KernelRequest
from tests.support.kernels import Session, forked_source

OWN = {
    "PATH", "LANG", "LC_CTYPE", "OPENBLAS_NUM_THREADS", "OPENBLAS_THREAD_TIMEOUT", "HOME", "PYTHONPYCACHEPREFIX",
    "MPLBACKEND",
}  # fmt: skip
"""All that a fork server's environment may have."""


def memory_has(pid: int, needle: bytes) -> bool:
    """Whether a process has these bytes in memory that it can write to."""
    with Path("/proc", str(pid), "maps").open() as maps, Path("/proc", str(pid), "mem").open("rb", 0) as memory:
        for line in maps:
            words = line.split()
            first, last = (int(number, 16) for number in words[0].split("-"))
            if not words[1].startswith("rw"):
                continue
            try:
                memory.seek(first)
                if needle in memory.read(last - first):
                    return True
            except OSError:
                continue  # a mapping of the system's own
    return False


@pytest.mark.skipif(os.getuid() != 0, reason="another process's memory is root's to read")
async def test_it_holds_no_secret_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = secrets.token_hex(32)
    monkeypatch.setenv("ATELIER_TEST_SECRET", secret)
    kernels = forked_source(tmp_path, imports=[])
    await kernels.open()
    try:
        kernel = await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "run"))
        assert await Session(kernel).says("print('ready')") == "ready"
        server = kernels.server_pid
        assert server is not None
        process = Path("/proc", str(server))
        environment = (process / "environ").read_bytes().decode()
        assert {entry.partition("=")[0] for entry in environment.split("\0") if entry} <= OWN
        assert secret not in (process / "cmdline").read_text()
        assert memory_has(os.getpid(), secret.encode())  # so it could be found
        assert not memory_has(server, secret.encode())
        sockets = [name for name in (process / "fd").iterdir() if str(name.readlink()).startswith("socket:")]
        assert len(sockets) <= 3 + 1  # to the worker, its door, to the maker, and to the one kernel's keeper
        await kernel.close()
    finally:
        await kernels.close()
