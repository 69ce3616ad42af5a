"""What a kernel says of cells that have ended, of outputs that are replaced, and in words that no store takes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import nbformat
import pytest

from services.executor.kernels import outcomes
from services.executor.kernels.port import KernelRequest, KernelSource
from tests.support.kernels import Session, forked_source, plain_source

DISPLAY = "from IPython.display import display, clear_output, publish_display_data as publish\n"


@pytest.fixture(scope="module", params=["plain", "forked"])
async def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KernelSource]:
    kernels: KernelSource
    kernels = plain_source() if request.param == "plain" else forked_source(tmp_path_factory.mktemp("k"))
    await kernels.open()
    yield kernels
    await kernels.close()


@pytest.fixture
async def session(source: KernelSource, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Session]:
    kernel = await source.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path_factory.mktemp("r") / "run"))
    yield Session(kernel)
    await kernel.close()


def shown(session: Session, index: int) -> list[Any]:
    """The plain texts of what a cell displays, and of its streams."""
    return [out.get("text") or out["data"]["text/plain"] for out in session.notebook.cells[index].outputs]


async def test_handles_and_tasks_write_into_the_cell_they_belong_to(session: Session) -> None:
    outcome = await session.run(
        DISPLAY + "h = display('first', display_id='d1'); display('other')",
        "import asyncio\nasync def later():\n    await asyncio.sleep(0.1); print('from the task')\n"
        "task = asyncio.get_event_loop().create_task(later())\nprint('started')",
        "h.update('second'); display('third', display_id='d1');",
        "import time; time.sleep(0.3)",
        "print('here')",
        "display('gone', display_id='d2'); clear_output(); display('kept')",
    )
    assert {one.status for one in outcome} == {"Success"}
    assert shown(session, 0) == ["'third'", "'other'"]
    assert shown(session, 1) == ["started\nfrom the task\n"]
    assert shown(session, 2) == ["'third'"]
    assert [shown(session, index) for index in (3, 4, 5)] == [[], ["here\n"], ["'kept'"]]
    assert [output.output_type for output in session.notebook.cells[0].outputs] == ["display_data"] * 2
    nbformat.validate(session.notebook)


async def test_what_comes_after_the_last_cell_is_heard_until_the_kernel_has_ended(session: Session) -> None:
    await session.run(
        DISPLAY + "import threading, time\nh = display('before', display_id='d')\n"
        "def late():\n    time.sleep(0.3); h.update('after'); time.sleep(30)\n"
        "threading.Thread(target=late).start()"
    )
    assert shown(session, 0) == ["'before'"]
    await session.runner.shut_down(2.0)
    assert shown(session, 0) == ["'after'"]


async def test_sixty_large_figures_that_take_one_anothers_place_are_one(session: Session) -> None:
    (replaced,) = await session.run(
        DISPLAY + "for i in range(60):\n    clear_output(wait=True)\n"
        "    publish({'text/plain': str(i), 'image/png': 'A' * 1_000_000})"
    )
    assert (replaced.status, replaced.error_message) == ("Success", None)
    assert shown(session, 0) == ["59"]
    (updated,) = await session.run(
        DISPLAY + "h = display('x', display_id='f')\nfor i in range(60):\n"
        "    publish({'text/plain': str(i), 'image/png': 'A' * 1_000_000}, transient={'display_id': 'f'}, update=True)"
    )
    assert (updated.status, updated.error_message) == ("Success", None)
    assert shown(session, 0) == ["59"]
    (kept,) = await session.run(DISPLAY + "for i in range(60): publish({'image/png': 'A' * 1_000_000})")
    assert kept.error_type == "OutputLimitError"


async def test_an_update_counts_for_every_place_that_it_changes(session: Session) -> None:
    (together,) = await session.run(
        DISPLAY + "for i in range(100): display(i, display_id='same')\n"
        "publish({'image/png': 'A' * 1_000_000}, transient={'display_id': 'same'}, update=True)"
    )
    assert together.error_type == "OutputLimitError", together


async def test_clearing_without_end_is_a_flood_all_the_same(session: Session) -> None:
    code = DISPLAY + "while True:\n    clear_output(wait=True); publish({'text/plain': 'x' * 2_000_000})"
    (outcome,) = await session.run(code, timeout_s=120)
    assert outcome.error_type == "OutputLimitError"


async def test_progress_bars_of_any_length_take_one_line(session: Session) -> None:
    code = "import sys\nfor i in range(300_000): sys.stdout.write(f'\\rstep {i:>80}')\nprint('\\ndone')"
    (outcome,) = await session.run(code)
    assert (outcome.status, outcome.error_message) == ("Success", None)
    assert session.text(0) == f"step {299_999:>80}\ndone\n"


@pytest.mark.parametrize(
    "code", ["import sys; sys.exit()", "import sys; sys.exit(0)", "raise SystemExit", "exit()", "quit()"]
)
async def test_a_cell_may_end_its_run(session: Session, code: str) -> None:
    (outcome,) = await session.run(f"print('before')\n{code}")
    assert (outcome.status, outcome.exits, outcome.kernel_died) == ("Success", True, False)
    assert "before" in session.text(0)


async def test_other_exits_are_errors_and_an_error_that_is_only_shown_is_none(session: Session) -> None:
    bad, three, shown_only, after = await session.run(
        "import sys; sys.exit('bad')",
        "sys.exit(3)",
        "try: 1 / 0\nexcept ZeroDivisionError: get_ipython().showtraceback()",
        "print('goes on')",
    )
    assert [(one.status, one.exits, one.error_type, one.error_message) for one in (bad, three)] == [
        ("Error", False, "SystemExit", "bad"),
        ("Error", False, "SystemExit", "3"),
    ]
    assert (shown_only.status, shown_only.error_type) == ("Success", None)
    assert (after.status, session.text(3)) == ("Success", "goes on\n")


async def test_what_no_store_takes_is_cleaned_or_fails_its_cell_alone(session: Session) -> None:
    """The kernel's own packer refuses half a surrogate pair; a notebook may have another."""
    progress = "publish({'application/vnd.atelier.progress+json': %s})"
    outcome = await session.run(
        "import json\nget_ipython().kernel.session.pack = lambda o: json.dumps(o, default=str).encode()\n" + DISPLAY,
        progress % "{'fraction': 0.5, 'message': 'half \\ud83d way'}",
        progress % "'[' * 100_000",
        progress % "{'fraction': 10 ** 400}",
        "publish({'application/json': {'a': float('nan'), 'b': '\\ud83d', 'c': 2 ** 70, 4: [1]}})",
        "publish({'application/json': eval('[' * 90 + ']' * 90)})",
        "publish({'text/plain': 'x', 'image/' + 'y' * 2_000_000: 'z'}, metadata={'m': float('inf'), '\\ud83d': 1})",
        "from ipykernel.comm import Comm\n"
        "comm = Comm(target_name='jupyter.widget', data={'state': {'_model_name': 'A', 'v': '\\ud83d'}})\n"
        "comm.send({'state': {'n': float('nan')}}); Comm(target_name='jupyter.widget', data={})",
        "print('\\ud83d')",
        "raise ValueError('\\ud83d')",
    )
    assert {one.status for one in outcome[:-1]} == {"Success"}, outcome
    assert outcome[-1].error_message == "\ufffd"
    assert session.progress == [(0.5, "half \ufffd way")]
    assert session.notebook.cells[4].outputs[0].data["application/json"] == {
        "a": None,
        "b": "\ufffd",
        "c": 2**70,
        "4": [1],
    }
    session.runner.keep_widgets()
    text = nbformat.writes(session.notebook)
    json.loads(text.encode(), parse_constant=lambda word: pytest.fail(f"{word} in the notebook"))


@pytest.mark.parametrize("pack", ["lambda o: b'nothing'", "lambda o: b'[' * 100_000", "lambda o: b'{}'"])
async def test_a_kernel_whose_messages_cannot_be_read_fails_its_cell(session: Session, pack: str) -> None:
    (outcome,) = await session.run(f"get_ipython().kernel.session.pack = {pack}\nprint(1)", timeout_s=50)
    assert (outcome.status, outcome.error_type) == ("Error", "KernelMessageError")


async def test_long_errors_are_cut_in_the_outcome_and_whole_in_the_notebook(session: Session) -> None:
    message, name = await session.run(
        "raise ValueError('x' * 6_000_000)", "raise type('E' * 3_000_000, (Exception,), {})('m')"
    )
    assert message.error_type == "ValueError"
    assert message.error_message is not None
    assert message.error_message.endswith("… [cut: 6,000,000 characters]")
    assert len(message.error_message) < outcomes.MESSAGE_LENGTH + 100
    assert len(message.traceback or "") < outcomes.TRACEBACK_LENGTH + 100
    assert len(name.error_type or "") < outcomes.TYPE_LENGTH + 100
    assert len(session.notebook.cells[0].outputs[0].evalue) == 6_000_000
    assert len(session.notebook.cells[1].outputs[0].ename) == 3_000_000


async def test_a_kernel_that_is_idle_owes_its_reply_for_five_seconds(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.executor.kernels.cells.OWED_REPLY_S", 0.5)
    silent = (
        "shell = get_ipython().kernel.session\nsend = shell.send\n"
        "shell.send = lambda stream, what, *a, **k: None if what == 'execute_reply' else send(stream, what, *a, **k)"
    )
    (outcome,) = await session.run(silent, timeout_s=50)
    assert (outcome.status, outcome.error_type) == ("Error", "KernelMessageError")
    assert "has not answered" in (outcome.error_message or "")


async def test_what_was_printed_before_the_kernel_died_is_kept(session: Session) -> None:
    (outcome,) = await session.run("import os, time\nprint('last words', flush=True); time.sleep(0.2); os._exit(3)")
    assert outcome.error_type == "DeadKernelError"
    assert session.text(0) == "last words\n"


async def test_widgets_keep_what_is_put_out_inside_of_them(session: Session) -> None:
    outcome = await session.run(
        "import ipywidgets as w\nout = w.Output()\nwith out:\n    for i in range(2_000): print('x' * 100)\n"
        "print('outside')",
        "with out: print('more')\nprint(len(out.outputs))",
        "out.clear_output()",
        "out.append_stdout('by hand')",
    )
    if outcome[0].error_type == "ModuleNotFoundError":
        pytest.skip("no ipywidgets in this environment")
    assert {one.status for one in outcome} == {"Success"}, outcome
    assert (session.text(0), session.text(1)) == ("outside\n", "1\n")
    session.runner.keep_widgets()
    states = session.notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    (widget,) = [one for one in states if one["model_name"] == "OutputModel"]
    assert [output["text"] for output in widget["state"]["outputs"]] == ["by hand"]
