"""Notebook files as the world has them, each with one feature: every nbformat, odd metadata, other kernels, old tools.

All are made here. A file is kept without loss, kept with warnings that name what was mended, or refused with its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

Json = dict[str, Any]

PYTHON = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file and what is to become of it."""

    name: str
    file: str
    kernel: str = "python3"
    warnings: tuple[str, ...] = ()  # a part of each, in order
    refused_at: str | None = None
    file_name: str = "a.ipynb"


def code(source: Any = "print(1)", outputs: Any = None, **members: Any) -> Json:
    return {
        "cell_type": "code",
        "metadata": {},
        "source": source,
        "outputs": outputs or [],
        "execution_count": None,
        **members,
    }


def text(source: Any = "# Text", kind: str = "markdown", **members: Any) -> Json:
    return {"cell_type": kind, "metadata": {}, "source": source, **members}


def display(**data: Any) -> Json:
    return {"output_type": "display_data", "data": data, "metadata": {}}


def book(*cells: Json, minor: int = 5, metadata: Json | None = None, ids: bool = True, **members: Any) -> Json:
    """A notebook of nbformat 4; 4.5 with ids."""
    given = [{"id": f"c{number}", **cell} if minor >= 5 and ids else cell for number, cell in enumerate(cells)]
    found = {"kernelspec": PYTHON} if metadata is None else metadata
    return {"nbformat": 4, "nbformat_minor": minor, "metadata": found, "cells": given, **members}


def old(*cells: Json, minor: int = 0, **members: Any) -> Json:
    """A notebook of nbformat 3."""
    sheets = [{"cells": list(cells), "metadata": {}}]
    return {"nbformat": 3, "nbformat_minor": minor, "metadata": {"name": ""}, "worksheets": sheets, **members}


def old_code(source: Any = "print 1", outputs: Any = None, **members: Any) -> Json:
    return {
        "cell_type": "code",
        "input": source,
        "outputs": outputs or [],
        "language": "python",
        "collapsed": False,
        "metadata": {},
        **members,
    }


NO_IDS = "no cell ids"
UPGRADED = "was upgraded to 4.5"
NO_KERNEL = "names no kernel"


def case(name: str, content: Any, *warnings: str, **members: Any) -> Case:
    file = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return Case(name=name, file=file, warnings=warnings, **members)


def formats() -> Iterator[Case]:
    cells = (code(), text(), text("raw", "raw"))
    for minor in range(5):
        yield case(f"nbformat 4.{minor}", book(*cells, minor=minor), NO_IDS)
    yield case("nbformat 4.5", book(*cells))
    yield case("nbformat 4.6", book(*cells, minor=6), "newer than 4.5")
    yield case("nbformat 4.0 with ids all the same", book(code(id="mine"), minor=0))
    yield case("nbformat 3.0", old(old_code()), UPGRADED, NO_IDS)
    yield case(
        "nbformat 3 without a minor number",
        {k: v for k, v in old(old_code()).items() if k != "nbformat_minor"},
        UPGRADED,
        NO_IDS,
    )
    yield case("nbformat 2", {"nbformat": 2, "worksheets": []}, refused_at="file.nbformat")
    yield case("nbformat 1", {"cells": []}, refused_at="file.nbformat")
    yield case("nbformat 5", {"nbformat": 5, "cells": []}, refused_at="file.nbformat")
    yield case("nbformat as text", {**book(), "nbformat": "4"}, refused_at="file.nbformat")
    yield case("a negative minor number", {**book(), "nbformat_minor": -1}, refused_at="file.nbformat_minor")
    yield case("a broken minor number", {**book(), "nbformat_minor": 4.5}, refused_at="file.nbformat_minor")
    yield case("no minor number", {k: v for k, v in book(code(), ids=False).items() if k != "nbformat_minor"}, NO_IDS)


def old_formats() -> Iterator[Case]:
    upgraded = (UPGRADED, NO_IDS)
    headings = ({"cell_type": "heading", "level": n, "source": "h"} for n in range(1, 7))
    yield case("v3 headings", old(*headings), *upgraded, NO_KERNEL)
    html = {"cell_type": "html", "source": "<b>x</b>", "metadata": {}}
    yield case("v3 html cell", old(html), *upgraded, NO_KERNEL)
    yield case("v3 lines", old(old_code(["a = 1\n", "b = 2"]), text(["x\n", "y"])), *upgraded)
    yield case(
        "v3 stream", old(old_code(outputs=[{"output_type": "stream", "stream": "stderr", "text": "e"}])), *upgraded
    )
    yield case(
        "v3 result",
        old(
            old_code(
                outputs=[{"output_type": "pyout", "prompt_number": 3, "text": ["3"], "metadata": {}}], prompt_number=3
            )
        ),
        *upgraded,
    )
    yield case(
        "v3 picture", old(old_code(outputs=[{"output_type": "display_data", "png": PNG, "metadata": {}}])), *upgraded
    )
    several = [
        {"output_type": "stream", "stream": "stdout", "text": ["a\n", "b"]},
        {"output_type": "display_data", "html": ["<b>\n", "</b>"], "svg": "<svg/>", "text": "x", "metadata": {}},
        {"output_type": "pyout", "prompt_number": 9, "text": "9", "png": PNG, "metadata": {}},
    ]
    yield case("v3 several outputs", old(old_code(outputs=several, prompt_number=9)), *upgraded)
    yield case(
        "v3 error",
        old(old_code(outputs=[{"output_type": "pyerr", "ename": "E", "evalue": "v", "traceback": ["t"]}])),
        *upgraded,
    )
    sheets = [{"cells": [old_code("a")]}, {"cells": [old_code("b")]}]
    yield case("v3 two worksheets", {**old(), "worksheets": sheets}, UPGRADED, "2 worksheets", NO_IDS)
    yield case("v3 title", {**old(old_code()), "metadata": {"name": "My title"}}, UPGRADED, NO_IDS)
    yield case(
        "v3 metadata", {**old(old_code()), "metadata": {"name": "", "signature": "x", "kept": {"a": [1]}}}, *upgraded
    )
    yield case("v3 in R", old(old_code("x <- 1", language="R")), *upgraded, kernel="r")
    languages = ("python", "R", "R")
    mixed = old(*(old_code("x", language=language) for language in languages))
    yield case("v3 in two languages", mixed, UPGRADED, "the kernel is that of most, R", NO_IDS, kernel="r")
    yield case("v3 in Julia", old(old_code(language="julia")), refused_at="file.metadata.language_info.name")
    yield case("v3 unknown member", {**old(old_code()), "vendor": 1}, UPGRADED, "left out: vendor", NO_IDS)
    yield case("v3 with nbformat 4's cells", {**old(old_code()), "cells": []}, UPGRADED, "left out: cells", NO_IDS)
    tagged = old_code(metadata={"tags": "a"})
    yield case("v3 tags of a text", old(tagged), refused_at="file.worksheets[0].cells[0].metadata.tags")
    yield case("v3 no cells", old(), UPGRADED, NO_KERNEL)
    yield case("v3 worksheets missing", {"nbformat": 3, "metadata": {}}, refused_at="file.worksheets")
    yield case("v3 worksheet of nothing", {**old(), "worksheets": [None]}, refused_at="file.worksheets[0].cells")
    yield case("v3 unknown cell type", old({"cell_type": "video"}), refused_at="file.worksheets[0].cells[0].cell_type")
    yield case(
        "v3 outputs of a number",
        old(old_code(outputs=[7])),
        refused_at="file.worksheets[0].cells[0].outputs[0].output_type",
    )


def kernels() -> Iterator[Case]:
    for name, kernel in {
        "python3": "python3",
        "python": "python3",
        "ir": "r",
        "IR": "r",
        "spylon-kernel": "scala",
        "spylon": "scala",
        "apache_toree_scala": "scala",
        "scala212": "scala",
        "scala": "scala",
        "scala213": "scala",
        "almond": "scala",
    }.items():
        yield case(
            f"kernel {name}", book(code(), metadata={"kernelspec": {"name": name, "display_name": name}}), kernel=kernel
        )
    for language, kernel in {"python": "python3", "R": "r", "scala": "scala"}.items():
        spec = {"kernelspec": {"name": "conda-env-x", "display_name": "x"}, "language_info": {"name": language}}
        yield case(f"kernel of its own name for {language}", book(code(), metadata=spec), kernel=kernel)
        yield case(
            f"only language {language}", book(code(), metadata={"language_info": {"name": language}}), kernel=kernel
        )
    for name in (
        "julia-1.10",
        "bash",
        "javascript",
        "gnu-octave",
        "sparkkernel",
        "ocaml-jupyter",
        "xcpp17",
        ".net-csharp",
    ):
        spec = {"kernelspec": {"name": name, "display_name": name}}
        yield case(f"kernel {name}", book(code(), metadata=spec), refused_at="file.metadata.kernelspec.name")
    yield case(
        "kernel python2",
        book(code(), metadata={"kernelspec": {"name": "python2.7", "display_name": "2"}}),
        refused_at="file.metadata.kernelspec.name",
    )
    info = {"kernelspec": PYTHON, "language_info": {"name": "python", "version": "2.7.18"}}
    yield case(
        "Python 2 under another name", book(code(), metadata=info), refused_at="file.metadata.language_info.version"
    )
    yield case(
        "language julia",
        book(code(), metadata={"language_info": {"name": "julia"}}),
        refused_at="file.metadata.language_info.name",
    )
    yield case("no kernel", book(code(), metadata={}), NO_KERNEL)


def cells() -> Iterator[Case]:
    yield case("no cells", book())
    yield case("an empty cell", book(code(""), text("")))
    yield case("lines as an array", book(code(["a = 1\n", "b = 2\n"]), text(["# T\n", "\n", "x"])))
    yield case("an empty array of lines", book(code([])))
    yield case("Windows line ends", book(code("a = 1\r\nb = 2\r\n"), text("x\r\ny")))
    yield case("old Mac line ends", book(code("a = 1\rb = 2")))
    yield case("a file with Windows line ends", json.dumps(book(code(), text()), indent=1).replace("\n", "\r\n"))
    yield case("a byte order mark", "\ufeff" + json.dumps(book(code())))
    yield case("form feeds and separators", book(code("a\x0cb\u2028c\x85d\x1ce")))
    yield case("emoji and right-to-left", book(code("s = '😀👩‍👩‍👧 שלום'"), text("日本語 \u202e")))
    yield case(
        "escaped characters",
        '{"nbformat":4,"nbformat_minor":5,"metadata":{"kernelspec":{"name":"python3","display_name"'
        ':"3"}},"cells":[{"id":"a","cell_type":"raw","metadata":{},"source":"\\u00e9\\ud83d\\ude00\\/\\u0007"}]}',
    )
    yield case("an escaped NUL", book(code("a = '\x00'")))
    yield case("magics", book(code("%%bash\nls"), code("!ls\n%time x\nx?")))
    yield case("a very long line", book(code("x = '" + "y" * 500_000 + "'")))
    yield case("a thousand cells", book(*(code(str(number)) for number in range(1_000))))
    yield case(
        "raw cell with a format", book(text("\\x", "raw", metadata={"format": "text/latex", "raw_mimetype": "a/b"}))
    )
    yield case("tags", book(code(metadata={"tags": ["parameters", "hide-input", "ä"]})))
    yield case("slides", book(code(metadata={"slideshow": {"slide_type": "fragment"}})))
    yield case("collapsed and hidden", book(code(metadata={"collapsed": True, "jupyter": {"source_hidden": True}})))
    yield case("execution times", book(code(metadata={"execution": {"iopub.status.busy": "2024-01-01T00:00:00Z"}})))
    yield case(
        "a time limit as a number", book(code(metadata={"execution": {"timeout": 60}})), "metadata.execution.timeout"
    )
    yield case(
        "Colab",
        book(
            code(metadata={"id": "aBc", "colab": {"base_uri": "x"}, "cellView": "form"}),
            metadata={"kernelspec": PYTHON, "colab": {"provenance": [], "toc_visible": True}, "accelerator": "GPU"},
        ),
    )
    yield case("VS Code", book(code(metadata={"vscode": {"languageId": "sql"}})))
    yield case(
        "Databricks",
        book(
            code(metadata={"application/vnd.databricks.v1+cell": {"nuid": "x", "inputWidgets": {}}}),
            metadata={"kernelspec": PYTHON, "application/vnd.databricks.v1+notebook": {"language": "python"}},
        ),
    )
    yield case("deletable and editable", book(code(metadata={"deletable": False, "editable": False})))
    yield case(
        "a locked graded cell", book(code(metadata={"nbgrader": {"grade": True, "points": 1.5, "locked": True}}))
    )
    yield case(
        "numbers of all kinds", book(code(metadata={"n": [1, 1.0, -0.0, 1e300, 9007199254740993, 5e-324, True, None]}))
    )
    yield case("duplicate ids", book(code(id="x"), code(id="x"), text(id="y")), "is another cell's too")
    yield case("missing ids", book(code(), text(), ids=False), "2 cells had no id")
    yield case("an id too long", book(code(id="x" * 65)), "is no valid id")
    yield case("an id with spaces", book(code(id="a b")), "is no valid id")
    yield case("an empty id", book(code(id="")), "is no valid id")
    yield case("an id that is a number", book(code(id=7)), "is no valid id")
    yield case("the longest id", book(code(id="x" * 64)))
    yield case(
        "no metadata in a cell",
        book({"cell_type": "code", "source": "1", "outputs": [], "execution_count": None}),
        "had no metadata",
    )
    yield case(
        "no outputs in a cell",
        book({"cell_type": "code", "source": "1", "metadata": {}}),
        "had no outputs",
        "had no execution_count",
    )
    yield case(
        "outputs of Markdown", book(text(outputs=[], execution_count=None)), "had outputs", "had execution_count"
    )
    yield case("no source", book({"cell_type": "markdown", "metadata": {}}), "had no source")
    yield case("a source that is a number", book(code(7)), refused_at="file.cells[0].source")
    yield case(
        "an unknown cell type",
        book({"cell_type": "video", "metadata": {}, "source": ""}),
        refused_at="file.cells[0].cell_type",
    )
    yield case("an unknown member of a cell", book(code(), code(prompt="x")), refused_at="file.cells[1]")
    yield case("a cell that is no object", {**book(), "cells": [1]}, refused_at="file.cells[0]")
    yield case("cells that are no array", {**book(), "cells": {}}, refused_at="file.cells")
    yield case("no member for cells", {"nbformat": 4, "nbformat_minor": 5, "metadata": {}}, refused_at="file.cells")
    yield case("metadata of a cell that is an array", book(code(metadata=[])), refused_at="file.cells[0].metadata")
    yield case("tags that are no array", book(code(metadata={"tags": "a"})), refused_at="file.cells[0].metadata.tags")


def attachments_and_outputs() -> Iterator[Case]:
    picture = {"image.png": {"image/png": PNG}}
    yield case("an attachment", book(text("![a](attachment:image.png)", attachments=picture)))
    yield case("two attachments", book(text("!", attachments={**picture, "ü b.svg": {"image/svg+xml": "<svg/>"}})))
    yield case("an attachment of a raw cell", book(text("!", "raw", attachments=picture)))
    yield case("no attachments", book(text("!", attachments={})))
    yield case("an attachment in 4.1", book(text("!", attachments=picture), minor=1), NO_IDS)
    yield case("an attachment of code", book(code(attachments=picture)), refused_at="file.cells[0]")
    yield case("a stream", book(code(outputs=[{"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]}])))
    yield case(
        "colours", book(code(outputs=[{"output_type": "stream", "name": "stderr", "text": "\x1b[31mred\x1b[0m\r10%"}]))
    )
    yield case(
        "a result",
        book(
            code(
                outputs=[
                    {"output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3}
                ],
                execution_count=3,
            )
        ),
    )
    yield case(
        "an error", book(code(outputs=[{"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["a", "b"]}]))
    )
    yield case("a picture", book(code(outputs=[display(**{"image/png": PNG, "text/plain": "<Figure>"})])))
    yield case("a picture in lines", book(code(outputs=[display(**{"image/png": [PNG[:20] + "\n", PNG[20:]]})])))
    yield case("SVG", book(code(outputs=[display(**{"image/svg+xml": ["<svg>", "</svg>"]})])))
    yield case("HTML", book(code(outputs=[display(**{"text/html": "<script>alert(1)</script>"})])))
    yield case("LaTeX", book(code(outputs=[display(**{"text/latex": "$x$"})])))
    yield case("JSON", book(code(outputs=[display(**{"application/json": {"a": [1, {"b": None}]}})])))
    yield case(
        "GeoJSON", book(code(outputs=[display(**{"application/geo+json": {"type": "Point", "coordinates": [1, 2]}})]))
    )
    yield case(
        "Plotly",
        book(code(outputs=[display(**{"application/vnd.plotly.v1+json": {"data": [{"x": [1]}], "layout": {}}})])),
    )
    yield case("Vega", book(code(outputs=[display(**{"application/vnd.vegalite.v5+json": {"mark": "bar"}})])))
    yield case(
        "a widget's view",
        book(
            code(
                outputs=[
                    display(
                        **{
                            "application/vnd.jupyter.widget-view+json": {
                                "model_id": "m",
                                "version_major": 2,
                                "version_minor": 0,
                            }
                        }
                    )
                ]
            )
        ),
    )
    state = {"m": {"model_name": "IntSliderModel", "model_module": "@jupyter-widgets/controls", "state": {"value": 7}}}
    yield case(
        "widget state",
        book(
            code(),
            metadata={
                "kernelspec": PYTHON,
                "widgets": {
                    "application/vnd.jupyter.widget-state+json": {
                        "state": state,
                        "version_major": 2,
                        "version_minor": 0,
                    }
                },
            },
        ),
    )
    yield case(
        "outputs with metadata",
        book(
            code(
                outputs=[
                    {
                        **display(**{"image/png": PNG}),
                        "metadata": {"image/png": {"width": 3}, "needs_background": "light"},
                    }
                ]
            )
        ),
    )
    yield case(
        "an output that refers to another",
        book(code(outputs=[{**display(**{"text/plain": "x"}), "metadata": {"transient": {"display_id": "d"}}}])),
    )
    yield case(
        "a huge output", book(code(outputs=[{"output_type": "stream", "name": "stdout", "text": "x" * 2_000_000}]))
    )
    yield case("ten thousand outputs", book(code(outputs=[display(**{"text/plain": str(n)}) for n in range(10_000)])))
    yield case("a count without outputs", book(code(execution_count=12)))
    yield case(
        "an unknown kind of output",
        book(code(outputs=[{"output_type": "video"}])),
        refused_at="file.cells[0].outputs[0].output_type",
    )
    yield case(
        "a stream without a name",
        book(code(outputs=[{"output_type": "stream", "text": "x"}])),
        refused_at="file.cells[0].outputs[0]",
    )


def metadata() -> Iterator[Case]:
    numbers = count(1)

    def of(found: Any, *warnings: str, **members: Any) -> Iterator[Case]:
        yield case(f"metadata {next(numbers)}", book(code(), metadata=found), *warnings, **members)

    yield from of({"kernelspec": PYTHON, "authors": [{"name": "A"}], "title": "T"})
    yield from of({"kernelspec": PYTHON, "atelier": {"parameters": {"properties": {"a": {"type": "integer"}}}}})
    yield from of(
        {
            "kernelspec": PYTHON,
            "language_info": {"name": "python", "codemirror_mode": {"name": "ipython", "version": 3}},
        }
    )
    yield from of({"kernelspec": PYTHON, "toc": {"base_numbering": 1}, "varInspector": {"cols": {}}, "": {"": ""}})
    yield from of({"kernelspec": PYTHON, "jupytext": {"formats": "ipynb,py:percent"}})
    yield from of({"kernelspec": PYTHON, "orig_nbformat": 4})
    yield from of({"kernelspec": PYTHON, "orig_nbformat": None}, "metadata.orig_nbformat")
    yield from of({"kernelspec": {"name": "python3"}}, "kernelspec had no display_name")
    yield from of({"kernelspec": {"display_name": "Python 3"}}, "kernelspec named nothing", NO_KERNEL)
    yield from of({"kernelspec": "python3"}, "kernelspec named nothing", NO_KERNEL)
    yield from of({"kernelspec": PYTHON, "language_info": {}}, "language_info named nothing")
    yield case("metadata null", {**book(code()), "metadata": None}, "had no metadata", NO_KERNEL)
    yield case("metadata an array", {**book(code()), "metadata": []}, refused_at="file.metadata")
    yield case("an unknown member", {**book(code()), "worksheets": []}, refused_at="file.worksheets")
    deep: Any = 1
    for _ in range(90):
        deep = {"d": deep}
    yield case("deep metadata", book(code(), metadata={"kernelspec": PYTHON, "deep": deep}))
    for _ in range(20):
        deep = [deep]
    yield case(
        "too deep metadata",
        book(code(), metadata={"kernelspec": PYTHON, "deep": deep}),
        refused_at="file.metadata.deep[0][0][0][0]",
    )


def other_files() -> Iterator[Case]:
    yield case("an empty file", " \n", refused_at="file")
    yield case("no JSON", "print('hello')", refused_at="file")
    yield case("half a file", json.dumps(book(code()))[:-20], refused_at="file")
    yield case("whole numbers of 64 bits", json.dumps(book(code(metadata={"n": [2**64 - 1, -(2**63)]}))))
    large = json.dumps(book(code(metadata={"n": [2**64, "1" * 30]})))
    yield case("larger numbers", large, refused_at="file.cells[0].metadata.n[0]")
    yield case("digits in a text", json.dumps(book(code("x = " + "1" * 500))))
    yield case("JSON of something else", "[1, 2]", refused_at="file")
    yield case("a package.json", {"name": "x", "version": "1"}, refused_at="file.nbformat")
    for name, script in {
        "one cell": "x = 1\ny = 2",
        "Jupytext": (
            "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py:percent\n# ---\n\n"
            "# %% [markdown]\n# # T\n\n# %%\nx = 1"
        ),
        "separators": "# %%\nx = 'a\x0cb\u2028c\x85d'",
        "VS Code": "#%%\nx = 1\n#%% [markdown]\n# text\n",
        "titles and options": '# %% A title tags=["parameters"] x=1\na = 1\n',
        "magics": "# %%\n# %matplotlib inline\nx = 1\n",
        "Windows line ends": "# %%\r\nx = 1\r\n# %% [raw]\r\n# raw\r\n",
        "triple quotes": '# %% [markdown]\n"""\n# T\n"""\n',
    }.items():
        yield case(f"script: {name}", script, file_name="a.py")


CORPUS = [
    *formats(), *old_formats(), *kernels(), *cells(), *attachments_and_outputs(), *metadata(), *other_files(),
]  # fmt: skip
