"""docs/events.md has every event, with a body that its model reads and writes to the same, and the whole envelope."""

from __future__ import annotations

import json
import re

import pytest

from services.gateway.asyncapi import events
from shared.contracts.base import Event
from shared.envelope import Envelope, event_data
from tests.unit.docs import documents

NAME = "docs/events.md"


@pytest.mark.parametrize("model", events(), ids=lambda model: model.type)
def test_the_example_is_one(model: type[Event]) -> None:
    section = documents.section(NAME, model.type)
    found = re.search(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    written = json.loads(found[1])
    envelope = Envelope.decode(found[1].encode())
    event = event_data(envelope, model)
    assert written["type"] == model.type
    assert written["subject"] == event.subject()
    assert written["schemaversion"] == model.schema_version
    assert event.model_dump(mode="json", by_alias=True, exclude={"scope"}) == written["data"]
    assert json.loads(envelope.encode()) == written
    told = re.search(r"^Topic key: `([^`]+)`$", section, re.MULTILINE)
    assert told is not None
    assert re.fullmatch(pattern(told[1]), event.routing_key())
    assert ("sequence" in written) == (model.type.startswith("execution.") and model.type != "execution.purged")


def pattern(key: str) -> str:
    """A topic key with `<names>` and an optional end as a regular expression."""
    escaped = re.escape(key).replace(r"\[", "(").replace(r"\]", ")?")
    return re.sub(r"<\w+>", "[0-9a-f-]{36}", escaped)


def test_no_event_is_invented() -> None:
    types = {model.type for model in events()}
    headings = set(re.findall(r"^### (\w+\.\w+)$", documents.text(NAME), re.MULTILINE))
    assert headings == types


def test_the_envelope_is_described_whole() -> None:
    section = documents.section(NAME, "The envelope")
    described = {word for line in section.splitlines() if line.startswith("| `") for word in _first_words(line)}
    assert described == set(Envelope.model_fields)


def _first_words(line: str) -> list[str]:
    return re.findall(r"`(\w+)`", line.split("|")[1])
