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

USUAL = 122
"""Generated inputs that `make test` sends: a fair share of each generator, chosen by chance that never changes."""

BATCH = 22
"""Inputs that are judged together."""


def batches() -> tuple[list[list[Input]], list[list[Input]]]:
    """Those of `make test`, and the others; mixed, so that each batch has something for every service."""
    mixed = random.Random("abuse").sample(GENERATED, len(GENERATED))
    usual = random.Random("usual").sample([*issue_rows.INPUTS, *mixed[:USUAL]], len(issue_rows.INPUTS) + USUAL)
    return _in_batches(usual), _in_batches(mixed[USUAL:])


def _in_batches(inputs: list[Input]) -> list[list[Input]]:
    return [inputs[at : at + BATCH] for at in range(0, len(inputs), BATCH)]
