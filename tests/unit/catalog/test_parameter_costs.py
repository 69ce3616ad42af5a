"""Parameter cells that are made to cost: each is read in linear time, and what is told of it is bounded."""

from __future__ import annotations

import orjson
import pytest

from services.catalog import parameters
from services.catalog.document import Document, empty, new_cell
from shared.contracts.notebooks import KernelType

N = parameters.MAX_CHARACTERS

HOSTILE: list[tuple[KernelType, str]] = [
    ("r", f"x <- {'1' * N}!"),
    ("r", f"x <- {'1.' * N}"),
    ("r", "#\n" * N),
    ("r", "x <- '" + "\\'" * N),
    ("r", f"x <- 1 # one of:{' ' * N}"),
    ("r", f"x <- 1 # one of: {'1' * N}"),
    ("r", f"x <- c({'1,' * N}"),
    ("scala", f"val x: {' ' * N}"),
    ("scala", f"val x: {'a ' * N}"),
    ("scala", f"val x = {'1' * N}!"),
    ("scala", "val x = " + "Seq(" * N),
    ("python3", "\n" * N),
    ("python3", "x=1\n" * N),
    ("python3", "# c\n" * (N // 8) + "x=1;" * N),
    ("python3", "x=1;" * (N // 8) + f"# {'long ' * N}"),
    ("python3", f"x: {'a|' * 3_000}b = 1"),
    ("python3", "x: " + "Optional[" * 2_000),
    ("python3", "x = " + "[" * N),
    ("python3", f"x = f'{'{a}' * N}'"),
    ("python3", "(\n" * N),
    ("python3", f"x = 1 # type: {'a' * N}"),
    ("python3", "\t\x0c" * N),
    ("python3", f"x = {'9' * N}"),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("kernel_type", "source"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_cell_of_the_longest_kind_is_read_in_linear_time(kernel_type: KernelType, source: str) -> None:
    body = {**empty(), "cells": [new_cell("a", "code", source[:N], {"tags": ["parameters"]})]}
    schema = parameters.schema_of(Document(body=body), kernel_type)
    assert len(orjson.dumps(schema)) < 20 * N


def test_names_are_told_up_to_a_number() -> None:
    source = "\n".join(f"a{number}=1" for number in range(parameters.MOST_PARAMETERS + 5))
    body = {**empty(), "cells": [new_cell("a", "code", source, {"tags": ["parameters"]})]}
    assert len(parameters.schema_of(Document(body=body), "python3")["properties"]) == parameters.MOST_PARAMETERS


def test_a_description_is_cut_with_a_mark() -> None:
    body = {**empty(), "cells": [new_cell("a", "code", f"x = 1  # {'long ' * 2_000}", {"tags": ["parameters"]})]}
    told = parameters.schema_of(Document(body=body), "python3")["properties"]["x"]["description"]
    assert (len(told), told[-1]) == (1_000, "…")
