"""Parameters read out of code, and those a notebook declares itself."""

from __future__ import annotations

from typing import Any

import pytest

from services.catalog import parameters
from services.catalog.document import Document, empty, new_cell
from services.catalog.parameters import python, r, scala
from shared.contracts.notebooks import KernelType


def properties(read: Any, source: str) -> dict[str, Any]:
    return {declared.name: declared.schema() for declared in read(source)}


@pytest.mark.parametrize(
    ("line", "schema"),
    [
        ("x = 5", {"type": "integer", "default": 5}),
        ("x = -2.5", {"type": "number", "default": -2.5}),
        ("x = True", {"type": "boolean", "default": True}),
        ("x = 'a'", {"type": "string", "default": "a"}),
        ("x = None", {"default": None}),
        ("x = [1, 'a']", {"type": "array", "default": [1, "a"]}),
        ("x = (1, 2)", {"type": "array", "default": [1, 2]}),
        ("x = {'a': None}", {"type": "object", "default": {"a": None}}),
        ("x: float = 1", {"type": "number", "default": 1}),
        ("x: int = None", {"type": ["integer", "null"], "default": None}),
        ("x: int | None = 3", {"type": ["integer", "null"], "default": 3}),
        ("x: Optional[str] = None", {"type": ["string", "null"], "default": None}),
        ("x: 'list[int]' = []", {"type": "array", "items": {"type": "integer"}, "default": []}),
        ("x: typing.Union[int, str] = 1", {"type": ["integer", "string"], "default": 1}),
        ("x: Literal['a', 'b'] = 'a'", {"type": "string", "enum": ["a", "b"], "default": "a"}),
        ("x: Optional[Literal[1]] = None", {"type": ["integer", "null"], "enum": [1, None], "default": None}),
        ("x: Literal[1, 2.5] = 1", {"type": "number", "enum": [1, 2.5], "default": 1}),
        ("x: Literal['auto', 5] = 'auto'", {"type": ["string", "integer"], "enum": ["auto", 5], "default": "auto"}),
        ("x: Literal['a', 'b']", {"type": "string", "enum": ["a", "b"]}),
        ("x: SomeClass = 1", {"type": "integer", "default": 1}),
        ("x = date.today()", {}),
        ("x = {1, 2}", {}),
        ("x = float('nan')", {}),
        ("x = 10 ** 3", {}),
        ("x = 123456789012345678901234567890", {}),
        ("x = '\\ud800'", {}),
        ("x = 1  # how many", {"type": "integer", "default": 1, "description": "how many"}),
        ("# first\n# second\nx = 1", {"type": "integer", "default": 1, "description": "first second"}),
        ("y = 0  # not mine\nx = 1", {"type": "integer", "default": 1}),
        (
            "x = 'b'  # which: one of: a, 'b'",
            {"type": "string", "default": "b", "enum": ["a", "b"], "description": "which: one of: a, 'b'"},
        ),
        ("x = 3  # one of: 1, 2", {"type": "integer", "default": 3, "enum": [1, 2, 3], "description": "one of: 1, 2"}),
        (
            "x = 0.5  # one of: 0.5, 1",
            {"type": "number", "default": 0.5, "enum": [0.5, 1], "description": "one of: 0.5, 1"},
        ),
        ("x = 1  # one of: .5, 1", {"type": "number", "default": 1, "enum": [0.5, 1], "description": "one of: .5, 1"}),
        ("x: int = 1  # one of: .5, 1", {"type": "integer", "default": 1, "description": "one of: .5, 1"}),
        ("x = 1  # one of: 1, auto", {"type": "integer", "default": 1, "description": "one of: 1, auto"}),
        (
            "x = '1'  # one of: 1, 2",
            {"type": "string", "default": "1", "enum": ["1", "2"], "description": "one of: 1, 2"},
        ),
        (
            "x = True  # one of: True, False",
            {"type": "boolean", "default": True, "enum": [True, False], "description": "one of: True, False"},
        ),
        (
            "x: int | None = 5  # one of: 5, 10",
            {"type": ["integer", "null"], "default": 5, "enum": [5, 10, None], "description": "one of: 5, 10"},
        ),
        ("x = 1\nx = 'last'", {"type": "string", "default": "last"}),
        ("x = [\n    1,\n]  # long", {"type": "array", "default": [1], "description": "long"}),
        ("%matplotlib inline\n!pip list\nx = 1", {"type": "integer", "default": 1}),
    ],
)
def test_python(line: str, schema: dict[str, Any]) -> None:
    assert properties(python.read, line)["x"] == schema


@pytest.mark.parametrize(
    "source",
    [
        "import os\n_private = 1\na, b = 1, 2\na.b = 1\na += 1\nif a:\n    inner = 1\ndef f():\n    local = 1",
        "def broken(:",
        "(" * 5_000,
        "x = " + "-" * 100_000 + "1",
        "x = 1\x00",
        "x = '''",
        "",
    ],
)
def test_python_that_declares_nothing(source: str) -> None:
    assert python.read(source) == []


def test_a_parameter_without_a_default_is_required() -> None:
    schema = schema_of("x: int  # needed\ny: str = ''", "python3")
    assert schema["required"] == ["x"]
    assert schema["properties"]["x"] == {"type": "integer", "description": "needed"}


@pytest.mark.parametrize(
    ("line", "schema"),
    [
        ("x <- 5", {"type": "number", "default": 5}),
        ("x <- 5L", {"type": "integer", "default": 5}),
        ("x = 2.5e3", {"type": "number", "default": 2500}),
        ("x <- TRUE # switch", {"type": "boolean", "default": True, "description": "switch"}),
        ("x <- 'it''s'", {}),
        ("x <- 'a # b'", {"type": "string", "default": "a # b"}),
        ('x <- c("a", "b,c")', {"type": "array", "default": ["a", "b,c"]}),
        ("x <- NULL", {"default": None}),
        ("#' The limit\nx <- 1", {"type": "number", "default": 1, "description": "The limit"}),
        ("x <- Sys.time()", {}),
        ("x <- 5 # one of: 5, 10", {"type": "number", "default": 5, "enum": [5, 10], "description": "one of: 5, 10"}),
        (
            "x <- 5L # one of: 5L, 10L",
            {"type": "integer", "default": 5, "enum": [5, 10], "description": "one of: 5L, 10L"},
        ),
    ],
)
def test_r(line: str, schema: dict[str, Any]) -> None:
    assert properties(r.read, line)["x"] == schema


@pytest.mark.parametrize(
    ("line", "schema"),
    [
        ("val x = 5", {"type": "integer", "default": 5}),
        ("var x: Double = 5  // size", {"type": "number", "default": 5, "description": "size"}),
        ("val x = 1.5f;", {"type": "number", "default": 1.5}),
        ('val x: String = "// no comment"', {"type": "string", "default": "// no comment"}),
        ('val x = Seq("a", "b")', {"type": "array", "default": ["a", "b"]}),
        ("val x: List[Int] = List(1, 2)", {"type": "array", "default": [1, 2]}),
        ("val x = spark.read", {}),
        (
            "val x: Double = 5 // one of: 5, 7.5",
            {"type": "number", "default": 5, "enum": [5, 7.5], "description": "one of: 5, 7.5"},
        ),
        (
            "val x = 1.0 // one of: 1.0, 2d",
            {"type": "number", "default": 1.0, "enum": [1.0, 2], "description": "one of: 1.0, 2d"},
        ),
    ],
)
def test_scala(line: str, schema: dict[str, Any]) -> None:
    assert properties(scala.read, line)["x"] == schema


def schema_of(source: str, kernel_type: KernelType, **atelier: Any) -> dict[str, Any]:
    body = empty()
    body["cells"] = [
        new_cell("a", "markdown", "z = 1", {"tags": ["parameters"]}),
        new_cell("b", "code", source, {"tags": ["parameters"]}),
        new_cell("c", "code", "later = 1", {"tags": ["parameters"]}),
    ]
    body["metadata"] = {"atelier": atelier}
    return parameters.schema_of(Document(body=body), kernel_type)


def test_the_first_tagged_code_cell_counts() -> None:
    assert list(schema_of("x = 1", "python3")["properties"]) == ["x"]


def test_what_the_notebook_declares_itself_wins() -> None:
    explicit = {"properties": {"y": {"type": "string"}}, "required": ["y"]}
    schema = schema_of("x = 1", "python3", parameters=explicit, strictParameters=True)
    assert schema["properties"] == {"y": {"type": "string"}}
    assert schema["required"] == ["y"]
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("nonsense", [5, "x", [], None, {"properties": 5}])
def test_a_declaration_that_is_none_does_no_harm(nonsense: Any) -> None:
    assert isinstance(schema_of("x = 1", "python3", parameters=nonsense)["properties"], dict)


def test_a_cell_too_long_to_read_declares_nothing() -> None:
    assert schema_of("x = 1\n" * 50_000, "python3")["properties"] == {}
