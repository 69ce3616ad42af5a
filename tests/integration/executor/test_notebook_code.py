"""What people write in notebooks behaves as in Jupyter, in forked kernels and in those of built environments: asyncio,
threads, processes, shell commands, input, history, text that cannot be encoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode

from services.executor.kernels.forked import ForkedKernels
from services.executor.kernels.port import KernelRequest, KernelSource
from tests.support.kernels import KERNEL_PYTHON, Session, forked_source

WITHOUT_NAMESPACES = ["pid", "mount", "net", "ipc", "uts", "uid"]


@pytest.fixture(scope="module", params=["forked", "built", "confined"])
async def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[KernelSource, bool]]:
    """A source, and whether its kernels are those of a built environment. `confined` has no mounts, so no terminals."""
    without = WITHOUT_NAMESPACES if request.param == "confined" else []
    kernels = forked_source(tmp_path_factory.mktemp("k"), imports=[], without_layers=without)
    await kernels.open()
    yield kernels, request.param == "built"
    await kernels.close()


@pytest.fixture
async def session(
    source: tuple[KernelSource, bool], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Session]:
    kernels, is_built = source
    run_dir = tmp_path_factory.mktemp("r") / "run"
    wanted = KernelRequest(kernel_type="python3", run_dir=run_dir)
    if is_built:
        wanted = replace(wanted, python=KERNEL_PYTHON, readable=(KERNEL_PYTHON.parent.parent,))
    kernel = await kernels.acquire(wanted)
    yield Session(kernel)
    await kernel.close()


async def said(session: Session, *sources: str) -> list[str]:
    """What each cell prints or gives; fails the test when one fails."""
    outcomes = await session.run(*sources, timeout_s=30)
    for outcome, source in zip(outcomes, sources, strict=True):
        assert outcome.status == "Success", (source, outcome.error_type, outcome.error_message, outcome.traceback)
    return ["".join(map(_text, cell.outputs)).strip() for cell in session.notebook.cells]


def _text(output: NotebookNode) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


async def test_asyncio_as_people_write_it(session: Session) -> None:
    """A cell that hangs here would end with the run's time limit."""
    results = await said(
        session,
        "import asyncio\nasync def f(x=3):\n    await asyncio.sleep(0.01)\n    return x",
        "await f()",
        "x = await f(4)\nprint(x)",
        "print(await asyncio.gather(*(f(i) for i in range(3))))",
        "async def numbers():\n    for i in range(3):\n        await asyncio.sleep(0)\n        yield i\n"
        "async for i in numbers():\n    print(i, end=' ')",
        "[i async for i in numbers()]",
        "import contextlib\n@contextlib.asynccontextmanager\nasync def inside():\n    yield 7\n"
        "async with inside() as value:\n    print(value)",
        "async def later():\n    await asyncio.sleep(0.05)\n    return 'late'\ntask = asyncio.create_task(later())",
        "await task",
        "async with asyncio.timeout(5):\n    print(await asyncio.wait_for(f(5), 3))",
        "loop = asyncio.get_running_loop()\nprint(await loop.run_in_executor(None, lambda: 6))",
        "print(await asyncio.to_thread(lambda: 7))",
        "%autoawait",
        "import nest_asyncio2\nnest_asyncio2.apply()\nprint(asyncio.run(f(8)), loop.run_until_complete(f(9)))",
        "q = asyncio.Queue()\nasync def produce():\n    for i in range(3): await q.put(i)\n"
        "async with asyncio.TaskGroup() as group:\n    group.create_task(produce())\nprint(q.qsize())",
        "process = await asyncio.create_subprocess_exec('echo', 'child', stdout=-1)\n"
        "print((await process.communicate())[0])",
        "reader, writer = None, None\nasync def serve(r, w):\n"
        "    w.write(await r.readline()); await w.drain(); w.close()\n"
        "import os\npath = os.environ['TMPDIR'] + '/s'\nserver = await asyncio.start_unix_server(serve, path)\n"
        "reader, writer = await asyncio.open_unix_connection(path)\nwriter.write(b'ping\\n')\n"
        "print(await reader.read())\nwriter.close()\nserver.close()",
    )
    assert results[1:8] == ["3", "4", "[0, 1, 2]", "0 1 2", "[0, 1, 2]", "7", ""]
    assert results[8:12] == ["'late'", "5", "6", "7"]
    assert "IPython autoawait is `on`" in results[12]
    assert results[13:] == ["8 9", "3", "b'child\\n'", "b'ping\\n'"]


async def test_asyncio_errors_are_those_of_jupyter(session: Session) -> None:
    outcomes = await session.run(
        "import asyncio\nasync def f(): return 1",
        "asyncio.run(f())",
        "asyncio.get_event_loop().run_until_complete(f())",
        "await asyncio.wait_for(asyncio.sleep(60), 0.05)",
        "async def bad(): raise KeyError('k')\nawait bad()",
        "print('still here')",
        timeout_s=30,
    )
    assert [outcome.error_type for outcome in outcomes] == [
        None, "RuntimeError", "RuntimeError", "TimeoutError", "KeyError", None,
    ]  # fmt: skip
    assert "cannot be called from a running event loop" in str(outcomes[1].error_message)


async def test_an_awaiting_cell_over_its_time_is_interrupted(session: Session) -> None:
    (outcome,) = await session.run("import asyncio\nprint('before')\nawait asyncio.sleep(60)", timeout_s=1)
    assert (outcome.error_type, outcome.kernel_died) == ("TimeoutError", False)
    assert await session.says("print('after')") == "after"


async def test_threads_and_processes(session: Session) -> None:
    results = await said(
        session,
        "import threading\nt = threading.Thread(target=print, args=('thread',)); t.start(); t.join()",
        "from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor\n"
        "with ThreadPoolExecutor() as pool: print(list(pool.map(abs, [-1, 2])))",
        "import warnings; warnings.simplefilter('ignore')\n"
        "with ProcessPoolExecutor(2) as pool: print(list(pool.map(abs, [-1, 2])))",
        "import multiprocessing as mp\nwith mp.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-3, 4]))",
        "with mp.get_context('spawn').Pool(1) as pool: print(pool.map(abs, [-5, 6]))",
        "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'print(2)'], capture_output=True).stdout)",
        "print(subprocess.check_output('echo $((2 + 3))', shell=True))",
    )
    assert results == ["thread", "[1, 2]", "[1, 2]", "[3, 4]", "[5, 6]", "b'2\\n'", "b'5\\n'"]


async def test_input_is_refused_at_once(session: Session) -> None:
    outcomes = await session.run("input('name? ')", "import getpass\ngetpass.getpass()", timeout_s=30)
    assert [outcome.error_type for outcome in outcomes] == ["StdinNotImplementedError"] * 2


async def test_a_kernel_that_asks_for_input_all_the_same_is_stopped(session: Session) -> None:
    outcomes = await session.run(
        "get_ipython().kernel._allow_stdin = True\ninput('name? ')", "print('on')", "input('again? ')", timeout_s=100
    )
    assert [outcome.error_type for outcome in outcomes] == [
        "StdinNotImplementedError",
        None,
        "StdinNotImplementedError",
    ]
    assert not outcomes[0].kernel_died


async def test_a_cell_whose_reply_is_lost_ends_with_an_error(session: Session) -> None:
    """And one that takes its time does not."""
    lose = (
        "session = get_ipython().kernel.session\nsend = session.send\n"
        "def lose(stream, message, *rest, **named):\n"
        "    if message != 'execute_reply': return send(stream, message, *rest, **named)\n"
        "    del session.send\n    return session.msg(message, {'status': 'ok'})\n"
        "session.send = lose"
    )
    outcomes = await session.run("import time; time.sleep(3); print('slow')", lose, "print('on')", timeout_s=100)
    assert [outcome.error_type for outcome in outcomes] == [None, "KernelMessageError", None]
    assert session.text(0) == "slow\n"
    assert session.text(2) == "on\n"


async def test_shell_commands_and_magics(session: Session) -> None:
    results = await said(
        session,
        "!echo hi",
        "name = 'you'\n!echo $name {name.upper()}",
        "def f(local): \n    !echo $local\nf('inner')",
        "lines = !printf 'a\\nb'\nprint(lines)",
        "!exit 3\nprint(_exit_code)",
        "%mkdir made\n%ls",
        "%%bash\necho from bash",
        "%%sh\necho é",
        "!printf 'a\\303' ; printf '\\251'",
        "import os\nos.system('true')",
        "%history -l 1",
        "%pip --version",
        "%pip install numpy",
    )
    assert results[0] == "hi"
    assert results[1:5] == ["you YOU", "inner", "['a', 'b']", "3"]
    assert "made" in results[5]
    assert results[6:9] == ["from bash", "é", "aé"]
    assert "os.system('true')" in results[10]
    assert results[11].startswith("pip ")
    assert "Requirement already satisfied: numpy" in results[12]
    assert "environment.packages" not in results[12]


async def test_a_kernel_has_terminals_of_its_own_where_it_has_mounts(
    session: Session, source: tuple[KernelSource, bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Few, unseen by other kernels, and with nothing that reaches beyond them."""
    ask = "import os, sys\nprint(os.path.exists('/dev/ptmx') and not os.stat('/dev/ptmx').st_mode & 0o002 == 0)"
    if not isinstance(source[0], ForkedKernels) or not source[0].isolation.holds("mount"):
        assert await session.says("import os\ntry: os.openpty()\nexcept OSError: print('none')") == "none"
        return
    assert await session.says(ask) == "True"
    opened = "pairs = []\ntry:\n    while True: pairs.append(os.openpty())\nexcept OSError: print(len(pairs))"
    assert await session.says(opened) == "64"
    codes = "import fcntl\nfor code in (0x5412, 0x541C, 0x541D, 0x5423):\n"
    codes += "    try: fcntl.ioctl(pairs[0][1], code, b'x' * 8)\n"
    assert await session.says(codes + "    except PermissionError: print(code, end=' ')") == "21522 21532 21533 21539"
    other = await source[0].acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path_factory.mktemp("o") / "run"))
    try:
        seen = "import os, pty; print(os.listdir('/dev/pts'), os.ttyname(os.openpty()[1]))"
        assert await Session(other).says(seen) == "['ptmx'] /dev/pts/0"
    finally:
        await other.close()
    assert (
        await session.says("for pair in pairs: [os.close(one) for one in pair]\n!tty; stty size") == "/dev/pts/0\n24 80"
    )


async def test_what_a_command_writes_while_nobody_looks_is_not_lost(session: Session) -> None:
    """pexpect looks for output, and then whether the command has ended. Here it ends between the two."""
    late = """
import os, pexpect
asks = pexpect.spawn.isalive
def asks_late(command):
    command.asked = getattr(command, "asked", 0) + 1
    if command.asked == 2:
        os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT)
    return asks(command)
pexpect.spawn.isalive = asks_late
"""
    results = await said(session, late, "!sleep 0.2; seq 3", "!sleep 0.2; seq 3; exit 4\nprint(_exit_code)")
    assert results[1:] == ["1\n2\n3", "1\n2\n3\n4"]


async def test_a_traceback_of_many_calls_looks_through_the_modules_few_times(session: Session) -> None:
    count = """
import inspect
looked, is_module = 0, inspect.ismodule
def counts(one):
    global looked
    looked += 1
    return is_module(one)
inspect.ismodule = counts
"""
    outcomes = await session.run(count, "def down(n):\n    return down(n + 1)\ndown(0)", "print(looked)", timeout_s=60)
    assert [outcome.error_type for outcome in outcomes] == [None, "RecursionError", None]
    assert int(session.text(2)) < 50_000  # a thousand calls, and at least 700 modules


async def test_installing_says_where_packages_are_declared(session: Session) -> None:
    results = await said(
        session,
        "!pip install surely-not-there",
        "%pip install surely-not-there",
        "import sys\n!{sys.executable} -m pip install -q surely-not-there",
        "!uv pip install surely-not-there",
        "!echo not pip install",
        "!ls /nowhere/pip-install",
    )
    assert ["environment.packages" in result for result in results] == [True, True, True, True, False, False]


async def test_text_that_cannot_be_encoded_is_shown_with_replacements(session: Session) -> None:
    outcomes = await session.run(
        "print('a\\ud83db', '\\ud83d\\ude00')", "'\\udc80'", "raise ValueError('\\ud83d')", "print('on')", timeout_s=30
    )
    assert [outcome.error_type for outcome in outcomes] == [None, None, "ValueError", None]
    assert session.text(0) == "a\ufffdb \U0001f600\n"
    assert outcomes[2].error_message == "\ufffd"
    assert session.text(3) == "on\n"


async def test_a_caught_error_that_is_shown_is_no_failure(session: Session) -> None:
    (outcome,) = await session.run("try:\n    1 / 0\nexcept ZeroDivisionError:\n    get_ipython().showtraceback()")
    assert (outcome.status, outcome.error_type) == ("Success", None)
    assert session.notebook.cells[0].outputs[0].ename == "ZeroDivisionError"


async def test_requests_of_other_clients_are_answered(session: Session) -> None:
    """Subshells, the debugger, use of the machine, completion: what ipykernel offers, a forked kernel offers too."""
    client = session.kernel.client

    async def ask(kind: str, content: dict[str, Any], subshell: str | None = None) -> dict[str, Any]:
        channel = client.control_channel if subshell is None else client.shell_channel
        message = client.session.msg(kind, content)
        message["header"]["subshell_id"] = subshell
        channel.send(message)
        async with asyncio.timeout(30):
            while (reply := await channel.get_msg())["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
        answer: dict[str, Any] = reply["content"]
        return answer

    await session.run("x = 5")
    if "kernel subshells" in (await ask("kernel_info_request", {})).get("supported_features", []):
        identity = (await ask("create_subshell_request", {}))["subshell_id"]
        code = {"code": "x += 1", "silent": False, "user_expressions": {"x": "x"}, "allow_stdin": False}
        reply = await ask("execute_request", code, identity)
        assert reply["user_expressions"]["x"]["data"]["text/plain"] == "6"
        assert (await ask("delete_subshell_request", {"subshell_id": identity}))["status"] == "ok"
    assert (await ask("usage_request", {}))["pid"] > 1
    assert isinstance(await ask("debug_request", {"command": "debugInfo", "type": "request", "seq": 1}), dict)
    assert (await ask("interrupt_request", {}))["status"] == "ok"
    assert await session.says("print('on')") == "on"


async def test_each_server_hashes_text_in_another_way(
    source: tuple[KernelSource, bool], session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forks of one server hash alike: a process cannot change how while it lives. A worker's own seed is not theirs."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    said = "print(hash('a'))"
    hashes = [await session.says(said), await session.says("!PYTHONHASHSEED=0 python -c \"print(hash('a'))\"")]
    kernels, is_built = source
    wanted = KernelRequest(kernel_type="python3", run_dir=tmp_path / "same")
    if is_built:
        wanted = replace(wanted, python=KERNEL_PYTHON, readable=(KERNEL_PYTHON.parent.parent,))
    same = await kernels.acquire(wanted)
    try:
        of_same = await Session(same).says(said)
    finally:
        await same.close()
    assert (of_same == hashes[0]) == (not is_built)
    other = forked_source(tmp_path, imports=[])
    await other.open()
    try:
        kernel = await other.acquire(KernelRequest(kernel_type="python3", run_dir=tmp_path / "run"))
        try:
            hashes.append(await Session(kernel).says(said))
        finally:
            await kernel.close()
    finally:
        await other.close()
    assert len(set(hashes)) == 3


async def test_a_kernel_that_asks_for_input_although_nobody_allows_it_is_stopped(session: Session) -> None:
    asking = "get_ipython().kernel._allow_stdin = True\ninput('name? ')"
    outcomes = await session.run("input('name? ')", asking, "6 * 7", asking, timeout_s=60)
    assert [outcome.error_type for outcome in outcomes] == [
        "StdinNotImplementedError", "StdinNotImplementedError", None, "StdinNotImplementedError"
    ]  # fmt: skip
    assert "asked for input, but a run has nobody to answer" in (outcomes[1].error_message or "")
    assert not outcomes[-1].kernel_died
