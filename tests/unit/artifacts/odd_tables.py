"""Odd CSV files of texts, made from a seed, each with what must become of it: its values, or its fault's place."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass

from services.artifacts.formats.csv_dialect import MAX_RECORD_BYTES

MOST_LONG_LINES = 4
"""Files with a line over the limit, which take seconds to make and to read."""

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "utf-32")
DELIMITERS = (",", ";", "\t", "|")
WORDS = (
    "Register",
    "Prüfung",
    "naïve café",
    "=SUM(A1:A2)",
    "+31 20",
    "-",
    "@cmd",
    "007",
    "1e3",
    "NULL",
    "NaN",
    "true story",
    'say "hi"',
    "two\nlines",
    "a, b; c\td|e",
    " padded ",
    "5 €",
)


@dataclass(frozen=True, kw_only=True)
class OddTable:
    """A file, and either its texts by row (None: missing) or what the refusal must say."""

    name: str
    data: bytes
    names: list[str] | None = None
    rows: list[list[str]] | None = None
    refusal: str | None = None


def corpus(seed: int = 4) -> Iterator[OddTable]:
    """All of them, the same for the same seed."""
    chance = random.Random(seed)
    for number in range(100):
        yield _readable(chance, number)
    for number in range(40):
        yield _broken(chance, number)


def _readable(chance: random.Random, number: int) -> OddTable:
    delimiter, encoding = DELIMITERS[number % 4], ENCODINGS[number % 7]
    width = chance.choice([2, 3, 7, 40])
    names = [f"{chance.choice(['case', 'näme', 'a b', 'x'])}_{number}_{index}" for index in range(width)]
    rows = [[_word(chance) for _ in names] for _ in range(chance.choice([0, 1, 2, 50, 400]))]
    text = _written([names, *rows], delimiter, chance.choice(["\n", "\r\n"]), chance.random() < 0.5)
    return OddTable(name=f"{number}-{encoding}", data=text.encode(encoding), names=names, rows=rows)


def _word(chance: random.Random) -> str:
    # The first letter keeps every column a text, so that the oracle is the text itself.
    return f"w{chance.choice(WORDS)}" if chance.random() < 0.8 else chance.choice(WORDS[3:7])


def _broken(chance: random.Random, number: int) -> OddTable:
    names = ["case_id", "activity", "time"]
    rows = [[f"{number}.{index}", "Register", "2020-01-01"] for index in range(chance.randrange(3, 300))]
    place = chance.randrange(len(rows))
    line = place + 2
    kind = number % 6 if number < MOST_LONG_LINES * 6 else number % 4
    if kind == 0:
        rows[place] = rows[place][: chance.randrange(1, 3)]
        refusal = f"Line {line}, column '{names[len(rows[place])]}': there "
    elif kind == 1:
        rows[place] = [*rows[place], "more"]
        refusal = f"Line {line}: there are 4 values"
    elif kind == 2:
        rows[place][1] = "Reg\0ister"
        refusal = f"Line {line}, column 'activity': there is a NUL byte"
    elif kind == 3:
        names[2] = names[0]
        refusal = "Line 1, column 'case_id': the header names it 2 times"
    elif kind == 4:
        rows[place][2] = "x" * (3 * MAX_RECORD_BYTES)
        refusal = f"Line {line}, column 'time': the line is longer than"
    else:
        refusal = f"Line {line}, column 'activity': a quoted value that begins here is not closed"
    lines = [",".join(row) for row in [names, *rows]]
    if kind == 5:
        lines[place + 1] = lines[place + 1].replace("Register", '"Register')
    return OddTable(name=f"broken-{number}", data="\n".join([*lines, ""]).encode(), refusal=refusal)


def _written(rows: list[list[str]], delimiter: str, newline: str, quote_all: bool) -> str:
    file = io.StringIO(newline="")
    dialect: type[csv.Dialect] = csv.unix_dialect if quote_all else csv.excel  # the first quotes everything
    csv.writer(file, dialect, delimiter=delimiter, lineterminator=newline).writerows(rows)
    return file.getvalue()
