"""The notebooks of papermill's, nbclient's and ipykernel's own test suites end here as those suites expect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from deploy.local.services import KERNEL_PYTHON
from tests.parity import record, service_runs, suites
from tests.support.api import Api

AT_A_TIME = 6
"""Runs under way."""

EXCLUDED = {
    "Parallel Execute A.ipynb": "two kernels that meet in a folder which both can write to: runs here share nothing",
    "Parallel Execute B.ipynb": "as its other half",
    "Sleep1s.ipynb": "its test compares times of messages; it runs in `test_of_nbclient_runs_through`",
    "Output.ipynb": "no test of theirs runs it, and its outputs are those of older releases",
    "Skip Exceptions with Cell Tags.ipynb": "nbclient itself puts out another traceback than it has, with IPython 9",
    "binder.ipynb": "runs papermill itself on files beside it, in papermill's own checkout",
    "notimplemented_translator.ipynb": "asks for a kernel without a translator; its tests do not run it",
    "complex_parameters.ipynb": "its tests read its parameters and do not run it; it is no Python",
    "test_logging.ipynb": "its test logs the outputs in it and does not run it; it needs the package ggplot",
    "broken.ipynb": "for Python 2; no test of papermill's uses it",
    "keyboard_interrupt.ipynb": "waits a minute for somebody to press a key; its tests do not run it",
}

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow(reason="some of these notebooks wait for seconds")]


@pytest.fixture(scope="module")
def nbclient_files() -> Path:
    return suites.source("nbclient", metadata.version("nbclient")) / "tests" / "files"


@pytest.fixture(scope="module")
def papermill_files() -> Path:
    return suites.source("papermill", metadata.version("papermill")) / "papermill" / "tests" / "notebooks"


class Ran:
    """An executed notebook with its run."""

    def __init__(self, run: dict[str, Any], notebook: NotebookNode) -> None:
        self.run, self.notebook = run, notebook

    @property
    def code(self) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]


async def run(api: Api, notebook: NotebookNode, beside: Path | None = None, **request: Any) -> Ran:
    """Run a notebook, with a file `beside` it."""
    notebook_id = await service_runs.upload(api, notebook)
    if beside is not None:
        with beside.open("rb") as file:
            status, answer, _ = await api.put(f"notebook/{notebook_id}/files/{beside.name}", data=file)
        assert status == 200, answer
    done = await api.run(notebook_id, {"timeout": service_runs.TIMEOUT_S, **request})
    return Ran(done, await service_runs.executed(api, done))


def options_of(options: dict[str, Any]) -> dict[str, Any]:
    """nbclient's options as members of a request."""
    known = {"kernel_name", "timeout", "interrupt_on_timeout", "allow_errors"}
    assert set(options) <= known, options
    request: dict[str, Any] = {"errorPolicy": "continue" if options.get("allow_errors") else "stop"}
    if "timeout" in options:
        request["cellTimeout"] = options["timeout"]
    return request


async def test_of_nbclient_put_out_what_they_did(api: Api, nbclient_files: Path) -> None:
    rules = suites.NbclientRules(nbclient_files.parent / "test_client.py")
    listed = {name: options for name, options in rules.runs() if name not in EXCLUDED}
    assert len(listed) >= 13
    gate = asyncio.Semaphore(AT_A_TIME)

    async def compared(name: str, options: dict[str, Any]) -> list[str]:
        async with gate:
            beside = nbclient_files / "python.png" if name == "Inline Image.ipynb" else None
            done = await run(api, suites.read(nbclient_files / name), beside, **options_of(options))
        return rules.faults(nbformat.read(nbclient_files / name, as_version=4), done.notebook)

    found = await asyncio.gather(*(compared(name, options) for name, options in listed.items()))
    assert {name: faults for name, faults in zip(listed, found, strict=True) if faults} == {}


async def test_of_nbclient_fail_as_they_should(api: Api, nbclient_files: Path) -> None:
    """`test_disable_stdin`, `test_allow_errors`, `test_timeout`, `test_kernel_death`, `test_error…` of its module."""
    files = [nbclient_files / f"{name}.ipynb" for name in ("Disable Stdin", "Skip Exceptions", "Interrupt", "Autokill",
                                                           "Error", "Sleep1s")]  # fmt: skip
    requests: list[dict[str, Any]] = [{}, {}, {"cellTimeout": 1}, {}, {}, {}]
    stdin, skipped, interrupted, killed, error, slept = await asyncio.gather(
        *(run(api, suites.read(file), **request) for file, request in zip(files, requests, strict=True))
    )
    assert (stdin.run["status"], stdin.run["errorType"]) == ("Error", "StdinNotImplementedError")
    (output,) = stdin.code[0].outputs
    assert output.evalue == "raw_input was called, but this frontend does not support input requests."
    assert (skipped.run["errorType"], skipped.run["errorMessage"]) == ("Exception", "message")
    assert skipped.code[1].execution_count is None
    assert (interrupted.run["errorType"], interrupted.run["failedCell"]) == ("TimeoutError", interrupted.code[0].id)
    assert killed.run["errorType"] == "DeadKernelError"
    assert (error.run["errorType"], error.run["errorMessage"]) == ("ZeroDivisionError", "division by zero")
    assert slept.run["status"] == "Completed"


PARAMETERS = [
    ("simple_execute.ipynb", {"msg": "Hello"}, 'msg = "Hello"'),
    ("no_parameters.ipynb", {"msg": "Hello"}, 'msg = "Hello"'),
    ("simple_execute.ipynb", {"msg": '"Hello"'}, r'msg = "\"Hello\""'),
    ("simple_execute.ipynb", {"foo": r"do\ not\ crash"}, r'foo = "do\\ not\\ crash"'),
    ("simple_execute.ipynb", {"foo": r"bar=\"baz\""}, r'foo = "bar=\\\"baz\\\""'),
    ("simple_execute.ipynb", {"foo": r'\\"bar\\"'}, r'foo = "\\\\\"bar\\\\\""'),
    ("nb_version_4.4.ipynb", {"var": 5}, "var = 5"),
    ("blank-vscode.ipynb", {"var": "It works"}, 'var = "It works"'),
    ("report_mode_test.ipynb", {"a": 0}, "a = 0"),
]
"""Notebooks and parameters of `TestNotebookHelpers` and what follows it, with the line that has to be injected. Only
the text for the integer `var` of nb_version_4.4 is a number here: a parameter of another type than the notebook's own
value is refused."""


async def test_of_papermill_take_their_parameters(api: Api, papermill_files: Path) -> None:
    done = await asyncio.gather(
        *(run(api, suites.read(papermill_files / name), parameters=given) for name, given, _ in PARAMETERS)
    )
    for ran, (name, _, line) in zip(done, PARAMETERS, strict=True):
        assert ran.run["status"] == "Completed", (name, ran.run["errorMessage"])
        tagged = [cell for cell in ran.code if "injected-parameters" in cell.metadata.get("tags", [])]
        assert [cell.source.strip().split("\n")[1:] for cell in tagged] == [[line]], name
        nbformat.validate(ran.notebook)
    assert "".join(output.text for output in done[0].code[2].outputs) == "Hello\n"


EXITS: list[tuple[str, str, str | None, list[int | None]]] = [
    ("sysexit.ipynb", "Completed", None, [1, 2, None]),
    ("sysexit0.ipynb", "Completed", None, [1, 2, None]),
    ("systemexit.ipynb", "Completed", None, [1, 2, None]),
    ("sysexit1.ipynb", "Error", "SystemExit", [1, 2, None]),
    ("line_magic_error.ipynb", "Error", "UsageError", [1, None]),
    ("broken1.ipynb", "Error", "AssertionError", [1, 2, None]),
    ("broken2.ipynb", "Error", "ImportError", [1, 2, None]),
]
"""Notebooks of `TestSysExit` and `TestBrokenNotebook`: status, error and the counts of their code cells. What broken2
imports before its assertion IPython 9 has no more."""


async def test_of_papermill_end_as_they_should(api: Api, papermill_files: Path) -> None:
    done = await asyncio.gather(*(run(api, suites.read(papermill_files / name)) for name, *_ in EXITS))
    found = [
        (name, ran.run["status"], ran.run["errorType"], [cell.execution_count for cell in ran.code])
        for (name, *_), ran in zip(EXITS, done, strict=True)
    ]
    assert found == EXITS
    for ran in done:
        stopped = next(index for index, cell in enumerate(ran.code) if cell.execution_count is None) - 1
        shown = [output.output_type for output in ran.code[stopped].outputs]
        assert ("stream" if ran.run["errorType"] == "UsageError" else "error") in shown  # IPython prints that one
        if ran.run["status"] == "Error":
            assert ran.run["failedCell"] == ran.code[stopped].id


async def test_of_papermill_find_what_lies_beside_them(api: Api, papermill_files: Path, tmp_path: Path) -> None:
    """`TestCWD`."""
    check = tmp_path / "check.txt"
    check.write_text("exists")
    ran = await run(api, suites.read(papermill_files / "read_check.ipynb"), check)
    assert ran.run["status"] == "Completed", ran.run["errorMessage"]


REST = (
    "gcs/gcs_in/gcs-simple_notebook.ipynb",
    "result_no_exec.ipynb",
    "s3/s3_in/s3-simple_notebook.ipynb",
    "test_autosave.ipynb",
    "test_notebooknode_io.ipynb",
)


async def test_the_rest_of_papermills_run_through(api: Api, papermill_files: Path) -> None:
    done = await asyncio.gather(*(run(api, suites.read(papermill_files / name)) for name in REST))
    assert {name: ran.run["errorMessage"] for name, ran in zip(REST, done, strict=True)} == dict.fromkeys(REST)


def names(files: Iterable[Path]) -> set[str]:
    return {file.name for file in files}


def test_no_notebook_is_left_out_silently(nbclient_files: Path, papermill_files: Path) -> None:
    rules = suites.NbclientRules(nbclient_files.parent / "test_client.py")
    here = {name for name, _ in rules.runs()} | set(EXCLUDED)
    here |= {"Disable Stdin.ipynb", "Autokill.ipynb", "Error.ipynb", "read_check.ipynb"}
    run_above = [*(entry[0] for entry in PARAMETERS), *(entry[0] for entry in EXITS), *REST]
    here |= {Path(name).name for name in run_above}
    there = names(nbclient_files.glob("*.ipynb")) | names(papermill_files.rglob("*.ipynb"))
    assert there - here == set()


def test_ipykernels_suite_has_no_notebook() -> None:
    version = record.versions(KERNEL_PYTHON)["ipykernel"]
    assert list(suites.source("ipykernel", version).rglob("*.ipynb")) == []
