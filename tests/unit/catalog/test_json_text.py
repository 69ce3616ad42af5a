"""What nbformat reads and JSON does not have: held against nbformat's own reading of the same file."""

from __future__ import annotations

import json
import math
from typing import Any

import nbformat
import orjson
import pytest

from services.catalog import importing
from shared.errors import Invalid

NULLED = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"]


def file_with(value: str, **members: Any) -> str:
    """A notebook whose second cell has `value` in its metadata and in an output."""
    output = {"output_type": "display_data", "metadata": {}, "data": {"application/json": {"a": ["VALUE"]}}}
    cells = [
        {"cell_type": "markdown", "id": "text", "metadata": {}, "source": "NaN"},
        {
            "cell_type": "code",
            "id": "code",
            "metadata": {"n": "VALUE"},
            "source": "x = 'NaN'",
            "outputs": [output],
            "execution_count": 1,
        },
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}).replace(
        '"VALUE"', value
    )


def mended(value: Any) -> Any:
    """What nbformat reads, with null in place of each number that JSON does not have."""
    if isinstance(value, dict):
        return {name: mended(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [mended(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@pytest.mark.parametrize("value", NULLED)
def test_numbers_that_json_does_not_have_become_null_with_their_place(value: str) -> None:
    text = file_with(value)
    imported = importing.read("a.ipynb", text, None)
    exported = imported.document.export("python3")
    read = nbformat.reads(text, as_version=4)
    assert [cell["metadata"] for cell in exported["cells"]] == [mended(cell["metadata"]) for cell in read.cells]
    assert exported["cells"][1]["outputs"] == mended(read.cells[1]["outputs"])
    assert [cell["source"] for cell in exported["cells"]] == [cell["source"] for cell in read.cells]
    first, second = imported.parsing.warnings
    assert first.startswith("file.cells[1].metadata.n was ")
    assert second.startswith("file.cells[1].outputs[0].data.application/json.a[0] was ")
    orjson.dumps(exported)


def test_half_a_surrogate_pair_is_replaced() -> None:
    text = file_with('{"\\ud83d": "a\\ud83d", "whole": "\\ud83d\\ude00"}')
    imported = importing.read("a.ipynb", text, None)
    metadata = imported.document.cells[1]["metadata"]
    assert metadata == {"n": {"\ufffd": "a\ufffd", "whole": "\U0001f600"}}
    assert len(imported.parsing.warnings) == 4
    assert all("surrogate" in warning for warning in imported.parsing.warnings)
    "".join(imported.parsing.warnings).encode()


def test_warnings_are_counted() -> None:
    imported = importing.read("a.ipynb", file_with("[" + ",".join(["NaN"] * 300) + "]"), None)
    assert len(imported.parsing.warnings) == 101
    assert imported.parsing.warnings[-1] == "500 more values were replaced in the same way."


@pytest.mark.parametrize("value", ["18446744073709551616", "-9223372036854775809"])
def test_whole_numbers_that_would_be_rounded_are_refused_with_their_places(value: str) -> None:
    for text in (file_with(value), file_with(f"[NaN, {value}]")):
        with pytest.raises(Invalid) as raised:
            importing.read("a.ipynb", text, None)
        faults = {fault.path.removesuffix("[1]"): fault.message for fault in raised.value.faults}
        assert set(faults) == {"file.cells[1].metadata.n", "file.cells[1].outputs[0].data.application/json.a[0]"}
        assert all("64 bits" in message for message in faults.values())
