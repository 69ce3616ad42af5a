"""Runs the Python examples of docs/sdk.md as the cells of one notebook; started by a test in the kernel environment.

Arguments: an event log as CSV, and an empty folder. The examples come as a JSON list on standard input.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

from mindzie_sdk import ProcessMiningClient


def main() -> None:
    """Print the kind and name of everything the examples saved, as JSON on the last line."""
    log, folder = Path(sys.argv[1]), Path(sys.argv[2])
    os.chdir(folder)
    shutil.copyfile(log, "log.csv")
    ProcessMiningClient.local(dataset="log.csv", parameters={"threshold": 0.5}, folder="platform")
    os.environ["ATELIER_RUN_DIR"] = "platform"
    warnings.simplefilter("error")
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.load(sys.stdin), start=1):
        exec(compile(cell, f"<example {number}>", "exec"), names)
    records = [json.loads(path.read_text()) for path in sorted(Path("platform/outputs/.atelier").glob("*.json"))]
    print(json.dumps([[record["kind"], record["name"]] for record in records]))


if __name__ == "__main__":
    main()
