"""IRkernel and Toree as everybody starts them, driven by nbclient: what our R and Scala kernels are compared with."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from deploy.local import languages as installed

TIMEOUT_S = 600
"""On a busy machine Toree takes minutes, in seconds."""


def write_specs(folder: Path) -> None:
    """Kernel specifications as `IRkernel::installspec()` and `jupyter toree install` write them, which are found from
    now on."""
    specs: dict[str, dict[str, Any]] = {
        "r": {"argv": ["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"], "language": "R"}
    }
    java = installed.settings().get("ATELIER_KERNEL_JAVA")
    if java is not None:
        (toree,) = installed.SCALA.glob("lib/python3*/site-packages/toree")
        specs["scala"] = {
            "argv": [str(toree / "bin" / "run.sh"), "--profile", "{connection_file}"],
            "language": "scala",
            "env": {
                "SPARK_HOME": str(toree.parent / "pyspark"),
                "JAVA_HOME": str(Path(java).parent.parent),
                "DEFAULT_INTERPRETER": "Scala",
                "__TOREE_SPARK_OPTS__": "--master local[*]",
                "__TOREE_OPTS__": "",
            },
        }
    for name, spec in specs.items():
        kernel = folder / "kernels" / f"peer-{name}"
        kernel.mkdir(parents=True)
        (kernel / "kernel.json").write_text(json.dumps({"display_name": name, **spec}), encoding="utf-8")
    os.environ["JUPYTER_PATH"] = str(folder)


async def run(kernel_type: str, cells: Sequence[str], folder: Path) -> NotebookNode:
    """A notebook executed by nbclient, errors and all."""
    notebook: NotebookNode = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    client = NotebookClient(
        notebook,
        kernel_name=f"peer-{kernel_type}",
        timeout=TIMEOUT_S,
        startup_timeout=TIMEOUT_S,
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )
    await client.async_execute()
    return notebook
