"""Notebook files: what is accepted and mended, and what is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest

from services.catalog import importing
from services.catalog.importing import Imported
from shared.contracts.notebooks import KernelType
from shared.errors import Invalid, TooLarge


def code(source: Any = "1", **members: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
        **members,
    }


def notebook(cells: Any, **members: Any) -> dict[str, Any]:
    spec = {"name": "python3", "display_name": "Python 3"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": spec}, "cells": cells, **members}


def read(content: Any, name: str = "a.ipynb", kernel_type: KernelType | None = None) -> Imported:
    return importing.read(name, content if isinstance(content, str) else json.dumps(content), kernel_type)


V3 = {
    "nbformat": 3,
    "nbformat_minor": 0,
    "metadata": {"name": "Old", "kept": {"x": 1}},
    "worksheets": [
        {
            "cells": [
                {"cell_type": "heading", "level": 2, "source": ["A ", "title"], "metadata": {}},
                {
                    "cell_type": "code",
                    "input": ["print(1)\n", "2"],
                    "language": "python",
                    "prompt_number": 3,
                    "outputs": [
                        {"output_type": "stream", "stream": "stdout", "text": ["1\n"]},
                        {"output_type": "pyout", "prompt_number": 3, "text": ["2"], "metadata": {}},
                    ],
                },
                {"cell_type": "markdown", "source": "text"},
            ]
        }
    ],
}


def test_nbformat_3_is_upgraded() -> None:
    imported = read(V3)
    assert [(cell["id"], cell["cell_type"], cell["source"]) for cell in imported.document.cells] == [
        ("cell-001", "markdown", "## A title"),
        ("cell-002", "code", "print(1)\n2"),
        ("cell-003", "markdown", "text"),
    ]
    assert imported.parsing.nbformat == "3.0"
    language = {"language_info": {"name": "python"}}
    assert imported.document.body["metadata"] == {"kept": {"x": 1}, "title": "Old", **language}
    exported = imported.document.export("python3")
    nbformat.validate(nbformat.from_dict(exported), version=4, version_minor=5)
    assert exported["cells"][1]["execution_count"] == 3
    assert [output["output_type"] for output in exported["cells"][1]["outputs"]] == ["stream", "execute_result"]
    assert any("upgraded" in warning for warning in imported.parsing.warnings)


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4, 5])
def test_every_minor_version_of_nbformat_4(minor: int) -> None:
    cells = [code("1", **({"id": "own"} if minor == 5 else {})), {"cell_type": "raw", "metadata": {}, "source": []}]
    if minor == 5:
        cells[1]["id"] = "cell-009"
    imported = read(notebook(cells, nbformat_minor=minor))
    expected = ["own", "cell-009"] if minor == 5 else ["cell-001", "cell-002"]
    assert [cell["id"] for cell in imported.document.cells] == expected
    assert imported.parsing.nbformat == f"4.{minor}"
    assert imported.parsing.raw_cells == 1
    assert imported.highest_cell_number == (9 if minor == 5 else 2)


def test_nothing_of_a_valid_file_is_lost() -> None:
    original = notebook(
        [
            code(
                "%%time\r\nx\r\n",
                id="a",
                execution_count=4,
                metadata={"tags": ["t"], "collapsed": True, "vendor": {"deep": [1, {"x": None}]}},
                outputs=[
                    {"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]},
                    {
                        "output_type": "display_data",
                        "metadata": {"title": "T"},
                        "data": {"image/png": "AAAA", "application/vnd.x+json": {"a": [1.5, None]}},
                    },
                    {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[31mred"]},
                ],
            ),
            {
                "cell_type": "markdown",
                "id": "b",
                "metadata": {},
                "source": "![](attachment:i.png)",
                "attachments": {"i.png": {"image/png": "BBBB"}},
            },
            {"cell_type": "raw", "id": "c", "metadata": {"format": "text/latex"}, "source": "\\x \x00"},
        ],
        metadata={
            "kernelspec": {"name": "conda-env-py", "display_name": "My env", "language": "python"},
            "language_info": {"name": "python", "version": "3.9.1"},
            "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"x": {}}, "version_major": 2}},
            "unknown": {"kept": True},
        },
    )
    imported = read(original)
    assert imported.parsing.warnings == []
    assert imported.kernel_type == "python3"
    assert imported.document.export("python3") == original
    assert all(cell.get("outputs", []) == [] for cell in imported.document.pinned("python3")["cells"])
    again = read(imported.document.export("python3"))
    assert again.document.sha256 == imported.document.sha256


def test_ids_are_mended_with_a_warning_each() -> None:
    cells = [code(id="a"), code(id="a"), code(id="no good"), code(), code(id=7), code(id="cell-002")]
    imported = read(notebook(cells))
    ids = [cell["id"] for cell in imported.document.cells]
    assert ids == ["a", "cell-003", "cell-004", "cell-005", "cell-006", "cell-002"]
    warnings = "\n".join(imported.parsing.warnings)
    assert "'a' of cells[1] is another cell's too; it is now cell-003" in warnings
    assert "'no good' of cells[2] is no valid id; it is now cell-004" in warnings
    assert "1 cell had no id" in warnings


def test_missing_members_are_mended_with_a_warning() -> None:
    cells = [{"cell_type": "code", "source": "1"}, {"cell_type": "markdown", "source": None, "outputs": []}]
    imported = read(notebook(cells, metadata={"kernelspec": {"name": "python3"}, "language_info": {}}))
    nbformat.validate(nbformat.from_dict(imported.document.body), version=4, version_minor=5)
    warnings = " ".join(imported.parsing.warnings)
    for word in ("metadata", "outputs", "execution_count", "source", "display_name", "language_info"):
        assert word in warnings


@pytest.mark.parametrize(
    ("metadata", "kernel_type"),
    [
        ({}, "python3"),
        ({"kernelspec": {"name": "python3", "display_name": "x"}}, "python3"),
        ({"language_info": {"name": "ipython", "version": "3.11"}}, "python3"),
        ({"kernelspec": {"name": "ir", "display_name": "R"}}, "r"),
        ({"language_info": {"name": "R"}}, "r"),
        ({"kernelspec": {"name": "spylon-kernel", "display_name": "x"}}, "scala"),
        ({"kernelspec": {"name": "apache_toree_scala", "display_name": "x"}}, "scala"),
        ({"kernelspec": {"name": "scala212", "display_name": "x"}}, "scala"),
        ({"kernelspec": {"name": "x", "display_name": "x"}, "language_info": {"name": "scala"}}, "scala"),
    ],
)
def test_kernels_are_recognised(metadata: dict[str, Any], kernel_type: str) -> None:
    assert read(notebook([], metadata=metadata)).kernel_type == kernel_type


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        *(
            ({"kernelspec": {"name": name, "display_name": "x"}}, "file.metadata.kernelspec.name")
            for name in ("python2", "python2.7", "Python 2", "python-2", "ipython2")
        ),
        (
            {"kernelspec": {"name": "x", "display_name": "x", "language": "python2"}},
            "file.metadata.kernelspec.language",
        ),
        ({"language_info": {"name": "python2"}}, "file.metadata.language_info.name"),
        ({"language_info": {"name": "python", "version": "2.7.18"}}, "file.metadata.language_info.version"),
        ({"kernelspec": {"name": "julia-1.9", "display_name": "x"}}, "file.metadata.kernelspec.name"),
        ({"language_info": {"name": "haskell"}}, "file.metadata.language_info.name"),
    ],
)
def test_other_kernels_are_refused_unless_one_is_chosen(metadata: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as raised:
        read(notebook([], metadata=metadata))
    assert [fault.path for fault in raised.value.faults] == [path]
    chosen = read(notebook([], metadata=metadata), kernel_type="r")
    assert chosen.kernel_type == "r"
    assert any(path in warning and "the notebook's kernel is r" in warning for warning in chosen.parsing.warnings)
    assert chosen.document.export("r")["metadata"]["kernelspec"]["name"] == "ir"


def test_another_kernel_than_the_files_is_chosen_with_a_warning() -> None:
    metadata = {"kernelspec": {"name": "ir", "display_name": "R"}}
    imported = read(notebook([code(id="a")], metadata=metadata), kernel_type="python3")
    assert imported.parsing.warnings == ["The file names the kernel r; the notebook's is python3, as chosen."]
    assert read(notebook([code(id="a")], metadata=metadata), kernel_type="r").parsing.warnings == []
    assert read(notebook([code(id="a")], metadata={}), kernel_type="r").parsing.warnings == []


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ("", "file"),
        (" \n", "file"),
        ("\ufeff", "file"),
        ("no json", "file"),
        ('{"nbformat": 4, "cells": [', "file"),
        ('{"nbformat": 4, "x": NaN, }', "file"),
        ('{"nbformat": 4, "x": "\\ud80"}', "file"),
        ('{"nbformat": 4, "nbformat_minor": 1' + "0" * 400 + "}", "file"),
        ("[" * 100_000 + "]" * 100_000, "file"),
        ('{"nbformat":4,"metadata":' + '{"a":' * 100_000 + "1" + "}" * 100_001, "file"),
        ('{"nbformat":4,"metadata":' + '{"a":' * 500 + "1" + "}" * 501, "file.metadata.a.a.a.a.a"),
        ("5", "file"),
        ("[]", "file"),
        ("null", "file"),
        ({"a": 1}, "file.nbformat"),
        (notebook([], nbformat=2), "file.nbformat"),
        (notebook([], nbformat=99), "file.nbformat"),
        (notebook([], nbformat="4"), "file.nbformat"),
        (notebook([], nbformat=True), "file.nbformat"),
        (notebook([], nbformat_minor="x"), "file.nbformat_minor"),
        (notebook([], nbformat_minor=-1), "file.nbformat_minor"),
        ({"nbformat": 4, "nbformat_minor": 5, "metadata": {}}, "file.cells"),
        (notebook({}), "file.cells"),
        (notebook("x"), "file.cells"),
        (notebook([1]), "file.cells[0]"),
        (notebook([], metadata=[]), "file.metadata"),
        (notebook([], extra=1), "file.extra"),
        (notebook([{"cell_type": "heading", "metadata": {}, "source": ""}]), "file.cells[0].cell_type"),
        (notebook([{"metadata": {}, "source": ""}]), "file.cells[0].cell_type"),
        (notebook([code(5)]), "file.cells[0].source"),
        (notebook([code(["a", 5])]), "file.cells[0].source"),
        (notebook([code(unknown=1)]), "file.cells[0]"),
        (notebook([code(metadata=[])]), "file.cells[0].metadata"),
        (notebook([code(outputs={})]), "file.cells[0].outputs"),
        (notebook([code(outputs=[5])]), "file.cells[0].outputs[0].output_type"),
        (notebook([code(outputs=[{"output_type": "pyout"}])]), "file.cells[0].outputs[0].output_type"),
        (notebook([code(outputs=[{"output_type": "stream", "text": ""}])]), "file.cells[0].outputs[0]"),
        (notebook([code(execution_count="1")]), "file.cells[0].execution_count"),
        (notebook([code(metadata={"tags": "a"})]), "file.cells[0].metadata.tags"),
        ({"nbformat": 3, "metadata": {}}, "file.worksheets"),
        ({"nbformat": 3, "worksheets": [5]}, "file.worksheets[0].cells"),
        ({"nbformat": 3, "worksheets": [{"cells": [5]}]}, "file.worksheets[0].cells[0].cell_type"),
        (
            {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": 5}]}]},
            "file.worksheets[0].cells[0].input",
        ),
        (
            {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "outputs": [{"output_type": 5}]}]}]},
            "file.worksheets[0].cells[0].outputs[0].output_type",
        ),
        ({"nbformat": 3, "metadata": 5, "worksheets": []}, "file.metadata"),
        (
            {"nbformat": 3, "worksheets": [{"cells": []}, {"cells": [{"cell_type": "code", "prompt_number": "x"}]}]},
            "file.worksheets[1].cells[0].prompt_number",
        ),
        (
            {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "raw"}, {"cell_type": "raw", "extra": 1}]}]},
            "file.worksheets[0].cells[1]",
        ),
        (
            {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "markdown", "metadata": {"tags": "a"}}]}]},
            "file.worksheets[0].cells[0].metadata.tags",
        ),
    ],
)
def test_malformed_files_are_refused_with_their_place(content: Any, path: str) -> None:
    with pytest.raises(Invalid) as raised:
        read(content)
    assert path in [fault.path for fault in raised.value.faults]
    assert raised.value.detail


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        read(notebook([code(5), code(execution_count="x"), code(metadata={"collapsed": 1})]))
    assert {fault.path for fault in raised.value.faults} == {
        "file.cells[0].source",
        "file.cells[1].execution_count",
        "file.cells[2].metadata.collapsed",
    }


def test_what_is_too_large() -> None:
    with pytest.raises(TooLarge, match=r"cells\[1\]"):
        read(notebook([code(), code("x" * 2_000_001)]))
    with pytest.raises(TooLarge, match="10,000 cells"):
        read(notebook([code()] * 10_001))
    with pytest.raises(TooLarge, match="bytes"):
        read("x" * 50_000_001)


@pytest.mark.parametrize(
    "content",
    [
        {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "outputs": [{"output_type": "pyout"}]}]}]},
        {
            "nbformat": 3,
            "worksheets": [
                {"cells": [{"cell_type": "code", "outputs": [{"output_type": "display_data", "json": "{not json"}]}]}
            ],
        },
        {"nbformat": 3, "orig_nbformat": {}, "worksheets": [{"cells": [{"cell_type": "html", "source": ["a"]}]}]},
        notebook([code(outputs=[{"output_type": "error"}])]),
        notebook([code(id={"a": 1})]),
    ],
)
def test_odd_files_are_mended_or_refused_and_nothing_else(content: Any) -> None:
    refusal, imported = None, None
    try:
        imported = read(content)
    except Invalid as error:
        refusal = error
    if imported is not None:
        nbformat.validate(nbformat.from_dict(imported.document.export("python3")), version=4, version_minor=5)
    else:
        assert refusal is not None
        assert refusal.faults


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("analysis.ipynb", "analysis"),
        ("C:\\data\\My log.py", "My log"),
        ("/a/b/.ipynb", ".ipynb"),
        ("", "Uploaded notebook"),
        ("\x00.py", ".py"),
        ("x" * 300, "x" * 200),
    ],
)
def test_names_from_files(file_name: str, name: str) -> None:
    assert importing.name_for(file_name) == name


def test_a_cells_time_limit_may_be_a_number() -> None:
    imported = read(notebook([code(metadata={"execution": {"timeout": 30}})]))
    nbformat.validate(nbformat.from_dict(imported.document.body), version=4, version_minor=5)
    assert imported.document.cells[0]["metadata"] == {"execution": {"timeout": "30"}}
    assert any("metadata.execution.timeout" in warning for warning in imported.parsing.warnings)
