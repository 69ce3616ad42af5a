"""Every program says what it is for without settings, and names those that it lacks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAMS = {
    "services.gateway": "ATELIER_AMQP_URL",
    "services.catalog": "ATELIER_CATALOG_POSTGRES_DSN",
    "services.artifacts": "ATELIER_ARTIFACTS_POSTGRES_DSN",
    "services.executor control": "ATELIER_EXECUTOR_POSTGRES_DSN",
    "services.executor worker": "ATELIER_EXECUTOR_POSTGRES_DSN",
}
"""Each with a setting that it does not start without."""

SECRET = "too-short"


def called(program: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *program.split(), *arguments]
    environment = {"PATH": os.environ["PATH"], "NO_COLOR": "1", **settings}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("program", [*PROGRAMS, "services.executor", "services.broker_definitions", "deploy.local"])
def test_help_needs_no_settings(program: str) -> None:
    said = called(program, "--help")
    assert (said.returncode, said.stderr) == (0, "")
    assert "usage" in said.stdout.lower()


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_missing_or_wrong_is_named_and_no_secret_shown(program: str) -> None:
    said = called(program, ATELIER_INTERNAL_SECRET=SECRET)
    assert said.returncode == 1
    assert f"{PROGRAMS[program]} is not set" in said.stderr
    assert "ATELIER_INTERNAL_SECRET" in said.stderr
    assert SECRET not in said.stderr + said.stdout
    assert "Traceback" not in said.stderr
