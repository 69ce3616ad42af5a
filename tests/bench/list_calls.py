"""What the bench of lists asks for: the calls that must cost the same, and those that cannot."""

from __future__ import annotations

from typing import Any

from pydantic.alias_generators import to_camel

from tests.bench.million import COMMON_WORD, RARE_WORD, SOME_WORD

LIMIT = 1.5
"""How much slower a call may be among a million notebooks (DESIGN.md: Speed targets)."""

Members = dict[str, Any]
"""Members of ListNotebooks."""

CALLS: dict[str, Members] = {
    "first page": {},
    "first page of 100": {"page_size": 100},
    "page 500": {"page": 500, "page_size": 2},
    "a page after the last": {"page": 500_000},
    "by cursor, far in": {"cursor": "…", "page_size": 20},
    "status": {"status": "Error"},
    "a rare status": {"status": "Running"},
    "kernelType": {"kernel_type": "r"},
    "enrichmentMode": {"enrichment_mode": False},
    "a rare enrichmentMode": {"enrichment_mode": True},
    "three filters": {"status": "Ready", "kernel_type": "r", "enrichment_mode": False},
    "search": {"search": RARE_WORD},
    "search and filter": {"search": RARE_WORD, "enrichment_mode": False},
    "search without a match": {"search": "no such name"},
    "search for what 1% of the names have": {"search": SOME_WORD},
    "search for what half of the names have": {"search": COMMON_WORD},
    "the same and filter": {"search": COMMON_WORD, "enrichment_mode": False},
    "search for two letters": {"search": RARE_WORD[:2]},
    "sort by change": {"sort": "-dateModified"},
    "sort by name": {"sort": "notebookName"},
    "sort by last run": {"sort": "-lastExecutionDate"},
    "sort by last run, filtered": {"sort": "-lastExecutionDate", "kernel_type": "scala"},
}
"""They match as many notebooks, or the same share, in either."""

LINEAR: dict[str, Members] = {
    "a rare status by change": {"status": "Kernel_Dead", "sort": "-dateModified"},
    "page 500 of 20 (the large project alone has it)": {"page": 500},
    "page 500 of 100 (likewise)": {"page": 500, "page_size": 100},
}
"""Calls whose work grows with the place of the page or, up to a bound, with the matches; measured, and no promise."""

FIRST_SEARCHES: dict[str, Members] = {
    f"{word!r} for the first time": {"search": word} for word in (RARE_WORD, SOME_WORD, COMMON_WORD, RARE_WORD[:2])
}
"""A replica counts all names once for each text; these grow with the matches, the last with the names."""


def query_of(members: Members) -> dict[str, str]:
    """The members as a query."""
    return {
        to_camel(name): str(value).lower() if isinstance(value, bool) else str(value) for name, value in members.items()
    }
