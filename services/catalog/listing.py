"""Lists of notebooks: filters, order, pages by number and by cursor, put together as one statement from fixed parts."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import orjson

from services.catalog import faults
from services.catalog.searches import Kind, Searches, is_indexed, kind_of, pattern
from services.catalog.store import queries
from shared.contracts.base import in_utc
from shared.contracts.notebooks import ListNotebooks, NotebookPage, NotebookSummary
from shared.errors import Fault

MAX_PAGE_SIZE = 100
"""Notebooks on a page (SPEC.md: GET notebooks)."""

MAX_PAGE = 10_000_000
"""The highest page number that is looked for; no project has so many notebooks."""

MAX_SEARCH = 200
"""Characters of a search text: as long as a name."""

FETCH_COST = 5
"""Fetching a row from the table takes as long as passing so many entries of an index."""


@dataclass(frozen=True)
class _Order:
    """An order: its expression as indexed, its type, and the column behind it."""

    expression: str
    type: str
    column: str


_ORDERS = {
    "dateCreated": _Order("created_at", "timestamptz", "created_at"),
    "dateModified": _Order("modified_at", "timestamptz", "modified_at"),
    "notebookName": _Order('name_key COLLATE "C"', "text", "name_key"),
    "lastExecutionDate": _Order(
        "COALESCE(last_execution_date, '-infinity'::timestamptz)", "timestamptz", "last_execution_date"
    ),
}


@dataclass
class _Statement:
    """A statement's conditions with their arguments."""

    conditions: list[str] = field(default_factory=list)
    arguments: list[Any] = field(default_factory=list)

    def add(self, condition: str, *arguments: Any) -> None:
        """Add a condition; `{}` stands for each argument's number in turn."""
        numbers = (f"${len(self.arguments) + n}" for n in range(1, len(arguments) + 1))
        self.conditions.append(condition.format(*numbers))
        self.arguments += arguments

    @property
    def where(self) -> str:
        """The conditions as SQL."""
        return " AND ".join(self.conditions)


async def page(connection: asyncpg.Connection, command: ListNotebooks, searches: Searches) -> NotebookPage:
    """The page asked for. Raises Invalid with every fault of the request."""
    name, descending = command.sort.removeprefix("-"), command.sort.startswith("-")
    after = _check(command, name)
    offset = 0 if after is not None else (command.page - 1) * command.page_size
    found = await _found(connection, command, searches)
    rows = []
    if offset < found.total:
        way = found.way(command, offset)
        statement = _filters(command)
        _confine(statement, command, way, found.notebook_ids)
        if after is not None:
            _begin_after(statement, _ORDERS[name], descending, *after)
        text = _page_statement(statement.where, _ORDERS[name], descending, command.page_size + 1, offset, way)
        if way == "gather":  # planned for these values: how rare they are decides which index is read
            rows = await (await connection.prepare(text)).fetch(*statement.arguments)
        else:
            rows = await connection.fetch(text, *statement.arguments)
    shown = rows[: command.page_size]
    has_next = len(rows) > command.page_size
    return NotebookPage(
        notebooks=[_summary(row) for row in shown],
        total_count=found.total,
        page=command.page,
        page_size=command.page_size,
        has_next_page=has_next,
        next_cursor=_cursor(command.sort, shown[-1][_ORDERS[name].column], shown[-1]["notebook_id"])
        if has_next
        else None,
    )


Way = Literal["walk", "gather", "known"]
"""How a page is found: along the order until it is full; among all matches, put in order; or among those known."""


@dataclass(frozen=True)
class _Found:
    """What is known of a list before its page is read."""

    total: int
    project_size: int
    notebook_ids: list[UUID] | None = None

    def way(self, command: ListNotebooks, offset: int) -> Way:
        """The cheaper way: names are in the table, so that both fetch what they look at; filters are in the indexes."""
        if self.notebook_ids is not None:
            return "known"
        passed = (offset + command.page_size + 1) * self.project_size / self.total
        if command.search:
            is_better = is_indexed(command.search.casefold()) and self.total < passed
        else:  # the order of creation has an index of its own for each filter
            is_better = not command.sort.endswith("dateCreated") and self.total * FETCH_COST < passed
        return "gather" if is_better else "walk"


async def _found(connection: asyncpg.Connection, command: ListNotebooks, searches: Searches) -> _Found:
    if command.search:
        matches = await searches.matches(connection, command.scope, command.search.casefold())
        return _Found(_total(command, matches.counts), matches.project_size, matches.notebook_ids)
    rows = await connection.fetch(queries.count_kinds, command.scope.tenant_id, command.scope.project_id)
    counts = Counter({kind_of(row): row["number"] for row in rows})
    return _Found(_total(command, counts), counts.total())


def _total(command: ListNotebooks, counts: Counter[Kind]) -> int:
    """How many notebooks the filters leave."""
    wanted = (command.kernel_type, command.enrichment_mode, command.status)  # as a Kind's members
    return sum(
        number
        for kind, number in counts.items()
        if all(want is None or want == is_ for want, is_ in zip(wanted, kind, strict=True))
    )


def _page_statement(where: str, order: _Order, descending: bool, limit: int, offset: int, way: Way) -> str:
    """The inner query walks the index alone, however far the page; rows are fetched for the page's notebooks only."""
    direction = "DESC" if descending else "ASC"
    by = f"place {direction}, notebook_id {direction}"
    chosen = f"SELECT notebook_id, {order.expression} AS place FROM notebook WHERE {where}"
    if way == "gather":
        chosen = f"WITH gathered AS MATERIALIZED ({chosen}) SELECT * FROM gathered"
    return (
        "SELECT notebook_id, name, name_key, kernel_type, status, enrichment_mode, cell_count, last_execution_date, "
        f"created_at, modified_at FROM notebook JOIN ({chosen} ORDER BY {by} LIMIT {limit} OFFSET {offset}"
        f") AS chosen USING (notebook_id) ORDER BY {by}"
    )


def _check(command: ListNotebooks, sort: str) -> tuple[Any, UUID] | None:
    """The place a cursor names, None without one. Raises Invalid with every fault of the request."""
    found = []
    if sort not in _ORDERS or not re.fullmatch(r"-?\w+", command.sort):
        found.append(Fault(path="sort", message=f"must be one of {', '.join(_ORDERS)}, with - in front for descending"))
    if not 1 <= command.page <= MAX_PAGE:
        found.append(Fault(path="page", message=f"must be from 1 to {MAX_PAGE}"))
    if not 1 <= command.page_size <= MAX_PAGE_SIZE:
        found.append(Fault(path="pageSize", message=f"must be from 1 to {MAX_PAGE_SIZE}"))
    if command.search is not None and ("\x00" in command.search or len(command.search) > MAX_SEARCH):
        found.append(Fault(path="search", message=f"must be at most {MAX_SEARCH} characters, none of them NUL"))
    place = None
    if command.cursor:
        place = _place(command.cursor, command.sort)
        if place is None:
            found.append(Fault(path="cursor", message="is none that a page with this sort has given out"))
    faults.refuse(found, "The request")
    return place


def _filters(command: ListNotebooks) -> _Statement:
    statement = _Statement()
    statement.add("tenant_id = {} AND project_id = {}", command.scope.tenant_id, command.scope.project_id)
    statement.add("deleted_at IS NULL")
    if command.status is not None:
        statement.add("status = {}", command.status)
    if command.kernel_type is not None:
        statement.add("kernel_type = {}", command.kernel_type)
    if command.enrichment_mode is not None:
        statement.add("enrichment_mode = {}", command.enrichment_mode)
    return statement


def _confine(statement: _Statement, command: ListNotebooks, way: Way, notebook_ids: list[UUID] | None) -> None:
    """Add the search. `strpos` is what no index answers, so that the order's own, or the known ids', is taken."""
    if way == "known":
        statement.add("notebook_id = ANY({}::uuid[])", notebook_ids)
    if command.search and way == "gather":
        statement.add("name_key LIKE {}", pattern(command.search.casefold()))
    elif command.search:
        statement.add("strpos(name_key, {}) > 0", command.search.casefold())


def _begin_after(statement: _Statement, order: _Order, descending: bool, key: Any, notebook_id: UUID) -> None:
    """Add that the page begins after a place."""
    place = "COALESCE({}::timestamptz, '-infinity'::timestamptz)" if order.type == "timestamptz" else "{}::text"
    comparison = "<" if descending else ">"
    statement.add(f"({order.expression}, notebook_id) {comparison} ({place}, {{}})", key, notebook_id)


def _cursor(sort: str, key: Any, notebook_id: UUID) -> str:
    value = key.isoformat() if isinstance(key, datetime) else key
    return base64.urlsafe_b64encode(orjson.dumps([sort, value, str(notebook_id)])).decode().rstrip("=")


def _place(cursor: str, sort: str) -> tuple[Any, UUID] | None:
    """The key and id that a cursor of this sort holds, None for anything else."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        given_sort, key, notebook_id = orjson.loads(raw)
        place = UUID(notebook_id)
        if given_sort != sort or not isinstance(key, str | None):
            return None
        if sort.endswith("notebookName"):
            return (key, place) if key is not None and "\x00" not in key else None
        if key is None:
            return (None, place) if sort.endswith("lastExecutionDate") else None
        return in_utc(datetime.fromisoformat(key)), place
    except (ValueError, TypeError, AttributeError):
        return None


def _summary(row: asyncpg.Record) -> NotebookSummary:
    return NotebookSummary(
        notebook_id=row["notebook_id"],
        notebook_name=row["name"],
        kernel_type=row["kernel_type"],
        status=row["status"],
        enrichment_mode=row["enrichment_mode"],
        cell_count=row["cell_count"],
        last_execution_date=row["last_execution_date"],
        date_created=row["created_at"],
        date_modified=row["modified_at"],
    )
