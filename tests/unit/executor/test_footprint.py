from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.executor import wording
from services.executor.kernels.metering import GroupMeter, ProcessMeter
from services.executor.running import folder, footprint
from services.executor.running.guard import Allowance, Guard


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    folder.lay_out(path)
    return path


def test_only_what_a_kernel_may_write_counts(run_dir: Path) -> None:
    empty = footprint.measure(run_dir, max_files=1000)
    (run_dir / "run.json").write_bytes(bytes(100_000))
    assert footprint.measure(run_dir, max_files=1000) == empty
    (run_dir / "outputs" / "x").write_bytes(bytes(100_000))
    found = footprint.measure(run_dir, max_files=1000)
    assert found.files == empty.files + 1
    assert found.used - empty.used >= 100_000


def test_links_are_not_followed(run_dir: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "large").write_bytes(bytes(1_000_000))
    (run_dir / "work" / "link").symlink_to(outside)
    (run_dir / "work" / "file").symlink_to(outside / "large")
    assert footprint.measure(run_dir, max_files=1000).used < 1_000_000
    (run_dir / "tmp").rmdir()
    (run_dir / "tmp").symlink_to(outside)
    assert footprint.measure(run_dir, max_files=1000).used < 1_000_000


def test_counting_stops_at_the_limit(run_dir: Path) -> None:
    for number in range(50):
        (run_dir / "work" / str(number)).touch()
    found = footprint.measure(run_dir, max_files=20)
    assert (found.cut_off, found.files) == (True, 21)


def test_folders_nested_without_end_are_told_and_can_be_removed(run_dir: Path) -> None:
    above = os.open(run_dir / "work", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=above)
        inner = os.open("d", os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = inner
    os.close(above)
    assert footprint.measure(run_dir, max_files=10_000).nested
    folder.remove(run_dir)
    assert not run_dir.exists()


def test_locked_folders_are_looked_into_and_removed(run_dir: Path) -> None:
    inner = run_dir / "work" / "locked" / "inner"
    inner.mkdir(parents=True)
    (inner / "x").write_bytes(bytes(50_000))
    inner.chmod(0)
    inner.parent.chmod(0)
    assert footprint.measure(run_dir, max_files=1000).used >= 50_000
    folder.remove(run_dir)
    assert not run_dir.exists()


def test_a_removed_file_that_is_still_open_counts(run_dir: Path) -> None:
    path = run_dir / "work" / "x"
    with path.open("wb") as file:
        file.write(bytes(300_000))
        file.flush()
        assert footprint.removed_but_open(run_dir, [os.getpid()]) == 0
        path.unlink()
        assert footprint.removed_but_open(run_dir, [os.getpid()]) >= 300_000
    assert footprint.removed_but_open(run_dir, [os.getpid(), 2**22 + 1]) == 0


@pytest.mark.parametrize(
    ("allowance", "breach"),
    [
        (Allowance(disk_bytes=100_000, files=1000), "disk limit of 0.0 GB reached"),
        (Allowance(disk_bytes=10**9, files=110), "limit of 110 files reached"),
        (Allowance(disk_bytes=10**9, files=1000), ""),
    ],
)
async def test_a_guard_says_which_limit_is_reached(run_dir: Path, allowance: Allowance, breach: str) -> None:
    guard = Guard(run_dir, None, allowance)
    guard.cell_begins()
    await guard.cell_ended()
    assert not guard.breached.is_set()
    for number in range(120):
        (run_dir / "work" / str(number)).write_bytes(bytes(2000))
    used = await guard.cell_ended()
    assert guard.breach == breach
    assert guard.breached.is_set() == bool(breach)
    assert used.disk_usage_bytes is not None
    assert used.method is None


def test_a_process_is_metered() -> None:
    meter = ProcessMeter(os.getpid())
    meter.begin()
    block = bytearray(30_000_000)
    use = meter.end()
    meter.close()
    assert use.cpu_seconds is not None
    assert use.peak_memory_bytes is not None
    assert use.peak_memory_bytes >= len(block)


def test_a_process_that_is_gone_tells_nothing() -> None:
    meter = ProcessMeter(2**22 + 1)
    meter.begin()
    assert (meter.end().cpu_seconds, meter.peak_memory_bytes()) == (None, None)
    meter.close()


def group(path: Path, version: int, **files: str) -> GroupMeter:
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    weight = path / ("cpu.shares" if version == 1 else "cpu.weight")
    return GroupMeter({"version": version, "memory": str(path), "cpu": str(path), "weight": str(weight)})


@pytest.mark.parametrize(("version", "cpu"), [(1, "cpuacct__usage"), (2, "cpu__stat")])
def test_a_control_group_is_metered(tmp_path: Path, version: int, cpu: str) -> None:
    def text(seconds: int) -> str:
        return f"{seconds * 10**9}\n" if version == 1 else f"usage_usec {seconds * 10**6}\nuser_usec 1\n"

    current, peak = ("usage_in_bytes", "max_usage_in_bytes") if version == 1 else ("current", "peak")
    files = {cpu: text(2), f"memory__{current}": "100\n", f"memory__{peak}": "500\n", "cgroup__procs": "7\n8\n"}
    meter = group(tmp_path, version, **files)
    meter.begin()
    (tmp_path / cpu.replace("__", ".")).write_text(text(5))
    (tmp_path / f"memory.{peak}").write_text("300\n")  # as after setting it back
    use = meter.end()
    assert (use.cpu_seconds, use.peak_memory_bytes) == (3.0, 300)
    assert meter.peak_memory_bytes() == 500
    assert meter.processes() == [7, 8]
    meter.close()


@pytest.mark.parametrize(
    ("version", "weight", "usual", "low"), [(1, "cpu.shares", 1024, 64), (2, "cpu.weight", 100, 6)]
)
def test_a_group_that_gives_way_counts_for_less(
    tmp_path: Path, version: int, weight: str, usual: int, low: int
) -> None:
    meter = group(tmp_path, version, **{weight.replace(".", "__"): f"{usual}\n"})
    meter.give_way(gives_way=True)
    assert int((tmp_path / weight).read_text().split()[0]) == low
    meter.give_way(gives_way=False)
    assert int((tmp_path / weight).read_text().split()[0]) == usual
    meter.close()


def test_limits_in_words() -> None:
    assert [wording.limit(value) for value in (2 * 10**9, 150_000_000, 4_096_000_000)] == [
        "2.0 GB",
        "0.15 GB",
        "4.1 GB",
    ]
