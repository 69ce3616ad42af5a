"""Gives each run the environment that its notebook asks for: the base one where that will do, else one built for it.

A request is resolved once in RESOLUTION_AGE_S and built once for all runs and workers of the work folder; what is there
already is found without uv (DESIGN.md decision 10).
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from services.executor.environments import building, rules
from services.executor.environments.base import BaseEnvironment, Interpreter
from services.executor.environments.building import Builder, Fetch, Resolution
from services.executor.environments.rules import EnvironmentBuildError
from services.executor.environments.sandbox import BuildSandbox
from services.executor.environments.shelf import Lease, Shelf
from services.executor.environments.uv import PackageIndex, Uv
from shared.contracts.libraries import PinnedLibrary
from shared.contracts.notebooks import Environment, KernelType

log = structlog.get_logger(__name__)

RESOLUTION_AGE_S = 86_400.0
"""How long the versions chosen for a request stay chosen, in seconds: a day, so that new releases come in."""

FORMAT = 1
"""Raised when environments are built otherwise than before, so that older ones are not used."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An environment ready for a kernel; not removed before `close`."""

    environment_id: str
    source: Literal["base", "built"]
    python: Path
    python_version: str
    lock: str
    lease: Lease | None = field(default=None, repr=False)
    readable: tuple[Path, ...] = ()
    """What a kernel of a built environment has to be able to read."""

    def close(self) -> None:
        """The run needs it no more. Safe to call twice."""
        if self.lease is not None:
            self.lease.close()


@dataclass(frozen=True, kw_only=True)
class Site:
    """What an environment is built on: the base environment, the Python it is for, and a project's own libraries."""

    base: Interpreter
    target: Interpreter
    libraries: Sequence[PinnedLibrary]

    def name(self, resolution: Resolution) -> str:
        """The environment's id: the hash of everything it is made of."""
        brought = sorted([one.library.file_name, one.library.sha256] for one in self.libraries)
        return rules.key_of(
            FORMAT, resolution.lock, resolution.on_base, _identity(self.target), _identity(self.base), brought
        )

    def built(self, resolution: Resolution, lease: Lease) -> Prepared:
        """With the lock of all that the kernel sees: the base environment's packages, too, where it sees them."""
        chosen = {pin.name: pin for pin in rules.pins(resolution.lock)}
        seen = {pin.name: pin for pin in rules.pins_of(self.base.installed)} if resolution.on_base else {}
        lock = rules.lock_of({**seen, **chosen}.values())
        for one in self.libraries:
            lock += f"# the project's own {one.library.file_name} sha256:{one.library.sha256}\n"
        return Prepared(
            environment_id=lease.folder.name,
            source="built",
            python=lease.folder / "bin" / "python",
            python_version=self.target.version,
            lock=lock,
            lease=lease,
            # What lies in the environment does not tell where its interpreter is: a package may have written it.
            readable=(lease.folder, *self.target.readable, *self.base.readable),
        )


class Environments:
    """One per worker. `record` is told of each environment before its first use by this worker; without a `sandbox`
    builds are processes of the worker's user."""

    def __init__(
        self,
        base: BaseEnvironment,
        shelf: Shelf,
        *,
        uv: Path | None,
        index: PackageIndex,
        sandbox: BuildSandbox | None,
        fetch: Fetch,
        record: Callable[[Prepared], Awaitable[None]],
    ) -> None:
        self._base = base
        self._shelf = shelf
        self._index = index
        self._builder = Builder(Uv(uv, index=index, cache=shelf.cache, scratch=shelf.scratch, sandbox=sandbox), fetch)
        self._record = record
        self._recorded: set[str] = set()
        self._prepared_base: Prepared | None = None

    @property
    def python(self) -> Path:
        """The base environment's interpreter."""
        return self._base.python

    @property
    def python_version(self) -> str:
        """The base environment's version of Python."""
        return self._base.interpreter.version

    async def open(self) -> None:
        """Get to know the base environment and what has been built; raises RuntimeError when there is no base."""
        await self._base.open()
        await self._shelf.open()

    async def close(self) -> None:
        """Nothing is held."""

    async def prepare(
        self, wanted: Environment, kernel_type: KernelType, libraries: Sequence[PinnedLibrary] = ()
    ) -> Prepared:
        """The environment for a run, with the project's own `libraries` among those wanted; raises
        EnvironmentBuildError. When cancelled, what it has started is ended."""
        prepared = await self._prepare(wanted, kernel_type, libraries)
        try:
            if prepared.environment_id not in self._recorded:
                await self._record(prepared)
                self._recorded.add(prepared.environment_id)
        except BaseException:
            prepared.close()
            raise
        return prepared

    async def _prepare(
        self, wanted: Environment, kernel_type: KernelType, libraries: Sequence[PinnedLibrary]
    ) -> Prepared:
        base = self._base.interpreter
        own = {canonicalize_name(one.library.library_name) for one in libraries}
        texts = [*wanted.packages, *(text for one in libraries for text in one.requires)]
        packages = [one for one in rules.requirements(texts) if one.name not in own]
        packages = rules.foreign(packages, base.installed)
        unknown = [name for name in wanted.custom_libraries if canonicalize_name(name) not in own | rules.OWN]
        if unknown:
            raise EnvironmentBuildError(f"This project has no library named {', '.join(unknown)}")
        if kernel_type != "python3":
            if packages or libraries:
                raise EnvironmentBuildError(f"packages can be had for python3 kernels only, not for {kernel_type}")
            return _of_the_worker(kernel_type, base)
        target = await self._base.interpreter_for(wanted.python_version)
        satisfied = all(rules.satisfied(one, base.installed, base.markers) for one in packages)
        if target is base and satisfied and not libraries:
            return self._base_prepared()
        key = rules.key_of(
            FORMAT, [str(one) for one in packages], _identity(target), _identity(base),
            [self._index.url, self._index.extra_urls, self._index.source_builds],
        )  # fmt: skip
        site = Site(base=base, target=target, libraries=libraries)
        found = self._found(key, site)
        if found is not None:
            return found
        async with self._shelf.building(key):
            return self._found(key, site) or await self._make(key, packages, site)

    def _found(self, key: str, site: Site) -> Prepared | None:
        """What an earlier request has left, where it is still good."""
        kept = self._kept(key)
        return None if kept is None else self._prepared(kept, site)

    def _kept(self, key: str) -> Resolution | None:
        kept = self._shelf.resolution(key)
        if kept is None or time.time() - float(str(kept["at"])) > RESOLUTION_AGE_S:
            return None
        return Resolution(lock=str(kept["lock"]), on_base=bool(kept["onBase"]))

    def _prepared(self, resolution: Resolution, site: Site) -> Prepared | None:
        nothing_new = resolution.on_base and not building.missing_from(site.base, rules.pins(resolution.lock))
        if nothing_new and not site.libraries:
            return self._base_prepared()
        lease = self._shelf.lease(site.name(resolution))
        return None if lease is None else site.built(resolution, lease)

    async def _make(self, key: str, packages: list[Requirement], site: Site) -> Prepared:
        began = time.monotonic()
        resolution = self._kept(key)
        async with self._shelf.cache_in_use():
            if resolution is None:
                resolution = await self._resolve(key, packages, site)
            name = site.name(resolution)
            async with self._shelf.building(name):
                # Another request may have come to the same lock.
                prepared = self._prepared(resolution, site)
                if prepared is not None:
                    return prepared
                folder = self._shelf.new_folder(name)
                try:
                    await self._builder.build(resolution, site.libraries, site.base, site.target, folder)
                    lease = await self._shelf.publish(folder, name)
                finally:
                    await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
        log.info("environment built", environment=name, seconds=round(time.monotonic() - began, 3))
        try:
            await self._shelf.trim()
        except BaseException:
            lease.close()
            raise
        return site.built(resolution, lease)

    async def _resolve(self, key: str, packages: list[Requirement], site: Site) -> Resolution:
        began = time.monotonic()
        scratch = self._shelf.new_folder(key)
        try:
            resolution = await self._builder.resolve(packages, site.base, site.target, scratch)
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True))
        kept = {"at": time.time(), "lock": resolution.lock, "onBase": resolution.on_base}
        self._shelf.keep_resolution(key, kept)
        log.info("environment resolved", environment=site.name(resolution), seconds=round(time.monotonic() - began, 3))
        return resolution

    def _base_prepared(self) -> Prepared:
        if self._prepared_base is None:
            base = self._base.interpreter
            self._prepared_base = Prepared(
                environment_id=rules.key_of(FORMAT, _identity(base)),
                source="base",
                python=base.python,
                python_version=base.version,
                lock=rules.lock_of(rules.pins_of(base.installed)),
            )
        return self._prepared_base


def _of_the_worker(kernel_type: KernelType, base: Interpreter) -> Prepared:
    """What a kernel of another language runs in: what is installed with the worker, and nothing of Python's."""
    return Prepared(
        environment_id=rules.key_of(FORMAT, kernel_type), source="base", python=base.python, python_version="", lock=""
    )


def _identity(interpreter: Interpreter) -> list[object]:
    """What makes environments beside this interpreter different from others."""
    return [str(interpreter.python), interpreter.version, sorted(interpreter.installed.items()), interpreter.folders]
