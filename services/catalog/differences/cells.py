"""Which cells were added, removed, changed or moved. A cell is known by its id, which stays with it."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from services.catalog.document import Json, same
from shared.contracts.versions import CellDifference, CellPart

MOST_PAIRS = 2_000_000
"""Pairs of equal lines in two sources that are matched one by one; a source of blank lines has the square of them."""

NO_NEWLINE = "\\ no newline here"
"""Follows a last line without a newline, where the other source ends with one; in the manner of unified diffs."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_PARTS: tuple[tuple[str, CellPart], ...] = (
    ("cell_type", "cellType"),
    ("source", "source"),
    ("metadata", "metadata"),
    ("attachments", "attachments"),
    ("outputs", "outputs"),
    ("execution_count", "outputs"),
)


def compare(before: Sequence[Json], after: Sequence[Json], *, match_lines: bool = True) -> list[CellDifference]:
    """What differs, in the order of `after`, with removed cells where they were. Without `match_lines` a changed source
    is told as removed and added: linear, whatever the sources are."""
    old = {cell["id"]: index for index, cell in enumerate(before)}
    new = {cell["id"]: index for index, cell in enumerate(after)}
    unmoved = _longest_rise([old[cell["id"]] for cell in after if cell["id"] in old])
    found: list[tuple[tuple[int, int, int], CellDifference]] = []
    place = -1  # of the last unmoved cell of `after`, as its index in `before`: removed cells line up by it
    for index, cell in enumerate(after):
        at = old.get(cell["id"])
        moved = at is not None and at not in unmoved
        if at is not None and not moved:
            place = at
        difference = _difference(
            cell, None if at is None else before[at], at, index, moved=moved, match_lines=match_lines
        )
        if difference is not None:
            found.append(((place, 1, index), difference))
    for at, cell in enumerate(before):
        if cell["id"] not in new:
            removed = _difference(None, cell, at, None, moved=False, match_lines=False)
            found += [((at, 0, 0), removed)] if removed is not None else []
    return [difference for _, difference in sorted(found, key=lambda entry: entry[0])]


def _difference(
    cell: Json | None,
    was: Json | None,
    index_a: int | None,
    index_b: int | None,
    *,
    moved: bool,
    match_lines: bool,
) -> CellDifference | None:
    """What there is to say about a cell; None when nothing."""
    shown = cell or was
    assert shown is not None  # noqa: S101 - a cell is in one of the two at least
    parts: list[CellPart] = []
    if cell is not None and was is not None:
        parts = list(dict.fromkeys(part for name, part in _PARTS if not same(cell.get(name), was.get(name))))
        if not parts and not moved:
            return None
    differs = cell is None or was is None or "source" in parts
    sources = was["source"] if was else None, cell["source"] if cell else None
    return CellDifference(
        cell_id=shown["id"],
        change="added" if was is None else "removed" if cell is None else "moved" if moved else "changed",
        cell_type=shown["cell_type"],
        index_a=index_a,
        index_b=index_b,
        parts=parts,
        lines=_lines(*sources, match=match_lines) if differs else None,
    )


def _lines(before: str | None, after: str | None, *, match: bool) -> list[str]:
    """Both sources line by line. Ends other than a newline stay in their lines; a newline that only one of the sources
    ends with is told. (Most cells end without one, which is not worth a word.)"""
    texts = [before or "", after or ""]
    told = all(texts) and len({text.endswith("\n") for text in texts}) == 2
    a, b = (_LINE.findall(text if told or not text or text.endswith("\n") else f"{text}\n") for text in texts)
    if before is None or after is None or not match or _pairs(a, b) > MOST_PAIRS:
        return [*_signed("-", a), *_signed("+", b)]
    lines: list[str] = []
    for kind, from_a, to_a, from_b, to_b in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            lines += _signed(" ", a[from_a:to_a])
        else:
            lines += [*_signed("-", a[from_a:to_a]), *_signed("+", b[from_b:to_b])]
    return lines


def _pairs(a: Sequence[str], b: Sequence[str]) -> int:
    """Pairs of equal lines."""
    counts = Counter(b)
    return sum(count * counts[line] for line, count in Counter(a).items())


def _signed(sign: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield sign + line.removesuffix("\n")
        if not line.endswith("\n"):
            yield NO_NEWLINE


def _longest_rise(numbers: Sequence[int]) -> set[int]:
    """The longest ascending part of distinct numbers: the cells that kept their order; all others were moved."""
    ends: list[int] = []  # the smallest end of a rise of each length
    places: list[int] = []
    before: list[int] = []
    for number in numbers:
        length = bisect_left(ends, number)
        before.append(places[length - 1] if length else -1)
        ends[length : length + 1] = [number]
        places[length : length + 1] = [len(before) - 1]
    rise = set()
    at = places[-1] if places else -1
    while at >= 0:
        rise.add(numbers[at])
        at = before[at]
    return rise
