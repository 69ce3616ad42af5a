"""Runs uv, which resolves and installs packages: with nothing of the worker's own environment, and ended with us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit
from uuid import uuid4

import structlog

from services.executor.environments.growth import Growth
from services.executor.environments.rules import EnvironmentBuildError, words_of
from services.executor.environments.sandbox import WEB_PORTS, BuildSandbox
from services.executor.kernels.provisioner import DIE_WITH_PARENT

log = structlog.get_logger(__name__)

OUTPUT_BYTES = 4_000_000
"""The most that is read of what uv prints, in bytes; a lock of a thousand packages with its hashes has about two."""


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PackageIndex:
    """Where packages come from. The addresses may carry credentials."""

    url: str | None = None
    extra_urls: str = ""
    source_builds: bool = False

    def variables(self) -> dict[str, str]:
        """For uv's environment: not for its command line, which others on the machine can read."""
        extra = " ".join(url.strip() for url in self.extra_urls.split(",") if url.strip())
        found = {"UV_DEFAULT_INDEX": self.url, "UV_INDEX": extra}
        return {name: value for name, value in found.items() if value}

    def ports(self) -> list[int]:
        """Where builds have to connect to."""
        return sorted({*WEB_PORTS, *(address.port for address in self._addresses() if address.port is not None)})

    def folders(self) -> list[Path]:
        """What builds have to read where an index is a folder."""
        return [Path(unquote(address.path)) for address in self._addresses() if address.scheme == "file"]

    def _addresses(self) -> list[SplitResult]:
        return [urlsplit(url.strip()) for url in [self.url or "", *self.extra_urls.split(",")] if url.strip()]

    def options(self) -> list[str]:
        """Wheels alone, unless the operator says otherwise: a source build runs the package's own program."""
        return [] if self.source_builds else ["--only-binary", ":all:"]


def find_uv() -> Path | None:
    """The uv installed beside this interpreter, else the one on the PATH."""
    beside = Path(sys.executable).with_name("uv")
    if beside.exists():
        return beside
    found = shutil.which("uv")
    return Path(found) if found else None


class Uv:
    """One uv program with its cache. What it needs for one call only lies in a folder of that call below `scratch`."""

    def __init__(
        self, program: Path | None, *, index: PackageIndex, cache: Path, scratch: Path, sandbox: BuildSandbox | None
    ) -> None:
        self.index = index
        self._program = program or find_uv()
        self._cache = cache
        self._scratch = scratch
        self._sandbox = sandbox

    async def run(
        self,
        *arguments: str,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        shared_cache: bool = True,
        online: bool = False,
    ) -> str:
        """What uv prints; raises EnvironmentBuildError with its own words when it fails or grows over a limit.
        Cancelled, it kills uv and whatever uv has started. The cache is everybody's: nothing of a package may run while
        it can be written, so without `shared_cache` there is one for this call only. Only `online` it is told where
        packages come from, and reaches them."""
        if self._program is None:
            raise EnvironmentBuildError(
                "this worker has no uv to build environments with; ask the operator to install it, or use what the "
                "base environment has"
            )
        return await self.run_program(
            [str(self._program), *arguments],
            readable=readable,
            writable=writable,
            shared_cache=shared_cache,
            online=online,
        )

    async def run_program(
        self,
        command: Sequence[str],
        *,
        readable: Sequence[Path],
        writable: Sequence[Path],
        shared_cache: bool = False,
        online: bool = False,
    ) -> str:
        """The same for another program of a build."""
        call = self._scratch / uuid4().hex[:12]
        stage, work = call / "view", call / "work"
        for folder in (call, stage, work, *([self._cache] if shared_cache else [])):
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        cache = self._cache if shared_cache else work / "cache"
        line, growth = list(command), None
        if self._sandbox is not None:
            more = [self._cache] if shared_cache else []
            own = [work, *writable]
            line = self._sandbox.command(line, stage=stage, readable=readable, writable=[*own, *more], online=online)
            if self._sandbox.disk_bytes is not None:
                growth = Growth(own, self._cache if shared_cache else None, self._sandbox.disk_bytes)
        environment = self._environment(cache, work) | (self.index.variables() if online else {})
        try:
            printed = await self._run(line, command[:3], environment, work, growth)
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, call, ignore_errors=True))
        return printed

    async def _run(
        self,
        line: Sequence[str],
        called: Sequence[str],
        environment: dict[str, str],
        work: Path,
        growth: Growth | None,
    ) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *DIE_WITH_PARENT,
                *line,
                env=environment,
                cwd=work,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=True,
                limit=OUTPUT_BYTES,
            )
        except OSError as error:
            raise EnvironmentBuildError(f"{Path(called[0]).name} cannot be run: {error.strerror}") from error
        try:
            assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - pipes
            ending = asyncio.gather(_read(process.stdout), _read(process.stderr), process.wait())
            printed, said, code = await (ending if growth is None else _within(growth, ending))
        finally:
            # Also after a good end: nothing that a build has started outlives it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.returncode is None:
                await asyncio.shield(process.wait())
        if code != 0:
            log.info("a program of a build failed", status=code, command=[Path(called[0]).name, *called[1:]])
            words = words_of(said.decode(errors="replace"))
            raise EnvironmentBuildError(words or f"{Path(called[0]).name} ended with status {code}")
        return printed.decode(errors="replace")

    def _environment(self, cache: Path, work: Path) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(work),
            "TMPDIR": str(work),
            "NO_COLOR": "1",
            "UV_CACHE_DIR": str(cache),
            "UV_LINK_MODE": "copy",  # an environment's files are its own: nobody reaches the cache through them
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_SYSTEM_CERTS": "1",  # an operator's own authority is among the system's
        }


async def _within(growth: Growth, ending: asyncio.Future[T]) -> T:
    """The end of a build; raises EnvironmentBuildError as soon as it has grown too large."""
    watching = asyncio.create_task(growth.exceeded())
    first: set[asyncio.Future[Any]] = {watching, ending}
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        fault = watching.result() if watching.done() else await asyncio.to_thread(growth.look)
        if fault is not None:
            raise fault
        return await ending
    finally:
        watching.cancel()
        ending.cancel()
        await asyncio.gather(watching, ending, return_exceptions=True)


async def _read(stream: asyncio.StreamReader) -> bytes:
    """All that comes, of which the first OUTPUT_BYTES are kept."""
    kept = bytearray()
    while chunk := await stream.read(65_536):
        kept += chunk[: OUTPUT_BYTES - len(kept)]
    return bytes(kept)
