"""Real kernels of the base environment, driven cell by cell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from services.executor.kernels.cells import MAX_CELL_OUTPUTS, CellOutcome, CellRunner
from services.executor.kernels.plain import PYTHON_ARGUMENTS, PlainKernels, environment_for
from services.executor.kernels.port import Kernel, KernelRequest, KernelStartError
from services.executor.running import folder

KERNEL_PYTHON = Path(".venv-kernel/bin/python").absolute()


@pytest.fixture
async def source() -> AsyncIterator[PlainKernels]:
    kernels = PlainKernels({"python3": [str(KERNEL_PYTHON), *PYTHON_ARGUMENTS]}, start_timeout_s=30)
    await kernels.open()
    yield kernels
    await kernels.close()


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("k") / "run"
    folder.create(path, {}, None, None)
    return path


@dataclass
class Session:
    kernel: Kernel
    run_dir: Path
    progress: list[tuple[float, str]]

    async def run(self, *sources: str, cancel: asyncio.Event | None = None, timeout_s: float = 30) -> list[CellOutcome]:
        self.notebook = nbformat.from_dict(new_notebook(cells=[new_code_cell(source) for source in sources]))
        runner = CellRunner(
            self.notebook,
            self.kernel,
            cancel=cancel or asyncio.Event(),
            on_progress=lambda fraction, message: self.progress.append((fraction, message)),
        )
        return [await runner.run(i, timeout_s=timeout_s, timeout_name="limit") for i in range(len(sources))]

    def text(self, index: int) -> str:
        return "".join(output.get("text", "") for output in self.notebook.cells[index].outputs)


@pytest.fixture
async def session(source: PlainKernels, run_dir: Path) -> AsyncIterator[Session]:
    request = KernelRequest(kernel_type="python3", run_dir=run_dir, environment=environment_for(run_dir, KERNEL_PYTHON))
    kernel = await source.acquire(request)
    yield Session(kernel, run_dir, [])
    await kernel.close()


async def test_cells_share_state_and_errors_are_told_in_pythons_terms(session: Session) -> None:
    outcomes = await session.run("x = 20", "print(x + 1)", "{}['customer_id']")
    assert [outcome.status for outcome in outcomes] == ["Success", "Success", "Error"]
    assert session.text(1) == "21\n"
    assert (outcomes[2].error_type, outcomes[2].error_message) == ("KeyError", "'customer_id'")
    assert "customer_id" in (outcomes[2].traceback or "")


async def test_nothing_of_the_worker_is_in_the_kernels_environment(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    await session.run("import os; print(sorted(os.environ))")
    assert "ATELIER_RUN_DIR" in session.text(0)
    for secret in ("ATELIER_AMQP_URL", "POSTGRES", "SECRET", "S3_"):
        assert secret not in session.text(0)


async def test_20000_outputs_arrive_up_to_the_cap_and_then_the_cell_is_stopped(session: Session) -> None:
    (some,) = await session.run("from IPython.display import display\nfor i in range(5000): display(i)")
    assert some.status == "Success"
    assert len(session.notebook.cells[0].outputs) == 5000
    (too_many,) = await session.run("while True: display(1)")
    assert too_many.error_type == "OutputLimitError"
    assert len(session.notebook.cells[0].outputs) <= MAX_CELL_OUTPUTS + 1


async def test_a_cell_over_its_time_is_interrupted_and_keeps_its_output(session: Session) -> None:
    (outcome,) = await session.run("print('before', flush=True)\nimport time\ntime.sleep(60)", timeout_s=1)
    assert (outcome.status, outcome.error_type) == ("Error", "TimeoutError")
    assert "before" in session.text(0)
    assert not outcome.kernel_died


async def test_cancelling_interrupts_the_cell(session: Session) -> None:
    cancel = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, cancel.set)
    (outcome,) = await session.run("import time\ntime.sleep(60)", cancel=cancel)
    assert outcome.status == "Cancelled"
    assert outcome.seconds < 10


async def test_a_cell_that_ignores_interrupts_is_killed(session: Session) -> None:
    code = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)"
    (outcome,) = await session.run(code, timeout_s=1)
    assert outcome.error_type == "TimeoutError"
    assert outcome.kernel_died


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os._exit(3)", "os._exit called"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11"),
    ],
)
async def test_a_dying_kernel_ends_its_cell_at_once_with_a_plain_reason(
    session: Session, code: str, reason: str
) -> None:
    (outcome,) = await session.run(code)
    assert outcome.error_type == "DeadKernelError"
    assert reason in (outcome.error_message or "")
    assert outcome.seconds < 10


async def test_progress_within_a_cell_is_passed_on_and_is_no_output(session: Session) -> None:
    code = (
        "from IPython.display import publish_display_data as p\n"
        "t = 'application/vnd.atelier.progress+json'\n"
        "p({t: {'fraction': 0.5, 'message': 'half'}}); p({t: {'fraction': 'x'}}); p({t: 5})"
    )
    (outcome,) = await session.run(code)
    assert outcome.status == "Success"
    assert session.progress == [(0.5, "half")]
    assert session.notebook.cells[0].outputs == []


async def test_nothing_is_left_after_close(source: PlainKernels, run_dir: Path) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    request = KernelRequest(kernel_type="python3", run_dir=run_dir, environment=environment_for(run_dir, KERNEL_PYTHON))
    kernel = await source.acquire(request)
    session = Session(kernel, run_dir, [])
    await session.run("import subprocess; child = subprocess.Popen(['sleep', '1000']); print(child.pid)")
    child = int(session.text(0))
    await kernel.close()
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert not list(run_dir.glob("k-*"))


async def test_an_unknown_kernel_type_is_named(source: PlainKernels, run_dir: Path) -> None:
    with pytest.raises(KernelStartError, match="no scala kernel; it has: python3"):
        await source.acquire(KernelRequest(kernel_type="scala", run_dir=run_dir, environment={}))


async def test_an_interpreter_that_ends_at_once_is_explained(run_dir: Path) -> None:
    kernels = PlainKernels({"python3": ["/bin/sh", "-c", "echo no such module >&2; exit 4"]}, start_timeout_s=10)
    await kernels.open()
    try:
        with pytest.raises(KernelStartError, match=r"status 4.*no such module"):
            await kernels.acquire(
                KernelRequest(kernel_type="python3", run_dir=run_dir, environment={"PATH": "/usr/bin:/bin"})
            )
    finally:
        await kernels.close()
