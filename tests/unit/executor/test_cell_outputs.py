from __future__ import annotations

import base64
import struct
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from services.executor.collecting import headings, outputs
from services.executor.collecting.outputs import CellOutput

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 800, 600)).decode()


def one(output: Any, *, heading: str | None = "## Above\n\ntext") -> CellOutput:
    cells = [new_markdown_cell(heading)] if heading else []
    notebook = new_notebook(cells=[*cells, new_code_cell("x", outputs=[output])])
    cell = nbformat.from_dict(notebook).cells[-1]
    found = outputs.read(cell.outputs[0], cell.id, headings.above_cells(notebook).get(cell.id))
    assert found is not None
    return found


def display(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> Any:
    return new_output("display_data", data=data, metadata=metadata or {})


def test_an_image_has_its_mime_type_and_pixels_and_no_inline_content() -> None:
    found = one(display({"image/png": PNG, "text/plain": "<Figure>"}))
    assert (found.output_type, found.content_type) == ("image/png", "image/png")
    assert (found.width, found.height) == (800, 600)
    assert found.content is None
    assert not found.content_truncated
    assert found.is_plot


def test_json_is_given_as_json() -> None:
    found = one(display({"application/json": {"a": [1, 2]}, "text/plain": "{}"}))
    assert found.output_type == "application/json"
    assert found.content == {"a": [1, 2]}


def test_html_keeps_nbformats_word_and_a_data_frame_is_a_table() -> None:
    found = one(display({"text/html": '<table class="dataframe"></table>', "text/plain": "x"}))
    assert (found.output_type, found.content_type) == ("display_data", "text/html")
    assert found.is_table


def test_streams_and_errors() -> None:
    assert one(new_output("stream", name="stdout", text="hello")).content == "hello"
    error = one(new_output("error", ename="KeyError", evalue="'x'", traceback=["line 1", "line 2"]))
    assert (error.output_type, error.content) == ("error", "line 1\nline 2")


@pytest.mark.parametrize(
    ("metadata", "data", "title"),
    [
        ({"title": "Own"}, {"image/png": PNG}, "Own"),
        ({}, {"application/vnd.plotly.v1+json": {"layout": {"title": {"text": "Figure's"}}}}, "Figure's"),
        ({}, {"image/png": PNG}, "Above"),
    ],
)
def test_the_title_is_the_outputs_own_then_the_figures_then_the_heading_above(
    metadata: dict[str, Any], data: dict[str, Any], title: str
) -> None:
    assert one(display(data, metadata)).title == title


def test_large_content_is_truncated_and_says_so() -> None:
    found = one(new_output("stream", name="stdout", text="x" * (outputs.INLINE_CONTENT_BYTES + 1)))
    assert found.content_truncated
    assert len(found.content) == outputs.INLINE_CONTENT_BYTES


def test_what_is_no_image_is_left_out() -> None:
    notebook = new_notebook(cells=[new_code_cell("x")])
    notebook.cells[0].outputs = [{"output_type": "display_data", "metadata": {}, "data": {"image/png": 5}}]
    assert outputs.read(nbformat.from_dict(notebook).cells[0].outputs[0], "a", None) is None


def test_svg_pixels() -> None:
    found = one(display({"image/svg+xml": '<?xml version="1.0"?><svg width="120pt" height="80" xmlns="x"></svg>'}))
    assert (found.width, found.height) == (160, 80)


def test_the_word_for_a_cell_is_its_first_shown_output() -> None:
    cell = new_code_cell("x", outputs=[new_output("stream", name="stdout", text="a"), display({"image/png": PNG})])
    assert outputs.type_of(cell) == "image/png"
    assert outputs.type_of(new_code_cell("x", outputs=[new_output("stream", name="stdout", text="a")])) == "stream"
    assert outputs.type_of(new_code_cell("x")) is None


@pytest.mark.parametrize(
    "name", ["image/" + "x" * 2_000_000, "text/x\r\nX-Evil: 1", "image/pn g", "plain", "\u00e4/b", ""]
)
def test_a_form_whose_name_is_no_media_type_goes_into_no_header(name: str) -> None:
    cell = new_code_cell("x", outputs=[display({name: "the text"})])
    found = one(display({name: "the text"}))
    assert (found.output_type, found.content_type, found.data) == ("display_data", "text/plain", b"the text")
    assert outputs.type_of(cell) == "display_data"
    assert one(display({name: "the text", "text/html": "<b>"})).content_type == "text/html"


def test_json_with_a_whole_number_that_readers_round_is_exact_in_its_bytes_alone() -> None:
    found = one(display({"application/json": {"a": [1, 2**70]}}))
    assert found.data == b'{"a":[1,1180591620717411303424]}'
    assert (found.content, found.content_truncated) == (None, True)
    assert found.warning is not None
    assert "(a.1)" in found.warning


@pytest.mark.parametrize(
    "metadata", [{"image/png": "no object"}, {"title": ["a"] * 1_000}, {"image/png": {"width": {}}}]
)
def test_metadata_may_be_anything(metadata: dict[str, Any]) -> None:
    found = one(display({"image/png": PNG}, metadata))
    assert found.width == 800
    assert len(found.title or "") <= outputs.TITLE_LENGTH
