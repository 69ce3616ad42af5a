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

pytestmark = pytest.mark.timeout(600)

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


async def test_z_ending_the_machine_is_a_dead_kernel(session: Session) -> None:
    """The last one: it takes the kernel with it (which an interrupt on a busy machine may have done before)."""
    if not session.kernel.exited.done():
        (outcome,) = await session.run("System.exit(3)", timeout_s=SLOW_S)
        assert outcome.error_type == "DeadKernelError"
        assert "System.exit was called or the Java machine ended with status 3" in (outcome.error_message or "")
    (after,) = await session.run("1")
    assert after.error_type == "DeadKernelError"
