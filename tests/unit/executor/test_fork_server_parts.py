"""The fork server's parts that need no kernel: messages, the filter's program, control groups, levels, settings."""

from __future__ import annotations

import os
import platform
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.executor.kernels.forkserver import (
    cgroups,
    footprint,
    headless,
    landlock,
    pages,
    seccomp,
    system_calls,
    view,
)
from services.executor.kernels.forkserver.cgroups import Group, GroupLimits
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.forkserver.wire import Decoder, encode
from services.executor.kernels.isolation import NOTHING, Isolation, TooLittleIsolation
from services.executor.kernels.port import KernelExit


def test_messages_arrive_whole_however_they_are_cut() -> None:
    messages: list[dict[str, Any]] = [{"event": "bound", "id": 1}, {"event": "gone", "id": 2, "é": "ü" * 1000}]
    stream = b"".join(map(encode, messages))
    decoder = Decoder()
    assert [message for byte in stream for message in decoder.feed(bytes([byte]))] == messages
    assert Decoder().feed(stream) == messages


def test_a_stream_out_of_step_is_refused() -> None:
    with pytest.raises(ValueError, match="a message of 4294967295 bytes"):
        Decoder().feed(b"\xff\xff\xff\xff")


DENIED: dict[str, dict[str, int]] = {
    "x86_64": {
        "ptrace": 101, "syslog": 103, "uselib": 134, "modify_ldt": 154, "pivot_root": 155,
        "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
        "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172,
        "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179, "lookup_dcookie": 212,
        "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
        "unshare": 272, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321,
        "userfaultfd": 323,
    },
    "aarch64": {
        "lookup_dcookie": 18, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51,
        "quotactl": 60, "acct": 89, "kexec_load": 104, "init_module": 105, "delete_module": 106,
        "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161,
        "setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "add_key": 217, "request_key": 218,
        "keyctl": 219, "swapon": 224, "swapoff": 225, "unshare": 97, "perf_event_open": 241,
        "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265, "clock_adjtime": 266,
        "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273,
        "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
    },
}  # fmt: skip
"""Calls that no kernel may use: mounts, namespaces, other processes, keys, modules, clocks (asm/unistd.h)."""


def _verdict(
    number: int,
    argument: int = 0,
    architecture: int | None = None,
    *,
    request: int = 0,
    counted: bool = True,
    own_pid: int | None = None,
) -> int:
    """What the filter answers to a system call: an interpreter of the few instructions it is made of."""
    machine = seccomp.ARCHITECTURES[platform.machine()] if architecture is None else architecture
    data = struct.pack("=IIQQQ", number, machine, 0, argument, request)
    code = list(struct.iter_unpack("=HBBI", seccomp.program(counted=counted, own_pid=own_pid)))
    at = accumulator = 0
    while True:
        instruction, if_true, if_false, value = code[at]
        at += 1
        if instruction == seccomp.LOAD:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif instruction == seccomp.RETURN:
            return int(value)
        else:
            met = {
                seccomp.JEQ: accumulator == value,
                seccomp.JGE: accumulator >= value,
                seccomp.JSET: bool(accumulator & value),
            }[instruction]
            at += if_true if met else if_false


@pytest.mark.skipif(platform.machine() not in seccomp.ARCHITECTURES, reason="no filter for this architecture")
def test_the_filter_lets_unix_sockets_and_plain_clones_through_and_nothing_else_of_their_kind() -> None:
    machine = platform.machine()
    socket, clone = seccomp.SOCKET[machine], seccomp.CLONE[machine]
    assert _verdict(0) == seccomp.ALLOW
    assert _verdict(socket, 1) == seccomp.ALLOW
    assert [_verdict(socket, family) for family in (2, 10, 16, 17, 40)] == [seccomp.FAIL | 13] * 5
    assert _verdict(clone, 0x11) == seccomp.ALLOW
    assert _verdict(clone, 0x10000011) == seccomp.FAIL | 1
    assert _verdict(seccomp.CLONE3) == seccomp.FAIL | 38
    ioctl, get_size = seccomp.IOCTL[machine], 0x5413
    assert [_verdict(ioctl, request=wanted) for wanted in (0, get_size, 1 << 32)] == [seccomp.ALLOW] * 3
    # The system looks at 32 bits of a request, so more must not hide one.
    bits = [request | high << 32 for request in seccomp.DENIED_IOCTLS.values() for high in (0, 1)]
    assert {_verdict(ioctl, request=wanted) for wanted in bits} == {seccomp.FAIL | 1}
    assert {name for name, number in DENIED[machine].items() if _verdict(number) != seccomp.FAIL | 1} == set()
    allowed = system_calls.ALLOWED[machine]
    assert {name for name, number in allowed.items() if _verdict(number) != seccomp.ALLOW} == set()
    assert [_verdict(number) for number in (463, 500, 1 << 20)] == [seccomp.FAIL | 38] * 3
    personality = seccomp.PERSONALITY[machine]
    assert [_verdict(personality, value) for value in (0xFFFFFFFF, 0)] == [seccomp.ALLOW] * 2
    assert _verdict(personality, 0x0040000) == seccomp.FAIL | 1  # ADDR_NO_RANDOMIZE
    assert _verdict(0, architecture=0x40000003) == seccomp.KILL
    assert _verdict(seccomp.X32_BIT | 1) == seccomp.FAIL | 1


def test_a_control_group_tells_use_and_out_of_memory(tmp_path: Path) -> None:
    folder = tmp_path / "k1"
    folder.mkdir()
    group = Group(dict.fromkeys(cgroups.CONTROLLERS, folder), version=2)
    group.limit(GroupLimits(memory_bytes=1000, processes=5, processors=1.5))
    assert (folder / "memory.max").read_text() == "1000"
    assert (folder / "pids.max").read_text() == "5"
    assert (folder / "cpu.max").read_text() == "150000 100000"
    (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (folder / "memory.peak").write_text("4096\n")
    (folder / "memory.events").write_text("oom 0\noom_kill 0\n")
    assert (group.cpu_seconds(), group.peak_memory_bytes(), group.out_of_memory()) == (1.5, 4096, False)
    (folder / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert group.out_of_memory()


@pytest.mark.skipif(platform.machine() not in seccomp.ARCHITECTURES, reason="no filter for this architecture")
def test_without_a_pid_namespace_a_process_changes_itself_alone() -> None:
    machine = platform.machine()
    for name, number in seccomp.CONCERNING_PROCESSES[machine].items():
        refused = seccomp.FAIL | (1 if name == "prlimit64" else 0)
        assert [_verdict(number, pid, own_pid=77) for pid in (0, 77)] == [seccomp.ALLOW] * 2
        assert [_verdict(number, pid, own_pid=77) for pid in (1, 78, 1 << 31)] == [refused] * 3
        assert _verdict(number, 78) == seccomp.ALLOW
    for name, number in seccomp.CONCERNING_GROUPS[machine].items():
        kind = seccomp.ONE_PROCESS[name]
        assert [_verdict(number, kind, request=pid, own_pid=77) for pid in (0, 77)] == [seccomp.ALLOW] * 2
        assert _verdict(number, kind, request=78, own_pid=77) == seccomp.FAIL | 1
        assert {_verdict(number, other, request=0, own_pid=77) for other in {0, 1, 2, 3} - {kind}} == {seccomp.FAIL | 1}


@pytest.mark.skipif(platform.machine() not in seccomp.ARCHITECTURES, reason="no filter for this architecture")
def test_without_a_control_group_there_is_no_memory_that_nobody_counts() -> None:
    numbers = seccomp.UNCOUNTED[platform.machine()].values()
    assert {_verdict(number) for number in numbers} == {seccomp.ALLOW}
    assert {_verdict(number, counted=False) for number in numbers} == {seccomp.FAIL | 1}


def test_the_watchdog_counts_files_in_memory_and_remembers_the_most_of_all_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two processes of one kernel, of a keeper whose number is 1; the pages of one are shared with the server."""
    resident, proportional, files = {10: 300, 11: 200}, {10: 100, 11: 150}, [50]
    monkeypatch.setattr(footprint, "_members", lambda keepers, _kernels: {keeper: [10, 11] for keeper in keepers})
    monkeypatch.setattr(footprint, "_resident", resident.__getitem__)
    monkeypatch.setattr(footprint, "_proportional", proportional.__getitem__)
    monkeypatch.setattr(footprint, "_files_in_memory", lambda _pids: files[0])
    watchdog = footprint.Footprints(in_views=True)
    limits = {1: Limits(memory_bytes=400)}
    assert list(watchdog.over(limits, {})) == []
    assert watchdog.peak(1) == 300
    files[0] = 200
    assert list(watchdog.over(limits, {})) == [(1, "memory")]
    assert watchdog.peak(1) == 450
    files[0] = 0
    assert list(watchdog.over(limits, {})) == []
    assert watchdog.peak(1) == 450
    watchdog.forget(1)
    assert watchdog.peak(1) == 0


def test_outside_of_a_view_the_machines_devices_are_out_of_reach() -> None:
    paths = view.readable([], in_view=False)
    assert "/dev" not in paths
    assert {path for path in paths if path.startswith("/dev")} == {f"/dev/{name}" for name in view.DEVICES}


def test_what_a_killed_server_has_left_is_ended_with_its_group(tmp_path: Path) -> None:
    """Not what one of another pid namespace has, whose number says nothing here."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = Path("/proc/self/ns/pid").stat().st_ino
    left = [subprocess.Popen(["sleep", "1000"]) for _ in range(3)]
    owners = (f"{ended.pid}-{here}", f"{ended.pid}-{here + 1}", f"{os.getpid()}-{here}")
    for owner, process in zip(owners, left, strict=True):
        group = tmp_path / f"{cgroups.PREFIX}{owner}-abc" / "k1"
        group.mkdir(parents=True)
        (group / "cgroup.procs").write_text(f"0\n{process.pid}\n")
    cgroups._clear_abandoned(tmp_path)
    try:
        assert left[0].wait(20) == -signal.SIGKILL
        assert [process.poll() for process in left[1:]] == [None, None]
    finally:
        for process in left:
            process.kill()
            process.wait()


def test_the_view_names_outermost_folders_once(tmp_path: Path) -> None:
    (tmp_path / "env" / "lib").mkdir(parents=True)
    paths = view.environment_paths([str(tmp_path / "env"), str(tmp_path / "env" / "lib"), "/usr/share", "/"])
    assert str(tmp_path / "env") in paths
    assert str(tmp_path / "env" / "lib") not in paths
    assert not any(path == "/" or path.startswith("/usr") for path in paths)


def _report(*missing: str, abi: int = 7, faults: tuple[str, ...] = ()) -> Isolation:
    layers = {
        name: {"ok": name not in missing, "detail": "here" if name not in missing else "refused"}
        for name in ("pid", "mount", "net", "ipc", "uts", "seccomp", "uid", "cgroups")
    }
    layers["landlock"] = {"ok": "landlock" not in missing, "detail": f"ABI {abi}"}
    return Isolation.of({"layers": layers, "faults": list(faults), "userNamespace": False})


@pytest.mark.parametrize(
    ("isolation", "level"),
    [
        (_report(), "strong"),
        (_report("uid", "uts", "cgroups"), "strong"),
        (_report("net"), "confined"),
        (_report("pid", "mount", "net", "ipc", "uts", "uid"), "confined"),
        (_report("net", abi=landlock.CONFINING_ABI - 1), "none"),
        (_report("seccomp"), "none"),
        (_report(faults=("a file of the worker can be read",)), "none"),
        (NOTHING, "none"),
    ],
)
def test_levels(isolation: Isolation, level: str) -> None:
    assert isolation.level == level
    isolation.require("none")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(TooLittleIsolation, match=r"level confined, .* is strong. Missing: net \(refused\)"):
        _report("net").require("strong")
    with pytest.raises(TooLittleIsolation, match=r"Landlock ABI 6 or newer \(here: ABI 4\)"):
        _report("net", abi=4).require("confined")
    _report("net").require("confined")


def test_a_limit_is_told_before_the_signal() -> None:
    assert KernelExit(code=-9, cause="memory limit of 4 GB reached").reason == "memory limit of 4 GB reached"
    assert KernelExit(code=-9).reason == "killed by signal 9 (SIGKILL)"


def test_memory_in_huge_pages_is_the_same_memory() -> None:
    """Whether there are huge pages is the machine's business; what lies in them is not."""
    kept = [bytes([number]) * pages.HUGE_BYTES for number in range(4)]
    assert pages.collapse() >= 0
    assert all(content == bytes([number]) * pages.HUGE_BYTES for number, content in enumerate(kept))


@pytest.mark.parametrize(
    ("line", "is_heap"),
    [
        ("55d0a000-55d2b000 rw-p 00000000 00:00 0                          [heap]", True),
        ("7f0000000000-7f0000400000 rw-p 00000000 00:00 0 ", True),
        ("7f0000000000-7f0000400000 r--p 00000000 00:00 0 ", False),
        ("7f0000000000-7f0000400000 rw-s 00000000 00:01 7                  /dev/shm/x", False),
        ("7f0000000000-7f0000400000 rw-p 00001000 08:01 7                  /usr/lib/libc.so.6", False),
        ("7ffd18000000-7ffd18021000 rw-p 00000000 00:00 0                  [stack]", False),
    ],
)
def test_only_memory_of_no_file_goes_into_huge_pages(line: str, is_heap: bool) -> None:
    assert pages._is_heap(line) is is_heap


def test_the_stand_in_for_sys_has_everything_but_a_copy_of_the_modules() -> None:
    stand_in = headless.SysWithoutCopies("sys")
    assert stand_in.modules.copy() == {}
    assert stand_in.modules["sys"] is sys
    assert stand_in.executable == sys.executable
