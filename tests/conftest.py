"""The stack that end-to-end tests share: real servers and services in a folder of their own, on free ports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import aiohttp
import pytest
from xdist.remote import Producer

from deploy.local import Stack
from tests.support import durations, groups
from tests.support.api import Api
from tests.support.collector import TraceCollector
from tests.support.stacks import private_stack

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    durations.add_option(parser)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        groups.check(item)
        durations.check_reason(item)
    items.sort(key=lambda item: groups.order_of(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    durations.judge(item, report)
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> groups.ByGroup:
    return groups.ByGroup(config, log)


@pytest.fixture(scope="session")
def collector() -> Iterator[TraceCollector]:
    """Where the stack's spans go."""
    collector = TraceCollector()
    yield collector
    collector.close()


@pytest.fixture(scope="session")
def stack(collector: TraceCollector) -> Iterator[Stack]:
    """A whole stack, up and ready."""
    with private_stack(slots=3, env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}) as running:
        yield running


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """One HTTP session for all tests."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.fixture(scope="session")
async def api(stack: Stack, http: aiohttp.ClientSession) -> Api:
    """A tenant's API with the admin role."""
    api = await Api.of(stack, http)
    api.is_described = True
    return api


@pytest.fixture(scope="session")
def simulated_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated event log."""
    path = tmp_path_factory.mktemp("log") / "simulated.csv"
    program = ROOT / "examples" / "simulate_event_log.py"
    subprocess.run([sys.executable, program, "--cases", "200", "--seed", "7", "--output", path], check=True)
    return path


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of public event logs: absent, tests skip locally and fail in CI."""
    folder = Path(os.environ.get("ATELIER_SAMPLE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"the sample data is missing: {folder}")
        pytest.skip(f"no sample data at {folder}")
    return folder


@pytest.fixture(scope="session")
def reference_programs() -> Path:
    """The folder of the reference's own programs: absent, tests skip locally and fail in CI."""
    folder = Path(os.environ.get("ATELIER_REFERENCE", ROOT.parent / "shared" / "reference"))
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"the reference programs are missing: {folder}")
        pytest.skip(f"no reference programs at {folder}")
    return folder
