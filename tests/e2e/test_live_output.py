"""Output events: a log that is followed while its cell runs comes whole, in order, in time, and in few events."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from typing import Any

import orjson
from nbclient.client import _RGX_CARRIAGERETURN

from tests.e2e.test_events import read_events
from tests.support.api import Api
from tests.support.runs import address

SLOW = "import time\nfor i in range(40):\n    print(f'line {i} é😀', flush=True)\n    time.sleep(0.02)"
BAR = (
    "import sys, time\nfor i in range(60):\n"
    "    print(f'\\r{i:3}%', end='', file=sys.stderr, flush=True)\n    time.sleep(0.01)"
)
PICTURES = (
    "import time\nfrom IPython.display import HTML, clear_output, display\ntime.sleep(0.15)\n"
    "print('gone')\ndisplay(HTML('<b>gone</b>'))\ntime.sleep(0.3)\nclear_output(wait=True)\n"
    "shown = display(HTML('<b>kept</b>'), display_id='d')\ntime.sleep(0.3)\nshown.update(HTML('<b>new</b>'))\n"
    "time.sleep(0.3)\n42"
)
FLOOD = "import time\ntime.sleep(0.15)\nprint('x' * 99_999)\ntime.sleep(0.3)"


def texts(events: list[dict[str, Any]], cell_id: str, name: str) -> str:
    """What a reader who follows docs/events.md puts together."""
    return "".join(
        part["text"]
        for event in events
        for part in event["data"].get("outputs", [])
        if isinstance(part, dict) and event["data"].get("cellId") == cell_id and part["name"] == name
    )


async def test_logs_can_be_followed(api: Api) -> None:
    notebook = await api.create(SLOW, BAR, PICTURES, FLOOD, *["print('short')"] * 20, "1 / 0")
    cells = [cell["cellId"] for cell in notebook["cells"]]
    execution = await api.start(notebook["notebookId"])
    events = await read_events(api, execution)
    told = [event for event in events if event["type"] == "execution.cell_output"]
    by_cell = Counter(event["data"]["cellId"] for event in told)

    # Everything once, and before or with the cell's end.
    assert texts(events, cells[0], "stdout") == "".join(f"line {i} é😀\n" for i in range(40))
    assert by_cell[cells[0]] >= 2
    assert _RGX_CARRIAGERETURN.sub("", texts(events, cells[1], "stderr")) == " 59%"
    for cell in cells:
        of_cell = [event["type"] for event in events if event["data"].get("cellId") == cell]
        assert of_cell[0] == "execution.cell_started"
        assert of_cell[-1] == "execution.cell_completed"
        assert set(of_cell[1:-1]) <= {"execution.cell_output"}

    # Pictures, and what became of them.
    seen = [event["data"] for event in told if event["data"]["cellId"] == cells[2]]
    parts = [(data["cleared"], part["outputType"], part["mimeTypes"][:1]) for data in seen for part in data["outputs"]]
    assert parts == [
        (False, "stream", []), (False, "display_data", ["text/plain"]), (True, "display_data", ["text/plain"]),
        (False, "update_display_data", ["text/plain"]), (False, "execute_result", ["text/plain"]),
    ]  # fmt: skip
    assert seen[-1]["outputs"][-1]["text"] == "42"

    # What is too long is cut, counted, and to be had by the link.
    (flood,) = (event["data"] for event in told if event["data"]["cellId"] == cells[3])
    (part,) = flood["outputs"]
    assert len(part["text"]) == 16_000
    assert part["cutCharacters"] + 16_000 == part["sizeBytes"] == 100_000
    status, linked, _ = await api.get(flood["link"])
    assert status == 200
    assert orjson.dumps(linked).count(b"x" * 99_999) == 1

    # Short cells have no event of their own, and tell all the same.
    for cell in cells[4:-1]:
        assert by_cell[cell] == 0 or texts(events, cell, "stdout") == "short\n"
        assert texts(events, cell, "stdout") == "short\n"
    failed = [event["data"] for event in events if event["data"].get("cellId") == cells[-1]]
    assert [(part["outputType"], part["text"]) for data in failed for part in data.get("outputs", [])] == [
        ("error", "ZeroDivisionError: division by zero")
    ]

    # The times are the writer's own, so they can be counted.
    times = [datetime.fromisoformat(event["time"]) for event in told]
    assert all((times[place + 10] - times[place]).total_seconds() >= 0.9 for place in range(len(times) - 10))


async def test_output_comes_while_the_cell_runs_and_not_when_none_is_kept(api: Api) -> None:
    notebook = await api.create("import time\nprint('ready', flush=True)\ntime.sleep(100)")
    execution = await api.start(notebook["notebookId"])
    heard = ""
    async with (
        asyncio.timeout(60),
        api.session.get(api.url(f"{address(execution)}/events"), headers=api.headers) as live,
    ):
        async for line in live.content:
            heard += line.decode()
            if "execution.cell_output" in heard and line == b"\n":
                assert (await api.post(f"{address(execution)}/cancel"))[0] == 202
                break
    assert '"text":"ready\\n"' in heard
    assert (await api.wait(notebook["notebookId"], execution["executionId"]))["status"] == "Cancelled"

    silent = await api.create("import time\ntime.sleep(0.15)\nprint('secret', flush=True)\ntime.sleep(0.3)")
    execution = await api.run(silent["notebookId"], {"outputOptions": {"captureOutputs": False}})
    events = await read_events(api, execution)
    assert not any(event["type"] == "execution.cell_output" for event in events)
    assert b"secret" not in orjson.dumps(events)
