"""Reads of large notebooks: one tenant's wait for one another, and another tenant's do not wait for them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.catalog import large_contents
from shared.byte_budget import ByteBudget
from shared.contracts.notebooks import CreateNotebook, GetNotebook, Notebook, NotebookDraft
from shared.errors import Unavailable
from tests.integration.catalog.conftest import Bench

LARGE = "x" * 1_500_000


class Reply:
    """An answer that has not been sent."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()

    async def hold(self, what: AbstractAsyncContextManager[Any]) -> None:
        await self.stack.enter_async_context(what)


async def read(bench: Bench, notebook: Notebook, tenant: UUID) -> Reply:
    """A read that has got its content, and is not answered yet."""
    reply = Reply()

    async def reading(reader: Any) -> int:
        return len((await reader.row("SELECT body FROM content WHERE notebook_id = $1", notebook.notebook_id))["body"])

    scope = bench.scope.model_copy(update={"tenant_id": tenant})
    size = await large_contents.read(bench.app, reply, scope, notebook.notebook_id, [None], reading)  # type: ignore[arg-type]
    assert size > len(LARGE)
    return reply


async def test_a_tenant_reads_as_many_large_notebooks_at_once_as_there_is_memory_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = {"notebookName": "Large", "initialCells": [{"cellType": "code", "content": LARGE}]}
    notebook = await bench.ask(CreateNotebook, draft=NotebookDraft.model_validate(draft))
    budget = ByteBudget(4_000_000, free_bytes=large_contents.FREE_BYTES, wait_s=0.05, refusal="Later.")
    object.__setattr__(bench.app, "large_contents", budget)
    tenant = bench.scope.tenant_id
    first = await read(bench, notebook, tenant)
    with pytest.raises(Unavailable, match="Later"):
        await read(bench, notebook, tenant)
    async with budget.reserve(uuid4(), 2_000_000):
        pass  # another tenant's are not kept waiting
    await first.stack.aclose()
    second = await read(bench, notebook, tenant)
    await second.stack.aclose()
    object.__setattr__(bench.app, "large_contents", large_contents.budget())
    assert (await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)).cells[0].content == LARGE
