"""What all components of a stack have in common: start, wait until ready, stop, kill, and say how they are."""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local import processes
from deploy.local.folder import MARKER, ROOT, StackFolder
from deploy.local.processes import ProcessRecord

CHECK_EVERY_SECONDS = 0.05
LOG_LINES_SHOWN = 15


class NotReady(Exception):
    """A component does not answer yet; the text says what was tried."""


class StartFailed(RuntimeError):
    """A component ended during its start or was not ready in time."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        self.name = name
        self.log = log
        lines = last_lines(log, LOG_LINES_SHOWN)
        shown = "\n".join(f"    | {line}" for line in lines) or "    | (the log is empty)"
        super().__init__(f"{name} {reason}\n  last lines of {log}:\n{shown}")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start a component's process."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path = ROOT
    uid: int | None = None
    gid: int | None = None


class Component(ABC):
    """One process of the stack, with a record of its pid and a log file, both named like the component."""

    start_seconds = 60.0  # how long it may take to become ready, on a slow and busy machine
    stop_steps: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 20.0),)
    """Signals and the seconds each is given before the next; SIGKILL comes last by itself."""

    def __init__(self, name: str, folder: StackFolder) -> None:
        self.name = name
        self.folder = folder

    @property
    @abstractmethod
    def port_names(self) -> Sequence[str]:
        """The ports it listens on, as the port book calls them; the first is the one to show."""

    @abstractmethod
    def prepare(self) -> Launch:
        """Writes the configuration, creates the data folder, and says what to run. The ports are claimed by then."""

    @abstractmethod
    def check(self) -> None:
        """One attempt at real use. Raises NotReady."""

    @property
    def address(self) -> str:
        """What to show a person who asks where it is; holds no secret."""
        return f"127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port to show; a restart keeps it unless someone else has taken it."""
        return self.folder.ports[self.port_names[0]]

    @property
    def log(self) -> Path:
        """The file with everything the process has written."""
        return self.folder.log(self.name)

    @property
    def record(self) -> ProcessRecord | None:
        """The record of the running process, None when it does not run."""
        record = ProcessRecord.load(self.folder.pid_file(self.name))
        if record is None or record.place != self.folder.place or not record.is_alive():
            return None
        return record

    @property
    def pid(self) -> int | None:
        """The pid of the running process, None when it does not run."""
        record = self.record
        return None if record is None else record.pid

    @property
    def marker(self) -> str:
        """What the process and all that inherit its environment carry in the variable ATELIER_STACK."""
        return f"{self.folder.stack_id}:{self.name}"

    def is_running(self) -> bool:
        """Whether the process lives, ready or not."""
        return self.record is not None

    def fingerprint(self, plan: Launch) -> str:  # noqa: ARG002 - most servers are started anew for nothing
        """A digest of what the process is started from, for `is_current` to compare."""
        return ""

    def is_current(self) -> bool:
        """Whether the running process was started from the present settings, and has all it needs beside it."""
        return True

    def launch(self) -> None:
        """Starts the process when it does not run, without waiting for it. Raises StartFailed."""
        if self.is_running():
            return
        self.clear_remains()
        self.folder.ports.claim(*self.port_names)
        self.folder.set_aside_long_log(self.name)
        plan = self.prepare()
        try:
            pid = processes.spawn(
                plan.argv,
                env={**plan.env, MARKER: self.marker},
                cwd=plan.cwd,
                log=self.log,
                uid=plan.uid,
                gid=plan.gid,
            )
        except OSError as error:
            raise StartFailed(self.name, f"cannot be started: {error}", self.log) from error
        record = ProcessRecord.of(pid, place=self.folder.place, fingerprint=self.fingerprint(plan))
        if record is None:
            raise StartFailed(self.name, "ended at once", self.log)
        record.save(self.folder.pid_file(self.name))

    def wait_ready(self, seconds: float | None = None) -> None:
        """Returns as soon as `check` passes. Raises StartFailed when the process ends or the time is over."""
        deadline = time.monotonic() + (self.start_seconds if seconds is None else seconds)
        while True:
            try:
                return self.check()
            except NotReady as not_ready:
                if not self.is_running():
                    raise StartFailed(self.name, "ended during its start", self.log) from None
                if time.monotonic() > deadline:
                    raise StartFailed(self.name, f"was not ready in time ({not_ready})", self.log) from None
            time.sleep(CHECK_EVERY_SECONDS)

    def start(self) -> None:
        """Starts the process when it does not run and returns when it is ready. Raises StartFailed."""
        try:
            self.launch()
            self.wait_ready()
        finally:
            self.folder.ports.release(*self.port_names)

    def stop(self) -> None:
        """Ends the process and everything below it in good order, and returns when all are gone."""
        self._end(self.stop_steps)

    def kill(self) -> None:
        """SIGKILL to the main process alone, as in a crash; what it leaves behind stays. Returns when it is gone."""
        record = self.record
        if record is not None:
            processes.end([record], ())

    def clear_remains(self) -> None:
        """Removes what a crashed predecessor left and would be in the way."""
        return

    def _end(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        record = self.record
        if record is not None:
            below = processes.descendants([record])
            processes.end([record], steps)
            processes.end(below, ())  # they end with their parent as a rule
        self.folder.pid_file(self.name).unlink(missing_ok=True)


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a text file, an empty list when there is none; reads no more than 64 KiB."""
    try:
        with path.open("rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - 65536))
            return handle.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
