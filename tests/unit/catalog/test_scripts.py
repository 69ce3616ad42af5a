"""Scripts and Markdown: held against jupytext's own reading, and against what was exported."""

from __future__ import annotations

import jupytext
import nbformat
import pytest

from services.catalog import importing, shelf
from services.catalog.cell_ids import Numbering
from services.catalog.document import Document, Json, empty, new_cell, tags_of
from services.catalog.importing import scripts
from services.catalog.importing.parsed import Parsed
from services.catalog.kernels import SPECS
from shared.contracts.notebooks import KernelType
from shared.errors import Invalid

PERCENT = '''\
# ---
# jupyter:
#   kernelspec: {name: python3, display_name: Python 3}
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
# !pip list
# a comment


# %% [raw]
# raw text
# %% language="bash" magic_args="-x"
# ls
# %% language="R"
x <- 1
# %% active="ipynb"
# 1 + 1
# %% active="py"
only_in_the_script = 1
# %%
#%%
b = """
# %% no marker either
"""
# %% [md] Second title
"""
Quoted *text*

more
"""
'''

TEXTS = {
    "percent.py": PERCENT,
    "light.py": (
        "import os\n\n# A comment of its own\n\nx = 1\n\n\ndef f():\n    a = 1\n\n    return a\n\n"
        "if x:\n    pass\n\nelse:\n    y = 2\n"
    ),
    "light_markers.py": '# + tags=["parameters"]\na = 1\n\nb = 2\n# -\n\n# # Title\n\nprint(a)\n',
    "region.py": "# region A title\nx = 1\n\ny = 2\n# endregion\n",
    "spyder.py": "#%% One\nx = 1\n#%%\ny = 2\n",
    "options.py": "# %% tags=['x', \"y\"]\n1\n# %% a=1 b=null c=true\n2\n# %% Result = Final\n3\n",
    "odd.py": "# %% a=b=[\n1\n# %% tags=[\n2\n# %% [markdown] [raw]\n# 3\n#%%%% deep\n4\n",
    "windows.py": "# %%\r\nx = 1\r\n# %% [markdown]\r\n# text\r\n",
    "percent.R": '# %% [markdown]\n# # Title\n\n# %% tags=["parameters"]\nx <- 1\n',
    "spin.R": "#' # Title\n#' text\n\n#+ echo=FALSE\nx <- 1\n",
    "lower.r": "# %%\nx <- 1\n",
    "percent.scala": "// %% [markdown]\n// # Title\n\n// %%\nval x = 1\n",
    "notebook.md": (
        '# Title\n\n```python tags=["parameters"]\nx = 1\n```\n\ntext\n\n```python\nprint(x)\n```\n\n'
        "```\nno code\n```\n"
    ),
    "myst.md": (
        "---\nkernelspec:\n  name: python3\n  display_name: Python 3\n---\n\n# Title\n\n"
        "```{code-cell} python\n---\ntags: [a]\n---\nx = 1\n```\n\ntext\n"
    ),
    "notebook.Rmd": "---\ntitle: A\n---\n\n# Title\n\n```{r, echo=FALSE}\nx <- 1\n```\n\n```{r}\ny\n```\n",
    "python.Rmd": "```{python}\nx = 1\n```\n",
}


def cells_of(parsed: Parsed) -> list[tuple[str, str]]:
    return [(cell["cell_type"], cell["source"]) for cell in parsed.document.cells]


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_is_what_jupytext_reads(name: str) -> None:
    parsed = scripts.read(name, TEXTS[name])
    form = {"lower.r": "R"}.get(name, name.rpartition(".")[2])
    read = jupytext.reads(TEXTS[name], fmt=form)
    assert cells_of(parsed) == [(cell.cell_type, cell.source) for cell in read.cells]
    layout = {"lines_to_next_cell", "lines_to_end_of_cell_marker", "id"}
    for cell, its in zip(parsed.document.cells, read.cells, strict=True):
        assert cell["metadata"] == {key: value for key, value in its.metadata.items() if key not in layout}
    assert parsed.nbformat == read.metadata["jupytext"]["text_representation"]["format_name"]
    nbformat.validate(nbformat.from_dict(parsed.document.body), version=4, version_minor=5)


def test_cells_of_a_percent_script() -> None:
    parsed = scripts.read("a.py", PERCENT)
    assert ("code", "a = 1  # %% no marker\n\n%matplotlib inline\n!pip list\n# a comment") in cells_of(parsed)
    assert ("code", "%%bash -x\nls") in cells_of(parsed)
    assert ("code", "1 + 1") in cells_of(parsed)
    assert ("code", 'b = """\n# %% no marker either\n"""') in cells_of(parsed)
    cell = parsed.document.cells[2]
    assert (cell["id"], cell["metadata"]["tags"], cell["metadata"]["title"]) == (
        "own-id", ["parameters", "x y"], "Loading",
    )  # fmt: skip
    assert [cell["id"] for cell in parsed.document.cells[:4]] == ["cell-001", "cell-002", "own-id", "cell-003"]
    assert parsed.warnings == []


def test_a_quarto_document_is_read_by_its_fences() -> None:
    text = "---\ntitle: A\njupyter: python3\n---\n\n# Title\n\n```{python}\n#| echo: false\nx = 1\n```\n"
    imported = importing.read("a.qmd", text, None)
    assert [(cell["cell_type"], cell["source"]) for cell in imported.document.cells] == [
        ("raw", "---\ntitle: A\njupyter: python3\n---"),
        ("markdown", "# Title"),
        ("code", "#| echo: false\nx = 1"),
    ]
    assert imported.kernel_type == "python3"


@pytest.mark.parametrize(
    ("name", "kernel_type"),
    [
        ("spin.R", "r"),
        ("percent.scala", "scala"),
        ("notebook.Rmd", "r"),
        ("python.Rmd", "python3"),
        ("myst.md", "python3"),
    ],
)
def test_the_language_of_a_file_is_its_kernel(name: str, kernel_type: str) -> None:
    imported = importing.read(name, TEXTS[name], None)
    assert (imported.kernel_type, imported.parsing.warnings) == (kernel_type, [])


@pytest.mark.parametrize(
    ("entries", "kernel_type"),
    [
        (["kernelspec:", "  display_name: R", "  language: R", "  name: ir"], "r"),
        (["kernelspec: {display_name: Python 3, name: python3}", "other: {name: ir}"], "python3"),
        (["kernelspec:", '  name: "apache_toree_scala"'], "scala"),
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


def test_a_script_without_markers_says_how_it_was_read() -> None:
    parsed = scripts.read("a.py", "x = 1\n\ny = 2\n")
    assert "no cell markers" in parsed.warnings[0]
    assert scripts.read("a.py", TEXTS["light_markers.py"]).warnings == []


def test_ids_taken_twice_are_given_anew() -> None:
    parsed = scripts.read("a.py", '# %% id="a"\n1\n# %% id="a"\n2\n# %% id="no good"\n3\n# %% id="cell-004"\n4\n')
    assert [cell["id"] for cell in parsed.document.cells] == ["a", "cell-005", "cell-006", "cell-004"]
    assert parsed.highest_cell_number == 6


@pytest.mark.parametrize(
    ("name", "text", "path"),
    [
        ("a.py", '# %% tags=["a", "a"]\n1\n', "file"),
        ("a.py", "# %% n=99999999999999999999\n1\n", "file"),
        ("a.py", '# %% n="\\ud83d"\n1\n', "file"),
        ("a.py", "import marimo\napp = marimo.App()\n@app.cell\ndef _():\n    return\n", "file"),
    ],
)
def test_what_makes_no_valid_notebook_is_refused_with_its_place(name: str, text: str, path: str) -> None:
    with pytest.raises(Invalid) as raised:
        scripts.read(name, text)
    assert raised.value.faults[0].path == path


@pytest.mark.parametrize("separator", scripts._LINE_ENDS_TO_PYTHON)
def test_characters_that_only_python_takes_for_line_ends_stay(separator: str) -> None:
    (cell,) = scripts.read("a.py", f"# %%\nx = 'a{separator}b'\n").document.cells
    assert cell["source"] == f"x = 'a{separator}b'"


CELLS: dict[KernelType, list[str]] = {
    "python3": ["a = 1", "%matplotlib inline\n!ls", "%%bash\nls", 's = """\n# %% x\n"""', "", "x\n\n\ny"],
    "r": ["a <- 1", "x\n\ny"],
    "scala": ["val a = 1", "a\n\nb"],
}


@pytest.mark.parametrize("kernel_type", CELLS)
@pytest.mark.parametrize("form", ["script", "markdown", "rmarkdown"])
def test_an_exported_text_uploads_as_the_same_notebook(kernel_type: KernelType, form: scripts.TextFormat) -> None:
    sources = [source for source in CELLS[kernel_type] if form == "script" or (source and '"""' not in source)]
    cells: list[Json] = [new_cell("text", "markdown", "# Title\n\ntext", {"tags": ["x"]})]
    cells += [new_cell(f"c{number}", "code", source) for number, source in enumerate(sources)]
    cells[1]["metadata"] = {"tags": ["parameters"], "jupyter": {"source_hidden": True}}
    cells.append(new_cell("raw", "raw", "as it is"))
    document = Document(body={**empty(), "cells": cells, "metadata": dict(SPECS[kernel_type])})
    text, ending = scripts.write(document, kernel_type, form)
    imported = importing.read(f"a{ending}", text, None)
    assert imported.kernel_type == kernel_type
    assert imported.parsing.warnings == []
    again = [(cell["cell_type"], cell["source"]) for cell in imported.document.cells]
    assert again == [(cell["cell_type"], cell["source"]) for cell in cells]
    assert [tags_of(cell) for cell in imported.document.cells] == [tags_of(cell) for cell in cells]
    read = jupytext.reads(text, fmt=ending.removeprefix("."))  # and to others it is the same
    assert [(cell.cell_type, cell.source) for cell in read.cells] == again


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
