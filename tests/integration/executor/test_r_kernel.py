"""IRkernel as this worker starts it: errors, interrupts, death, outputs, and the helper on a run folder."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nbformat
import pyarrow as pa
import pyarrow.parquet
import pytest
from nbformat.v4 import new_notebook

from services.executor.collecting import csv_tables
from services.executor.kernels.plain import PlainKernels
from services.executor.kernels.port import KernelRequest
from services.executor.running import parameters
from tests.support import languages
from tests.support.kernels import Session

TEXT = 'it\'s "quoted"\n\\ and é ü 日本 😀 ${x} %s\u0007\t'

PARAMETERS: dict[str, Any] = {
    "text": TEXT,
    "count": 42,
    "share": 0.25,
    "flag": True,
    "nothing": None,
    "items": ["a", "b"],
    "large": 2**53 + 1,
    "empty": [],
    "nested": {"inner": {"x": 1}, "list": [1, 2]},
}


@pytest.fixture(scope="module")
async def source() -> AsyncIterator[PlainKernels]:
    kernels = languages.source("r")
    await kernels.open()
    yield kernels
    await kernels.close()


@pytest.fixture
async def session(source: PlainKernels, tmp_path: Path) -> AsyncIterator[Session]:
    kernel = await source.acquire(KernelRequest(kernel_type="r", run_dir=tmp_path / "run"))
    yield Session(kernel)
    await kernel.close()


async def test_cells_share_state_and_outputs_are_kept(session: Session) -> None:
    outcomes = await session.run("x <- 20", "cat(x + 1, '\\n')\nmessage('aside')", "data.frame(a = 1:2)", "plot(1:3)")
    assert {outcome.status for outcome in outcomes} == {"Success"}
    assert session.text(1).startswith("21")
    assert {output["name"] for output in session.notebook.cells[1].outputs} == {"stdout", "stderr"}
    assert 'class="dataframe"' in session.notebook.cells[2].outputs[0]["data"]["text/html"]
    assert session.notebook.cells[3].outputs[0]["data"]["image/png"]


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ('stop("no such customer")', "simpleError", "no such customer"),
        ("log('a')", "simpleError", "non-numeric argument to mathematical function"),
        ("x <- )", "parseError", "unexpected ')'"),
        (
            "stop(structure(class = c('late', 'error', 'condition'), list(message = 'too late', call = NULL)))",
            "late",
            "too late",
        ),
    ],
)
async def test_errors_are_told_by_condition(session: Session, code: str, kind: str, message: str) -> None:
    (outcome,) = await session.run(code)
    assert (outcome.status, outcome.error_type) == ("Error", kind)
    assert message in (outcome.error_message or "")
    assert message in (outcome.traceback or "")
    assert not outcome.kernel_died


ASKING = {
    'readline("name? ")': "readline() was called, but a run has nobody to answer",
    "base::readline()": "readline() was called, but a run has nobody to answer",
    'menu(c("a", "b"))': "cannot be used non-interactively",
}


async def test_asking_for_input_is_an_error_at_once(session: Session) -> None:
    outcomes = await session.run(*ASKING, "6 * 7")
    for outcome, words in zip(outcomes, ASKING.values(), strict=False):
        assert (outcome.status, outcome.error_type) == ("Error", "simpleError")
        assert words in (outcome.error_message or "")
    assert outcomes[-1].status == "Success"


async def test_reading_standard_input_finds_its_end(session: Session) -> None:
    """As in IRkernel under nbclient: none of these waits."""
    codes = ("scan(file = 'stdin')", "readLines(stdin(), 1)", "f <- function() { browser(); 7 }; f()", "readline")
    outcomes = await session.run(*codes)
    assert {outcome.status for outcome in outcomes} == {"Success"}
    assert [output["data"]["text/plain"] for output in session.notebook.cells[2].outputs if "data" in output] == [
        "[1] 7"
    ]


async def test_a_cell_that_prints_faster_than_is_read_loses_nothing(session: Session) -> None:
    """More messages than ZeroMQ lets wait: beyond a thousand R's socket would drop them."""
    (outcome,) = await session.run("for (i in 1:3000) { cat(i, '\\n'); flush.console() }")
    assert outcome.status == "Success"
    assert session.text().split() == [str(i) for i in range(1, 3001)]


async def test_an_orderly_end_runs_exit_functions_and_writes_open_connections(session: Session) -> None:
    code = """
        plain <- file("plain.txt", "w"); writeLines("one", plain); cat("two", file = plain)
        packed <- gzfile("packed.gz", "w"); writeLines(rep("row", 5), packed)
        .Last <- function() writeLines("last", "last.txt")
        kept <- new.env(); reg.finalizer(kept, function(e) writeLines("final", "final.txt"), onexit = TRUE)
    """
    await session.run(code, "stop('an error before')")
    await session.kernel.shut_down(30)
    assert session.kernel.exited.result().code == 0
    work = session.run_dir / "work"
    assert (work / "plain.txt").read_text() == "one\ntwo"
    assert gzip.decompress((work / "packed.gz").read_bytes()) == b"row\n" * 5
    assert (work / "last.txt").read_text() == "last\n"
    assert (work / "final.txt").read_text() == "final\n"


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("quit(status = 0)", 0), ("q()", 0), ("quit('yes', 0, FALSE)", 0), ("base::quit(status = 3)", 3),
        ("tryCatch(q(status = 4), error = function(e) 1, finally = cat(' finally'))", 4),
    ],
)  # fmt: skip
async def test_quit_ends_the_run_with_its_status(session: Session, call: str, status: int) -> None:
    last = ".Last <- function() writeLines('ran', 'last.txt')"
    (outcome,) = await session.run(f"{last}\nf <- function() {{ cat('bye'); {call}; cat('never') }}\nf()")
    assert session.text().startswith("bye")
    assert "never" not in session.text()
    if status == 0:
        assert (outcome.status, outcome.exits) == ("Success", True)
    else:
        assert (outcome.status, outcome.error_type, outcome.error_message) == ("Error", "SystemExit", str(status))
        assert outcome.ends_run
    await session.kernel.shut_down(30)
    assert (session.run_dir / "work" / "last.txt").exists() != ("FALSE" in call)


async def test_a_wrong_status_of_quit_is_an_error_of_the_cell(session: Session) -> None:
    (outcome,) = await session.run("quit(status = 'bad')")
    assert (outcome.error_type, outcome.error_message) == ("simpleError", "'status' of quit() must be one whole number")


async def test_a_cell_over_its_time_is_interrupted_and_its_kernel_lives_on(session: Session) -> None:
    (outcome,) = await session.run("x <- 7\nwhile (TRUE) {}", timeout_s=1)
    assert outcome.error_type == "TimeoutError"
    assert not outcome.kernel_died
    assert await session.says("cat(x)") == "7"


async def test_cancelling_interrupts_the_cell(session: Session) -> None:
    cancel = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, cancel.set)
    (outcome,) = await session.run("Sys.sleep(600)", cancel=cancel, timeout_s=120)
    assert outcome.status == "Cancelled"
    assert not outcome.kernel_died


async def test_a_dying_kernel_ends_its_cell_with_a_plain_reason(session: Session) -> None:
    (outcome,) = await session.run("tools::pskill(Sys.getpid(), 9)")
    assert outcome.error_type == "DeadKernelError"
    assert "signal 9" in (outcome.error_message or "")


async def test_every_kind_of_parameter_arrives(session: Session, tmp_path: Path) -> None:
    notebook = nbformat.from_dict(new_notebook(cells=[]))
    parameters.inject(notebook, PARAMETERS, "r")
    languages.fill(session.run_dir, tmp_path, parameters={"text": TEXT})  # the same by another way
    check = (
        "stopifnot(identical(text, parameters$text), count == 42, share == 0.25, flag,"
        " is.null(nothing), identical(unlist(items), c('a', 'b')), as.character(large) == '9007199254740993',"
        " length(empty) == 0, nested$inner$x == 1, length(nested$list) == 2)"
    )
    outcomes = await session.run(notebook.cells[0].source, check)
    assert [outcome.status for outcome in outcomes] == ["Success", "Success"], outcomes[-1].error_message


def _table() -> pa.Table:
    utc = dt.UTC
    return pa.table(
        {
            "text": ["a", "", None, 'q"u,o\nt"e""x', "NA", "é\r\n "],
            "small": [1, 2, None, -5, 6, 7],
            "huge": [2**53 + 1, -(2**62), None, 1, 2, 3],
            "number": [0.1 + 0.2, float("inf"), None, -1e300, 1 / 3, 5e-324],
            "flag": [True, None, False, True, False, True],
            "day": [dt.date(1960, 1, 1), None, *[dt.date(2024, 2, 29)] * 4],
            "at": pa.array(
                [dt.datetime(2024, 2, 29, 12, 0, 0, 123456, utc), None, *[dt.datetime(1960, 1, 1, tzinfo=utc)] * 4],
                pa.timestamp("us", "UTC"),
            ),
            "local": pa.array(
                [dt.datetime(2024, 2, 29, 12, 0, 0, 123456), None, *[dt.datetime(1960, 1, 1)] * 4],  # noqa: DTZ001
                pa.timestamp("us"),
            ),
            'odd "name", x': list("abcdef"),
        }
    )


async def test_a_dataset_comes_back_as_it_went_in_with_a_new_column(session: Session, tmp_path: Path) -> None:
    table = _table()
    languages.fill(session.run_dir, tmp_path, table=table)
    classes = await session.says(
        "d <- load_dataset()\ncat(sapply(d, function(column) class(column)[1]))\n"
        "d$longer <- nchar(d$text) > 1\nsave_enriched_dataset(d, name = 'Größer')"
    )
    assert classes.split() == [
        "character", "integer", "integer64", "numeric", "logical", "Date", "POSIXct", "POSIXct", "character",
    ]  # fmt: skip
    (record,) = languages.records(session.run_dir)
    assert (record["kind"], record["name"], record["recordCount"]) == ("enriched_dataset", "Größer", 6)
    assert record["newColumns"] == ["longer"]
    back = tmp_path / "back.parquet"
    csv_tables.to_parquet(session.run_dir / "outputs" / record["file"], back, record["columnTypes"])
    read = pyarrow.parquet.read_table(back)
    assert read.drop_columns(["longer"]) == table
    assert read["longer"].to_pylist() == [False, False, None, True, True, True]


async def test_some_columns_and_an_unknown_one(session: Session, tmp_path: Path) -> None:
    languages.fill(session.run_dir, tmp_path, table=_table())
    assert await session.says("cat(dim(load_dataset(c('small', 'text'))))") == "6 2"
    (outcome,) = await session.run("load_dataset('nothing')")
    assert "the dataset has no column 'nothing': it has text, small" in (outcome.error_message or "")


async def test_values_reports_figures_models_and_progress_are_recorded(session: Session, tmp_path: Path) -> None:
    languages.fill(session.run_dir, tmp_path, parameters={"region": "north"})
    outcomes = await session.run(
        "save_value('k', list(region = parameters$region, mean = 1.5, none = NA, items = 1:2))",
        "save_report('<b>x</b>', 'Page')",
        "save_figure(ggplot2::ggplot(mtcars, ggplot2::aes(mpg, wt)) + ggplot2::geom_point(), 'Chart')",
        "save_model(lm(mpg ~ wt, mtcars), 'm', metrics = list(accuracy = 0.5), features = 'wt')",
        "progress(0.5, 'half')",
        "load_dataset()",
        "save_value('', 1)",
    )
    assert [outcome.status for outcome in outcomes] == ["Success"] * 5 + ["Error"] * 2
    value, report, figure, model = languages.records(session.run_dir)
    assert value["value"] == {"region": "north", "mean": 1.5, "none": None, "items": [1, 2]}
    assert (report["format"], figure["contentType"]) == ("html", "image/png")
    assert (model["modelType"], model["accuracy"], model["features"]) == ("lm", 0.5, ["wt"])
    for record in (report, figure, model):
        assert (session.run_dir / "outputs" / record["file"]).stat().st_size > 100
    assert session.progress == [(0.5, "half")]
    assert "has no dataset" in (outcomes[5].error_message or "")


def test_a_table_that_is_not_as_its_record_says_is_refused(tmp_path: Path) -> None:
    csv = tmp_path / "t.csv"
    csv.write_text('"a","b"\n1,"x"\nno,"y"\n')
    for types, words in (
        (["integer"], "2 columns"),
        (["integer", "thing"], "no column type 'thing'"),
        (["integer", "string"], "no"),
    ):
        with pytest.raises(ValueError, match=words):
            csv_tables.to_parquet(csv, tmp_path / "t.parquet", types)
