"""docs/sdk.md: its examples run in the base kernel environment, and every public name is mentioned."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mindzie_sdk
import process_mining_utils
import pytest
from mindzie_sdk import ProcessMiningClient

from tests.unit.docs import documents
from tests.unit.docs.documents import ROOT

NAME = "docs/sdk.md"
PROGRAM = Path(__file__).with_name("run_cells.py")


@pytest.fixture(scope="module")
def kernel_python() -> str:
    """The interpreter of the base kernel environment."""
    for candidate in (os.environ.get("ATELIER_KERNEL_PYTHON", ""), str(ROOT / ".venv-kernel" / "bin" / "python")):
        if candidate and Path(candidate).exists():
            return candidate
    if os.environ.get("CI") == "true":
        pytest.fail("the base kernel environment is missing: set ATELIER_KERNEL_PYTHON")
    pytest.skip("the base kernel environment is missing: set ATELIER_KERNEL_PYTHON")


def test_the_examples_run(kernel_python: str, tmp_path: Path) -> None:
    log = tmp_path / "simulated.csv"
    simulation = ROOT / "examples" / "simulate_event_log.py"
    subprocess.run([sys.executable, simulation, "--cases", "60", "--seed", "3", "--output", log], check=True)
    folder = tmp_path / "folder"
    folder.mkdir()
    cells = [block.text for block in documents.blocks(NAME, "python")]
    done = subprocess.run(
        [kernel_python, PROGRAM, log, folder],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "MPLCONFIGDIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    saved = {(kind, name) for kind, name in json.loads(done.stdout.splitlines()[-1])}
    assert saved == {
        ("enriched_dataset", "late orders"),
        ("enriched_dataset", "doubled"),
        ("model", "late"),
        ("value", "essentials"),
        ("report", "Summary"),
        ("figure", "Order values"),
        ("enriched_dataset", "measured"),
        ("report", "Orders"),
    }


def test_every_public_name_is_mentioned() -> None:
    words = {name for word in documents.code_words(NAME) for name in re.findall(r"\w+", word)}
    client = {name for name in vars(ProcessMiningClient) if not name.startswith("_")}
    errors = {name for name in mindzie_sdk.__all__ if name.endswith("Error")}
    assert client | errors | set(process_mining_utils.__all__) <= words
