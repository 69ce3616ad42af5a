"""Dataset files: CSV, XES, Parquet and gzip whose shape costs a reader most, sent whole and by clients who leave."""

from __future__ import annotations

import asyncio
import gzip
import io
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.abuse.attacker import Attacker, Input, grouped
from tests.support import hostile_tables

Make = Callable[[], bytes]

LEAVES_AFTER_S = 0.7
"""When a client who leaves does so, in seconds."""


def _dates(rows: int, columns: int) -> bytes:
    header = ",".join(f"d{n}" for n in range(columns))
    line = ",".join(["2024-01-02 03:04:05"] * columns)
    return "\n".join([header, *[line] * rows]).encode()


def _misjudged(columns: int) -> bytes:
    """Each column becomes another kind in the last rows."""
    header = ",".join(f"c{n}" for n in range(columns))
    lines = [",".join(["1"] * columns)] * 200
    return "\n".join([header, *lines, ",".join(["1.5"] * columns), ",".join(["a"] * columns)]).encode()


def _xes(*events: str, before: str = "") -> bytes:
    return f"<log>{before}<trace>{''.join(events)}</trace></log>".encode()


def _attributes(count: int) -> str:
    return "".join(f'<string key="a{n}" value="v"/>' for n in range(count))


def _parquet(table: pa.Table, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def _deep(levels: int) -> bytes:
    kind: pa.DataType = pa.int32()
    for _ in range(levels):
        kind = pa.struct([("a", kind)])
    return _parquet(pa.table({"a": pa.nulls(1_000, kind)}))


def _bomb() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return hostile_tables.bomb(Path(folder) / "bomb.parquet").read_bytes()


def _broken_parquet(seed: int) -> bytes:
    """A good file with some bytes of its end changed."""
    random_ = random.Random(f"parquet {seed}")
    content = bytearray(_parquet(pa.table({"a": list(range(2_000)), "b": ["x"] * 2_000})))
    for _ in range(6):
        content[random_.randrange(len(content) - 600, len(content) - 8)] = random_.randrange(256)
    return bytes(content)


def _random_csv(seed: int) -> bytes:
    random_ = random.Random(f"csv {seed}")
    values = (
        "1",
        "-1.5",
        "1,5",
        "2024-01-02",
        "02/03/2024 4:05",
        "a",
        "",
        '"',
        '""',
        '"a\nb"',
        "é",
        "1e999",
        "NaN",
        "\t",
        ";",
    )
    between, end = random_.choice((",", ";", "\t", "|")), random_.choice(("\n", "\r\n", "\r"))
    columns = random_.choice((1, 3, 40, 900))
    rows = [between.join(random_.choice(values) for _ in range(columns)) for _ in range(60_000 // columns)]
    return end.join([between.join(f"c{n}" for n in range(columns)), *rows]).encode()


def _members(count: int) -> bytes:
    return gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"") * count + gzip.compress(b"3,4\n")


SHAPES: dict[str, tuple[str, Make]] = {
    "CSV: 30 rows of 9,000 dates": ("a.csv", lambda: _dates(30, 9_000)),
    "CSV: 9,000 columns misjudged twice": ("a.csv", lambda: _misjudged(9_000)),
    "CSV: 3,000,000 columns": ("a.csv", lambda: b"," * 3_000_000),
    "CSV: a quote that never ends": ("a.csv", lambda: b'a,b\n"' + b"x\n" * 3_000_000),
    "CSV: quotes": ("a.csv", lambda: b"a,b\n" + b'"' * 6_000_001),
    "CSV: a line of 20 MB": ("a.csv", lambda: b"a,b\n" + b"x" * 20_000_000 + b",1\n"),
    "CSV: a header of 20 MB": ("a.csv", lambda: b"x" * 20_000_000 + b",b\n1,2\n"),
    "CSV: one name 9,000 times": ("a.csv", lambda: b",".join([b"a"] * 9_000) + b"\n" + b",".join([b"1"] * 9_000)),
    "CSV: empty lines": ("a.csv", lambda: b"a,b\n" + b"\n" * 8_000_000),
    "CSV: numbers of 100,000 digits": ("a.csv", lambda: b"a,b\n" + (b"1" * 100_000 + b",2\n") * 60),
    "CSV: cases of their own": ("a.csv", lambda: b"case,b\n" + b"".join(b"c%d,1\n" % n for n in range(400_000))),
    "CSV: ragged": ("a.csv", lambda: b"a,b\n" + b"1\n1,2,3\n" * 500_000),
    "CSV: other letters at the end": ("a.csv", lambda: b"a,b\n" + b"x,y\n" * 1_000_000 + b"\xe9,z\n"),
    "CSV: NUL": ("a.csv", lambda: b"a,b\n" + b"\x00" * 5_000_000),
    "XES: no value": ("a.xes", lambda: _xes('<event><string key="concept:name" value=""/></event>')),
    "XES: 9,000 attributes, then empty events": (
        "a.xes",
        lambda: _xes(f"<event>{_attributes(9_000)}</event>", "<event/>" * 60_000),
    ),
    "XES: traces with 2,000 attributes": ("a.xes", lambda: _xes(_attributes(2_000), "<event/>" * 10_000)),
    "XES: nested lists": ("a.xes", lambda: _xes("<event>" + '<list key="a"><values>' * 10_000 + "</event>")),
    "XES: one attribute again and again": (
        "a.xes",
        lambda: _xes("<event>" + '<string key="a" value="v"/>' * 200_000 + "</event>"),
    ),
    "XES: an element with 100,000 attributes": (
        "a.xes",
        lambda: _xes("<event><string " + " ".join(f'k{n}=""' for n in range(100_000)) + "/></event>"),
    ),
    "XES: namespaces": (
        "a.xes",
        lambda: _xes("".join(f'<event xmlns:n{n}="u{n}"><string key="a" value="b"/></event>' for n in range(30_000))),
    ),
    "XES: an attribute of 30 MB": (
        "a.xes",
        lambda: _xes(f'<event><string key="a" value="{"v" * 30_000_000}"/></event>'),
    ),
    "XES: a comment of 20 MB": ("a.xes", lambda: _xes(f"<!--{'c' * 20_000_000}-->")),
    "XES: entities": (
        "a.xes",
        lambda: b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><log>&b;</log>',
    ),
    "XES: instructions": ("a.xes", lambda: b"<?xml version='1.0'?>" + b"<?a b?>" * 500_000 + _xes("<event/>")),
    "XES: containers of containers": (
        "a.xes",
        lambda: _xes("<event>" + '<container key="a">' * 90 + "</container>" * 90 + "</event>"),
    ),
    "Parquet: 20 GB in some kilobytes": ("a.parquet", _bomb),
    "Parquet: 200 levels": ("a.parquet", lambda: _deep(200)),
    "Parquet: 9,000 columns": ("a.parquet", lambda: _parquet(pa.table({f"c{n}": [1] for n in range(9_000)}))),
    "Parquet: 5,000 row groups": ("a.parquet", lambda: _parquet(pa.table({"a": list(range(5_000))}), row_group_size=1)),
    "Parquet: a footer of 2 GB": (
        "a.parquet",
        lambda: b"PAR1" + b"x" * 5_000_000 + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
    ),
    "Parquet: broken 1": ("a.parquet", lambda: _broken_parquet(1)),
    "Parquet: broken 2": ("a.parquet", lambda: _broken_parquet(2)),
    "gzip: 300 MB of zeros": ("a.csv.gz", lambda: gzip.compress(b"\0" * 300_000_000, 1)),
    "gzip: 300 MB of one line": ("a.csv.gz", lambda: gzip.compress(b"a,b\n" + b"x" * 300_000_000, 1)),
    "gzip: 20,000 members": ("a.csv.gz", lambda: _members(20_000)),
    "gzip: cut off": ("a.csv.gz", lambda: gzip.compress(_dates(2_000, 10))[:-20]),
    "gzip: in gzip": ("a.csv.gz", lambda: gzip.compress(gzip.compress(b"a,b\n1,2\n"))),
    **{f"CSV: random {seed}": ("a.csv", partial(_random_csv, seed)) for seed in range(6)},
}

LEAVERS = (
    "CSV: 30 rows of 9,000 dates",
    "XES: 9,000 attributes, then empty events",
    "Parquet: 20 GB in some kilobytes",
)
"""Shapes whose client leaves before the answer: their work has to end, too."""

FIELDS: dict[str, dict[str, str]] = {
    "a time format of 3,000 characters": {"timeFormat": "%Y-" * 1_000},
    "times in a strange format": {"timeFormat": "%c %c %c %c %c", "timeColumn": "a"},
    "an encoding": {"encoding": "idna"},
    "another encoding": {"encoding": "utf-7"},
    "a column of a long name": {"caseIdColumn": "c" * 200_000},
    "a delimiter": {"delimiter": "\u2028" * 1_000},
}


async def _send(attacker: Attacker, *, name: str, make: Make) -> None:
    status, dataset = await attacker.upload("dataset", make(), name, datasetName="abuse")
    if status == 201:
        for part in ("preview?rows=100", "profile", "data?format=csv"):
            await attacker.viewer.get(f"dataset/{dataset['datasetId']}/{part}")


async def _leave(attacker: Attacker, *, name: str, make: Make) -> None:
    sending = asyncio.create_task(attacker.upload("dataset", make(), name, datasetName="abuse"))
    await asyncio.wait({sending}, timeout=LEAVES_AFTER_S)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    status, answer = await attacker.upload("dataset", b"a,b\n1,2\n", "small.csv", datasetName="small")
    assert status in (201, 503), answer


async def _fields(attacker: Attacker, *, fields: dict[str, str]) -> None:
    await attacker.upload("dataset", b"a,b\n" + b"2024-01-02,2\n" * 50_000, "a.csv", datasetName="abuse", **fields)


INPUTS = grouped(
    "dataset",
    [Input(shape, partial(_send, name=name, make=make)) for shape, (name, make) in SHAPES.items()]
    + [
        Input(f"{shape}, whose client leaves", partial(_leave, name=SHAPES[shape][0], make=SHAPES[shape][1]))
        for shape in LEAVERS
    ]
    + [Input(name, partial(_fields, fields=fields)) for name, fields in FIELDS.items()],
)
