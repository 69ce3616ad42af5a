"""Notebooks and scripts: text that costs a reader of parameters, headings, scripts or differences most."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.abuse.attacker import Attacker, Input, grouped

PARAMETERS: dict[str, tuple[str, Callable[[], str]]] = {
    "60,000 newlines": ("python3", lambda: "x = 1" + "\n" * 48_000),
    "10,000 assignments": ("python3", lambda: "\n".join(f"x{n} = {n}" for n in range(4_000))),
    "one name again and again": ("python3", lambda: "\n".join(f"x = {n}  # one of: 1, 2" for n in range(2_500))),
    "magics": ("python3", lambda: "%a " * 16_000),
    "lines of magics": ("python3", lambda: "!ls \\\n" * 8_000),
    "brackets": ("python3", lambda: "x = " + "(" * 20_000 + ")" * 20_000),
    "a minus before a minus": ("python3", lambda: "x = " + "-" * 45_000 + "1"),
    "a chain of comparisons": ("python3", lambda: "x = 1" + " < 1" * 10_000),
    "a text that never ends": ("python3", lambda: "x = '''" + "\\'" * 20_000),
    "annotations": ("python3", lambda: "x: " + "list[" * 5_000 + "int" + "]" * 5_000 + " = []"),
    "choices without end": ("python3", lambda: "x = 1  # one of:" + " one of:" * 5_000),
    "a tuple of 20,000": ("python3", lambda: f"x = [{'1, ' * 16_000}]"),
    "a huge power": ("python3", lambda: "x = 9 ** 9 ** 9 ** 9"),
    "a number of 40,000 digits": ("python3", lambda: "x = " + "9" * 45_000),
    "R: a number and no number": ("r", lambda: f"x <- {'1' * 45_000}!"),
    "R: arrows": ("r", lambda: "x " + "<- " * 15_000),
    "R: brackets": ("r", lambda: "x <- " + "c(" * 16_000),
    "R: a text that never ends": ("r", lambda: 'x <- "' + "\\\\" * 20_000),
    "R: comments": ("r", lambda: "x <- 1 #" + " one of:" * 5_000),
    "R: raw strings": ("r", lambda: 'x <- r"' + "-" * 20_000 + '(a)"'),
    "Scala: values": ("scala", lambda: "val x: " + "Map[String," * 4_000 + " = 1"),
    "Scala: texts": ("scala", lambda: 'val x = """' + '""' * 20_000),
    "Scala: comments": ("scala", lambda: "/*" * 20_000 + "val x = 1"),
    "Scala: a number and no number": ("scala", lambda: f"val x = {'1_' * 20_000}!"),
}
"""Kernel and text of a cell tagged `parameters`."""


async def _parameters(attacker: Attacker, *, kernel: str, make: Callable[[], str]) -> None:
    cells = [{"cellType": "code", "content": make(), "tags": ["parameters"]}]
    body = {"notebookName": "parameters", "kernelType": kernel, "initialCells": cells}
    _, notebook = await attacker.send("editor", "POST", "notebook", body)
    await attacker.look(notebook, parts=("", "/parameters", "/export?format=script", "/export?format=markdown"))
    if isinstance(notebook, dict) and "notebookId" in notebook:
        await attacker.send("runner", "POST", f"notebook/{notebook['notebookId']}/execute", {"dryRun": True})


def _code(source: Any, **members: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None, **members}


def _ipynb(cells: list[Any], **members: Any) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **members}).encode()


def _version3(cells: int) -> bytes:
    cell = {"cell_type": "code", "input": ["1\n"] * 10, "language": "python", "outputs": [], "metadata": {}}
    sheets = [{"cells": [cell] * cells, "metadata": {}}] * 3
    return json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": "a"}, "worksheets": sheets}).encode()


_ALIASES = "\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)])

FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a marker of 40,000 characters": ("a.py", lambda: b"# %% " + b"a" * 40_000 + b"\n1\n"),
    "markers with options": ("a.py", lambda: b'# %% tags=["a", ' * 3_000 + b"\n1\n"),
    "20,000 markers": ("a.py", lambda: b"# %%\n1\n" * 9_999),
    "a script of blanks": ("a.py", lambda: b" " * 3_000_000),
    "a script of comments": ("a.py", lambda: b"# a\n\n" * 100_000),
    "a script without a marker": ("a.py", lambda: b"x = '''\n" * 60_000),
    "a header of YAML with aliases": (
        "a.py",
        lambda: b"# ---\n# " + _ALIASES.replace("\n", "\n# ").encode() + b"\n# ---\n1\n",
    ),
    "Markdown with a header of aliases": (
        "a.md",
        lambda: b"---\n" + _ALIASES.encode() + b"\n---\n\n```python\n1\n```\n",
    ),
    "Markdown of fences": ("a.md", lambda: b"```python\n1\n```\n\n" * 20_000),
    "Markdown of open fences": ("a.md", lambda: b"````" * 100_000),
    "Markdown of headings": ("a.md", lambda: b"# a" + b" " * 200_000 + b"b\n" * 50_000),
    "Rmd with options": ("a.Rmd", lambda: b"```{r " + b"a=1, " * 20_000 + b"}\n1\n```\n"),
    "Rmd with open options": ("a.Rmd", lambda: b"```{r " + b"'" * 50_000 + b"\n" * 1_000),
    "qmd with options": ("a.qmd", lambda: b"```{python}\n" + b"#| a: b\n" * 30_000 + b"1\n```\n"),
    "an R script": ("a.R", lambda: b"#' a\n#+ b, c='" + b"d" * 50_000 + b"\nx <- 1\n" * 20_000),
    "a Scala script": ("a.scala", lambda: b"// %% " + b"{" * 40_000 + b"\nval x = 1\n"),
    "10,000 cells with one id": ("a.ipynb", lambda: _ipynb([_code("1", id="a")] * 9_999)),
    "200,000 cells": ("a.ipynb", lambda: _ipynb([_code("1")] * 200_000)),
    "lines of a cell": ("a.ipynb", lambda: _ipynb([_code(["a\n"] * 900_000)])),
    "nbformat 3": ("a.ipynb", lambda: _version3(5_000)),
    "outputs": (
        "a.ipynb",
        lambda: _ipynb([_code("1", outputs=[{"output_type": "stream", "name": "stdout", "text": ["a\n"]}] * 100_000)]),
    ),
    "wrong outputs": ("a.ipynb", lambda: _ipynb([_code("1", outputs=[{"output_type": "x"}] * 50_000)] * 2)),
    "deep metadata": ("a.ipynb", lambda: _ipynb([], metadata={"a": json.loads("[" * 900 + "]" * 900)})),
    "wide metadata": ("a.ipynb", lambda: _ipynb([], metadata={f"m{n}": {"a": [n]} for n in range(300_000)})),
    "attachments": (
        "a.ipynb",
        lambda: _ipynb(
            [
                {
                    "id": "a",
                    "cell_type": "markdown",
                    "source": "a",
                    "metadata": {},
                    "attachments": {f"a{n}": {"image/png": "aa"} for n in range(100_000)},
                }
            ]
        ),
    ),
    "empty lists alone": ("a.ipynb", lambda: b'{"nbformat":4,"cells":[%s[]]}' % (b"[]," * 12_000_000)),
    "an open string": ("a.ipynb", lambda: b'{"nbformat":4,"cells":["' + b"\\" * 30_000_001),
    "a large notebook": ("a.ipynb", lambda: _ipynb([_code("x" * 1_900_000)] * 16)),
}


async def _file(attacker: Attacker, *, name: str, make: Callable[[], bytes]) -> None:
    status, notebook = await attacker.upload("notebook/upload", make(), name, notebookName="a file")
    if status == 201:
        await attacker.look(notebook)


PAIRS: dict[str, Callable[[], tuple[list[str], list[str]]]] = {
    "equal lines": lambda: (["a\n" * 3_990] * 20, ["a\n" * 2_000 + "b\n" + "a\n" * 1_990] * 20),
    "cells the other way round": lambda: (
        [f"cell {n}" for n in range(4_000)],
        [f"cell {n}" for n in range(3_999, -1, -1)],
    ),
    "cells that are alike": lambda: (
        [f"x = {n}\n" * 20 for n in range(700)],
        [f"x = {n}\n" * 19 + "y" for n in range(700)],
    ),
    "a long line": lambda: (["ab" * 900_000], ["ba" * 900_000]),
    "lines in another order": lambda: (
        ["\n".join(map(str, range(60_000)))],
        ["\n".join(map(str, random.Random("lines").sample(range(60_000), 60_000)))],
    ),
    "random letters": lambda: (_letters("one"), _letters("two")),
    "nothing in common": lambda: ([f"a{n}" * 50 for n in range(2_000)], [f"b{n}" * 50 for n in range(2_000)]),
    "white space": lambda: ([" \n" * 300_000], ["\n " * 300_000]),
}


def _letters(seed: str) -> list[str]:
    random_ = random.Random(seed)
    return ["\n".join("".join(random_.choices("ab", k=6)) for _ in range(2_000)) for _ in range(20)]


async def _difference(attacker: Attacker, *, make: Callable[[], tuple[list[str], list[str]]]) -> None:
    before, after = make()
    status, notebook = await attacker.send(
        "editor", "POST", "notebook", {"notebookName": "a", "initialCells": _cells(before)}
    )
    if status != 201:
        return
    path = f"notebook/{notebook['notebookId']}"
    await attacker.send("editor", "PUT", path, {"cells": _cells(after)})
    for form in ("json", "html"):
        await attacker.viewer.get(f"{path}/versions/1.0.0/diff/1.1.0?format={form}")


def _cells(sources: list[str]) -> list[dict[str, str]]:
    return [{"cellType": "code", "content": source} for source in sources]


INPUTS = [
    *grouped(
        "parameters",
        [Input(name, partial(_parameters, kernel=kernel, make=make)) for name, (kernel, make) in PARAMETERS.items()],
    ),
    *grouped(
        "notebook file", [Input(name, partial(_file, name=file, make=make)) for name, (file, make) in FILES.items()]
    ),
    *grouped("difference", [Input(name, partial(_difference, make=make)) for name, make in PAIRS.items()]),
]
