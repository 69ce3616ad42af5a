"""The parameter schema as a form gets it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from services.catalog import parameters
from services.catalog.document import Document, empty, new_cell
from services.catalog.parameters import form
from shared.contracts.notebooks import KernelType

PYTHON = '''
from typing import Literal
period = "2024-01-31"  # first day of the period
since = "2024-01-31T10:00:00Z"
mode: Literal["fast", "exact"] = "fast"
time_window = "week"  # how long; one of: day, week, month
maxDepth: int | None = None
where = "https://example.org/log"
dataset_id = ""
note = """one
two"""
'''


def schema_of(source: str, kernel_type: KernelType, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    body = empty()
    body["cells"] = [new_cell("a", "code", source, {"tags": ["parameters"]})]
    body["metadata"] = metadata or {}
    found = form.ready(parameters.schema_of(Document(body=body), kernel_type), "The name")
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def test_order_titles_and_formats() -> None:
    found = schema_of(PYTHON, "python3")
    fields = found["properties"]
    assert found["title"] == "The name"
    assert found["x-order"] == list(fields) == [
        "period", "since", "mode", "time_window", "maxDepth", "where", "dataset_id", "note",
    ]  # fmt: skip
    assert [field["x-order"] for field in fields.values()] == list(range(8))
    assert {name: field.get("format") for name, field in fields.items()} == {
        "period": "date",
        "since": "date-time",
        "mode": None,
        "time_window": None,
        "maxDepth": None,
        "where": "uri",
        "dataset_id": "uuid",
        "note": "textarea",
    }
    assert fields["period"]["description"] == "first day of the period"
    assert fields["mode"]["enum"] == ["fast", "exact"]
    assert fields["time_window"]["enum"] == ["day", "week", "month"]
    assert fields["maxDepth"] == {"title": "Max depth", "type": ["integer", "null"], "default": None, "x-order": 4}


@pytest.mark.parametrize(
    ("kernel_type", "source"),
    [
        ("r", '# how long; one of: day, week\ntime.window <- "week"\nfirst <- "2024-01-31"\nshare <- 0.5\nall <- TRUE'),
        (
            "scala",
            '// how long; one of: day, week\nval a = "week"\nval first = "2024-01-31"\nval share = 0.5\nvar all = true',
        ),
    ],
)
def test_the_other_languages(kernel_type: KernelType, source: str) -> None:
    fields = list(schema_of(source, kernel_type)["properties"].values())
    assert [field["type"] for field in fields] == ["string", "string", "number", "boolean"]
    assert [field["default"] for field in fields] == ["week", "2024-01-31", 0.5, True]
    assert fields[0]["enum"] == ["day", "week"]
    assert fields[1]["format"] == "date"


def test_what_the_schema_says_itself_stays() -> None:
    given = {
        "title": "Mine",
        "properties": {"a": {"title": "An A", "type": "string", "format": "email", "default": "2024-01-01"}},
    }
    found = schema_of("b = 1", "python3", {"atelier": {"parameters": given}})
    assert found["title"] == "Mine"
    assert found["properties"] == {"a": {**given["properties"]["a"], "x-order": 0}}  # type: ignore[index]
    odd = schema_of("", "python3", {"atelier": {"parameters": {"properties": {"a": True}}}})
    assert odd["properties"] == {"a": True}


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("analysis_period", "Analysis period"),
        ("analysisPeriod", "Analysis period"),
        ("ML_models", "ML models"),
        ("x2", "X2"),
        ("time.window", "Time window"),
        ("größe", "Größe"),
        ("_", "_"),
    ],
)
def test_titles(name: str, title: str) -> None:
    assert form.title_of(name) == title
