"""Widgets as they stood at the end of the run, without the program that would make them live."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
MAX_DEPTH = 20
"""Levels of widgets within widgets that are shown."""

MAX_WIDGETS, MAX_CHARACTERS = 5_000, 20_000_000
"""Widgets of a page that are shown, and the characters of them all: a box may name the same child a thousand times, and
so may each of its children."""

Outputs = Callable[[list[Any]], str]
"""Renders the outputs that an Output widget has gathered."""


@dataclass
class Budget:
    """How many more widgets, and characters of them, a page may show."""

    widgets: int = MAX_WIDGETS
    characters: int = MAX_CHARACTERS

    def admits(self, shown: str) -> bool:
        """Whether a widget may be shown; counts it."""
        self.widgets -= 1
        self.characters -= len(shown)
        return self.widgets >= 0 and self.characters >= 0


def states_of(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The state of each widget in a notebook's metadata, by its id."""
    widgets = metadata.get("widgets")
    described = widgets.get(STATE) if isinstance(widgets, dict) else None
    states = described.get("state") if isinstance(described, dict) else None
    if not isinstance(states, dict):
        return {}
    return {
        str(name): model["state"] | {"_model_name": model.get("model_name")}
        for name, model in states.items()
        if isinstance(model, dict) and isinstance(model.get("state"), dict)
    }


def of_view(view: Any, states: dict[str, dict[str, Any]], outputs: Outputs, budget: Budget) -> str | None:
    """A widget as HTML, as far as the page's `budget` goes; None when its state is not known."""
    identity = view.get("model_id") if isinstance(view, dict) else None
    return _widget(str(identity), states, outputs, budget, 0) if str(identity) in states else None


def _widget(identity: str, states: dict[str, dict[str, Any]], outputs: Outputs, budget: Budget, depth: int) -> str:
    state = states.get(identity)
    if state is None or depth > MAX_DEPTH or not budget.admits(""):
        return ""
    children = state.get("children")
    if isinstance(children, list):
        inner = "".join(_child(child, states, outputs, budget, depth) for child in children)
        row = " row" if state.get("_model_name") == "HBoxModel" else ""
        return f'<div class="widgets{row}">{inner}</div>'
    if state.get("_model_name") == "OutputModel":
        gathered = state.get("outputs")
        return f"<div>{outputs(gathered if isinstance(gathered, list) else [])}</div>"
    leaf = _leaf(state)
    return leaf if budget.admits(leaf) else ""


def _child(reference: Any, states: dict[str, dict[str, Any]], outputs: Outputs, budget: Budget, depth: int) -> str:
    if not isinstance(reference, str) or not reference.startswith("IPY_MODEL_"):
        return ""
    return _widget(reference.removeprefix("IPY_MODEL_"), states, outputs, budget, depth + 1)


def _leaf(state: dict[str, Any]) -> str:
    name = str(state.get("_model_name") or "")
    label = state.get("description")
    words = f"<span>{html.escape(str(label))}</span> " if label else ""
    value = state.get("value")
    if name in ("HTMLModel", "HTMLMathModel"):
        shown = str(value or "")
    elif "Progress" in name:
        shown = f'<progress max="{_number(state.get("max"), 100)}" value="{_number(value, 0)}"></progress>'
    elif isinstance(options := state.get("_options_labels"), list) and isinstance(at := state.get("index"), int):
        shown = f"<b>{html.escape(str(options[at]))}</b>" if 0 <= at < len(options) else ""
    elif isinstance(value, bool):
        shown = f"<b>{'yes' if value else 'no'}</b>"
    elif value is None or isinstance(value, dict):
        shown = ""
    else:
        shown = f"<b>{html.escape(' to '.join(map(str, value)) if isinstance(value, list) else str(value))}</b>"
    return f'<div class="widget">{words}{shown}</div>'


def _number(value: Any, default: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default
