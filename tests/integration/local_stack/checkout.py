"""A checkout of its own with stand-ins for the services: what `make up` and the rest do is tried on it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local import processes
from deploy.local.folder import ROOT, StackFolder

STUB = Path(__file__).with_name("stub_service.py")
SIMULATION = 'import sys; open(sys.argv[sys.argv.index("--output") + 1], "w").write("case,activity\\n1,a\\n")\n'
COMMAND_SECONDS = 120


class Checkout:
    """A copy of deploy/ with stub services beside it, and the commands of its Makefile."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT / "deploy/local", root / "deploy/local", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "deploy/__init__.py", root / "deploy")
        for name in ("gateway", "catalog", "executor", "artifacts"):
            (root / "services" / name).mkdir(parents=True)
            (root / "services" / name / "__main__.py").write_text("from services.stub import main\n\nmain()\n")
        shutil.copy(STUB, root / "services/stub.py")
        (root / "services/migrate.py").write_text('import os\n\nassert os.environ["ATELIER_POSTGRES_DSN"]\n')
        (root / "shared").mkdir()
        for name in ("__init__.py", "broker_users.py", "topology.py"):
            shutil.copy(ROOT / "shared" / name, root / "shared")
        (root / "uv.lock").touch()
        (root / "examples").mkdir()
        (root / "examples/simulate_event_log.py").write_text(SIMULATION)

    @property
    def folder(self) -> StackFolder:
        return StackFolder(self.root / ".atelier")

    @property
    def pids(self) -> dict[str, int]:
        """The pid of each component that runs."""
        found = {}
        for path in (self.root / ".atelier/pids").glob("*.json"):
            record = processes.ProcessRecord.load(path)
            if record is not None and record.is_alive():
                found[path.stem] = record.pid
        return found

    @property
    def ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self.root / ".atelier/ports.json").read_text())
        return ports

    def start(self, command: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Begins a command and returns without waiting."""
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.local", command],
            cwd=self.root,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Runs a command; returns its exit code and all it printed."""
        process = self.start(command, env)
        printed, _ = process.communicate(timeout=COMMAND_SECONDS)
        return process.returncode, printed

    def up(self, env: Mapping[str, str] | None = None) -> list[str]:
        """Runs `up`, which must work; returns the names of the components it says it has started."""
        code, printed = self.run("up", env)
        assert code == 0, printed
        return sorted(re.findall(r"^  (\S+) +[0-9.]+ s  127", printed, re.MULTILINE))
