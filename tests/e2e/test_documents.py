"""The programs in README.md and docs/events.md, run as they stand against a real stack."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import nbformat
import pytest

from deploy.local import Stack
from tests.support.api import Api
from tests.unit.docs import documents

PATIENCE_S = 60.0


async def test_the_tour_of_the_readme(api: Api, stack: Stack, simulated_log: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("curl is missing")
        pytest.skip("curl is missing")
    _, start, tour = (block.text for block in documents.blocks("README.md", "sh"))
    assert start.splitlines() == ["make up", ". .atelier/dev.env"]  # what it sets is given to the tour below
    dataset = await api.upload_dataset(simulated_log, "the tour's log")
    environment = {
        "PATH": os.environ["PATH"],
        "ATELIER_URL": stack.url,
        "ATELIER_TENANT": api.tenant,
        "ATELIER_PROJECT": api.project,
        "ATELIER_API_KEY": api.key,
        "ATELIER_DATASET": dataset["datasetId"],
    }
    done = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-eu"],
        input=tour,
        text=True,
        capture_output=True,
        cwd=tmp_path,
        env=environment,
        timeout=PATIENCE_S * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [line.removeprefix("event: ") for line in done.stdout.splitlines() if line.startswith("event: ")]
    assert events[0] == "execution.queued"
    assert events[-1] == "execution.completed"
    status = json.loads(next(line for line in done.stdout.splitlines() if '"percentComplete"' in line))
    assert status["status"] == "Completed", status
    with (tmp_path / "enriched.csv").open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == dataset["recordCount"]
    notebook = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert any(cell.get("outputs") for cell in notebook.cells)


@asynccontextmanager
async def running(program: str, stack: Stack, api: Api) -> AsyncIterator[Process]:
    """A program of the document, until the end of the block."""
    environment = {"PATH": os.environ["PATH"], "ATELIER_AMQP_URL": stack.amqp_url, "ATELIER_TENANT": api.tenant}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environment, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: Process) -> str:
    """The next line that a program prints."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return (await process.stdout.readline()).decode().strip()


async def test_the_programs_that_hear_events(stack: Stack, api: Api) -> None:
    own = await Api.of(stack, api.session)  # a tenant in which nothing else happens
    failures, history = (block.text for block in documents.blocks("docs/events.md", "python"))
    connection = await aio_pika.connect(stack.amqp_url)
    async with connection:
        channel = await connection.channel()
        try:
            async with running(failures, stack, own) as process:
                await until_bound(connection, "example.failures")
                notebook = await own.create("1 / 0")
                execution = await own.run(notebook["notebookId"])
                assert await line_of(process) == f"execution/{execution['executionId']} division by zero"
        finally:
            await channel.queue_delete("example.failures")

    async with running(history, stack, own) as process:
        expected = {
            f"notebook.created notebook/{notebook['notebookId']}",
            f"execution.queued execution/{execution['executionId']}",
            f"execution.failed execution/{execution['executionId']}",
        }
        while expected:
            offset, _, event = (await line_of(process)).partition(" ")
            assert offset.isdigit()
            expected.discard(event)


async def until_bound(connection: aio_pika.abc.AbstractConnection, name: str) -> None:
    """Return when the queue has a consumer, which its program starts after the binding."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            channel = await connection.channel()
            try:
                queue = await channel.declare_queue(name, passive=True)
                if queue.declaration_result.consumer_count:
                    return
            except aio_pika.exceptions.ChannelNotFoundEntity:
                pass  # the program has not declared it yet; the broker has closed this channel
            finally:
                await channel.close()
            await asyncio.sleep(0.1)
