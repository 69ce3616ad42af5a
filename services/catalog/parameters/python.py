"""Parameters of a Python cell: its top-level assignments, read with `ast`, never run."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import Any

from services.catalog.parameters.declared import NO_DEFAULT, Declared, is_json

_MAGIC = re.compile(r"^\s*[%!?].*$", re.MULTILINE)

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
    for statement in tree.body:
        declared = _declared(statement)
        if declared is not None:
            declared.description = _description(comments, code.splitlines(), statement)
            found.pop(declared.name, None)
            found[declared.name] = declared
    return list(found.values())


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


def _description(comments: dict[int, str], lines: list[str], statement: ast.stmt) -> str:
    """The comment at the end of the assignment, else the lines of comment right above it."""
    last = statement.end_lineno or statement.lineno
    for number in (last, statement.lineno):
        if comments.get(number):
            return comments[number]
    above: list[str] = []
    number = statement.lineno - 1
    while number in comments and lines[number - 1].lstrip().startswith("#"):
        above.insert(0, comments[number])
        number -= 1
    return " ".join(line for line in above if line)
