"""Shell commands of a notebook (`!`, `%pip`): through a terminal of their own, or through pipes where there is none.
Stands alone, since its text runs elsewhere too."""

from __future__ import annotations

import codecs
import importlib
import os
import re
import subprocess
import sys
from typing import Any

INSTALLERS = re.compile(
    r"(?:^|[\s/;&|(])(?:pip[\d.]*|conda|mamba|micromamba|uv|easy_install)\s(?:[^;&|\n]*\s)?(?:install|add|sync|download)\b"
)
"""Commands that fetch packages, however they are started."""

WHERE_TO_DECLARE = (
    "Note: packages cannot be installed from a cell, because a kernel has no network. Declare them in the notebook's "
    "environment.packages: they are installed before its next run."
)

READ_BYTES = 65_536


def register(_shell: Any) -> None:
    """Have IPython run shell commands by `run`."""
    zmqshell: Any = importlib.import_module("ipykernel.zmqshell")
    through_terminal = zmqshell.system

    def run(command: str) -> int:
        """Run a command and print what it prints; gives its exit status, or its signal as a negative number."""
        if has_terminals():
            _read_to_the_end()
            status: int = through_terminal(command)
        else:
            status = _run_through_pipes(command)
        if status != 0 and INSTALLERS.search(command):
            print(WHERE_TO_DECLARE)
        return status

    zmqshell.system = run


def has_terminals() -> bool:
    """Whether this process can open a pseudo-terminal."""
    try:
        descriptors = os.openpty()
    except OSError:
        return False
    for descriptor in descriptors:
        os.close(descriptor)
    return True


def _read_to_the_end() -> None:
    """Have IPython read a command's terminal by `WholeOutput`: it uses pexpect's `spawnb` where there is one."""
    pexpect: Any = importlib.import_module("pexpect")
    if hasattr(pexpect, "spawnb"):
        return

    class WholeOutput(pexpect.spawn):  # type: ignore[misc, name-defined, unused-ignore]
        """A command in a terminal. pexpect looks for output and then asks whether the command has ended; what it wrote
        between the two, when this process got no processor for a moment, is lost (pexpect 4.9)."""

        def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> bytes:
            """See the base class. When a command has ended, all that it wrote is there to be read."""
            try:
                return bytes(super().read_nonblocking(size, timeout))
            except pexpect.EOF:
                return bytes(super().read_nonblocking(size, 0))

    pexpect.spawnb = WholeOutput


def _run_through_pipes(command: str) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    shell = os.environ.get("SHELL", "sh")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with subprocess.Popen(
        [shell, "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            while data := os.read(process.stdout.fileno(), READ_BYTES):
                sys.stdout.write(decoder.decode(data))
                sys.stdout.flush()
        except KeyboardInterrupt:
            process.terminate()
        sys.stdout.write(decoder.decode(b"", final=True))
    return process.returncode if process.returncode <= 128 else 128 - process.returncode
