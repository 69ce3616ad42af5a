"""When an environment counts as up to date."""

from pathlib import Path

import pytest

from deploy.local import bootstrap


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    for path in bootstrap.COMMON:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "sdk/mindzie_sdk").mkdir()
    (tmp_path / "sdk/mindzie_sdk/client.py").write_text("A = 1\n")
    return tmp_path


def environment_with(folder: Path, stamp: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").touch()
    (folder / bootstrap.STAMP).write_text(stamp)
    return folder


def test_a_changed_lock_changes_the_digest(checkout: Path) -> None:
    before = bootstrap.digest(bootstrap.COMMON)
    assert bootstrap.digest(bootstrap.COMMON) == before
    (checkout / "uv.lock").write_text("another")
    assert bootstrap.digest(bootstrap.COMMON) != before


def test_the_sdk_s_sources_count_and_its_caches_do_not(checkout: Path) -> None:
    before = bootstrap.sources("sdk")
    assert before == ["sdk/mindzie_sdk/client.py", "sdk/pyproject.toml"]
    (checkout / "sdk/mindzie_sdk/__pycache__").mkdir()
    (checkout / "sdk/mindzie_sdk/__pycache__/client.pyc").touch()
    assert bootstrap.sources("sdk") == before


def test_an_environment_is_current_with_its_stamp_and_interpreter(tmp_path: Path) -> None:
    environment = environment_with(tmp_path / "venv", "digest")
    assert bootstrap.is_current(environment, "digest")
    assert not bootstrap.is_current(environment, "another")
    (environment / "bin/python").unlink()
    assert not bootstrap.is_current(environment, "digest")


def test_an_environment_that_was_deleted_is_not_current(tmp_path: Path) -> None:
    assert not bootstrap.is_current(tmp_path / "venv", "digest")


def test_what_is_current_is_left_alone(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = environment_with(checkout / ".venv", "digest")
    bootstrap.sync(Path("/nonexistent/uv"), environment, "digest", "the tests", [])
    assert capsys.readouterr().out == ""
    with pytest.raises(FileNotFoundError):
        bootstrap.sync(Path("/nonexistent/uv"), environment, "another", "the tests", [])
