"""Widgets in a report: shown once each, and no more of them than a page takes, however they name one another."""

from __future__ import annotations

from typing import Any

from shared.reports import outputs, widgets


def shown(states: dict[str, dict[str, Any]], first: str) -> str:
    page = outputs.Shown(states)
    text = page._form({widgets.VIEW: {"model_id": first}})["text/html"]
    assert isinstance(text, str)
    return text


def box(*children: str) -> dict[str, Any]:
    return {"_model_name": "VBoxModel", "children": [f"IPY_MODEL_{child}" for child in children]}


def test_a_box_shows_its_children() -> None:
    states = {"box": box("a", "b"), "a": {"value": 1}, "b": {"value": "<two>"}}
    text = shown(states, "box")
    assert text.index("<b>1</b>") < text.index("<b>&lt;two&gt;</b>")


def test_children_that_repeat_ten_times_a_level_are_cut() -> None:
    states = {f"level{n}": box(*[f"level{n + 1}"] * 10) for n in range(19)}
    states["level19"] = {"value": "leaf"}
    text = shown(states, "level0")
    assert text.count("leaf") <= widgets.MAX_WIDGETS
    assert len(text) < 1_000_000


def test_large_children_are_cut() -> None:
    states = {"box": box(*["text"] * 1_000), "text": {"_model_name": "HTMLModel", "value": "x" * 1_000_000}}
    assert len(shown(states, "box")) < widgets.MAX_CHARACTERS + 1_000_000


def test_an_output_widget_that_holds_itself_ends() -> None:
    view = {"output_type": "display_data", "data": {widgets.VIEW: {"model_id": "out"}}, "metadata": {}}
    states = {"out": {"_model_name": "OutputModel", "outputs": [view, view]}}
    assert len(shown(states, "out")) < 1_000_000
