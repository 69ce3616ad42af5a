"""The differences from papermill that are allowed, each with its reason, and the cases that are not yet right."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode

from tests.parity.answers import Answer

Change = Callable[[Answer], Answer]
"""Makes of papermill's answer the one that is right here."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One allowed difference. `cases`: those it is for; none: it is a rule for all."""

    reason: str
    change: Change
    cases: tuple[str, ...] = ()


def _outputs(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """A change of every output."""

    def changed(answer: Answer) -> Answer:
        for cell in answer["cells"]:
            if "out" in cell:
                cell["out"] = [change(output) for output in cell["out"]]
        return answer

    return changed


def _terminal(output: dict[str, Any]) -> dict[str, Any]:
    for name in ("stdout", "stderr"):
        if name in output:
            text = output[name].replace("\r\n", "\n")
            shortened = True
            while shortened:  # nbclient's own rules for coalesce_streams
                before, text = text, re.sub(r"[^\n]\x08", "", text)
                shortened = len(text) < len(before)
            output[name] = re.sub(r".*\r(?=[^\n])", "", text)
    return output


def _storable(output: dict[str, Any]) -> dict[str, Any]:
    return {name: text.replace("\0", "\ufffd") if isinstance(text, str) else text for name, text in output.items()}


def _completed(answer: Answer) -> Answer:
    return {**answer, "end": "ok"}


def _prints(text: str) -> Change:
    """A change of the first cell: it prints `text`, and nothing to stderr."""

    def changed(answer: Answer) -> Answer:
        others = [output for output in answer["cells"][0]["out"] if not {"stdout", "stderr"} & set(output)]
        answer["cells"][0]["out"] = [{"stdout": text}, *others]
        return answer

    return changed


def _printed_by_its_task(answer: Answer) -> Answer:
    answer["cells"][0]["out"] = [{"stdout": "from the task\n"}]
    return answer


def _without_stale_injection(answer: Answer) -> Answer:
    return {**answer, "cells": [{"n": 1}, {"n": 2, "out": [{"result": {"text/plain": "1"}}]}]}


SHOWN_ERRORS = (
    "errors/failing_hook",
    "errors/tagged_raises_exception",
    "magics/run_script_that_shows_a_caught_error",
    "magics/tb_of_caught",
)

DIFFERENCES = (
    Difference(
        reason="streams are kept as a terminal shows them: nbclient's coalesce_streams, which papermill leaves off",
        change=_outputs(_terminal),
    ),
    Difference(
        reason="PostgreSQL keeps no NUL in a text; a replacement character stands for it",
        change=_outputs(_storable),
    ),
    Difference(
        reason="papermill runs all cells and then calls a notebook failed because an error is among its outputs; here "
        "a cell has failed when the kernel says so, and one tagged raises-exception may",
        change=_completed,
        cases=SHOWN_ERRORS,
    ),
    Difference(
        reason="ipykernel cannot send half a surrogate pair and prints a traceback of its own; here a replacement is",
        change=_prints("\ufffd\n"),
        cases=("streams/lone_surrogate",),
    ),
    Difference(
        reason="as before",
        change=_prints("left \ufffd right\n"),
        cases=("streams/lone_surrogate_written",),
    ),
    Difference(
        reason="as before",
        change=_prints("a\ufffdb\ufffd\n"),
        cases=("streams/lone_surrogates_inside",),
    ),
    Difference(
        reason="what a task prints belongs to the cell that started it, and is kept when that cell has ended",
        change=_printed_by_its_task,
        cases=("concurrency/asyncio_task_prints_in_later_cell",),
    ),
    Difference(
        reason="a cell that an earlier run had injected goes before the run, also where there are no new parameters",
        change=_without_stale_injection,
        cases=("parameters/stale_injected_without_parameters",),
    ),
)

ADDED_FORMS = re.compile(r"application/vnd\.vegalite\..*")
"""Forms of outputs that kernels here give beside those of other kernels: reports draw Altair's charts from them."""

ADDED_METADATA = ("title",)
"""Metadata that figures have here: results show them."""


def without_additions(notebook: NotebookNode) -> NotebookNode:
    """An executed notebook without what it has here on purpose and nowhere else."""
    kept: NotebookNode = copy.deepcopy(notebook)
    for cell in kept.cells:
        for output in cell.get("outputs", []):
            data, metadata = output.get("data", {}), output.get("metadata", {})
            for mime in [mime for mime in data if ADDED_FORMS.fullmatch(mime) and "text/html" in data]:
                del data[mime]
            for name in ADDED_METADATA:
                if "image/png" in data or "image/svg+xml" in data:
                    metadata.pop(name, None)
    return kept


NOT_YET: Mapping[str, str] = {}
"""Cases that fail today, with what is missing. The list may only get shorter: a case that passes must leave it."""


def right_here(case_id: str, answer: Answer) -> Answer:
    """What is right here, by papermill's answer and the differences allowed."""
    changed = copy.deepcopy(answer)
    for difference in DIFFERENCES:
        if not difference.cases or case_id in difference.cases:
            changed = difference.change(changed)
    return changed
