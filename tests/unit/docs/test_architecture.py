"""ARCHITECTURE.md names every table, exchange, queue and command, and none that does not exist."""

from __future__ import annotations

import re

from services.artifacts.handlers import COMMANDS as ARTIFACTS
from services.catalog.handlers import COMMANDS as CATALOG
from services.executor.handlers import COMMANDS as EXECUTOR
from services.gateway.asyncapi import events
from services.migrate import SERVICES
from shared import topology
from shared.migrations import SHARED_FOLDER
from tests.unit.docs import documents
from tests.unit.docs.documents import ROOT

NAME = "ARCHITECTURE.md"
OWN = ("atelier.replies.", "atelier.gateway.live.", "atelier.nudges.")
"""How the names of queues begin that belong to one process."""


def tables(folder: str) -> set[str]:
    """The tables that a folder of migrations makes."""
    made = set()
    for path in (ROOT / folder).glob("*.sql"):
        made |= set(re.findall(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", path.read_text(), re.MULTILINE))
    return made


def test_every_table_is_there_and_no_other() -> None:
    shared = tables(str(SHARED_FOLDER.relative_to(ROOT)))
    own = {f"{service}.{table}" for service in SERVICES for table in tables(f"services/{service}/migrations")}
    assert len(own) >= 20
    assert len(shared) >= 3
    words = documents.code_words(NAME)
    assert own | shared <= words
    everything = own | {f"{service}.{table}" for service in SERVICES for table in shared}
    said = {word for word in words if re.fullmatch(rf"({'|'.join(SERVICES)})\.\w+", word)}
    assert said - {event.type for event in events()} <= everything


def test_every_exchange_and_queue_is_there_and_no_other() -> None:
    names = set(topology.EXCHANGES) | {queue.name for queue in topology.QUEUES}
    words = {word for word in documents.code_words(NAME) if word.startswith("atelier.")}
    assert names <= words
    assert {word for word in words if not word.startswith(OWN)} <= names


def test_numbers_of_the_topology_are_true() -> None:
    text = documents.section(NAME, "Exchanges and queues")
    assert f"{topology.COMMAND_QUEUE_LENGTH:,} messages, `reject-publish`" in text
    assert f"{topology.HINTS_LENGTH:,} messages, `drop-head`" in text
    assert f"delivery limit {topology.DELIVERY_LIMIT}," in text
    assert f"stream, {topology.STREAM_BYTES // 10**9} GB" in text


def test_every_command_is_in_the_right_place() -> None:
    rows = {
        cells[0]: cells[1:]
        for line in documents.section(NAME, "Commands").splitlines()
        if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 3
    }
    for service, registry in (("catalog", CATALOG), ("executor", EXECUTOR), ("artifacts", ARTIFACTS)):
        reads, writes = (set(re.findall(r"`(\w+)`", cell)) for cell in rows[service])
        assert reads == {command.name() for command in registry if not command.write}
        assert writes == {command.name() for command in registry if command.write}
