"""JSON bodies for every route that takes one: depth, counts, names, numbers and escapes that cost a reader most."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from tests.abuse.attacker import Attacker, Input, grouped

Make = Callable[[], bytes]

ROUTES = {
    "create": ("editor", "POST", "notebook"),
    "change": ("editor", "PUT", "notebook/@"),
    "execute": ("runner", "POST", "notebook/@/execute"),
    "value": ("runner", "POST", "notebook/@/value"),
    "template": ("editor", "POST", "templates"),
    "block": ("editor", "POST", "notebook/@/blocks"),
    "cell": ("editor", "PUT", "notebook/@/cells/cell-001"),
    "copy": ("editor", "POST", "notebook/@/copy"),
}
"""Role, method and path; `@` is a notebook's id."""


def _nested(opening: bytes, closing: bytes, levels: int) -> bytes:
    return opening * levels + b"1" + closing * levels


SHAPES: dict[str, Make] = {
    "200,000 unknown members": lambda: b"{%s}" % b",".join(b'"unknown%d":1' % n for n in range(200_000)),
    "299,000 empty objects as parameters": lambda: b'{"parameters":{"a":[%s{}]}}' % (b"{}," * 298_990),
    "empty lists as cells": lambda: b'{"notebookName":"a","initialCells":[%s[]]}' % (b"[]," * 2_600_000),
    "empty objects as parameters, 30 MB": lambda: b'{"parameters":{"a":[%s{}]}}' % (b"{}," * 10_000_000),
    "100,000 levels of lists": lambda: _nested(b"[", b"]", 100_000),
    "99 levels of objects": lambda: b'{"parameters":%s}' % _nested(b'{"a":', b"}", 98),
    "3,000,000 open brackets": lambda: b'{"parameters":{"a":%s' % (b"[" * 3_000_000),
    "a string that never ends": lambda: b'{"notebookName":"' + b'\\"' * 8_000_000,
    "escapes alone": lambda: b'{"notebookName":"%s"}' % (b"\\u0041" * 2_000_000),
    "NUL characters": lambda: b'{"notebookName":"a","notebookDescription":"%s"}' % (b"\\u0000" * 1_000_000),
    "100,000 strings with NUL": lambda: b'{"parameters":{"a":[%s1]}}' % (b'"\\u0000",' * 100_000),
    "lone surrogates": lambda: b'{"notebookName":"%s"}' % (b"\\ud800" * 500_000),
    "a number of 5,000,000 digits": lambda: b'{"parameters":{"a":%s}}' % (b"7" * 5_000_000),
    "100,000 numbers of 30 digits": lambda: b'{"parameters":{"a":[%s1]}}' % ((b"7" * 30 + b",") * 100_000),
    "exponents": lambda: b'{"parameters":{"a":[%s1]}}' % (b"1e308,1e-400," * 70_000),
    "one member 200,000 times": lambda: b'{"parameters":{%s"a":1}}' % (b'"a":1,' * 200_000),
    "a name of 8 MB": lambda: b'{"%s":1}' % (b"n" * 8_000_000),
    "white space": lambda: b" " * 16_000_000 + b"{}",
    "no JSON, but commas": lambda: b"{" + b"," * 16_000_000,
    "UTF-16": lambda: '{"notebookName": "a"}'.encode("utf-16") * 1_000,
    "not UTF-8": lambda: b'{"notebookName":"' + b"\xff" * 1_000_000 + b'"}',
    "100,000 tags": lambda: (
        b'{"notebookName":"a","initialCells":[{"cellType":"code","content":"1","tags":[%s"t"]}]}' % (b'"t",' * 100_000)
    ),
    "200,000 packages": lambda: b'{"notebookName":"a","environment":{"packages":[%s"a"]}}' % (b'"a",' * 200_000),
    "a package name of 1 MB": lambda: (
        b'{"notebookName":"a","environment":{"packages":["%s"]}}' % (b"a[b]>=1," * 120_000)
    ),
    "runs after 20,000 others": lambda: (
        b'{"notebookName":"a","integration":{"runAfter":[%s]}}'
        % b",".join(b'"%s"' % str(uuid4()).encode() for _ in range(20_000))
    ),
    "wrong cells": lambda: b'{"notebookName":"a","initialCells":[%s{}]}' % (b'{"cellType":"x","content":1},' * 60_000),
    "10,000 cells": lambda: (
        b'{"notebookName":"a","initialCells":[%s{"cellType":"raw"}]}' % (b'{"cellType":"code","content":"1"},' * 9_999)
    ),
    "wide metadata": lambda: (
        b'{"notebookName":"a","initialCells":[{"cellType":"code","metadata":{%s"z":1}}]}'
        % b"".join(b'"m%d":{"a":{}},' % n for n in range(90_000))
    ),
    "a cell of 30 MB": lambda: (
        b'{"notebookName":"a","initialCells":[{"cellType":"code","content":"%s"}]}' % (b"a = 1\\n" * 4_200_000)
    ),
    "a patient retry policy": lambda: (
        b'{"retry":{"limit":10,"on":[%s"a"],"backoffSeconds":[%s1]}}' % (b'"ValueError",' * 50_000, b"1," * 50_000)
    ),
    "cellRange of long names": lambda: (
        b'{"executionMode":"range","cellRange":{"startCell":"%s","endCell":"%s"}}'
        % (b"c" * 3_000_000, b"d" * 3_000_000)
    ),
    "100,000 parameters": lambda: b'{"parameters":{%s"z":1}}' % b"".join(b'"p%d":1,' % n for n in range(100_000)),
    "parameters that are alike": lambda: (
        b'{"strictParameters":true,"parameters":{%s"z":1}}'
        % b"".join(b'"%s%d":1,' % (b"alike" * 100, n) for n in range(5_000))
    ),
}

PLACES: dict[str, list[str]] = {
    "create": [
        "200,000 unknown members",
        "empty lists as cells",
        "100,000 levels of lists",
        "a string that never ends",
        "escapes alone",
        "NUL characters",
        "lone surrogates",
        "a name of 8 MB",
        "white space",
        "no JSON, but commas",
        "UTF-16",
        "not UTF-8",
        "100,000 tags",
        "200,000 packages",
        "a package name of 1 MB",
        "runs after 20,000 others",
        "wrong cells",
        "10,000 cells",
        "wide metadata",
        "a cell of 30 MB",
    ],
    "change": ["200,000 unknown members", "3,000,000 open brackets"],
    "execute": [
        "299,000 empty objects as parameters",
        "empty objects as parameters, 30 MB",
        "99 levels of objects",
        "100,000 strings with NUL",
        "a number of 5,000,000 digits",
        "100,000 numbers of 30 digits",
        "exponents",
        "one member 200,000 times",
        "a patient retry policy",
        "cellRange of long names",
        "100,000 parameters",
        "parameters that are alike",
    ],
    "value": ["299,000 empty objects as parameters"],
    "template": ["wrong cells", "200,000 unknown members"],
    "block": ["100,000 tags", "wide metadata"],
    "cell": ["escapes alone", "200,000 unknown members"],
    "copy": ["a name of 8 MB"],
}
"""Which shape goes to which route: each once to a route whose members it is about, and some to all."""

RANDOM = 8
"""Bodies of a random shape."""


async def _send(attacker: Attacker, *, route: str, make: Make) -> None:
    role, method, path = ROUTES[route]
    if "@" in path:
        notebook = await attacker.editor.create("x = 1")
        path = path.replace("@", notebook["notebookId"])
    _, answer = await attacker.send(role, method, path, make())
    await attacker.look(answer)


def _random_value(random_: random.Random, budget: int, depth: int = 0) -> Any:
    """A value of up to `budget` parts."""
    kind = (
        random_.choice(("list", "object", "list", "object", "text", "number")) if budget > 1 and depth < 90 else "text"
    )
    if kind == "text":
        return random_.choice(("", "a", "\u202e", "é" * 50, "\\", "\n" * 20, "'\"", "${jndi}", "{{7*7}}"))
    if kind == "number":
        return random_.choice((0, -1, 2**53, 2**63 - 1, -(2**63), 1e308, 5e-324, True, None))
    parts = random_.randint(1, min(budget, random_.choice((2, 30, 3_000))))
    values = [_random_value(random_, (budget - parts) // parts, depth + 1) for _ in range(parts)]
    if kind == "list":
        return values
    return {
        random_.choice(("a", "A", "_", "é", "x" * 99, "a.b", "$ref", "__proto__")) + str(n): v
        for n, v in enumerate(values)
    }


async def _random(attacker: Attacker, *, number: int) -> None:
    random_ = random.Random(f"json {number}")
    notebook = await attacker.editor.create("x = 1")
    parameters = {f"p{n}": _random_value(random_, 20_000) for n in range(5)}
    await attacker.send(
        "runner", "POST", f"notebook/{notebook['notebookId']}/execute", {"parameters": parameters, "dryRun": True}
    )
    cell = {"cellType": "code", "content": "1", "metadata": {"m": _random_value(random_, 20_000)}}
    _, answer = await attacker.send("editor", "PUT", f"notebook/{notebook['notebookId']}", {"cells": [cell]})
    await attacker.look(answer)


INPUTS = grouped(
    "JSON",
    [
        Input(f"{shape} ({route})", partial(_send, route=route, make=SHAPES[shape]))
        for route, shapes in PLACES.items()
        for shape in shapes
    ]
    + [Input(f"random {number}", partial(_random, number=number)) for number in range(RANDOM)],
)
