"""Installs the R and Scala kernels (`make kernels`), and tells the worker which of them are there.

    python -m deploy.local.languages

R is Debian's. Scala is Toree with Spark: Java is Debian's, the jars come in PyPI's packages, locked in
deploy/kernels/scala/uv.lock, and Atelier's own part (sdk/scala) is compiled with the compiler that Spark brings.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from deploy.local import bootstrap, debian
from deploy.local.folder import ROOT

SCALA = ROOT / ".venv-scala"
SCALA_PROJECT = ROOT / "deploy/kernels/scala"
SCALA_SOURCES = ROOT / "sdk/scala"
SCALA_JAR = SCALA / "atelier-scala.jar"

R_NEEDS = ("r-irkernel", "r-irdisplay", "r-jsonlite", "r-data.table", "r-bit64", "r-ggplot2")


def settings() -> dict[str, str]:
    """The worker's settings for what is installed."""
    found: dict[str, str] = {}
    if not debian.missing(R_NEEDS):
        found["ATELIER_KERNEL_R"] = "R"
    java = debian.java()
    if java is not None and SCALA_JAR.exists() and bootstrap.is_current(SCALA, _digest()):
        found |= {"ATELIER_KERNEL_SCALA": str(SCALA), "ATELIER_KERNEL_JAVA": str(java)}
    return found


def main() -> int:
    """Installs what is missing of both; returns the exit code."""
    try:
        debian.ensure((*R_NEEDS, "java"))
        with (ROOT / ".atelier/bootstrap.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two commands in one checkout must not write the same environment
            prepare_scala(bootstrap.prepare_uv(ROOT / ".atelier/bootstrap"))
    except debian.PackagesMissing as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: '{' '.join(map(str, error.cmd))}' failed with exit code {error.returncode}", file=sys.stderr)
        return 1
    return 0


def prepare_scala(uv: Path) -> None:
    """Makes the environment of Scala kernels hold what its lock and the sources say, unless its digest says so."""
    wanted = _digest()
    if SCALA_JAR.exists() and bootstrap.is_current(SCALA, wanted):
        return
    began = time.monotonic()
    print(f"installing what Scala kernels need into {SCALA.name} ...", flush=True)
    (SCALA / bootstrap.STAMP).unlink(missing_ok=True)
    env = {name: value for name, value in os.environ.items() if name not in bootstrap.UNWANTED}
    env |= {"UV_PROJECT_ENVIRONMENT": str(SCALA), "UV_PYTHON_DOWNLOADS": "never"}
    command = [str(uv), "sync", "--frozen", "--quiet", "--directory", str(SCALA_PROJECT), "--python", sys.executable]
    subprocess.run(command, env=env, check=True)
    subprocess.run(compile_command(SCALA, SCALA_JAR), check=True)
    (SCALA / bootstrap.STAMP).write_text(wanted)
    print(f"installed {SCALA.name} ({time.monotonic() - began:.1f} s)", flush=True)


def compile_command(environment: Path, jar: Path) -> list[str]:
    """The command that compiles Atelier's part of the Scala kernel."""
    jars = [str(path) for path in sorted(environment.glob("lib/python3*/site-packages/toree/lib/*.jar"))]
    spark = [str(path) for path in sorted(environment.glob("lib/python3*/site-packages/pyspark/jars/*.jar"))]
    java = debian.java() or "java"
    sources = [str(path) for path in sorted(SCALA_SOURCES.glob("*.scala"))]
    # Spark's come first: Toree brings older copies of some of its classes.
    path = os.pathsep.join([*spark, *jars])
    return [str(java), "-cp", path, "scala.tools.nsc.Main", "-usejavacp", "-deprecation", "-d", str(jar), *sources]


def _digest() -> str:
    project = [str((SCALA_PROJECT / name).relative_to(ROOT)) for name in ("pyproject.toml", "uv.lock")]
    return bootstrap.digest([*project, *bootstrap.sources("sdk/scala")])


if __name__ == "__main__":
    sys.exit(main())
