"""Real kernels of the base environment, driven cell by cell: the same for kernels started plainly and forked ones."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from services.executor.kernels import cells, output_list
from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.output_limits import MAX_CELL_OUTPUTS
from services.executor.kernels.plain import PlainKernels
from services.executor.kernels.port import KernelRequest, KernelSource, KernelStartError
from services.executor.running import folder
from tests.support.kernels import KERNEL_PYTHON, Session, forked_source, plain_source
from tests.support.long import LONG, others_are_long
from tests.support.polling import until

SOURCES = ("plain", "forked", "pooled", "confined")


def usually_in(*usual: str) -> pytest.MarkDecorator:
    """For tests of what does not differ in the other sources: those are left to the long run."""
    return pytest.mark.parametrize("source", others_are_long(SOURCES, usual), indirect=True, scope="module")


@pytest.fixture(scope="module", params=SOURCES)
async def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KernelSource]:
    """`confined` is what a container without namespaces gets: Landlock and seccomp alone."""
    kernels: KernelSource
    if request.param == "plain":
        kernels = plain_source()
    else:
        kernels = forked_source(
            tmp_path_factory.mktemp("k"),
            pool_size=2 if request.param == "pooled" else 0,
            without_layers=["pid", "mount", "net", "ipc", "uts", "uid"] if request.param == "confined" else [],
        )
    await kernels.open()
    yield kernels
    await kernels.close()


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r") / "run"


@pytest.fixture
async def session(source: KernelSource, run_dir: Path) -> AsyncIterator[Session]:
    kernel = await source.acquire(KernelRequest(kernel_type="python3", run_dir=run_dir))
    yield Session(kernel)
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


async def test_a_kernel_has_folders_of_its_own_and_magics_and_a_main_module(session: Session) -> None:
    """Also where its shell was made before the fork, in another process with other folders."""
    source = (
        "import os, sys, tempfile, __main__\nshell = get_ipython()\n"
        "print(tempfile.gettempdir(), shell.ipython_dir, shell.profile_dir.location, shell.db.root, "
        "shell.starting_dir, shell.home_dir, sep='\\n')"
    )
    outcomes = await session.run(
        source,
        "assert __main__.shell is shell and shell.kernel.shell is shell and shell.parent is shell.kernel",
        "assert os.environ['TERM'] == 'xterm-color' and os.environ['PAGER'] == 'cat'",
        "%time kept = 7",
        "%store kept",
        "assert not any('/kernels/s' in path for path in sys.path), sys.path",
        "import IPython.core.application as a\nassert a.BaseIPythonApplication.initialize.__name__ != '<lambda>'",
    )
    assert [(outcome.status, outcome.error_message) for outcome in outcomes] == [("Success", None)] * 7
    run_dir = session.run_dir
    profile = run_dir / "home" / "ipython" / "profile_default"
    told = [run_dir / "tmp", profile.parent, profile, profile / "db", run_dir / "work", run_dir / "home"]
    assert session.text(0).split() == list(map(str, told))


@usually_in("forked")
async def test_no_output_of_many_quick_cells_comes_too_late(session: Session) -> None:
    """Outputs are sent by another thread than the one that ends the cell; some cells take as long as its own timer."""
    source = "import sys, time\ntime.sleep({} % 3 * 0.1)\nprint({})\nprint('to stderr', file=sys.stderr)"
    outcomes = await session.run(*(source.format(number, number) for number in range(30)))
    assert {outcome.status for outcome in outcomes} == {"Success"}
    shown = [{out.name: out.text for out in cell.outputs} for cell in session.notebook.cells]
    assert shown == [{"stdout": f"{number}\n", "stderr": "to stderr\n"} for number in range(30)]


@usually_in("plain", "forked")
async def test_outputs_arrive_up_to_the_cap_and_then_the_cell_is_stopped(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    cap = MAX_CELL_OUTPUTS if LONG else 1_000
    monkeypatch.setattr(output_list, "MAX_CELL_OUTPUTS", cap)
    (some,) = await session.run(f"from IPython.display import display\nfor i in range({cap}): display(i)")
    assert some.status == "Success"
    assert len(session.notebook.cells[0].outputs) == cap
    (too_many,) = await session.run("while True: display(1)")
    assert too_many.error_type == "OutputLimitError", too_many
    assert len(session.notebook.cells[0].outputs) <= cap + 1


@usually_in("forked")
async def test_one_message_that_is_too_large_ends_its_cell_and_its_kernel(session: Session) -> None:
    code = "from IPython.display import publish_display_data as p\np({'text/plain': 'x' * 70_000_000})\n"
    (outcome,) = await session.run(code + "import time; time.sleep(60)", timeout_s=50)
    assert (outcome.error_type, outcome.kernel_died) == ("OutputLimitError", True)
    assert outcome.error_message is not None
    assert "the limit of 64 MB for one output" in outcome.error_message


@usually_in("forked")
async def test_a_flood_that_hears_no_interrupt_is_ended_before_it_fills_the_memory(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "INTERRUPT_GRACE_S", 600.0)
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += "from IPython.display import publish_display_data as p\nwhile True: p({'text/plain': 'x' * 5_000_000})"
    (outcome,) = await session.run(code, timeout_s=500)
    assert (outcome.error_type, outcome.kernel_died) == ("OutputLimitError", True)


@usually_in("plain", "forked")
async def test_a_cell_over_its_time_is_interrupted_and_keeps_its_output(session: Session) -> None:
    (outcome,) = await session.run("print('before', flush=True)\nimport time\ntime.sleep(60)", timeout_s=1)
    assert (outcome.status, outcome.error_type) == ("Error", "TimeoutError")
    assert "before" in session.text(0)
    assert not outcome.kernel_died


@usually_in("plain", "confined")
async def test_cancelling_interrupts_the_cell(session: Session) -> None:
    cancel = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, cancel.set)
    (outcome,) = await session.run("import time\ntime.sleep(60)", cancel=cancel)
    assert outcome.status == "Cancelled"
    assert outcome.seconds < 10


@usually_in("plain", "pooled")
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
        "p({t: {'fraction': 0.5, 'message': 'half'}}); p({t: {'fraction': 'x'}}); p({t: 5})\n"
        "p({t: {'fraction': 'nan'}})"
    )
    (outcome,) = await session.run(code)
    assert outcome.status == "Success"
    assert session.progress == [(0.5, "half")]
    assert session.notebook.cells[0].outputs == []


async def test_nothing_is_left_after_close(source: KernelSource, run_dir: Path) -> None:
    """Not even what left the kernel's session and its process group."""
    kernel = await source.acquire(KernelRequest(kernel_type="python3", run_dir=run_dir))
    mark = f"atelier-{run_dir.parent.name}"
    session = Session(kernel)
    code = f"import subprocess; child = subprocess.Popen(['bash', '-c', 'exec -a {mark} sleep 1000']); print('started')"
    assert await session.says(code) == "started"
    await until(lambda: _running(mark) == 1, what="the child's start")
    await kernel.close()
    await until(lambda: _running(mark) == 0, what="the child's end")
    assert [path.name for path in kernel.run_dir.rglob("*") if path.is_socket()] == []
    usage = kernel.usage()
    assert usage is not None
    assert usage.cpu_seconds > 0
    assert usage.peak_memory_bytes > 1_000_000


def _running(mark: str) -> int:
    return sum(
        mark in process.info["cmdline"] for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"]
    )


@usually_in("pooled")
async def test_plots_and_tables_are_outputs(session: Session) -> None:
    code = (
        "import pandas as pd\nimport matplotlib.pyplot as plt\n"
        "plt.plot([1, 2, 3]); plt.title('t'); plt.show()\npd.DataFrame({'a': [1]})"
    )
    (outcome,) = await session.run(code)
    assert outcome.status == "Success", outcome.traceback
    types = [set(output["data"]) for output in session.notebook.cells[0].outputs if "data" in output]
    assert any("image/png" in found for found in types)
    assert any("text/html" in found for found in types)


CALLED = {
    "plt.plot([1, 2]); plt.title('Waiting\\ntimes'); plt.show()": "Waiting times",
    "plt.plot([1, 2]); plt.title('Left', loc='left');": "Left",
    "figure, axes = plt.subplots(2); axes[0].set_title('a'); figure.suptitle('Both'); plt.show()": "Both",
    "figure, axes = plt.subplots(2); axes[0].set_title('a'); axes[1].set_title('b'); plt.show()": None,
    "figure, axes = plt.subplots(); plt.close(); figure.suptitle('By hand'); figure": "By hand",
    "figure, axes = plt.subplots(); plt.close(); axes.set_title('By hand'); display(figure)": "By hand",
    "plt.imshow([[1, 2]]); plt.title('Heat'); plt.colorbar(); plt.show()": "Heat",
    "plt.plot([1]); plt.show()": None,
    "figure, axes = plt.subplots(); plt.close(); axes.get_title = None; display(figure)": None,
    "%matplotlib inline\nplt.plot([1]); plt.title('Inline'); plt.show()": "Inline",
}
"""Code that shows one figure, and what that is called."""


@usually_in("plain", "pooled")
async def test_a_figure_is_called_what_it_calls_itself(session: Session) -> None:
    names = "print([name for name in dir() if not name.startswith('_')])"
    outcomes = await session.run(names, "import matplotlib.pyplot as plt", *CALLED)
    assert {outcome.status for outcome in outcomes} == {"Success"}
    first, _, *cells = session.notebook.cells
    assert set(ast.literal_eval(first.outputs[0].text)) <= {"In", "Out", "exit", "quit", "get_ipython", "open"}
    for cell, (code, title) in zip(cells, CALLED.items(), strict=True):
        (shown,) = [output for output in cell.outputs if "data" in output]
        assert "image/png" in shown["data"], code
        assert shown["metadata"].get("title") == title, code


async def test_what_forked_children_print_is_seen(session: Session) -> None:
    code = (
        "import os, sys, warnings\nwarnings.simplefilter('ignore')\npid = os.fork()\n"
        "if pid == 0:\n    print('from the child'); sys.stdout.flush(); os._exit(0)\n"
        "os.waitpid(pid, 0)\nimport time; time.sleep(0.5)"
    )
    assert "from the child" in await session.says(code)


@usually_in("pooled", "confined")
async def test_libraries_that_use_processes_work(session: Session) -> None:
    code = (
        "from joblib import Parallel, delayed\nimport multiprocessing\n"
        "print(sum(Parallel(n_jobs=2)(delayed(pow)(i, 2) for i in range(4))))\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: print(sum(pool.map(abs, [-1, -2])))"
    )
    assert (await session.says(code)).split() == ["14", "3"]


@usually_in("pooled")
async def test_random_numbers_differ_without_a_seed_and_agree_with_one(
    source: KernelSource, tmp_path_factory: pytest.TempPathFactory
) -> None:
    free = (
        "import random, uuid, secrets, multiprocessing, tempfile, numpy, sklearn.utils\n"
        "print(random.random(), numpy.random.rand(), uuid.uuid4(), secrets.token_hex(8), "
        "multiprocessing.current_process().authkey.hex(), next(tempfile._get_candidate_names()), "
        "numpy.random.default_rng().random(), random.Random().random(), "
        "sklearn.utils.check_random_state(None).rand(), *sklearn.utils.shuffle(range(10**6))[:1])"
    )
    seeded = (
        "random.seed(7); numpy.random.seed(7)\n"
        "print(random.random(), numpy.random.rand(), numpy.random.default_rng(7).random(), "
        "sklearn.utils.check_random_state(None).rand(), sklearn.utils.shuffle(range(100), random_state=7))"
    )
    answers = []
    for name in "ab":
        run_dir = tmp_path_factory.mktemp("seed") / name
        kernel = await source.acquire(KernelRequest(kernel_type="python3", run_dir=run_dir))
        try:
            session = Session(kernel)
            answers.append(((await session.says(free)).split(), await session.says(seeded)))
        finally:
            await kernel.close()
    (free_a, seeded_a), (free_b, seeded_b) = answers
    assert len(free_a) == len(free_b) == 10
    assert not set(free_a) & set(free_b)
    assert seeded_a == seeded_b


async def test_an_unknown_kernel_type_is_named(source: KernelSource, run_dir: Path) -> None:
    with pytest.raises(KernelStartError, match="no scala kernel; it has: python3"):
        await source.acquire(KernelRequest(kernel_type="scala", run_dir=run_dir))
    assert not run_dir.exists()


async def test_an_interpreter_that_ends_at_once_is_explained(run_dir: Path) -> None:
    kernels = PlainKernels(
        {"python3": KernelCommand(argv=("/bin/sh", "-c", "echo no such module >&2; exit 4"))},
        python=KERNEL_PYTHON,
        lay_out=folder.lay_out,
        start_timeout_s=10,
    )
    await kernels.open()
    try:
        with pytest.raises(KernelStartError, match=r"status 4.*no such module"):
            await kernels.acquire(KernelRequest(kernel_type="python3", run_dir=run_dir))
    finally:
        await kernels.close()
    assert not run_dir.exists()
