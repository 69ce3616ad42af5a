"""Values that are glued with scrapbook are found among outputs as scrapbook itself makes them, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from nbformat import from_dict
from nbformat.v4 import new_code_cell, new_notebook, new_output

from services.executor.collecting import outputs
from services.executor.collecting.scraps import scrap_in

JSON, TEXT = "application/scrapbook.scrap.json+json", "application/scrapbook.scrap.text+json"
PANDAS = "application/scrapbook.scrap.pandas+json"

RECORDED: list[tuple[str, str, Any, str]] = [
    ("answer", JSON, 42, "json"),
    ("pi", JSON, 3.14, "json"),
    ("text", TEXT, "hello", "text"),
    ("lst", JSON, [1, {"a": None}], "json"),
    ("j", JSON, {"a": 1}, "json"),
]
"""What `sb.glue(name, value)` displayed with scrapbook 0.5.0 from PyPI, recorded with IPython's `capture_output`."""


def displayed(name: Any, mime: str, data: Any, encoder: str) -> Any:
    payload = {"name": name, "data": data, "encoder": encoder, "version": 1}
    metadata = {"scrapbook": {"name": name, "data": True, "display": False}}
    return new_output("display_data", data={mime: payload}, metadata=metadata)


def shown(*several: Any) -> list[str]:
    notebook = from_dict(new_notebook(cells=[new_code_cell("x", outputs=list(several))]))
    found = [outputs.read(output, "a", None) for output in notebook.cells[0].outputs]
    return [output.content_type for output in found if output is not None]


@pytest.mark.parametrize(("name", "mime", "data", "encoder"), RECORDED, ids=lambda value: str(value)[:8])
def test_what_scrapbook_glues_is_a_value_and_no_output(name: str, mime: str, data: Any, encoder: str) -> None:
    output = displayed(name, mime, data, encoder)
    assert scrap_in(output) == (name, data)
    assert shown(output) == []


@pytest.mark.parametrize(
    "output",
    [
        # `sb.glue("df", frame)`: a Parquet file in base64.
        displayed("df", PANDAS, "UEFSMRUEFSAVJEwVBBUAEgAA", "pandas"),
        # The second output of `sb.glue("disp", value, display=True)`.
        new_output(
            "display_data",
            data={"text/plain": "{'a': 1}"},
            metadata={"scrapbook": {"name": "disp", "data": False, "display": True}},
        ),
        displayed("", JSON, 1, "json"),
        displayed("n" * 201, JSON, 1, "json"),
        displayed(7, JSON, 1, "json"),
        displayed("big", JSON, 2**70, "json"),
        new_output("display_data", data={JSON: "no object"}),
        new_output("display_data", data={JSON: {"name": "x"}}),
        new_output("display_data", data={"application/scrapbook+json": {"name": "x", "data": 1}}),
    ],
)
def test_what_is_no_plain_value_stays_an_output(output: Any) -> None:
    assert scrap_in(output) is None


def test_outputs_around_a_value_stay() -> None:
    frame = displayed("df", PANDAS, "UEFSMQ==", "pandas")
    assert shown(displayed("a", JSON, 1, "json"), frame, new_output("stream", name="stdout", text="x")) == [
        PANDAS, "text/plain",
    ]  # fmt: skip
    assert scrap_in(displayed("nan", JSON, float("nan"), "json")) == ("nan", None)
    assert scrap_in(new_output("stream", name="stdout", text="x")) is None
