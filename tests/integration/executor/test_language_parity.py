"""R and Scala notebooks come to what IRkernel and Toree make of them under nbclient, run on the same machine.

Allowed differences: an error is named by its condition's class, where IRkernel calls every error "ERROR" and puts the
call before its message; pictures are compared by their types; text of one stream may come in pieces. Toree's streams
are not right (order, white space, characters of several bytes), so Scala's cells print a line each; more of that is in
test_scala_kernel.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode

from services.executor.kernels.port import KernelRequest
from tests.support import languages, nbclients
from tests.support.kernels import Session

pytestmark = pytest.mark.timeout(900)

R = (
    "x <- c(1.5, 2, NA); x",
    "print(x); cat('no line end')",
    "'é 日本 😀 \"quoted\" \\\\ and\\ttab'",
    "cat('é 日本 😀\\n', 'a', 'b', sep = '')",
    "message('to stderr'); cat('to stdout\\n')",
    "warning('careful'); 7",
    "data.frame(n = 1:3, s = c('a', NA, 'ü'), stringsAsFactors = TRUE)",
    "list(a = 1, b = 'two', c = list(3))",
    "matrix(1:6, nrow = 2)",
    "factor(c('low', 'high', 'low'))",
    "summary(c(1, 2, 3)); str(list(a = 1))",
    "for (i in 1:3) print(i)",
    "invisible(5)",
    "f <- function(n) n^2; f",
    "f(4); f(5)",
    "NULL",
    "TRUE; Sys.Date() > as.Date('2020-01-01')",
    "as.POSIXct('2024-02-29 12:00:00', tz = 'UTC')",
    "plot(1:3)",
    "hist(c(1, 2, 2, 3), plot = TRUE)",
    "stop('no such customer')",
    "f('text')",
    "tryCatch(stop('caught'), error = function(e) cat('handled\\n'), finally = cat('finally\\n'))",
    "suppressWarnings(as.numeric('x'))",
    "x <- )",
    "print(1); stop('in the middle'); print(2)",
    "write.csv(data.frame(a = 1:2), 'rows.csv'); readLines('rows.csv')",
    "capture.output(print(1:3))",
    "IRdisplay::display_html('<b>bold</b>')",
    "lapply(1:2, function(i) i * 10)",
    "sapply(c(a = 1, b = 2), sqrt)",
    "set.seed(1); round(runif(3), 3)",
    "quantile(1:10)",
    "regmatches('a1b22', gregexpr('[0-9]+', 'a1b22'))",
    "sprintf('%05.2f|%s', pi, 'x')",
    "nchar('日本'); toupper('straße'); rev(strsplit('abc', '')[[1]])",
    "# only a comment",
)

SCALA = (
    "val x = 20",
    "x + 1",
    'println("é 日本 😀")',
    'case class Order(id: Int, name: String)\nval orders = Seq(Order(1, "a"), Order(2, "ü"))',
    "orders.map(_.id).sum",
    "def square(n: Int): Int = n * n",
    "square(5)",
    'Map("a" -> 1)("customer")',
    'val wrong: Int = "a"',
    "spark.range(3).count()",
    'kernel.display.html("<b>bold</b>")',
    "import scala.collection.mutable",
    "for (i <- 1 to 3) yield i * 2",
    "",
)


def told(cell: NotebookNode) -> list[Any]:
    """The outputs of a cell, in a form that can be compared."""
    found: list[Any] = []
    for output in cell.outputs:
        if output.output_type == "stream":
            if found and found[-1][0] == output.name:
                found[-1] = (output.name, found[-1][1] + output.text)
            else:
                found.append((output.name, output.text))
        elif output.output_type == "error":
            found.append(("error", None))
        else:
            pictures = {kind: ... for kind in output.data if kind.startswith("image/")}
            texts = {kind: text for kind, text in output.data.items() if not kind.startswith("image/")}
            found.append((output.output_type, {**texts, **pictures}))
    return found


async def compare(kernel_type: str, cells: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = languages.command(kernel_type)  # skips, or fails in CI, without that kernel
    assert command.argv
    monkeypatch.setenv("JUPYTER_PATH", "")  # given back at the end
    nbclients.write_specs(folder / "jupyter")
    (folder / "peer").mkdir()
    peer = await nbclients.run(kernel_type, cells, folder / "peer")
    kernels = languages.source(kernel_type)
    await kernels.open()
    try:
        kernel = await kernels.acquire(KernelRequest(kernel_type=kernel_type, run_dir=folder / "run"))
        try:
            session = Session(kernel)
            await session.run(*cells, timeout_s=300)
        finally:
            await kernel.close()
    finally:
        await kernels.close()
    differences = [
        (ours.source, told(ours), told(theirs))
        for ours, theirs in zip(session.notebook.cells, peer.cells, strict=True)
        if told(ours) != told(theirs)
    ]
    assert differences == []
    assert [cell.execution_count for cell in session.notebook.cells] == [cell.execution_count for cell in peer.cells]


async def test_r_is_as_irkernel_under_nbclient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await compare("r", R, tmp_path, monkeypatch)


@pytest.mark.long
async def test_scala_is_as_toree_under_nbclient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await compare("scala", SCALA, tmp_path, monkeypatch)
