"""Resolves requirements to a lock and builds the environment of a lock, with uv."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import structlog
from packaging.requirements import Requirement

from services.executor import to_the_end
from services.executor.environments import rules, untrusted
from services.executor.environments.base import Interpreter
from services.executor.environments.growth import TooLarge
from services.executor.environments.rules import SDK, EnvironmentBuildError, Pin
from services.executor.environments.shelf import discard
from services.executor.environments.uv import Uv
from shared.contracts.libraries import PinnedLibrary
from shared.errors import NotFound

log = structlog.get_logger(__name__)

BASE_LINK = "atelier-base.pth"
"""The file of an environment that lets it see the base environment's packages, after its own."""

LOCK = "requirements.lock"
"""What a build has installed, inside the environment's folder."""


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What has to be installed: `lock` alone, or, where `on_base`, what of it the base environment does not have."""

    lock: str
    on_base: bool


Fetch = Callable[[str, Path], Awaitable[None]]
"""Writes the object of a key to a file; raises NotFound or Unavailable."""


class Builder:
    """Resolves and builds by `uv`, beside the base environment; `fetch` brings the files of libraries."""

    def __init__(self, uv: Uv, fetch: Fetch) -> None:
        self._uv = uv
        self._fetch = fetch

    async def resolve(
        self, wanted: Sequence[Requirement], base: Interpreter, target: Interpreter, scratch: Path
    ) -> Resolution:
        """Choose versions. First beside the base environment as it is: then only what is new has to be installed. Where
        that cannot be (or `target` is another Python), a whole environment with all that the base one has, at its
        versions where possible. Raises EnvironmentBuildError with the resolver's words."""
        if target is base:
            missing = [one for one in wanted if not rules.satisfied(one, base.installed, base.markers)]
            try:
                return Resolution(lock=await self._compile(missing, base, scratch, fixed=base), on_base=True)
            except EnvironmentBuildError:
                # The packages may want other versions than the base environment has.
                pass
        return Resolution(
            lock=await self._compile(self._whole(wanted, base), target, scratch, preferred=base), on_base=False
        )

    def _whole(self, wanted: Sequence[Requirement], base: Interpreter) -> list[Requirement]:
        names = [Requirement(name) for name in base.installed if name != SDK]
        needed = [Requirement(text) for text in base.sdk.requires] if base.sdk else []
        return [*(one for one in wanted), *names, *needed]

    async def _compile(
        self,
        wanted: Sequence[Requirement],
        target: Interpreter,
        scratch: Path,
        *,
        fixed: Interpreter | None = None,
        preferred: Interpreter | None = None,
    ) -> str:
        """The lock, in requirements.txt form with hashes."""
        asked, lock, constraints = scratch / "wanted.in", scratch / "wanted.txt", scratch / "base.txt"
        asked.write_text("".join(f"{one}\n" for one in wanted), encoding="utf-8")
        constraints.write_text(_versions(fixed) if fixed else "", encoding="utf-8")
        # uv keeps to the versions of a lock that is there already, where it can.
        lock.write_text(_versions(preferred) if preferred else "", encoding="utf-8")
        await self._uv.run(
            "pip", "compile", str(asked), "--output-file", str(lock), "--constraints", str(constraints),
            "--python", str(target.python), "--no-header", "--no-annotate", "--generate-hashes", "--quiet",
            *self._uv.index.options(),
            readable=target.readable, writable=[scratch], shared_cache=not self._uv.index.source_builds, online=True,
        )  # fmt: skip
        return untrusted.read(lock)

    async def build(
        self,
        resolution: Resolution,
        libraries: Sequence[PinnedLibrary],
        base: Interpreter,
        target: Interpreter,
        folder: Path,
    ) -> None:
        """Make the environment in the empty `folder`; raises EnvironmentBuildError. It may be moved afterwards."""
        await self._uv.run(
            "venv", "--relocatable", "--no-project", "--allow-existing", "--python", str(target.python), str(folder),
            readable=target.readable, writable=[folder],
        )  # fmt: skip
        packages = folder / "lib" / f"python{target.minor}" / "site-packages"
        new = rules.pins(resolution.lock)
        if resolution.on_base:
            new = missing_from(base, new)
            link = "".join(f"{path}\n" for path in base.folders)
            (packages / BASE_LINK).write_text(link, encoding="utf-8")
        elif base.sdk is not None:
            await to_the_end.in_thread(_copy, base.sdk.folder, base.sdk.names, packages)
        if new:
            lock = folder / LOCK
            lock.write_text(rules.lock_of(new), encoding="utf-8")
            own = self._uv.index.source_builds  # its programs run before anything of the environment is used
            options = ["--require-hashes", "--requirements", str(lock), *self._uv.index.options()]
            await self._install(folder, [*base.readable, *target.readable], *options, shared_cache=not own, online=True)
        for pinned in libraries:
            await self._add(pinned, packages, folder, [*base.readable, *target.readable])
        await self._compile_bytecode(untrusted.real_folder(packages, folder), target, folder)

    async def _add(self, pinned: PinnedLibrary, packages: Path, folder: Path, readable: Sequence[Path]) -> None:
        """Put a project's own library in, over what bears its name."""
        library = pinned.library
        untrusted.real_folder(packages, folder)
        taken = packages / library.library_name.replace("-", "_")
        await asyncio.to_thread(shutil.rmtree, taken, ignore_errors=True)
        brought = folder / f"brought-{uuid4().hex}"
        brought.mkdir()
        file = brought / library.file_name
        try:
            await self._fetch(pinned.object_key, file)
        except NotFound:
            message = f"The library {library.library_name} was removed while the environment was being built"
            raise EnvironmentBuildError(message) from None
        if library.kind == "wheel":
            # What is installed already may run when uv looks at the environment: not with the cache, which is
            # everybody's, nor with the index's addresses and a network to take them out by.
            options = ["--only-binary", ":all:", "--no-index", "--offline", str(file)]
            await self._install(folder, readable, *options, shared_cache=False, online=False)
        else:
            file.replace(packages / library.file_name)
        await asyncio.to_thread(discard, brought, folder)

    async def _install(
        self, folder: Path, readable: Sequence[Path], *arguments: str, shared_cache: bool, online: bool
    ) -> None:
        await self._uv.run(
            "pip", "install", "--python", str(folder / "bin/python"), "--no-deps", "--quiet", *arguments,
            readable=readable, writable=[folder], shared_cache=shared_cache, online=online,
        )  # fmt: skip

    async def _compile_bytecode(self, packages: Path, target: Interpreter, folder: Path) -> None:
        """By the interpreter that the environment is made of, without `site`: nothing of a package runs."""
        command = [str(target.python), "-I", "-S", "-m", "compileall", "-q", "-j", "0", str(packages)]
        try:
            await self._uv.run_program(command, readable=target.readable, writable=[folder])
        except TooLarge:
            raise
        except EnvironmentBuildError as error:
            # Packages have files for other versions of Python, too.
            log.debug("not everything was compiled", reason=str(error))


def missing_from(base: Interpreter, lock: Sequence[Pin]) -> list[Pin]:
    """The pins that the base environment does not have just so."""
    return [pin for pin in lock if base.installed.get(pin.name) != pin.version]


def _versions(interpreter: Interpreter) -> str:
    return rules.lock_of(pin for pin in rules.pins_of(interpreter.installed) if pin.name != SDK)


def _copy(source: Path, names: Sequence[str], target: Path) -> None:
    for name in names:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, target / name)
