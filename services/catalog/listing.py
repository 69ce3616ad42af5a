"""Lists of notebooks: filters, order, pages by number and by cursor, put together as one statement from fixed parts."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.catalog import faults
from shared.contracts.base import in_utc
from shared.contracts.notebooks import ListNotebooks, NotebookPage, NotebookSummary
from shared.errors import Fault

MAX_PAGE_SIZE = 100
"""Notebooks on a page (SPEC.md: GET notebooks)."""

MAX_PAGE = 10_000_000
"""The highest page number that is looked for; no project has so many notebooks."""

MAX_SEARCH = 200
"""Characters of a search text: as long as a name."""


FEW_MATCHES = 200
"""A search with so many matches or fewer is paged among them; a page among more is found along the order."""


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


async def page(connection: asyncpg.Connection, command: ListNotebooks) -> NotebookPage:
    """The page asked for. Raises Invalid with every fault of the request."""
    name, descending = command.sort.removeprefix("-"), command.sort.startswith("-")
    after = _check(command, name)
    order = _ORDERS[name]
    filters = _filters(command)
    total, matches = await _total(connection, command, filters)
    statement = _Statement(list(filters.conditions), list(filters.arguments))
    if matches is not None:
        statement.add("notebook_id = ANY({}::uuid[])", matches)
    if after is not None:
        key, notebook_id = after
        place = "COALESCE({}::timestamptz, '-infinity'::timestamptz)" if order.type == "timestamptz" else "{}::text"
        comparison = "<" if descending else ">"
        statement.add(f"({order.expression}, notebook_id) {comparison} ({place}, {{}})", key, notebook_id)
    offset = 0 if after is not None else (command.page - 1) * command.page_size
    rows = await connection.fetch(
        _page_statement(statement.where, order, descending, command.page_size + 1, offset), *statement.arguments
    )
    shown = rows[: command.page_size]
    has_next = len(rows) > command.page_size
    return NotebookPage(
        notebooks=[_summary(row) for row in shown],
        total_count=total,
        page=command.page,
        page_size=command.page_size,
        has_next_page=has_next,
        next_cursor=_cursor(command.sort, shown[-1][order.column], shown[-1]["notebook_id"]) if has_next else None,
    )


def _page_statement(where: str, order: _Order, descending: bool, limit: int, offset: int) -> str:
    """The inner query walks the index alone, however far the page; rows are fetched for the page's notebooks only."""
    direction = "DESC" if descending else "ASC"
    by = f"{order.expression} {direction}, notebook_id {direction}"
    return (
        "SELECT notebook_id, name, name_key, kernel_type, status, enrichment_mode, cell_count, last_execution_date, "
        "created_at, modified_at FROM notebook JOIN ("
        f"SELECT notebook_id FROM notebook WHERE {where} ORDER BY {by} LIMIT {limit} OFFSET {offset}"
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
    if command.search:
        statement.add("name_key LIKE {}", f"%{_literally(command.search.casefold())}%")
    return statement


async def _total(
    connection: asyncpg.Connection, command: ListNotebooks, filters: _Statement
) -> tuple[int, list[UUID] | None]:
    """How many notebooks the filters leave: from the tally, or counted where a search is part of them.

    A search with few matches gives them, too, so that the page need not search again.
    """
    if command.search:
        row = await connection.fetchrow(
            f"SELECT count(*) AS total, CASE WHEN count(*) <= {FEW_MATCHES} THEN array_agg(notebook_id) END AS matches "
            f"FROM notebook WHERE {filters.where}",
            *filters.arguments,
        )
        return row["total"], row["matches"]
    where = " AND ".join(condition for condition in filters.conditions if condition != "deleted_at IS NULL")
    counted = await connection.fetchval(
        f"SELECT COALESCE(sum(change), 0)::bigint FROM notebook_tally WHERE {where}", *filters.arguments
    )
    return int(counted), None


def _literally(text: str) -> str:
    """`text` for LIKE, its wildcards meaning themselves."""
    return re.sub(r"([\\%_])", r"\\\1", text)


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
