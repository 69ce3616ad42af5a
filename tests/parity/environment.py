"""The built environment of the corpus: packages that the base one has not, beside those that it has."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from uv import find_uv_bin

PACKAGES = ["bokeh==3.9.2", "inflection==0.5.1", "rich==15.0.0", "tqdm==4.70.1"]
"""What its notebooks ask for in `environment.packages`."""

SITE = "import json, sysconfig; print(json.dumps(sysconfig.get_path('purelib')))"


def build(folder: Path, base: Path) -> Path:
    """Make the environment in `folder` on top of that of the interpreter `base`; returns its interpreter. As our own
    are made: only what the base environment has not is installed, and a .pth line shows the rest."""
    site, frozen = json.loads(_output(base, "-c", SITE)), _uv("pip", "freeze", "--python", base).splitlines()
    _uv("venv", "--no-project", "--python", base, folder)
    constraints = folder / "base.txt"
    constraints.write_text("".join(f"{line}\n" for line in frozen if "==" in line), encoding="utf-8")
    wanted = folder / "wanted.in"
    wanted.write_text("".join(f"{package}\n" for package in PACKAGES), encoding="utf-8")
    lock = _uv("pip", "compile", "--no-header", "--no-annotate", "--python", base, "-c", constraints, wanted)
    new = [line for line in lock.splitlines() if line not in frozen]
    python = folder / "bin" / "python"
    _uv("pip", "install", "--no-deps", "--python", python, *new)
    own = Path(json.loads(_output(python, "-c", SITE)))
    (own / "base.pth").write_text(f"{site}\n", encoding="utf-8")
    return python


def _uv(*arguments: str | Path) -> str:
    return _output(find_uv_bin(), *arguments)


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
