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

import structlog

from services.executor.environments.rules import EnvironmentBuildError, words_of
from services.executor.kernels.provisioner import DIE_WITH_PARENT

log = structlog.get_logger(__name__)

OUTPUT_BYTES = 4_000_000
"""The most that is read of what uv prints, in bytes; a lock of a thousand packages with its hashes has about two."""


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


def confined_command(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` inside the sandbox.

    As it is for now: wheels are only unpacked, no program of theirs runs, and source builds are off by default.
    """
    return list(command)


class Uv:
    """One uv program with its cache; `scratch` is where it may put what it does not need afterwards."""

    def __init__(self, program: Path | None, *, index: PackageIndex, cache: Path, scratch: Path) -> None:
        self.index = index
        self._program = program or find_uv()
        self._cache = cache
        self._scratch = scratch

    async def run(self, *arguments: str, cache: Path | None = None) -> str:
        """What uv prints; raises EnvironmentBuildError with its own words when it fails. Cancelled, it kills uv and
        whatever uv has started."""
        if self._program is None:
            raise EnvironmentBuildError(
                "this worker has no uv to build environments with; ask the operator to install it, or use what the "
                "base environment has"
            )
        command = confined_command([str(self._program), *arguments])
        try:
            process = await asyncio.create_subprocess_exec(
                *DIE_WITH_PARENT,
                *command,
                env=self._environment(cache or self._cache),
                cwd=self._scratch,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=True,
                limit=OUTPUT_BYTES,
            )
        except OSError as error:
            raise EnvironmentBuildError(f"uv cannot be run: {error.strerror}") from error
        try:
            assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - pipes
            printed, said, code = await asyncio.gather(_read(process.stdout), _read(process.stderr), process.wait())
        finally:
            # Also after a good end: nothing that a build has started outlives it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.returncode is None:
                await asyncio.shield(process.wait())
        if code != 0:
            log.info("uv failed", status=code, command=arguments[:2])
            words = words_of(said.decode(errors="replace"))
            raise EnvironmentBuildError(words or f"uv ended with status {code}")
        return printed.decode(errors="replace")

    def _environment(self, cache: Path) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self._scratch),
            "TMPDIR": str(self._scratch),
            "NO_COLOR": "1",
            "UV_CACHE_DIR": str(cache),
            "UV_LINK_MODE": "copy",  # an environment's files are its own: nobody reaches the cache through them
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_SYSTEM_CERTS": "1",  # an operator's own authority is among the system's
            **self.index.variables(),
        }


async def _read(stream: asyncio.StreamReader) -> bytes:
    """All that comes, of which the first OUTPUT_BYTES are kept."""
    kept = bytearray()
    while chunk := await stream.read(65_536):
        kept += chunk[: OUTPUT_BYTES - len(kept)]
    return bytes(kept)
