"""Scripts with `# %%` cells."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest

from services.catalog import importing, shelf
from services.catalog.cell_ids import Numbering
from services.catalog.document import tags_of
from services.catalog.importing import percent
from shared.errors import Invalid

SCRIPT = '''\
# ---
# jupyter:
#   kernelspec: {name: python3}
# ---

import os

# %% [markdown]
# # Title
#
# Text with `code`
#no blank

# %% Loading tags=["parameters", "x y"] slideshow={"slide_type": "skip"} id="own-id"
a = 1  # %% no marker

# %matplotlib inline
# a comment


# %% [raw]
# raw text
# %%
#%%
b = """
text
"""
# %% [md] Second title
"""
Quoted *text*

more
"""
'''


def test_cells_of_a_script() -> None:
    parsed = percent.read(SCRIPT)
    cells = [(cell["cell_type"], cell["source"]) for cell in parsed.document.cells]
    assert cells == [
        ("code", "import os"),
        ("markdown", "# Title\n\nText with `code`\nno blank"),
        ("code", "a = 1  # %% no marker\n\n%matplotlib inline\n# a comment"),
        ("raw", "raw text"),
        ("code", ""),
        ("code", 'b = """\ntext\n"""'),
        ("markdown", "Quoted *text*\n\nmore"),
    ]
    options = parsed.document.cells[2]
    assert options["id"] == "own-id"
    assert options["metadata"] == {
        "title": "Loading",
        "tags": ["parameters", "x y"],
        "slideshow": {"slide_type": "skip"},
    }
    assert parsed.document.cells[6]["metadata"] == {"title": "Second title"}
    assert [cell["id"] for cell in parsed.document.cells[:4]] == ["cell-001", "cell-002", "own-id", "cell-003"]
    assert parsed.nbformat == "percent"
    assert len(parsed.warnings) == 1
    nbformat.validate(nbformat.from_dict(parsed.document.body), version=4, version_minor=5)


def test_commands_that_jupytext_comments_out_are_commands() -> None:
    commands = ["!pip install x", "%time f()", "?print", "files = !ls", "table = %sql SELECT 1"]
    source = "\n".join(
        ["# %%", *(f"# {command}" for command in commands), "    # !nested", "# why! a = !", "#! /bin/sh"]
    )
    (cell,) = percent.read(source).document.cells
    assert cell["source"].splitlines() == [*commands, "    !nested", "# why! a = !", "#! /bin/sh"]


@pytest.mark.parametrize(
    ("marker", "metadata"),
    [
        ("# %% tags=['x', \"y\"]", {"tags": ["x", "y"]}),
        ("# %% tags=('x',) a=1", {"tags": ["x"], "a": 1}),
        ("# %% a='it is' b=None c=True", {"a": "it is", "b": None, "c": True}),
        ('# %% tags=["x"] a={"b": [1]}', {"tags": ["x"], "a": {"b": [1]}}),
        ("# %% Result = Final", {"title": "Result = Final"}),
    ],
)
def test_options_in_json_or_as_python_writes_them(marker: str, metadata: dict[str, Any]) -> None:
    parsed = percent.read(f"{marker}\n1\n")
    assert parsed.document.cells[0]["metadata"] == metadata
    assert parsed.warnings == []


def test_options_that_cannot_be_read_are_told() -> None:
    parsed = percent.read("import os\n# %% good=1 tags=['x\n1\n# %% tags={'x'} b=1\n")
    assert [cell["metadata"] for cell in parsed.document.cells] == [{}, {"good": 1}, {}]
    assert parsed.warnings == [
        "Options of cells[1] could not be read and were left out: tags=['x",
        "Options of cells[2] could not be read and were left out: tags={'x'} b=1",
    ]


@pytest.mark.parametrize(
    ("entries", "kernel_type"),
    [
        (["kernelspec:", "  display_name: R", "  language: R", "  name: ir"], "r"),
        (["kernelspec: {display_name: Python 3, name: python3}", "other: {name: ir}"], "python3"),
        (["kernelspec:", '  name: "apache_toree_scala"', "name: ir"], "scala"),
        (["jupytext:", "  name: ir"], "python3"),
    ],
)
def test_the_kernel_that_a_header_names(entries: list[str], kernel_type: str) -> None:
    header = "\n".join(["# ---", "# jupyter:", *(f"#   {entry}" for entry in entries), "# ---"])
    assert importing.read("a.py", f"{header}\n\n# %%\nx\n", None).kernel_type == kernel_type


def test_a_header_that_names_a_kernel_which_we_have_not() -> None:
    header = "# ---\n# jupyter:\n#   kernelspec:\n#     name: python2.7\n# ---\n# %%\nx\n"
    with pytest.raises(Invalid, match="Python 2"):
        importing.read("a.py", header, None)
    imported = importing.read("a.py", header, "python3")
    assert any("Python 2" in warning for warning in imported.parsing.warnings)


def test_a_script_without_markers_is_one_cell() -> None:
    parsed = percent.read("x = 1\n\ny = 2\n")
    assert [cell["source"] for cell in parsed.document.cells] == ["x = 1\n\ny = 2"]
    assert "no # %% marker" in parsed.warnings[0]


def test_ids_taken_twice_are_given_anew() -> None:
    parsed = percent.read('# %% id="a"\n# %% id="a"\n# %% id="no good"\n# %% id="cell-004"\n')
    assert [cell["id"] for cell in parsed.document.cells] == ["a", "cell-005", "cell-006", "cell-004"]
    assert parsed.highest_cell_number == 6


def test_options_that_make_no_valid_cell_are_refused() -> None:
    with pytest.raises(Invalid) as raised:
        percent.read('# %% tags=["a", "a"]\n1\n')
    assert raised.value.faults[0].path == "file.cells[0].metadata.tags"


@pytest.mark.parametrize("marker", ["# %% a=b=[", "# %% tags=[", '# %% x="', "# %% [markdown] [raw]", "#%%%% deep"])
def test_odd_markers_begin_a_cell_all_the_same(marker: str) -> None:
    assert len(percent.read(f"{marker}\n1\n").document.cells) == 1


def test_every_template_is_a_valid_notebook_with_parameters() -> None:
    templates = shelf.load()
    assert set(templates) == {
        "blank", "process_mining_starter", "customer_segmentation", "anomaly_detection", "throughput_prediction",
    }  # fmt: skip
    for template in templates.values():
        body = template.document.body
        nbformat.validate(nbformat.from_dict(body), version=4, version_minor=5)
        assert template.description
        assert any("parameters" in tags_of(cell) for cell in body["cells"])


def test_a_template_with_python_does_not_suit_another_language() -> None:
    templates = shelf.load()
    assert not templates["process_mining_starter"].suits("r")
    assert templates["blank"].suits("scala")
    cells = templates["blank"].cells_for("scala", Numbering(), set())
    assert cells
    assert all(cell["cell_type"] != "code" for cell in cells)
