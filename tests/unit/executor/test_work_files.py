"""Files beside a notebook, laid into a work folder: as copies, never through a link, and told apart from results."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from services.executor.collecting.work_folder import WorkFolder
from services.executor.running import work_files
from services.executor.running.work_files import Laid
from shared.contracts.notebooks import FileReference


class Bench:
    """A cache with contents, and a work folder."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.work = folder / "cache", folder / "work"
        self.cache.mkdir()
        self.work.mkdir()
        self.contents: dict[str, Path] = {}

    def lay(self, files: dict[str, bytes]) -> dict[str, Laid]:
        references = []
        for path, data in files.items():
            sha256 = hashlib.sha256(data).hexdigest()
            self.contents[sha256] = self.cache / sha256
            if not self.contents[sha256].exists():
                self.contents[sha256].write_bytes(data)
                self.contents[sha256].chmod(0o400)
            references.append(FileReference(path=path, size_bytes=len(data), sha256=sha256))
        return work_files.lay(self.work, references, self.contents)

    def results(self, laid: dict[str, Laid]) -> list[str]:
        self.warnings: list[str] = []
        folder = WorkFolder(self.work, laid, self.warnings)
        try:
            return [file.name for file in folder.find()]
        finally:
            folder.close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


FILES = {"a.py": b"1", "d/e/f.txt": b"2" * 100_000, "d/e/same.txt": b"1", "empty": b""}


def test_each_run_has_copies_of_its_own_that_it_may_change(bench: Bench) -> None:
    bench.lay(FILES)
    for path, data in FILES.items():
        laid = bench.work / path
        assert laid.read_bytes() == data
        assert laid.stat().st_nlink == 1
        laid.write_bytes(b"changed")
    assert sorted(path.read_bytes() for path in bench.cache.iterdir()) == sorted(set(FILES.values()))


def test_nothing_is_written_through_a_link(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"victim")
    (bench.work / "d").symlink_to(outside)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        bench.lay({"d/f": b"x"})
    (bench.work / "g").symlink_to(outside / "victim")
    os.link(outside / "victim", bench.work / "h")
    bench.lay({"g": b"new", "h": b"new"})
    assert (outside / "victim").read_bytes() == b"victim"
    assert sorted(path.name for path in outside.iterdir()) == ["victim"]
    assert (bench.work / "g").read_bytes() == (bench.work / "h").read_bytes() == b"new"


def test_a_copy_where_the_system_call_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    bench.lay(FILES)
    assert {path: (bench.work / path).read_bytes() for path in FILES} == FILES


def test_results_are_what_was_made_or_changed(bench: Bench) -> None:
    laid = bench.lay({**FILES, "appended": b"1", "rewritten": b"1", "touched": b"1", "gone": b"1", "linked": b"1"})
    assert bench.results(laid) == []
    with (bench.work / "appended").open("ab") as file:
        file.write(b"2")
    (bench.work / "rewritten").unlink()
    (bench.work / "rewritten").write_bytes(b"1")
    os.utime(bench.work / "touched")
    (bench.work / "gone").unlink()
    (bench.work / "linked").unlink()
    (bench.work / "linked").symlink_to("/etc/hostname")
    (bench.work / "made").mkdir()
    (bench.work / "made" / "new.csv").write_bytes(b"1")
    for by_itself in ("__pycache__/a.pyc", ".cache/x", "spark-warehouse/x", ".Rhistory", "derby.log"):
        (bench.work / by_itself).parent.mkdir(exist_ok=True)
        (bench.work / by_itself).write_bytes(b"1")
    assert bench.results(laid) == ["appended", "made/new.csv"]


def test_a_change_of_which_the_time_is_set_back_is_seen(bench: Bench) -> None:
    laid = bench.lay({"a": b"one"})
    state = (bench.work / "a").stat()
    with (bench.work / "a").open("r+b") as file:
        file.write(b"two")
    os.utime(bench.work / "a", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert bench.results(laid) == ["a"]


def test_what_is_left_without_end_is_cut_off_with_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.executor.collecting.work_folder.MAX_FILES_BYTES", 10)
    for number in range(1_002):
        (bench.work / f"{number:04}").write_bytes(b"12345678")
    assert len(bench.results({})) == 1_000
    assert "Only the first 1,000" in bench.warnings[0]
    folder = WorkFolder(bench.work, {}, bench.warnings)
    folder.open("0000").close()
    folder.open("0000").close()  # again, where storing it has failed
    with pytest.raises(ValueError, match="too large"):
        folder.open("0001")
    folder.close()
    assert "left out" in bench.warnings[-1]
