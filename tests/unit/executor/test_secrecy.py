"""The worker's secrets: gone from its environment once they are read, and its memory is nobody's to look into."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deploy.local.folder import ROOT
from deploy.local.services import KINDS
from services.executor import secrecy

SECRETS = {
    "ATELIER_AMQP_URL",
    "ATELIER_INTERNAL_SECRET",
    "ATELIER_EXECUTOR_POSTGRES_DSN",
    "ATELIER_S3_ACCESS_KEY",
    "ATELIER_S3_SECRET_KEY",
    "ATELIER_PACKAGE_INDEX_URL",
    "ATELIER_PACKAGE_EXTRA_INDEX_URLS",
    "OTEL_EXPORTER_OTLP_HEADERS",
}


def test_no_secret_stays_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KINDS["worker"].s3
    for name in SECRETS:
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("ATELIER_LOG_LEVEL", "INFO")
    secrecy.forget()
    assert SECRETS & os.environ.keys() == set()
    assert os.environ["ATELIER_LOG_LEVEL"] == "INFO"


@pytest.mark.skipif(os.getuid() != 0, reason="another user has to look")
def test_another_process_of_its_user_cannot_look_into_it() -> None:
    program = """
import os, sys
from services.executor import secrecy
os.setgroups([]); os.setresgid(54321, 54321, 54321); os.setresuid(54321, 54321, 54321)
from services.executor.kernels.forkserver import system
system.prctl(system.PR_SET_DUMPABLE, 1)
def look():
    pid = os.getppid()
    for name in ("environ", "mem"):
        try:
            open(f"/proc/{pid}/{name}", "rb").close()
            print(name, "open")
        except PermissionError:
            print(name, "closed")
    sys.stdout.flush()
for hidden in (False, True):
    if hidden:
        secrecy.hide()
    if os.fork() == 0:
        system.prctl(system.PR_SET_DUMPABLE, 1)
        look()
        os._exit(0)
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["environ", "open", "mem", "open", "environ", "closed", "mem", "closed"]
