"""How kernels of other languages are started: R by IRkernel, Scala by Toree with Spark; those that are installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog

from services.executor.kernels.commands import KernelCommand
from services.executor.settings import WorkerSettings

log = structlog.get_logger(__name__)

SDK = Path(__file__).resolve().parents[3] / "sdk"
"""Where the helpers of both languages lie, beside the services in a checkout and in the image."""

SCALA_START_TIMEOUT_S = 300.0
"""Seconds until a starting Scala kernel counts as stuck: it takes ten alone on a machine, and several times that when
every processor is taken."""

JAVA_OVERHEAD_MB, LEAST_HEAP_MB = 1024, 512
"""Of a run's memory, what Java takes beside its heap (classes, compiled code, threads, buffers), and the least heap."""

OPENED = (
    "java.io", "java.lang", "java.lang.invoke", "java.lang.reflect", "java.net", "java.nio", "java.util",
    "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action",
    "sun.util.calendar",
)  # fmt: skip
"""Packages of Java 17 that Spark reaches into, as its own launcher opens them."""

SPARK = {
    "spark.master": "local[*]",
    "spark.app.name": "notebook",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.shuffle.partitions": "8",
    "spark.executor.heartbeatInterval": "1h",
    "spark.network.timeout": "100000h",
    "akka.scheduler.tick-duration": "100ms",
    "akka.coordinated-shutdown.run-by-jvm-shutdown-hook": "off",
    "java.awt.headless": "true",
    "file.encoding": "UTF-8",
}
"""How Spark runs in a kernel: on this machine's processors, on loopback alone, with nothing kept outside the run folder
(where that is, atelier.Kernel tells it). Shuffles have few partitions: there is one machine. Executor and driver are
one process: heartbeats between them only cost time, and after hours in the pool a missed one would end the executor.
Toree's actors look at their clock less often, and leave the end of the process to atelier.Kernel."""


def commands(settings: WorkerSettings) -> dict[str, KernelCommand]:
    """The kernels beside Python's that this worker offers, by kernel type."""
    found: dict[str, KernelCommand] = {}
    if settings.kernel_r is not None:
        found["r"] = r(settings.kernel_r)
    if settings.kernel_scala is not None:
        try:
            found["scala"] = scala(settings.kernel_scala, settings.kernel_java, memory_mb=settings.kernel_memory_mb)
        except FileNotFoundError as error:
            log.error("kernel not offered: its environment is not complete", kernel="scala", missing=str(error))
    return {name: command for name, command in found.items() if _is_there(name, command)}


def r(program: Path) -> KernelCommand:
    """IRkernel. What a site or a person has set up for their own sessions is left out."""
    flags = ("--no-echo", "--no-restore", "--no-save", "--no-init-file", "--no-environ")
    return KernelCommand(
        argv=(str(program), *flags, f"--file={SDK / 'r' / 'kernel.R'}", "--args", "{connection_file}"),
        readable=(SDK / "r",),
        ended_by="quit() was called or R ended",
        waits_for_reader=True,
    )


def scala(environment: Path, java: Path, *, memory_mb: int) -> KernelCommand:
    """Toree with Spark in local mode, started without spark-submit and its second Java machine. `environment` is what
    `make kernels` has made: the jars are those of PyPI's packages, and Atelier's own part is compiled beside them.

    Raises FileNotFoundError when `environment` is not that.
    """
    packages = next(environment.glob("lib/python3*/site-packages/toree"), environment / "toree").parent
    jars = [environment / "atelier-scala.jar", packages / "toree/lib"]
    for jar in jars:
        if not jar.exists():
            raise FileNotFoundError(jar)
    # Spark's come before Toree's, which bring older copies of some classes.
    class_path = (jars[0], packages / "pyspark/jars/*", packages / "toree/lib/*")
    heap_mb = max(memory_mb - JAVA_OVERHEAD_MB, LEAST_HEAP_MB)
    return KernelCommand(
        argv=(
            str(java),
            f"-Xmx{heap_mb}m",
            "-XX:-UsePerfData",
            *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
            *(f"-D{name}={value}" for name, value in SPARK.items()),
            "-cp",
            ":".join(map(str, class_path)),
            "atelier.Kernel",
            "--profile",
            "{connection_file}",
        ),
        transport="tcp",
        readable=(environment,),
        ended_by="System.exit was called or the Java machine ended",
        waits_for_reader=True,
        start_timeout_s=SCALA_START_TIMEOUT_S,
        start_processors=2,
    )


def _is_there(name: str, command: KernelCommand) -> bool:
    """Whether its program can be found; a wrong setting must not look like a kernel that fails for no reason."""
    if shutil.which(command.argv[0]) is not None:
        return True
    log.error("kernel not offered: its program is missing", kernel=name, program=command.argv[0])
    return False
