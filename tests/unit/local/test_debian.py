"""When packages are installed, when the command is only printed, and that the system is left as it was."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local import debian
from deploy.local.debian import Need, PackagesMissing


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


@pytest.fixture
def apt_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A Debian with two needs, one of them missing until it is installed; lists the commands apt was given."""
    calls: list[str] = []
    needs = {
        "there": Need("package-there", lambda: True, "is there"),
        "absent": Need("package-absent", lambda: bool(calls), "is absent"),
        "obsolete": Need("package-obsolete", lambda: False, "comes in a version too old"),
    }
    monkeypatch.setattr(debian, "NEEDS", needs)
    monkeypatch.setattr(debian, "_install", lambda command: calls.append(" ".join(command)))
    monkeypatch.setattr(debian, "nothing_started", as_it_is)
    monkeypatch.setattr(debian, "no_default_cluster", as_it_is)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return calls


def become(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_what_is_there_is_not_installed(apt_calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, 0)
    debian.ensure(["there"])
    assert apt_calls == []


def test_root_installs_only_what_is_missing(apt_calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, 0)
    debian.ensure(["there", "absent"])
    assert apt_calls == ["apt-get install -y --no-install-recommends package-absent"]


def test_others_are_told_the_exact_command(apt_calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, 1000)
    with pytest.raises(PackagesMissing, match="sudo apt-get install -y --no-install-recommends package-absent"):
        debian.ensure(["there", "absent"])
    assert apt_calls == []


def test_a_system_without_apt_is_told_what_is_missing(apt_calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, 0)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(PackagesMissing, match="package-absent: is absent"):
        debian.ensure(["absent"])
    assert apt_calls == []


def test_a_package_that_does_not_help_is_an_error(apt_calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, 0)
    with pytest.raises(PackagesMissing, match="package-obsolete is installed, but does not bring"):
        debian.ensure(["obsolete"])
    assert len(apt_calls) == 1


def test_services_are_not_started_while_a_package_is_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with debian.nothing_started(policy):
        assert "exit 101" in policy.read_text()
        assert os.access(policy, os.X_OK)
    assert list(tmp_path.iterdir()) == []


def test_a_policy_that_is_there_comes_back(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    seen = []

    def broken_install() -> None:
        with debian.nothing_started(policy):
            seen.append(policy.read_text())
            raise RuntimeError("apt broke")

    with pytest.raises(RuntimeError, match="apt broke"):
        broken_install()
    assert "exit 101" in seen[0]
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert list(tmp_path.iterdir()) == [policy]


def test_the_policy_saved_by_an_install_that_was_killed_comes_back(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("the administrator's")
    interrupted = debian.nothing_started(policy)
    interrupted.__enter__()  # and never left
    with debian.nothing_started(policy):
        assert "exit 101" in policy.read_text()
    assert policy.read_text() == "the administrator's"


def test_postgresql_makes_no_cluster_while_it_is_installed(tmp_path: Path) -> None:
    settings = tmp_path / "postgresql-common/createcluster.d/zz.conf"
    with debian.no_default_cluster(settings):
        assert settings.read_text() == "create_main_cluster = false\n"
    assert list(tmp_path.iterdir()) == []


def test_folders_that_the_package_has_filled_stay(tmp_path: Path) -> None:
    settings = tmp_path / "postgresql-common/createcluster.d/zz.conf"
    with debian.no_default_cluster(settings):
        (settings.parent.parent / "createcluster.conf").write_text("the package's")
    assert [path.name for path in (tmp_path / "postgresql-common").iterdir()] == ["createcluster.conf"]


def test_lists_are_fetched_again_when_the_first_attempt_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def apt(command: list[str]) -> "subprocess.CompletedProcess[str]":
        calls.append(command)
        failed = command[1] == "install" and len(calls) == 1
        return subprocess.CompletedProcess(command, 100 if failed else 0, "404 Not Found", "")

    monkeypatch.setattr(debian, "_apt", apt)
    (tmp_path / "deb.debian.org_Packages").touch()
    monkeypatch.setattr(debian, "LISTS", tmp_path)
    debian._install(["apt-get", "install", "x"])
    assert calls == [["apt-get", "install", "x"], ["apt-get", "update"], ["apt-get", "install", "x"]]
