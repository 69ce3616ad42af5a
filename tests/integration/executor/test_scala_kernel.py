"""Toree with Spark as this worker starts it. One kernel serves most tests: starting one takes long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nbformat
import pyarrow as pa
import pyarrow.parquet
import pytest
from nbformat.v4 import new_notebook

from services.executor.kernels.plain import PlainKernels
from services.executor.kernels.port import KernelRequest
from services.executor.running import parameters
from tests.support import languages
from tests.support.kernels import Session

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow(reason="Scala's Java machine and Spark start")]

TEXT = 'it\'s "quoted"\n\\ and é ü 日本 😀 ${x} %s\u0007\t'

PARAMETERS: dict[str, Any] = {
    "text": TEXT,
    "long": "é" * 100_000,
    "count": 42,
    "share": 0.25,
    "flag": True,
    "nothing": None,
    "items": ["a", "b"],
    "large": 2**53 + 1,
    "empty": [],
    "nested": {"inner": {"x": 1}},
}

SLOW_S = 120.0
"""How long a cell may take on a busy machine, in seconds."""


@pytest.fixture(scope="module")
async def source() -> AsyncIterator[PlainKernels]:
    kernels = languages.source("scala")
    await kernels.open()
    yield kernels
    await kernels.close()


@pytest.fixture(scope="module")
async def session(source: PlainKernels, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Session]:
    folder = tmp_path_factory.mktemp("scala")
    kernel = await source.acquire(KernelRequest(kernel_type="scala", run_dir=folder / "run"))
    micros = [1_700_000_000_123_456, None, -1]
    table = pa.table(
        {
            "case": [1, 2, 3],
            "text": ["a", None, ""],
            "fine": pa.array([1_700_000_000_123_456_789, None, 0], pa.timestamp("ns")),
            "at": pa.array(micros, pa.timestamp("us", "UTC")),
            "local": pa.array(micros, pa.timestamp("us")),
        }
    )
    languages.fill(kernel.run_dir, folder, parameters={"region": "north", "text": TEXT}, table=table)
    yield Session(kernel)
    await kernel.close()


async def test_cells_share_state_and_outputs_are_kept(session: Session) -> None:
    outcomes = await session.run(
        "val x = 20", "println(x + 1)", 'show_html("<b>bold</b>")', 'show_svg("<svg/>")', "spark.range(3).count()",
        timeout_s=SLOW_S,
    )  # fmt: skip
    assert {outcome.status for outcome in outcomes} == {"Success"}, outcomes
    assert session.text(1) == "21\n"
    assert session.notebook.cells[2].outputs[0]["data"] == {"text/html": "<b>bold</b>"}
    assert session.notebook.cells[3].outputs[0]["data"] == {"image/svg+xml": "<svg/>"}
    assert session.notebook.cells[4].outputs[-1]["data"]["text/plain"] == "3"


PRINTED = {
    'print("a"); Thread.sleep(400); print(" "); Thread.sleep(400); println("b")': "a b\n",
    'println("first"); println("second")': "first\nsecond\n",
    'for (_ <- 1 to 20000) print("😀")': "😀" * 20_000,
    'println("  lead"); println(); print("\\t"); print("\\n\\n"); print("end ")': "  lead\n\n\t\n\nend ",
    'for (byte <- "é日😀".getBytes("UTF-8")) { System.out.write(byte.toInt); System.out.flush() }': "é日😀",
    "for (i <- 1 to 4000) { println(i); System.out.flush() }": "".join(f"{i}\n" for i in range(1, 4001)),
    """val threads = (1 to 3).map(i => new Thread(() => println("thread " + i)))
threads.foreach { thread => thread.start(); thread.join() }""": "thread 1\nthread 2\nthread 3\n",
    """import scala.concurrent._, duration._, ExecutionContext.Implicits.global
Await.result(Future(println("future")), 30.seconds)""": "future\n",
    "spark.range(2).show()": "+---+\n| id|\n+---+\n|  0|\n|  1|\n+---+\n\n",
    'import sys.process._; "echo a process".!': "a process\n",
    "print(new String(Array.fill(100000)('x')))": "x" * 100_000,
}
"""Cells and what they print on a terminal."""


async def test_output_comes_whole_and_in_order(session: Session) -> None:
    outcomes = await session.run(*PRINTED, timeout_s=SLOW_S)
    assert {outcome.status for outcome in outcomes} == {"Success"}, outcomes
    printed = [session.text(index) for index in range(len(PRINTED))]
    assert printed == list(PRINTED.values())
    assert {output["name"] for cell in session.notebook.cells for output in cell.outputs if "name" in output} == {
        "stdout"
    }


async def test_both_streams_and_what_is_shown_keep_their_order(session: Session) -> None:
    (outcome,) = await session.run(
        'print("out "); System.err.print("err "); Console.err.println("err"); print("é"); show_html("<b>x</b>"); '
        'println("after"); Console.err.print(" "); 6 * 7',
        timeout_s=SLOW_S,
    )
    assert outcome.status == "Success", outcome.error_message
    told = [
        (output.get("name") or output["output_type"], output.get("text") or output["data"])
        for output in session.notebook.cells[0].outputs
    ]
    assert told == [
        ("stdout", "out "),
        ("stderr", "err err\n"),
        ("stdout", "é"),
        ("display_data", {"text/html": "<b>x</b>"}),
        ("stdout", "after\n"),
        ("stderr", " "),
        ("execute_result", {"text/plain": "42"}),
    ]


async def test_what_a_thread_prints_later_belongs_to_the_cell_that_runs_then(session: Session) -> None:
    await session.run(
        'val later = new Thread(() => { Thread.sleep(1000); println("late") }); later.start()',
        "later.join()",
        timeout_s=SLOW_S,
    )
    assert [session.text(0), session.text(1)] in (["", "late\n"], ["late\n", ""])  # slow machines: before the cell


async def test_asking_for_input_is_an_error_at_once(session: Session) -> None:
    codes = ("scala.io.StdIn.readLine()", "System.in.read()", "new java.util.Scanner(System.in).nextLine()")
    outcomes = await session.run(*codes, "6 * 7", timeout_s=SLOW_S)
    for outcome in outcomes[:2]:
        assert (outcome.status, outcome.error_type) == ("Error", "java.io.IOException")
        assert "a run has nobody to answer" in (outcome.error_message or "")
    assert outcomes[2].error_type == "java.util.NoSuchElementException"  # a Scanner keeps the reason to itself
    assert outcomes[3].status == "Success"


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ('Map("a" -> 1)("customer")', "java.util.NoSuchElementException", "key not found: customer"),
        ("val y: Int = \"a\"", "CompileError", "type mismatch"),
        ('throw new IllegalStateException("no log")', "java.lang.IllegalStateException", "no log"),
    ],
)  # fmt: skip
async def test_errors_are_told_by_exception(session: Session, code: str, kind: str, message: str) -> None:
    (outcome,) = await session.run(code, timeout_s=SLOW_S)
    assert (outcome.status, outcome.error_type) == ("Error", kind)
    assert message in (outcome.error_message or "")
    assert not outcome.kernel_died


async def test_every_kind_of_parameter_arrives(session: Session) -> None:
    notebook = nbformat.from_dict(new_notebook(cells=[]))
    parameters.inject(notebook, PARAMETERS, "scala")
    check = (
        'assert(text == parameters("text") && count == 42 && share == 0.25 && flag && long.length == 100000)\n'
        'assert(nothing == None && large == 9007199254740993L && empty.isEmpty && items == Seq("a", "b"))\n'
        'assert(nested("inner")("x") == 1)\nassert(parameters("region") == "north")'
    )
    outcomes = await session.run(notebook.cells[0].source, check, timeout_s=SLOW_S)
    assert [outcome.status for outcome in outcomes] == ["Success", "Success"], (
        [outcome.error_message for outcome in outcomes],
    )


async def test_a_dataset_comes_back_with_a_new_column(session: Session, tmp_path: Path) -> None:
    before = len(languages.records(session.run_dir))
    (outcome,) = await session.run(
        'val enriched = load_dataset().withColumn("twice", $"case" * 2)\nsave_enriched_dataset(enriched, "Größer")',
        timeout_s=SLOW_S,
    )
    assert outcome.status == "Success", outcome.error_message
    (record,) = languages.records(session.run_dir)[before:]
    assert (record["name"], record["newColumns"]) == ("Größer", ["twice"])
    bound = pyarrow.parquet.read_table(session.run_dir / "inputs" / "dataset.parquet")
    saved = pyarrow.parquet.read_table(session.run_dir / "outputs" / record["file"])
    assert saved["twice"].to_pylist() == [2, 4, 6]
    for name in ("case", "text", "at", "local"):
        assert saved[name].to_pylist() == bound[name].to_pylist()
    assert saved["fine"].cast(pa.int64()).to_pylist() == [1_700_000_000_123_456, None, 0]


async def test_values_reports_figures_and_progress_are_recorded(session: Session) -> None:
    before = len(languages.records(session.run_dir))
    outcomes = await session.run(
        'save_value("k", Map("mean" -> 1.5, "none" -> Double.NaN, "items" -> Seq(1, 2)))',
        'save_report("<b>x</b>", "Page")',
        'save_figure("<svg xmlns=\'http://www.w3.org/2000/svg\'/>", "Chart")',
        'progress(0.5, "half")',
        'save_value("", 1)',
        timeout_s=SLOW_S,
    )
    assert [outcome.status for outcome in outcomes] == ["Success"] * 4 + ["Error"]
    assert outcomes[-1].error_message == "the name of a value is empty"
    value, report, figure = languages.records(session.run_dir)[before:]
    assert value["value"] == {"mean": 1.5, "none": None, "items": [1, 2]}
    assert (report["format"], figure["contentType"]) == ("html", "image/svg+xml")
    assert session.progress[-1] == (0.5, "half")


async def test_nothing_is_written_outside_the_run_folder(session: Session) -> None:
    code = 'println(Seq("spark.local.dir", "spark.sql.warehouse.dir").map(spark.conf.get(_)).mkString(" "))'
    (outcome,) = await session.run(code, timeout_s=SLOW_S)
    assert outcome.status == "Success", outcome.error_message
    assert session.text().count(str(session.run_dir / "tmp")) == 2


async def test_cancelling_ends_a_spark_job_and_a_cell(session: Session) -> None:
    """Where the machine is too busy for the interrupt to come through in time, the kernel is killed."""
    for code in ('spark.range(1000000000000L).selectExpr("sum(sqrt(id))").show()', "Thread.sleep(600000)"):
        if session.kernel.exited.done():
            return
        cancel = asyncio.Event()
        asyncio.get_running_loop().call_later(3, cancel.set)
        (outcome,) = await session.run(code, cancel=cancel, timeout_s=SLOW_S)
        assert outcome.status == "Cancelled", (code, outcome.error_message)


async def test_z_an_orderly_end_runs_shutdown_hooks_and_closes_no_writer_by_itself(session: Session) -> None:
    """The last one: it takes the kernel with it (which an interrupt on a busy machine may have done before)."""
    if session.kernel.exited.done():
        return
    code = """
        val unclosed = new java.io.PrintWriter("unclosed.txt"); unclosed.print("lost, as by java itself")
        val flushed = new java.io.FileWriter("flushed.txt"); flushed.write("kept"); flushed.flush()
        sys.addShutdownHook { java.nio.file.Files.writeString(java.nio.file.Paths.get("hook.txt"), "ran") }
    """
    await session.run(code, timeout_s=SLOW_S)
    await session.kernel.shut_down(SLOW_S)
    assert session.kernel.exited.result().code == 0
    work = session.run_dir / "work"
    assert {name: (work / name).read_text() for name in ("unclosed.txt", "flushed.txt", "hook.txt")} == {
        "unclosed.txt": "",
        "flushed.txt": "kept",
        "hook.txt": "ran",
    }
