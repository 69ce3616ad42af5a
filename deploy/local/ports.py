"""Remembers which loopback port each component uses, and chooses another when someone else has taken it."""

import json
import random
import socket
import threading
import time
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST, HIGHEST = 20_000, 32_000
"""Above the well-known ports, below those Linux gives to outgoing connections (32768 and up): these come and go."""
ATTEMPTS = 500
LINGER_SECONDS = 2.0
POLL_SECONDS = 0.02


class NoFreePort(RuntimeError):
    """No free port was found on the loopback interface."""


class PortBook:
    """Ports by name, kept in a JSON file, reserved from the choice until the server has been started.

    A reservation is a socket that is bound but does not listen. Servers set SO_REUSEADDR, so they can listen on the
    port all the same, while another stack that is looking for a port at this moment finds it taken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._reserved: dict[str, socket.socket] = {}
        try:
            self._ports: dict[str, int] = {name: int(port) for name, port in json.loads(path.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            self._ports = {}

    def __getitem__(self, name: str) -> int:
        """The port of `name`; the first question decides it. `claim` may still change it before a start."""
        with self._lock:
            if name not in self._ports:
                self._choose(name)
                self._reserved.pop(name).close()
                self._save()
            return self._ports[name]

    def claim(self, *names: str) -> None:
        """Makes sure that each port can be listened on now: the remembered one if it is free, else a new one.

        Raises NoFreePort.
        """
        with self._lock:
            before = dict(self._ports)
            for name in names:
                if name in self._reserved:
                    continue
                remembered = self._ports.get(name)
                held = None if remembered is None else _bind_again(remembered)
                if held is None:
                    self._choose(name)
                else:
                    self._reserved[name] = held
            if self._ports != before:
                self._save()

    def release(self, *names: str) -> None:
        """Gives up reservations; the servers listen by now, or did not start."""
        with self._lock:
            for name in names:
                held = self._reserved.pop(name, None)
                if held is not None:
                    held.close()

    def _choose(self, name: str) -> None:
        taken = set(self._ports.values())
        for _ in range(ATTEMPTS):
            port = random.randint(LOWEST, HIGHEST)  # noqa: S311 - not a secret
            held = None if port in taken else _bind(port, reuse=False)
            if held is not None:
                self._reserved[name] = held
                self._ports[name] = port
                return
        raise NoFreePort(f"no free port between {LOWEST} and {HIGHEST} on {LOOPBACK}")

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self._ports, indent=1, sort_keys=True))
        draft.replace(self._path)


def _bind_again(port: int) -> socket.socket | None:
    """A socket bound to a port that was ours, or None when another server has it and keeps it.

    A server that was just killed may hold its port for a moment, until its last thread is gone; clients should find
    its successor on the same port.
    """
    deadline = time.monotonic() + LINGER_SECONDS
    while (held := _bind(port, reuse=True)) is None:
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)
    return held


def _bind(port: int, *, reuse: bool) -> socket.socket | None:
    """A socket bound to the port, or None when it is in use.

    With `reuse` only a listening server counts as use; a port that one has just left may still have connections in
    TIME_WAIT.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if reuse:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((LOOPBACK, port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError:
        held.close()
        return None
    return held


def is_listening(port: int, timeout: float = 0.5) -> bool:
    """Whether anything accepts connections on this loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout):
            return True
    except OSError:
        return False
