"""Parameters of a Python cell: its top-level assignments, read with `ast`, never run."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import Any

from services.catalog.parameters.declared import NO_DEFAULT, Declared, is_json

_MAGIC = re.compile(r"^[^\S\n]*+[%!?].*$", re.MULTILINE)
_LINE_ENDS = re.compile(r"\r\n|\r|\n")  # Python's own
_TYPE_COMMENT = re.compile(r"type:\s*+(?P<type>\S++)\s*+(?P<help>.*)$")
"""A type as comments gave it before annotations; papermill reads it so."""

_NAMES = {
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "str": "string",
    "list": "array",
    "List": "array",
    "Sequence": "array",
    "tuple": "array",
    "Tuple": "array",
    "dict": "object",
    "Dict": "object",
    "Mapping": "object",
}


def read(source: str) -> list[Declared]:
    """The parameters in order; of a name assigned twice the last assignment counts. Unreadable code declares none."""
    code = _MAGIC.sub("", source)
    try:
        tree = ast.parse(code)
        comments = _comments(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return []
    found: dict[str, Declared] = {}
    described = _Descriptions(comments, _LINE_ENDS.split(code))
    for statement in tree.body:
        try:
            declared = _declared(statement)
        except RecursionError:  # an annotation of many levels
            continue
        if declared is not None:
            declared.description = described.of(statement)
            _read_type_comment(declared)
            found.pop(declared.name, None)
            found[declared.name] = declared
    return list(found.values())


def _read_type_comment(declared: Declared) -> None:
    """Take the type from `# type: int  what it is for`, where there is no annotation."""
    match = _TYPE_COMMENT.match(declared.description)
    if match is None or declared.types or declared.constraints:
        return
    try:
        types, constraints = _annotated(ast.Constant(match["type"]))
    except RecursionError:
        return
    if types or constraints:
        declared.types, declared.constraints, declared.description = types, constraints, match["help"]


def _declared(statement: ast.stmt) -> Declared | None:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        name, annotation, value = statement.targets[0].id, None, statement.value
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        if statement.value is None:
            types, constraints = _annotated(statement.annotation)
            return Declared(name=statement.target.id, types=types, constraints=constraints, is_required=True)
        name, annotation, value = statement.target.id, statement.annotation, statement.value
    else:
        return None
    if name.startswith("_"):
        return None
    declared = Declared(name=name, default=_literal(value))
    if annotation is not None:
        declared.types, declared.constraints = _annotated(annotation)
    return declared


def _literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return NO_DEFAULT
    value = list(value) if isinstance(value, tuple) else value
    return value if is_json(value) else NO_DEFAULT


def _annotated(node: ast.expr) -> tuple[list[str], dict[str, Any]]:
    """The types and further keywords of an annotation; one that is not known allows anything."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return _annotated(ast.parse(node.value, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return [], {}
    if isinstance(node, ast.Constant) and node.value is None:
        return ["null"], {}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([node.left, node.right])
    if isinstance(node, ast.Subscript):
        return _subscripted(_name(node.value), node.slice)
    known = _NAMES.get(_name(node))
    return ([known], {}) if known else ([], {})


def _subscripted(name: str, index: ast.expr) -> tuple[list[str], dict[str, Any]]:
    members = index.elts if isinstance(index, ast.Tuple) else [index]
    if name == "Optional":
        return _union([index, ast.Constant(None)])
    if name == "Union":
        return _union(members)
    if name == "Annotated":
        return _annotated(members[0])
    if name == "Literal":
        values = [_literal(member) for member in members]
        return [], ({"enum": values} if NO_DEFAULT not in values else {})
    known = _NAMES.get(name)
    if known == "array" and len(members) == 1:
        types, constraints = _annotated(members[0])
        items = {**({"type": types[0] if len(types) == 1 else types} if types else {}), **constraints}
        return ["array"], ({"items": items} if items else {})
    return ([known], {}) if known else ([], {})


def _union(members: list[ast.expr]) -> tuple[list[str], dict[str, Any]]:
    """All the members' types; the keywords of a member hold for its own type only, so enums alone survive."""
    types: list[str] = []
    enum: list[Any] = []
    for member in members:
        found, constraints = _annotated(member)
        if found == ["null"]:
            enum.append(None)
        elif "enum" in constraints:
            enum += constraints["enum"]
            continue
        elif not found:
            return [], {}
        types += [word for word in found if word not in types]
    if any(value is not None for value in enum):
        return [], ({"enum": enum} if set(types) <= {"null"} else {})
    return types, {}


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _comments(code: str) -> dict[int, str]:
    """Comments by line, without their `#`."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return {token.start[0]: token.string.lstrip("#").strip() for token in tokens if token.type == tokenize.COMMENT}


class _Descriptions:
    """The comments that describe assignments; those above a line are put together once, however many are on it."""

    def __init__(self, comments: dict[int, str], lines: list[str]) -> None:
        self._comments = comments
        self._lines = lines
        self._above: dict[int, str] = {}

    def of(self, statement: ast.stmt) -> str:
        """The comment at the end of the assignment, else the lines of comment right above it."""
        for number in (statement.end_lineno or statement.lineno, statement.lineno):
            if self._comments.get(number):
                return self._comments[number]
        if statement.lineno not in self._above:
            self._above[statement.lineno] = self._joined(statement.lineno - 1)
        return self._above[statement.lineno]

    def _joined(self, last: int) -> str:
        above: list[str] = []
        number = last
        while number in self._comments and self._lines[number - 1].lstrip().startswith("#"):
            above.append(self._comments[number])
            number -= 1
        return " ".join(line for line in reversed(above) if line)
