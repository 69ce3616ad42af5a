"""Wires the worker role; nothing opens at import."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from services.executor import store
from services.executor.bones import lay_bones
from services.executor.environments.base import BaseEnvironment
from services.executor.environments.preparing import Environments
from services.executor.environments.sandbox import BuildSandbox
from services.executor.environments.shelf import Shelf
from services.executor.environments.uv import PackageIndex
from services.executor.font_cache import FontCache
from services.executor.kernels import languages
from services.executor.kernels.fair_reading import FairReading
from services.executor.kernels.fork_options import ForkOptions
from services.executor.kernels.forked import ForkedKernels
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.plain import PlainKernels, python_command
from services.executor.running.claim import Means
from services.executor.running.dataset_cache import DatasetCache
from services.executor.running.file_cache import FileCache
from services.executor.running.folder import WorkerFolder
from services.executor.running.folder import lay_out as lay_out_folder
from services.executor.running.guard import Allowance
from services.executor.settings import WorkerSettings
from services.executor.worker import Worker
from shared.database import Database
from shared.objects import S3ObjectStore
from shared.ops import Readiness
from shared.process import Part
from shared.settings import ObjectStoreSettings, WorkDirectory


def _fork_options(settings: WorkerSettings) -> ForkOptions:
    slots = settings.worker_slots
    return ForkOptions(
        python=settings.kernel_python,
        imports=list(settings.kernel_imports),
        uids=(settings.kernel_first_uid, settings.kernel_uids),
        limits=Limits(
            memory_bytes=settings.kernel_memory_mb * 1_000_000,
            processes=settings.kernel_processes,
            file_bytes=settings.kernel_file_mb * 1_000_000,
            open_files=settings.kernel_open_files,
            cpu_seconds=settings.kernel_cpu_seconds,
            processors=settings.kernel_processors,
        ),
        pool_size=slots if settings.kernel_pool_size is None else settings.kernel_pool_size,
        pool_sizes={"r": settings.kernel_pool_r, "scala": settings.kernel_pool_scala},
        environment_spares=settings.kernel_pool_environments,
        minimum=settings.isolation_minimum,
        start_timeout_s=settings.kernel_start_timeout,
    )


def _environments(settings: WorkerSettings, work_dir: Path, database: Database, objects: S3ObjectStore) -> Environments:
    url, extra = settings.package_index_url, settings.package_extra_index_urls
    index = PackageIndex(
        url=url.get_secret_value() if url else None,
        extra_urls=extra.get_secret_value() if extra else "",
        source_builds=settings.package_source_builds,
    )
    return Environments(
        BaseEnvironment(settings.kernel_python),
        Shelf(work_dir / "environments", max_bytes=settings.environments_max_bytes),
        uv=settings.uv,
        index=index,
        sandbox=BuildSandbox(
            minimum=settings.isolation_minimum,
            limits=Limits(
                memory_bytes=settings.kernel_memory_mb * 1_000_000,
                processes=settings.kernel_processes,
                file_bytes=settings.kernel_file_mb * 1_000_000,
                cpu_seconds=settings.kernel_cpu_seconds,
            ),
            disk_bytes=settings.kernel_disk_mb * 1_000_000,
            ports=index.ports(),
            readable=index.folders(),
            uid=settings.build_uid,
        ),
        fetch=objects.get_file,
        record=partial(store.put_environment, database),
    )


def build_worker(settings: WorkerSettings, readiness: Readiness) -> list[Part]:
    """Claims, kernels, results."""
    bones = lay_bones(settings, "worker", readiness)
    objects = S3ObjectStore(ObjectStoreSettings())
    readiness.add("objectStore", objects.check)
    work_dir = WorkDirectory().work_dir
    environments = _environments(settings, work_dir, bones.database, objects)
    folder = WorkerFolder(work_dir)
    fonts = FontCache(settings.kernel_python, folder.path / "fonts")

    def lay_out(path: Path) -> None:
        lay_out_folder(path, fonts.folder)

    others = languages.commands(settings)
    plain = PlainKernels(
        {"python3": python_command(settings.kernel_python), **others},
        python=settings.kernel_python,
        lay_out=lay_out,
        start_timeout_s=settings.kernel_start_timeout,
    )
    kernels = ForkedKernels(
        _fork_options(settings),
        scratch=folder.path / "kernels",
        new_folder=folder.spare_folder,
        lay_out=lay_out,
        fallback=plain,
        commands=others,
    )
    readiness.add("kernels", kernels.check)
    means = Means(
        database=bones.database,
        objects=objects,
        requests=bones.requests,
        kernels=kernels,
        environments=environments,
        datasets=DatasetCache(folder.path / "datasets", objects),
        files=FileCache(folder.path / "files", objects, bones.requests),
        allowance=Allowance(
            disk_bytes=settings.kernel_disk_mb * 1_000_000,
            files=settings.kernel_files,
            cpu_seconds=settings.kernel_cpu_seconds,
        ),
        reading=FairReading(),
        shutdown_grace_s=settings.kernel_shutdown_grace,
    )
    worker = Worker(settings, means, bones.broker, folder)
    return [*bones.parts(), objects, environments, folder, fonts, kernels, worker]
