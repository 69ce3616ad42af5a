"""All inputs in batches, the same in every process: those of `make test`, and the others of `make test-long`."""

from __future__ import annotations

import random

from tests.abuse import addresses, archives, issue_rows, json_shapes, outputs, schemas, sources, tables
from tests.abuse.attacker import Input

GENERATED: list[Input] = [
    *json_shapes.INPUTS,
    *schemas.INPUTS,
    *sources.INPUTS,
    *tables.INPUTS,
    *archives.INPUTS,
    *addresses.INPUTS,
    *outputs.INPUTS,
]

INPUTS: list[Input] = [*issue_rows.INPUTS, *GENERATED]

ALWAYS = (
    "JSON: empty lists as cells (create)",
    "dataset: CSV: 30 rows of 9,000 dates, whose client leaves",
    "dataset: XES: no value",
    "environment: an address of blanks",
    "library: four of 49 MB at a time",
    "notebook file: a marker of 40,000 characters",
    "output: JSON of 1,900,000 objects",
    "output: SVG with a width of blanks",
    "output: backspaces",
    "output: column types of 150,000",
    "output: widgets with repeated children",
    "parameters: 10,000 assignments",
    "parameters: 60,000 newlines",
    "parameters: R: a number and no number",
    "parameters: choices without end",
    "schema: $defs doubling 25 levels, oneOf",
)
"""Generated inputs of the kind that once stopped a service: `make test` sends them, as those of `issue_rows`."""

COSTLY = (
    "JSON: 10,000 cells",
    "JSON: 100,000 parameters",
    "JSON: 100,000 tags",
    "JSON: wide metadata",
    "dataset: CSV: 30 rows",
    "dataset: CSV: 9,000 columns",
    "dataset: CSV: cases of their own",
    "dataset: CSV: empty lines",
    "dataset: CSV: other letters",
    "dataset: Parquet",
    "dataset: XES: 9,000 attributes",
    "dataset: XES: one attribute again",
    "dataset: XES: traces with",
    "dataset: gzip: 300 MB",
    "difference:",
    "form: nearly",
    "notebook file: 10,000 cells",
    "notebook file: 20,000 markers",
    "notebook file: 200,000 cells",
    "notebook file: Markdown of fences",
    "notebook file: a large notebook",
    "notebook file: a script of comments",
    "notebook file: an open string",
    "notebook file: attachments",
    "notebook file: empty lists",
    "notebook file: nbformat 3",
    "notebook file: outputs",
    "notebook file: wide metadata",
    "notebook file: wrong outputs",
    "output: 2,500 records",
    "output: 9,000 outputs",
    "output: JSON of wide names",
    "output: Markdown of code",
    "output: a data frame",
    "output: a wide data frame",
    "output: backspaces line",
    "output: carriage returns",
    "output: line by line",
    "output: metadata",
    "output: names of scraps",
    "parameters: R: brackets",
    "requests: 100 streams",
    "schema: 50,000",
    "schema: a chain of 5,000",
    "schema: anyOf of 10,000",
    "schema: enum of alike",
    "schema: uniqueItems",
    "schema: $defs doubling",
)
"""How names of others begin that take more than three seconds of processor time, or as much as their limits allow:
`make test-long` alone sends them."""

RUNS = 7
"""Of those, notebooks that are run for what they put out: each costs some seconds of two processors."""

USUAL = 122
"""Generated inputs that `make test` sends: a fair share of each generator, chosen by chance that never changes."""

BATCH = 22
"""Inputs that are judged together."""


def batches() -> tuple[list[list[Input]], list[list[Input]]]:
    """Those of `make test`, and the others; mixed, so that each batch has something for every service."""
    always = [one for one in GENERATED if one.name in ALWAYS]
    drawn = [one for one in GENERATED if one.name not in ALWAYS and not one.name.startswith(COSTLY)]
    runs = random.Random("runs").sample([one for one in drawn if one in outputs.INPUTS], RUNS)
    requests = [one for one in drawn if one not in outputs.INPUTS]
    usual = [*always, *runs, *random.Random("abuse").sample(requests, USUAL - len(always) - RUNS)]
    others = [one for one in GENERATED if one not in usual]
    return _in_batches([*issue_rows.INPUTS, *usual]), _in_batches(others)


def _in_batches(inputs: list[Input]) -> list[list[Input]]:
    mixed = random.Random("mixed").sample(inputs, len(inputs))
    return [mixed[at : at + BATCH] for at in range(0, len(mixed), BATCH)]
