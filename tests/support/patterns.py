"""Regular expressions of the source, and whether one can take more than linear time on some text."""

from __future__ import annotations

import ast
import re
import re._constants as sre  # type: ignore[import-not-found]  # not public: typeshed has none of it
import re._parser as sre_parser  # type: ignore[import-not-found]
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNBOUNDED = 1_000
"""Repeats that may be more than so many count as unbounded."""

FUNCTIONS = {"compile", "match", "search", "sub", "subn", "split", "findall", "finditer", "fullmatch"}
ANCHORED = {"match", "fullmatch"}

_CHARACTERS = [chr(code) for code in (*range(0x180), 0x3B1, 0x2028, 0xD800, 0x1F600)]
"""What sets of characters are compared on."""


@dataclass(frozen=True)
class Pattern:
    """A regular expression as it stands in a file; `text` is None where it is put together at run time."""

    path: str
    line: int
    text: str | bytes | None
    flags: int
    anchored: bool  # used with match and fullmatch alone


def patterns_of(path: Path, name: str) -> Iterator[Pattern]:
    """The regular expressions of a module."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    known: dict[str, Any] = {}
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if len(targets) == 1 and isinstance(targets[0], ast.Name):
            value = _text(statement.value, known)  # type: ignore[attr-defined]  # it is an assignment
            if value is not None:
                known[targets[0].id] = value
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.func.attr in FUNCTIONS):
            continue
        text = _text(node.args[0], known)
        if isinstance(node.args[0], ast.Name) and text is None and f"{node.args[0].id}: re.Pattern" in source:
            continue  # a compiled one, found where it was compiled
        flags = 0
        for flag in ast.walk(node):
            if isinstance(flag, ast.Attribute) and isinstance(flag.value, ast.Name) and flag.value.id == "re":
                flags |= int(getattr(re, flag.attr)) if isinstance(getattr(re, flag.attr), re.RegexFlag) else 0
        yield Pattern(name, node.lineno, text, flags, _anchored(node, tree))


def _anchored(call: ast.Call, tree: ast.Module) -> bool:
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr != "compile":
        return call.func.attr in ANCHORED
    names = [
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and node.value is call
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    if not names:
        return False
    uses = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == names[0]
    }
    return bool(uses) and uses <= ANCHORED | {"pattern"}


def _text(node: ast.expr, known: dict[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.JoinedStr):
        parts = [_text(part, known) for part in node.values]
        return None if None in parts else "".join(map(str, parts))
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, known)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left, known), _text(node.right, known)
        return None if left is None or right is None else left + right
    return None


def faults_of(pattern: Pattern) -> list[str]:
    """Why it may take more than linear time; empty for one that does not."""
    if not isinstance(pattern.text, str | bytes):
        return ["is put together at run time"]
    tree = sre_parser.parse(pattern.text, pattern.flags)
    items = _flat(tree)
    found = [*_nested(tree), *_adjacent(tree)]
    if not pattern.anchored and not _starts_fixed(items):
        found += _searched(items)
    return list(dict.fromkeys(found))


def _unbounded(operator: Any, argument: Any) -> bool:
    repeats = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
    return operator in repeats and argument[1] >= UNBOUNDED


def _gives_back(operator: Any) -> bool:
    return operator in (sre.MAX_REPEAT, sre.MIN_REPEAT)


def _parts(operator: Any, argument: Any) -> list[Any]:
    """The sequences within an item."""
    if operator in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        return [argument[2]]
    if operator is sre.SUBPATTERN:
        return [argument[3]]
    if operator is sre.ATOMIC_GROUP:
        return [argument]
    if operator is sre.BRANCH:
        return list(argument[1])
    if operator in (sre.ASSERT, sre.ASSERT_NOT):
        return [argument[1]]
    return []


def _nested(sequence: Any) -> Iterator[str]:
    for operator, argument in sequence:
        parts = _parts(operator, argument)
        if _unbounded(operator, argument) and _gives_back(operator) and any(_has_repeat(part) for part in parts):
            yield "an unbounded repeat within another"
        for part in parts:
            yield from _nested(part)


def _has_repeat(sequence: Any) -> bool:
    return any(
        (_unbounded(operator, argument) and _gives_back(operator))
        or (operator is not sre.ATOMIC_GROUP and any(_has_repeat(part) for part in _parts(operator, argument)))
        for operator, argument in sequence
    )


def _adjacent(tree: Any) -> Iterator[str]:
    """Two repeats that can match the same text, with nothing between them that must be there."""
    items = _flat(tree)
    for index, (operator, argument) in enumerate(items):
        for part in _parts(operator, argument):
            if operator is not sre.SUBPATTERN:
                yield from _adjacent(part)
        if not (_unbounded(operator, argument) and _gives_back(operator)):
            continue
        own = _characters([(operator, argument)])
        for later, given in items[index + 1 :]:
            if _unbounded(later, given) and own & _characters([(later, given)]):
                yield "two repeats of the same characters one behind the other"
                break
            if not _may_be_empty([(later, given)]):
                break


def _searched(items: Sequence[Any]) -> Iterator[str]:
    """A search begins anew at each character: a repeat that runs over text in which the pattern can begin again, and
    then fails, is the square."""
    begin = _first(items)
    for index, (operator, argument) in enumerate(items):
        rest = items[index + 1 :]
        can_fail = not _may_be_empty(rest) or any(operator is sre.AT for operator, _ in rest)
        if _unbounded(operator, argument) and can_fail and begin & _characters([(operator, argument)]):
            yield "a search that runs over the same text from each of its characters"
            return


def _starts_fixed(items: Sequence[Any]) -> bool:
    return bool(items) and items[0][0] is sre.AT and items[0][1] in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)


def _flat(sequence: Any) -> list[Any]:
    """The items of a sequence, with those of plain groups in their place."""
    found = []
    for operator, argument in sequence:
        if operator is sre.SUBPATTERN:
            found += _flat(argument[3])
        else:
            found.append((operator, argument))
    return found


def _may_be_empty(items: Sequence[Any]) -> bool:
    return all(
        operator in (sre.AT, sre.ASSERT, sre.ASSERT_NOT)
        or (operator in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT) and argument[0] == 0)
        or (operator is sre.BRANCH and any(_may_be_empty(list(branch)) for branch in argument[1]))
        or (operator in (sre.SUBPATTERN, sre.ATOMIC_GROUP) and _may_be_empty(list(_parts(operator, argument)[0])))
        for operator, argument in items
    )


def _first(items: Sequence[Any]) -> set[str]:
    """What a match can begin with."""
    found: set[str] = set()
    for operator, argument in items:
        parts = _parts(operator, argument)
        if operator in (sre.ASSERT, sre.ASSERT_NOT, sre.AT):
            continue
        if parts:
            for part in parts:
                found |= _first(_flat(part))
        else:
            found |= _characters([(operator, argument)])
        if not _may_be_empty([(operator, argument)]):
            break
    return found


def _characters(items: Sequence[Any]) -> set[str]:
    """Every character that the items can match."""
    found: set[str] = set()
    for operator, argument in items:
        if operator is sre.LITERAL:
            found.add(chr(argument))
        elif operator is sre.NOT_LITERAL:
            found |= {character for character in _CHARACTERS if ord(character) != argument}
        elif operator is sre.ANY:
            found |= set(_CHARACTERS)
        elif operator is sre.IN:
            found |= _of_set(argument)
        elif operator in (sre.ASSERT, sre.ASSERT_NOT, sre.AT):
            continue
        elif operator in (sre.GROUPREF, sre.GROUPREF_EXISTS):
            found |= set(_CHARACTERS)
        for part in _parts(operator, argument):
            found |= _characters(list(part))
    return found


def _of_set(entries: Sequence[Any]) -> set[str]:
    found: set[str] = set()
    negated = False
    for operator, argument in entries:
        if operator is sre.NEGATE:
            negated = True
        elif operator is sre.LITERAL:
            found.add(chr(argument))
        elif operator is sre.RANGE:
            low, high = argument
            found |= {character for character in _CHARACTERS if low <= ord(character) <= high}
        elif operator is sre.CATEGORY:
            found |= {character for character in _CHARACTERS if _in_category(character, argument)}
    return {character for character in _CHARACTERS if character not in found} if negated else found


def _in_category(character: str, category: Any) -> bool:
    name = str(category).removeprefix("CATEGORY_").lower()
    positive = name.removeprefix("not_")
    kind = {"digit": character.isdigit(), "space": character.isspace(), "word": character.isalnum() or character == "_"}
    return kind[positive] == (positive == name)
