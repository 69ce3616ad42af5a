"""The notebooks of other projects' own test suites, from their source packages: fetched for a test, not kept here.

Versions are those that are installed. nbclient's rules for comparing notebooks, and its list of what is to be run how,
are read from its own test module.
"""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import nbformat
from nbconvert.filters import strip_ansi
from nbformat import NotebookNode

from deploy.local.folder import ROOT

KEPT = ROOT / ".atelier" / "sdists"
"""Where source packages stay once they were fetched."""

PIP = ROOT / ".atelier" / "bootstrap" / "bin" / "python"
"""An interpreter with pip, which fetches source packages; uv cannot."""


def source(name: str, version: str) -> Path:
    """The unpacked source package of a locked release. Raises CalledProcessError when the index has it not, and
    ValueError when it is another than the locked one."""
    folder = KEPT / f"{name}-{version}"
    if folder.is_dir():
        return folder
    KEPT.mkdir(parents=True, exist_ok=True)
    file = KEPT / f"{folder.name}.tar.gz"
    if not file.exists():
        python = PIP if PIP.exists() else Path(sys.executable)
        options = ["--quiet", "--no-deps", "--no-binary", name, "--dest", str(KEPT)]
        subprocess.run([python, "-m", "pip", "download", *options, f"{name}=={version}"], check=True)
    content = file.read_bytes()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != _locked_hash(name, version):
        file.unlink()
        raise ValueError(f"{file.name} is not the file that uv.lock names")
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch, tarfile.open(file) as archive:
        for member in archive:
            target = Path(scratch, member.name)
            if member.isfile() and ".." not in target.parts and (content_of := archive.extractfile(member)) is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content_of.read())
        Path(scratch, folder.name).rename(folder)
    return folder


def _locked_hash(name: str, version: str) -> str:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    found = [one["sdist"]["hash"] for one in lock["package"] if (one["name"], one.get("version")) == (name, version)]
    return str(found[0])


def read(path: Path) -> NotebookNode:
    """A notebook as it lies there, without what an earlier run put out."""
    notebook = NotebookNode(nbformat.read(path, as_version=4))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    return notebook


class NbclientRules:
    """What nbclient's `tests/test_client.py` says."""

    NAMES = ("addr_pat", "ipython_input_pat", "ipython8_input_pat", "normalize_base64", "normalize_output",
             "assert_notebooks_equal")  # fmt: skip

    def __init__(self, module: Path) -> None:
        self._tree = ast.parse(module.read_text(encoding="utf-8"))
        wanted = [node for node in self._tree.body if self.defined_by(node) & set(self.NAMES)]
        found: dict[str, Any] = {
            "re": re,
            "strip_ansi": strip_ansi,
            "b64decode": b64decode,
            "b64encode": b64encode,
            "xmltodict": SimpleNamespace(parse=ET.canonicalize),
        }
        exec(compile(ast.Module(body=wanted, type_ignores=[]), str(module), "exec"), found)
        self._normalize: Callable[[NotebookNode], dict[str, Any]] = found["normalize_output"]
        self._assert_equal: Callable[[NotebookNode, NotebookNode], None] = found["assert_notebooks_equal"]

    def faults(self, expected: NotebookNode, found: NotebookNode) -> list[str]:
        """Why nbclient's `assert_notebooks_equal` fails; empty where it does not."""
        try:
            self._assert_equal(expected, found)
        except AssertionError:
            pairs = zip(expected.cells, found.cells, strict=False)
            seen = [tuple((cell.get("execution_count"), self._outputs(cell)) for cell in pair) for pair in pairs]
            return [f"{right} but {here}"[:2000] for right, here in seen if right != here] or ["other cells"]
        return []

    def _outputs(self, cell: NotebookNode) -> list[dict[str, Any]]:
        return [self._normalize(output) for output in cell.get("outputs", [])]

    @staticmethod
    def defined_by(node: ast.stmt) -> set[str]:
        """What a statement of the module defines."""
        if isinstance(node, ast.FunctionDef):
            return {node.name}
        if isinstance(node, ast.Assign):
            return {target.id for target in node.targets if isinstance(target, ast.Name)}
        return set()

    def runs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The notebooks of `test_run_all_notebooks` with the options that they are run with."""
        (test,) = [node for node in self._tree.body if self.defined_by(node) == {"test_run_all_notebooks"}]
        assert isinstance(test, ast.FunctionDef)
        (decorator,) = test.decorator_list
        assert isinstance(decorator, ast.Call)
        listed = decorator.args[1]
        assert isinstance(listed, ast.List)
        for entry in listed.elts:
            given = entry.args if isinstance(entry, ast.Call) else entry.elts if isinstance(entry, ast.Tuple) else []
            name, options = map(ast.literal_eval, given)
            yield name, options
