"""Wires the processes of a worker that are forked from the template; nothing opens here."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from services.executor import secrecy, store
from services.executor.bones import lay_bones
from services.executor.environments.base import BaseEnvironment, Interpreter
from services.executor.environments.preparing import Environments
from services.executor.environments.sandbox import BuildSandbox
from services.executor.environments.shelf import Shelf
from services.executor.environments.uv import PackageIndex
from services.executor.kernels import languages
from services.executor.kernels.forked import ForkedKernels, SpareSource
from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.plain import PlainKernels, python_command
from services.executor.kernels.spares import Origin
from services.executor.kernels.starting import Starter
from services.executor.running.claim import Means
from services.executor.running.dataset_cache import DatasetCache
from services.executor.running.file_cache import FileCache
from services.executor.running.folder import PoolsFolder, SlotFolder
from services.executor.running.folder import lay_out as lay_out_folder
from services.executor.running.guard import Allowance
from services.executor.settings import WorkerSettings
from services.executor.slots import orders
from services.executor.slots.channel import Message
from services.executor.slots.followed_server import FollowedServer
from services.executor.slots.pools import PoolsServer
from services.executor.slots.pools_process import PoolsProcess
from services.executor.slots.process import Member
from services.executor.slots.remote_spares import RemoteSpares
from services.executor.slots.slot import Slot
from shared import telemetry
from shared.database import Database
from shared.objects import S3ObjectStore
from shared.ops import Readiness
from shared.settings import ObjectStoreSettings

CONNECTIONS = 4
"""To the database at most: a slot has one run."""

DropKernels = Callable[[], Awaitable[None]]


def main(told: dict[str, Any], connection: socket.socket) -> None:
    """Live as the supervisor's order says, until it says to stop or goes away. Called in a fork of the template."""
    os.environ.update(told["tracing"])
    telemetry.start("executor-worker", level=told["settings"]["log_level"])
    secrecy.forget()
    uvloop.run(_live(told, connection))
    telemetry.stop()


async def _live(told: dict[str, Any], connection: socket.socket) -> None:
    await member(told, connection).live()


def member(told: dict[str, Any], connection: socket.socket) -> Member:
    """Return the process that an order asks for."""
    settings = WorkerSettings(**told["settings"])
    make = {"slot": _slot, "pools": _pools}[told["role"]]
    return make(told, settings, connection)


def _kernels(
    told: dict[str, Any],
    settings: WorkerSettings,
    *,
    new_folder: Callable[[], Path],
    pool_size: int,
    spares: Callable[[Starter], SpareSource] | None,
    on_ready: Callable[[int], None],
) -> tuple[ForkedKernels, FollowedServer]:
    servers: list[FollowedServer] = []

    def follow(drop_kernels: DropKernels) -> FollowedServer:
        servers.append(FollowedServer(drop_kernels))
        return servers[0]

    def lay_out(path: Path) -> None:
        lay_out_folder(path, Path(told["fonts"]))

    others = languages.commands(settings)
    kernels = ForkedKernels(
        orders.fork_options(settings, pool_size=pool_size),
        scratch=Path(told["folder"]) / "kernels",
        new_folder=new_folder,
        lay_out=lay_out,
        fallback=PlainKernels(
            {"python3": python_command(settings.kernel_python), **others},
            python=settings.kernel_python,
            lay_out=lay_out,
            start_timeout_s=settings.kernel_start_timeout,
        ),
        commands=others,
        server=follow,
        spares=spares,
        on_ready=on_ready,
    )
    return kernels, servers[0]


def _slot(told: dict[str, Any], settings: WorkerSettings, connection: socket.socket) -> Slot:
    worker_folder = Path(told["folder"])
    folder = SlotFolder(worker_folder, told["number"])
    remote: list[RemoteSpares] = []

    def spares(starter: Starter) -> RemoteSpares:
        async def adopt(origin: Origin, message: Message, sockets: Sequence[int]) -> ForkedKernel:
            run_dir = Path(message["runDir"])
            folder.mark(run_dir)
            return await starter.adopt(message["identity"], run_dir, message["key"], origin.command, sockets)

        remote.append(RemoteSpares(adopt))
        return remote[0]

    slot = Slot(connection, folder)
    kernels, slot.server = _kernels(
        told,
        settings,
        new_folder=folder.spare_folder,
        pool_size=told["poolSize"],
        spares=spares,
        on_ready=slot.tell_ready,
    )
    bones = lay_bones(settings, "worker", Readiness(), connections=CONNECTIONS)
    objects = S3ObjectStore(ObjectStoreSettings(**told["objects"]))
    environments = _environments(told, settings, bones.database, objects)
    means = Means(
        database=bones.database,
        objects=objects,
        requests=bones.requests,
        kernels=kernels,
        environments=environments,
        datasets=DatasetCache(worker_folder / "datasets", objects),
        files=FileCache(worker_folder / "files", objects, bones.requests),
        allowance=Allowance(
            disk_bytes=settings.kernel_disk_mb * store.MEGABYTE,
            files=settings.kernel_files,
            cpu_seconds=settings.kernel_cpu_seconds,
        ),
        shutdown_grace_s=settings.kernel_shutdown_grace,
    )
    slot.equip(means, remote[0], [*bones.parts(), objects, environments, folder, kernels])
    return slot


def _pools(told: dict[str, Any], settings: WorkerSettings, connection: socket.socket) -> PoolsProcess:
    folder = PoolsFolder(Path(told["folder"]), told["number"])
    kernels, server = _kernels(
        told, settings, new_folder=folder.spare_folder, pool_size=0, spares=None, on_ready=lambda _: None
    )
    return PoolsProcess(connection, server, kernels, PoolsServer(lambda: kernels.spares))


def _environments(
    told: dict[str, Any], settings: WorkerSettings, database: Database, objects: S3ObjectStore
) -> Environments:
    url, extra = settings.package_index_url, settings.package_extra_index_urls
    index = PackageIndex(
        url=url.get_secret_value() if url else None,
        extra_urls=extra.get_secret_value() if extra else "",
        source_builds=settings.package_source_builds,
    )
    return Environments(
        BaseEnvironment(settings.kernel_python, Interpreter.from_json(told["base"])),
        Shelf(Path(told["workDir"]) / "environments", max_bytes=settings.environments_max_bytes),
        uv=settings.uv,
        index=index,
        sandbox=BuildSandbox(
            minimum=settings.isolation_minimum,
            limits=Limits(
                memory_bytes=settings.kernel_memory_mb * store.MEGABYTE,
                processes=settings.kernel_processes,
                file_bytes=settings.kernel_file_mb * store.MEGABYTE,
                cpu_seconds=settings.kernel_cpu_seconds,
            ),
            disk_bytes=settings.kernel_disk_mb * store.MEGABYTE,
            ports=index.ports(),
            readable=index.folders(),
            uid=settings.build_uid,
        ),
        fetch=objects.get_file,
        record=partial(store.put_environment, database),
    )
