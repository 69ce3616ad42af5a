"""A private PostgreSQL server on loopback, with passwords, run as a user that is not root."""

import asyncio
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from typing_extensions import override

from deploy.local import surroundings
from deploy.local.component import Component, Launch, NotReady, StartFailed
from deploy.local.folder import StackFolder
from deploy.local.ports import LOOPBACK, is_listening

DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
OWNER = DATABASE = "atelier"
SYSTEM_USER = "postgres"  # comes with Debian's package; used because the server refuses to run as root
OUTSIDE = Path("/var/lib/atelier")
"""Where root keeps the data of a checkout that this user cannot reach, such as one below /root."""
CHECK_SECONDS = 5.0
MAX_CONNECTIONS = 300  # five processes with a pool each, twice in a fault test, and a person with psql


@dataclass(frozen=True)
class Account:
    """The user a server runs as; None where it is the caller."""

    uid: int | None
    gid: int | None


class Postgres(Component):
    """The database server. `dsn` is the owner's; the services' own roles are made by `services.migrate`."""

    # SIGINT is the fast shutdown: it does not wait for clients. SIGQUIT leaves a recovery for the next start.
    stop_steps = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0))

    def __init__(self, folder: StackFolder) -> None:
        super().__init__("postgres", folder)

    @property
    @override
    def port_names(self) -> Sequence[str]:
        return ("postgres",)

    @property
    def dsn(self) -> str:
        """The address of the database for its owner, password included."""
        return self.dsn_of(OWNER, self.folder.secret("postgres"))

    def dsn_of(self, role: str, password: str) -> str:
        """The address of the database for a role."""
        return f"postgresql://{role}:{password}@{LOOPBACK}:{self.port}/{DATABASE}"

    @property
    def data(self) -> Path:
        """The cluster's folder; its parent is one that the server's user can enter."""
        if account().uid is not None and not _open_to_others(self.folder.path):
            return OUTSIDE / self.folder.stack_id / "postgres"
        return self.folder.path / "data" / "postgres"

    @override
    def prepare(self) -> Launch:
        who = account()
        if not (self.data / "PG_VERSION").exists():
            self._create(who)
        programs = find_programs((self.data / "PG_VERSION").read_text().strip())
        if programs is None:
            version = (self.data / "PG_VERSION").read_text().strip()
            raise StartFailed(
                self.name, f"{version} made this data, but is not installed now ('make reset' deletes it)", self.log
            )
        settings = {
            "port": self.port,
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "max_connections": MAX_CONNECTIONS,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Launch(
            argv=[str(programs / "postgres"), "-D", str(self.data), *options],
            env=surroundings.bare() | {"TZ": "UTC"},
            cwd=self.data,
            uid=who.uid,
            gid=who.gid,
        )

    @override
    def check(self) -> None:
        if not is_listening(self.port):
            raise NotReady("the port is closed")
        check_postgres(self.dsn)

    @override
    def clear_remains(self) -> None:
        """Removes the lock file of a server that was killed.

        PostgreSQL does so itself, unless another process has the old pid by now; then it refuses to start for ever. A
        server works in its data folder, which tells the two cases apart.
        """
        lock = self.data / "postmaster.pid"
        try:
            pid = int(lock.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        try:
            is_server = Path(f"/proc/{pid}/cwd").readlink() == self.data
        except OSError:
            is_server = False
        if not is_server:
            lock.unlink(missing_ok=True)

    def delete(self) -> None:
        """Deletes the data, wherever it is. The server must have been stopped."""
        if self.data.is_relative_to(OUTSIDE):
            shutil.rmtree(self.data.parent, ignore_errors=True)
            if OUTSIDE.exists() and not any(OUTSIDE.iterdir()):
                OUTSIDE.rmdir()
        shutil.rmtree(self.data, ignore_errors=True)

    def _create(self, who: Account) -> None:
        """Makes the cluster beside its final place, so that an interrupted attempt never looks finished."""
        programs = find_programs()
        if programs is None:
            raise StartFailed(self.name, "is not installed", self.log)
        draft = self.data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        if who.uid is not None and who.gid is not None:
            os.chown(draft, who.uid, who.gid)
        initdb = [str(programs / "initdb"), "-D", str(draft), "-U", OWNER, "--auth=reject", "--encoding=UTF8"]
        self._run([*initdb, "--locale=C.UTF-8", "--no-sync", "--no-instructions"], who, "")
        # A server without a network sets the password and makes the database: nobody can connect in between.
        password = self.folder.secret("postgres")
        self._run(
            [str(programs / "postgres"), "--single", "-D", str(draft), "postgres"],
            who,
            f"ALTER ROLE {OWNER} PASSWORD '{password}'\nCREATE DATABASE {DATABASE}\n",
        )
        (draft / "pg_hba.conf").write_text(f"host all all {LOOPBACK}/32 scram-sha-256\n")
        draft.rename(self.data)

    def _run(self, argv: list[str], who: Account, text: str) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            argv,
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=surroundings.bare() | {"TZ": "UTC"},
            cwd="/",
            user=who.uid,
            group=who.gid,
            extra_groups=None if who.uid is None else [],
            check=False,
        )
        with self.log.open("ab") as log:
            log.write(done.stdout)
        if done.returncode != 0:
            raise StartFailed(self.name, f"cannot create its data ({Path(argv[0]).name})", self.log)


def check_postgres(dsn: str) -> None:
    """Logs in and runs a query. Raises NotReady with the server's words."""

    async def attempt() -> None:
        connection = await asyncpg.connect(dsn, timeout=CHECK_SECONDS)
        try:
            await connection.fetchval("select 1")
        finally:
            await connection.close()

    try:
        # In a thread of its own: the caller's thread may have a running event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, attempt()).result()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise NotReady(f"PostgreSQL refuses: {error or type(error).__name__}") from error


def find_programs(version: str | None = None) -> Path | None:
    """The folder with `postgres` and `initdb`: of that major version if given, else the newest installed."""
    found = {
        folder.parent.name: folder
        for folder in DEBIAN_PROGRAMS.glob("*/bin")
        if (folder / "postgres").exists() and (folder / "initdb").exists()
    }
    if found and (version is None or version in found):
        return found[version] if version is not None else found[max(found, key=float)]
    on_path = shutil.which("postgres")
    if on_path is None or shutil.which("initdb") is None:
        return None
    said = subprocess.run([on_path, "--version"], capture_output=True, text=True, check=False).stdout
    major = re.search(r"(\d+)", said)
    if version is not None and (major is None or major.group(1) != version):
        return None
    return Path(on_path).resolve().parent


def account() -> Account:
    """The user the server runs as: the caller, or Debian's `postgres` when the caller is root."""
    if os.geteuid() != 0:
        return Account(None, None)
    entry = pwd.getpwnam(SYSTEM_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def _open_to_others(path: Path) -> bool:
    """Whether any user may pass through this folder and all above it."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in [path, *path.parents])
