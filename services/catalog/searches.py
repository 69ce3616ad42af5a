"""Searches: which notebooks have a text in their names, counted once and kept exact by what has changed since.

Counting names takes longer the more of them there are. So the first search of a text keeps what it counted, together
with the database's snapshot of that moment. A later one adds those rows of the tally that this snapshot does not see:
whatever has been committed is in the count or in the rows, and never in both. What is kept cannot be out of date; each
replica keeps its own, and needs no word from the others.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.catalog.store import queries
from shared.contracts.base import Scope

KEPT = 500
"""Texts whose counts a replica keeps, the last used ones: a few megabytes."""

FEW = 200
"""Of a text that so many names have, or fewer, the notebooks are kept too: a page is then found among them."""

_INDEXED = re.compile(r"[^\W_]{3}")
"""What a text needs to be looked up among trigrams: three letters or digits in a row."""


class Kind(NamedTuple):
    """What lists filter by, besides the name."""

    kernel_type: str
    enrichment_mode: bool
    status: str


@dataclass(frozen=True)
class Matches:
    """The notebooks with a text in their names."""

    counts: Counter[Kind]
    notebook_ids: list[UUID] | None
    """All of them, and perhaps some that had the text before; None: too many to keep."""

    project_size: int
    """About how many notebooks the project has; good for choosing a way, and for nothing else."""


@dataclass(frozen=True)
class _Counted:
    """What was counted, and when: the snapshot, and the start of the server whose snapshot it is."""

    matches: Matches
    snapshot: str
    server_start: datetime


def is_indexed(text: str) -> bool:
    """Whether names with this text can be looked up, instead of all names being read."""
    return _INDEXED.search(text) is not None


def pattern(text: str) -> str:
    """`text` anywhere, for LIKE; its wildcards mean themselves."""
    literally = re.sub(r"([\\%_])", r"\\\1", text)
    return f"%{literally}%"


class Searches:
    """What a replica has counted."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[UUID, UUID, str], _Counted] = OrderedDict()

    async def matches(self, connection: asyncpg.Connection, scope: Scope, text: str) -> Matches:
        """The project's notebooks that have the text, a case-folded one."""
        key = (scope.tenant_id, scope.project_id, text)
        counted = self._kept.pop(key, None)
        if counted is not None:
            matches = await _brought_up(connection, key, counted)
            if matches is not None:
                self._keep(key, counted)
                return matches
        counted, is_lasting = await _count(connection, key)
        if is_lasting:
            self._keep(key, counted)
        return counted.matches

    def _keep(self, key: tuple[UUID, UUID, str], counted: _Counted) -> None:
        self._kept[key] = counted
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


async def _count(connection: asyncpg.Connection, key: tuple[UUID, UUID, str]) -> tuple[_Counted, bool]:
    """Count all of them; and whether the tally can tell what changes after that (not right after a restore)."""
    tenant_id, project_id, text = key
    planned = await connection.prepare(queries.count_search)  # for this text: its frequency decides the plan
    rows = await planned.fetch(tenant_id, project_id, pattern(text))
    kinds = [row for row in rows if row["number"] is not None]
    counts = Counter({kind_of(row): row["number"] for row in kinds})
    few = counts.total() <= FEW
    ids = [notebook_id for row in kinds for notebook_id in row["notebook_ids"]] if few else None
    matches = Matches(counts, ids, rows[0]["project_size"])
    return _Counted(matches, rows[0]["snapshot"], rows[0]["server_start"]), rows[0]["is_lasting"]


async def _brought_up(connection: asyncpg.Connection, key: tuple[UUID, UUID, str], counted: _Counted) -> Matches | None:
    """What was counted with the changes since; None when the names of some are gone, or the server is another."""
    tenant_id, project_id, text = key
    rows = await connection.fetch(queries.changed_names, tenant_id, project_id, pattern(text), counted.snapshot)
    if any(row["folded"] for row in rows) or rows[0]["server_start"] != counted.server_start:
        return None
    before, kinds = counted.matches, [row for row in rows if row["change"] is not None]
    counts = before.counts.copy()
    for row in kinds:
        counts[kind_of(row)] += row["change"]
    ids = before.notebook_ids
    if ids is not None:
        ids = list({*ids, *(notebook_id for row in kinds for notebook_id in row["notebook_ids"])})
    return Matches(counts, ids, before.project_size)


def kind_of(row: asyncpg.Record) -> Kind:
    """The kind that a row of counts is about."""
    return Kind(row["kernel_type"], row["enrichment_mode"], row["status"])
