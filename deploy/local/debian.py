"""Installs missing Debian packages by apt when allowed to; uses the standard library alone, as it runs before any venv.

    python3 deploy/local/debian.py venv rabbitmq postgresql

Servers are installed without being started, and PostgreSQL without its default cluster: the stack runs its own.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOCK_SECONDS = 300  # apt may be at work for someone else, e.g. unattended upgrades
LISTS = Path("/var/lib/apt/lists")
POLICY = Path("/usr/sbin/policy-rc.d")
CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.d/zz-atelier.conf")
R_LIBRARIES = [
    Path(folder) for folder in ("/usr/local/lib/R/site-library", "/usr/lib/R/site-library", "/usr/lib/R/library")
]
POLICY_TEXT = "#!/bin/sh\n# Atelier's, while its packages are being installed: nothing is to be started.\nexit 101\n"


class PackagesMissing(RuntimeError):
    """Packages are missing and cannot be installed from here; the text holds the command that does it."""


@dataclass(frozen=True)
class Need:
    """A Debian package and the test that tells whether what it brings is there already, from wherever."""

    package: str
    present: Callable[[], bool]
    purpose: str


def _has_venv() -> bool:
    # ensurepip is what Debian splits off into python3-venv; the same interpreter will make the environment.
    test = [sys.executable, "-I", "-c", "import ensurepip, venv"]
    return subprocess.run(test, capture_output=True, check=False).returncode == 0


def _has_rabbitmq() -> bool:
    return Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() and shutil.which("epmd") is not None


def _has_postgresql() -> bool:
    return any(Path("/usr/lib/postgresql").glob("*/bin/postgres")) or shutil.which("postgres") is not None


def _r_library(name: str) -> Callable[[], bool]:
    return lambda: shutil.which("R") is not None and any((folder / name).is_dir() for folder in R_LIBRARIES)


def java() -> Path | None:
    """A Java 17, which Spark 3.5 and Toree run on."""
    return next(iter(sorted(Path("/usr/lib/jvm").glob("java-17-*/bin/java"))), None)


NEEDS = {
    "venv": Need("python3-venv", _has_venv, "makes virtual environments"),
    "rabbitmq": Need("rabbitmq-server", _has_rabbitmq, "the message broker of the native stack"),
    "postgresql": Need("postgresql", _has_postgresql, "the database of the native stack"),
    "r-irkernel": Need("r-cran-irkernel", _r_library("IRkernel"), "the R kernel"),
    "r-irdisplay": Need("r-cran-irdisplay", _r_library("IRdisplay"), "outputs of R notebooks"),
    "r-jsonlite": Need("r-cran-jsonlite", _r_library("jsonlite"), "run folders in R"),
    "r-data.table": Need("r-cran-data.table", _r_library("data.table"), "datasets in R"),
    "r-bit64": Need("r-cran-bit64", _r_library("bit64"), "integers of 64 bits in R"),
    "r-ggplot2": Need("r-cran-ggplot2", _r_library("ggplot2"), "charts in R"),
    "java": Need("openjdk-17-jre-headless", lambda: java() is not None, "runs Scala kernels"),
    "chromium": Need("chromium", lambda: shutil.which("chromium") is not None, "prints and shows reports"),
    "curl": Need("curl", lambda: shutil.which("curl") is not None, "runs the README's tour in the tests"),
    "buildah": Need("buildah", lambda: shutil.which("buildah") is not None, "builds the image without Docker"),
    "debootstrap": Need("debootstrap", lambda: shutil.which("debootstrap") is not None, "makes the image's base"),
}


def missing(names: Sequence[str]) -> list[Need]:
    """Those of the named needs that are not met. Raises KeyError for an unknown name."""
    return [need for need in (NEEDS[name] for name in names) if not need.present()]


def install_command(needs: Sequence[Need]) -> list[str]:
    """The command that installs the packages."""
    return ["apt-get", "install", "-y", "--no-install-recommends", *(need.package for need in needs)]


def ensure(names: Sequence[str]) -> None:
    """Installs what is missing of the named needs. Raises PackagesMissing when it may not or cannot."""
    needs = missing(names)
    if not needs:
        return
    listed = "\n".join(f"  {need.package}: {need.purpose}" for need in needs)
    if shutil.which("apt-get") is None:
        raise PackagesMissing(f"this machine lacks what these Debian packages bring, and has no apt-get:\n{listed}")
    if os.geteuid() != 0:
        command = " ".join(install_command(needs))
        raise PackagesMissing(f"packages are missing:\n{listed}\nrun: sudo {command}")
    print(f"installing {', '.join(need.package for need in needs)}", flush=True)
    with nothing_started(), no_default_cluster():
        _install(install_command(needs))
    still = missing(names)
    if still:
        packages = ", ".join(need.package for need in still)
        raise PackagesMissing(f"{packages} is installed, but does not bring what is needed (too old a release?)")


def _install(command: list[str]) -> None:
    """Runs apt-get; fetches the package lists first when there are none, and once more when that did not suffice."""
    if not any(LISTS.glob("*Packages*")):
        _apt(["apt-get", "update"])
    if _apt(command).returncode == 0:
        return
    _apt(["apt-get", "update"])
    done = _apt(command)
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-12:])
        raise PackagesMissing(f"'{' '.join(command)}' failed:\n{end}")


def _apt(command: list[str]) -> "subprocess.CompletedProcess[str]":
    program, *arguments = command
    return subprocess.run(
        [program, "-q", "-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@contextmanager
def nothing_started(policy: Path = POLICY) -> Iterator[None]:
    """Forbids package scripts to start services meanwhile, by Debian's own means; then all is as before."""
    saved = policy.with_name(policy.name + ".atelier-saved")
    if policy.exists() and policy.read_text() != POLICY_TEXT:
        policy.replace(saved)  # a file of that name left by an interrupted install is still the real one, and is kept
    draft = policy.with_name(policy.name + ".atelier-new")
    draft.write_text(POLICY_TEXT)
    draft.chmod(0o755)
    draft.replace(policy)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
        if saved.exists():
            saved.replace(policy)


@contextmanager
def no_default_cluster(settings: Path = CLUSTER_SETTINGS) -> Iterator[None]:
    """Keeps PostgreSQL's package from making a cluster of its own meanwhile."""
    made = [folder for folder in settings.parents if not folder.exists()]
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("create_main_cluster = false\n")
    try:
        yield
    finally:
        settings.unlink(missing_ok=True)
        for folder in made:
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()


if __name__ == "__main__":
    try:
        ensure(sys.argv[1:])
    except PackagesMissing as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
