"""The end of a kernel's process: threads are joined, exit functions run, files are written to the end.

It is what the interpreter does at its own end, without taking every module apart, which costs a notebook with the usual
imports more than its cells. Stands alone, since its text runs elsewhere too.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import os
import stat
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

KEEPS_DATA = (stat.S_ISREG, stat.S_ISFIFO)
"""Kinds of files behind which somebody may wait for what lies in a buffer here."""

Files = set[tuple[int, int, int]]
"""Descriptors, each with device and inode."""


def open_files() -> Files:
    """Every file that is open for writing now."""
    found: Files = set()
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        with contextlib.suppress(OSError):  # the listing's own is closed by now
            status = os.fstat(number)
            writable = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            if writable and any(is_kind(status.st_mode) for is_kind in KEEPS_DATA):
                found.add((number, status.st_dev, status.st_ino))
    return found


def serve(start: Callable[[], object]) -> NoReturn:
    """Run a kernel, and end this process as an interpreter would when it has stopped."""
    open_before, code = open_files(), 1
    try:
        start()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        # Told as an interpreter tells it, before its exit functions run.
        sys.excepthook(*sys.exc_info())
    try:
        _finish(open_before, code)
    finally:
        os._exit(code)


def _finish(open_before: Files, code: int) -> None:
    # First of all: an exit function may take all the time that there is.
    _write_out(open_before, for_good=False)
    # What the interpreter itself calls: joins threads and tells pools of threads to end.
    threading._shutdown()  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.stderr):  # what those threads have printed
        _quietly(stream.flush)
    atexit._run_exitfuncs()
    _write_out(open_before, for_good=True)
    if open_files() - open_before:
        # A library of another language may have buffers of its own, which its exit functions write.
        importlib.import_module("ctypes").CDLL(None).exit(code)


def _write_out(open_before: Files, *, for_good: bool) -> None:
    """Write what lies in the buffers of files that nobody has closed, wherever a notebook keeps them; `for_good`: and
    what comes last in a compressed file or an archive."""
    ours = open_files() - open_before
    if not ours:
        return
    texts, packed, buffers = _open_objects()
    for wrapper in texts:
        _quietly(wrapper.flush)
    for archive in packed:
        _quietly(archive.close if for_good else getattr(archive, "flush", int))
    # A pipe that nobody reads holds up whoever writes to it, so it comes last.
    regular = {number for number, *_ in ours if _is_regular(number)}
    for buffer in sorted(buffers, key=lambda buffer: _number(buffer) not in regular):
        _quietly(buffer.flush)


def _open_objects() -> tuple[list[Any], list[Any], list[Any]]:
    """Layers of open files: text over buffers, formats that have an end of their own, buffers over descriptors."""
    texts: list[Any] = []
    packed: list[Any] = []
    buffers: list[Any] = []
    kinds: dict[type, list[Any] | None] = {}
    archive = getattr(sys.modules.get("zipfile"), "ZipFile", ())
    for one in gc.get_objects():
        kind = type(one)
        if kind not in kinds:
            kinds[kind] = None
            with contextlib.suppress(Exception):  # a class may answer what it likes
                kinds[kind] = _layer_of(kind, archive, texts, packed, buffers)
        layer = kinds[kind]
        if layer is not None:
            layer.append(one)
    # Members of a zip file end before the file does.
    packed.sort(key=lambda one: isinstance(one, archive))
    return texts, packed, buffers


def _layer_of(kind: type, archive: Any, texts: Any, packed: Any, buffers: Any) -> Any:
    """The list that objects of a type belong to; None for most."""
    if issubclass(kind, io.TextIOBase):
        # The kernel's own streams end with the kernel.
        return None if kind is io.StringIO or kind.__module__.startswith("ipykernel.") else texts
    if issubclass(kind, io.BufferedWriter | io.BufferedRandom | io.BufferedRWPair):
        return buffers
    if issubclass(kind, io.BufferedIOBase):
        return None if issubclass(kind, io.BufferedReader | io.BytesIO) else packed
    return packed if issubclass(kind, archive) else None


def _quietly(call: Any) -> None:
    with contextlib.suppress(Exception):  # closed, for reading only, or a disk that is full: nobody is left to tell
        call()


def _number(buffer: Any) -> int:
    try:
        return int(buffer.fileno())
    except (OSError, ValueError):
        return -1


def _is_regular(number: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(number).st_mode)
    except OSError:
        return False
