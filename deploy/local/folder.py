"""The folder of one stack: where it keeps its identity, secrets, ports, records of processes, logs and data."""

import fcntl
import json
import os
import secrets
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.ports import PortBook

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: services run from here."""

SECRET_BYTES = 32
LOG_KEPT_BYTES = 20 * 1024 * 1024  # a log longer than this is set aside at the next start; one old one is kept
LOCK_POLL_SECONDS = 0.1
LOCK_SECONDS = 600.0  # the longest a first `make up` takes on a slow line, with packages to install
KEPT = frozenset({"bootstrap", "bootstrap.lock", "lock"})
MARKER = "ATELIER_STACK"
"""Environment variable of every process of a stack; by it, what lost its parent is found again."""


class StackBusy(RuntimeError):
    """Another command holds this stack's lock for too long."""


class StackFolder:
    """Paths and remembered facts of one stack. Opening it creates the folder; nothing else is started or written."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.path.mkdir(parents=True, exist_ok=True)
        status = self.path.stat()
        self.place = f"{status.st_dev}:{status.st_ino}"
        self._guard = threading.Lock()
        self._facts = self._load_facts()
        self.ports = PortBook(self.path / "ports.json")

    @property
    def stack_id(self) -> str:
        """A random name, unique to this stack on this machine."""
        return self._facts["stack_id"]

    @property
    def markers(self) -> list[bytes]:
        """How the environment of a process of this stack may begin an entry: see `processes.marked`."""
        return [f"{MARKER}={self.stack_id}:".encode(), f"ATELIER_RUN_DIR={self.path}/".encode()]

    def log(self, name: str) -> Path:
        """The log file of a component."""
        return self.path / "logs" / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        """Where the record of a component's process is kept."""
        return self.path / "pids" / f"{name}.json"

    def data(self, name: str, *, mode: int = 0o700) -> Path:
        """The data folder of a component, created when missing; the mode is for the folder itself."""
        (self.path / "data").mkdir(exist_ok=True)
        folder = self.path / "data" / name
        folder.mkdir(mode=mode, exist_ok=True)
        return folder

    def set_aside_long_log(self, name: str) -> None:
        """Renames a log that has become too long; called while nobody writes to it."""
        log = self.log(name)
        if log.exists() and log.stat().st_size > LOG_KEPT_BYTES:
            log.replace(log.with_suffix(".old.log"))

    def secret(self, name: str) -> str:
        """A random secret of 256 bits in hexadecimal, made at the first question; the file is for the owner alone."""
        return self._remembered("secrets.json", name, lambda: secrets.token_hex(SECRET_BYTES))

    def fact(self, name: str, make: Callable[[], str]) -> str:
        """A value decided once for the life of this stack, such as the tenant's id."""
        return self._remembered("facts.json", name, make)

    def clear(self) -> None:
        """Removes everything of the stack, and the folder itself unless something of others is in it.

        In a checkout the folder also holds the environment that uv is installed in; and the lock is held just now.
        """
        for entry in self.path.iterdir():
            if entry.name in KEPT:
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    @contextmanager
    def lock(self, waiting: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Lets one command at a time change this stack. Raises StackBusy after ten minutes.

        `waiting` is told once when another command holds the lock. It ends with its holder, in any case.
        """
        with (self.path / "lock").open("a+") as handle:
            deadline = time.monotonic() + LOCK_SECONDS
            told = False
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    handle.seek(0)
                    holder = handle.read().strip() or "unknown"
                    if time.monotonic() > deadline:
                        raise StackBusy(f"process {holder} has been changing {self.path} for too long") from None
                    if not told:
                        waiting(f"another command (process {holder}) is at work in {self.path}; waiting for it")
                        told = True
                    time.sleep(LOCK_POLL_SECONDS)
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def _load_facts(self) -> dict[str, str]:
        """This stack's identity. A copied folder is another stack: it gets an id of its own and forgets the pids."""
        path = self.path / "stack.json"
        facts = _read_object(path)
        if facts.get("place") != self.place or "stack_id" not in facts:
            facts = {"stack_id": uuid.uuid4().hex[:12], "place": self.place}
            _write_private(path, facts)
        return facts

    def _remembered(self, file: str, name: str, make: Callable[[], str]) -> str:
        with self._guard:
            path = self.path / file
            values = _read_object(path)
            if name not in values:
                values[name] = make()
                _write_private(path, values)
            return values[name]


def _read_object(path: Path) -> dict[str, str]:
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return {str(key): str(item) for key, item in value.items()}


def _write_private(path: Path, values: dict[str, str]) -> None:
    """Writes a JSON file that only its owner can read, in one step."""
    write_private_text(path, json.dumps(values, indent=1, sort_keys=True) + "\n")


def write_private_text(path: Path, text: str) -> None:
    """Writes a text file with mode 0600 in one step; it is never readable by others, not even for a moment."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    draft.replace(path)
