"""Memory for kernels: the machine's, or what is left of the limit that the worker runs under."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.executor.kernels import available

MIB = 1024 * 1024


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4096 kB\n")
    return tmp_path / "proc"


def group(folder: Path, names: tuple[str, str, str], limit: str, used: int, spare: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {spare}\n")


def test_without_a_limit_it_is_the_machines(proc: Path, tmp_path: Path) -> None:
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    group(tmp_path / "g" / "a" / "b", available.VERSION_2, "max", 5, 0)
    assert available.memory_bytes(proc, tmp_path / "g") == 4 * MIB


def test_the_tightest_group_around_counts_and_what_can_go_does_not(proc: Path, tmp_path: Path) -> None:
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    group(tmp_path / "g" / "a" / "b", available.VERSION_2, str(9 * MIB), 2 * MIB, 0)
    group(tmp_path / "g" / "a", available.VERSION_2, str(4 * MIB), 3 * MIB, MIB)
    assert available.memory_bytes(proc, tmp_path / "g") == 2 * MIB


def test_a_container_of_version_1_sees_its_limit_at_the_root(proc: Path, tmp_path: Path) -> None:
    (proc / "self" / "cgroup").write_text("5:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n0::/\n")
    group(tmp_path / "g" / "memory", available.VERSION_1, str(3 * MIB), 4 * MIB, 2 * MIB)
    assert available.memory_bytes(proc, tmp_path / "g") == MIB


def test_this_machine_has_some() -> None:
    assert available.memory_bytes() > 0
