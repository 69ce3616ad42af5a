"""The image's files, checked without building: what the Dockerfile promises, and that its parts fit the project."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
ENTRYPOINT = ROOT / "deploy/image/entrypoint.sh"
SCRIPTS = sorted(
    [*(ROOT / "deploy/image").glob("*.sh"), ROOT / "deploy/k8s/tools/install.sh"], key=lambda path: path.name
)


def final_stage() -> str:
    return DOCKERFILE.rpartition("\nFROM ")[2]


def test_both_stages_start_from_the_base_image_given() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE_IMAGE}", "${BASE_IMAGE}"]
    assert "/usr/local/bin/python" not in DOCKERFILE


def test_the_image_runs_as_nobody_in_particular() -> None:
    assert re.findall(r"^USER (\S+)", final_stage(), re.MULTILINE) == ["10001:10001"]
    manifests = (ROOT / "deploy/k8s/base/patches/every-pod.yaml").read_text()
    assert "runAsUser: 10001" in manifests


def test_nothing_of_the_build_host_reaches_the_image() -> None:
    copied = re.findall(r"^COPY (.*)$", final_stage(), re.MULTILINE)
    assert all(line.startswith("--from=environments /opt/atelier/") for line in copied)
    assert "secret" not in final_stage()


def test_environments_come_from_the_lock_and_before_the_code() -> None:
    steps = re.findall(r"uv sync (.*)$", DOCKERFILE, re.MULTILINE)
    assert steps
    assert all("--frozen" in step and "--no-default-groups" in step for step in steps)
    assert DOCKERFILE.index("COPY services") > max(match.end() for match in re.finditer("uv sync", DOCKERFILE))
    assert "UV_PYTHON_DOWNLOADS=never" in DOCKERFILE


def test_the_image_is_made_with_the_uv_of_the_checkout() -> None:
    (pinned,) = re.findall(r"^ARG UV_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert f'"uv=={pinned}"' in (ROOT / "deploy/local/bootstrap.py").read_text()


def test_everything_that_is_copied_passes_the_ignore_file() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert "*" in ignore
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
        if not source.startswith("--")
    ]
    for source in sources:
        assert (ROOT / source).exists()
        parts = Path(source).parts
        assert any("/".join(parts[:depth]) in allowed for depth in range(1, len(parts) + 1)), source


def test_the_entry_point_knows_every_program() -> None:
    (names,) = re.findall(r"^ +([a-z_| ]+)\) ;;$", ENTRYPOINT.read_text(), re.MULTILINE)
    programs = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")} | {"migrate"}
    assert set(names.split(" | ")) >= programs
    assert set(names.split(" | ")) == {"gateway", "catalog", "executor", "artifacts", "migrate", "broker_definitions"}


@pytest.mark.parametrize("arguments", [[], ["no-such-service"], ["gateway/../x"]])
def test_the_entry_point_explains_itself_when_asked_for_something_else(arguments: list[str]) -> None:
    done = subprocess.run(["sh", str(ENTRYPOINT), *arguments], capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 64
    assert "executor worker" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_are_well_formed(script: Path) -> None:
    assert subprocess.run(["sh", "-n", str(script)], check=False, timeout=10).returncode == 0
