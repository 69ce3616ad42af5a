"""A kernel's orderly end: what it has opened is written, its exit functions run, and nobody waits for it for long."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.executor.kernels.plain import PlainKernel
from services.executor.kernels.port import KernelRequest, KernelSource
from tests.support.kernels import Session, forked_source, plain_source

GRACE_S = 30.0
"""Longer than any orderly end takes: only a kernel that does not end would use it up, in seconds."""


@pytest.fixture(scope="module", params=["plain", "forked", "confined"])
async def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KernelSource]:
    without = ["pid", "mount", "net", "ipc", "uts", "uid"] if request.param == "confined" else []
    kernels: KernelSource = (
        plain_source()
        if request.param == "plain"
        else forked_source(tmp_path_factory.mktemp("k"), without_layers=without, imports=[])
    )
    await kernels.open()
    yield kernels
    await kernels.close()


@pytest.fixture
async def session(source: KernelSource, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Session]:
    request = KernelRequest(kernel_type="python3", run_dir=tmp_path_factory.mktemp("r") / "run")
    kernel = await source.acquire(request)
    yield Session(kernel)
    await kernel.close()


def work(session: Session, name: str) -> Path:
    return session.run_dir / "work" / name


async def test_a_kernel_that_is_asked_to_end_ends_by_itself(session: Session) -> None:
    await session.run("x = 1")
    await session.kernel.shut_down(GRACE_S)
    assert session.kernel.exited.done()
    assert session.kernel.exited.result().code == 0
    await session.kernel.shut_down(GRACE_S)  # again: nothing happens


SLOW_CONTROL = """
import sys, time
outputs, kernel, slow = sys.stdout.pub_thread, get_ipython().kernel, []
def publish(status, channel, *rest, publish=kernel._publish_status):
    slow[:] = [1] if (status, channel) == ("idle", "control") else []
    publish(status, channel, *rest)
def schedule(function):
    if not outputs.thread.is_alive():
        function()
        return
    outputs._events.append(function)
    if slow:
        time.sleep(0.5)
    outputs._event_pipe.send(b"")
def join(timeout=None, join=outputs.thread.join):
    join(timeout)
    time.sleep(1)
outputs.schedule, outputs.thread.join, kernel._publish_status = schedule, join, publish
"""
"""What ipykernel does when it publishes something, and when it ends the thread that sends it, with pauses that a busy
machine may make as well."""


async def test_a_kernel_ends_whose_control_channel_is_the_last_to_be_through(session: Session) -> None:
    """Its thread tells so by that of outputs, which ipykernel ends first; on a busy machine it came too late."""
    if isinstance(session.kernel, PlainKernel):
        return  # ipykernel's own order
    outcomes = await session.run(SLOW_CONTROL)
    assert outcomes[0].status == "Success"
    await session.kernel.shut_down(GRACE_S)
    assert session.kernel.exited.done()
    assert session.kernel.exited.result().code == 0


async def test_what_no_cell_has_closed_is_written_to_the_end(session: Session) -> None:
    """In variables, modules, results and closures; text, bytes and compressed; also by exit functions and threads."""
    outcomes = await session.run(
        "f = open('rows.csv', 'w')\nf.write('a,b\\n1,2\\n')",
        "import types, sys\nhelper = types.ModuleType('helper')\nhelper.log = open('log.bin', 'wb')\n"
        "helper.log.write(b'x' * 10)\nsys.modules['helper'] = helper\ndel helper",
        "open('result.txt', 'w')",
        "_.write('by the underscore')",
        "def keep():\n    inner = open('closure.txt', 'w')\n    inner.write('closed over')\n    return lambda: inner\n"
        "import builtins\nbuiltins.kept = keep()",
        "import gzip\nsys.modules['helper'].packed = gzip.open('packed.gz', 'wt')\n"
        "_n = sys.modules['helper'].packed.write('packed text')",
        "import zipfile\nsys.modules['helper'].zip = zipfile.ZipFile('z.zip', 'w')\n"
        "sys.modules['helper'].zip.writestr('a', 'b')",
        "import atexit\natexit.register(lambda: open('exit.txt', 'w').write('exit function'))",
        "import threading, time\ndef late():\n    time.sleep(0.3)\n    open('thread.txt', 'w').write('by a thread')\n"
        "threading.Thread(target=late).start()",
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)\n_f = pool.submit(late)",
        "import logging\nlogging.basicConfig(filename='app.log', force=True)\nlogging.warning('logged')",
        "class Ends:\n    def __del__(self):\n        open('del.txt', 'w').write('deleted')\nends = Ends()",
    )
    assert {(outcome.status, outcome.error_message) for outcome in outcomes} == {("Success", None)}
    await session.kernel.shut_down(GRACE_S)
    assert session.kernel.exited.done()
    assert work(session, "rows.csv").read_text() == "a,b\n1,2\n"
    assert work(session, "log.bin").read_bytes() == b"x" * 10
    assert work(session, "result.txt").read_text() == "by the underscore"
    assert work(session, "closure.txt").read_text() == "closed over"
    assert gzip.decompress(work(session, "packed.gz").read_bytes()) == b"packed text"
    assert zipfile.ZipFile(work(session, "z.zip")).read("a") == b"b"
    assert work(session, "exit.txt").read_text() == "exit function"
    assert work(session, "thread.txt").read_text() == "by a thread"
    assert "logged" in work(session, "app.log").read_text()
    assert work(session, "del.txt").read_text() == "deleted"


async def test_files_are_written_before_an_exit_function_takes_all_the_time(session: Session) -> None:
    await session.run(
        "kept = open('kept.txt', 'w')\nkept.write('early')\nimport atexit, time\natexit.register(time.sleep, 600)"
    )
    await session.kernel.shut_down(2)
    if isinstance(session.kernel, PlainKernel):
        return  # the interpreter's own end, in its own order
    assert not session.kernel.exited.done()
    assert work(session, "kept.txt").read_text() == "early"


async def test_a_kernel_whose_last_cell_failed_ends_in_order_too(session: Session) -> None:
    outcomes = await session.run("f = open('f.txt', 'w')\nf.write('half')\n1 / 0")
    assert outcomes[0].error_type == "ZeroDivisionError"
    await session.kernel.shut_down(GRACE_S)
    assert work(session, "f.txt").read_text() == "half"


async def test_what_a_thread_prints_after_the_last_cell_is_heard(session: Session) -> None:
    printed = "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.3), print('late'))).start()"
    await session.run(printed)
    feed = session.kernel.client.session.feed_identities
    messages, socket = [], session.kernel.client.iopub_channel.socket
    await session.kernel.shut_down(GRACE_S)
    while await socket.poll(100):
        messages.append(session.kernel.client.session.deserialize(feed(await socket.recv_multipart())[1]))
    texts = [message["content"]["text"] for message in messages if message["msg_type"] == "stream"]
    assert "".join(texts) == "late\n" or isinstance(session.kernel, PlainKernel)
