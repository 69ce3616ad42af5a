"""The calls of the vendor's published Python client (mindzie-api 2.0.0) that the reference does not have."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from services.gateway import examples
from services.gateway.bodies import NoMembers, PageQuery
from services.gateway.calls import SCOPE, Answered, Asked, Call, Json
from services.gateway.model import Role
from services.gateway.routes.datasets import list_datasets
from services.gateway.routes.starting import CHECKED, check_start, start_execution
from services.gateway.waiting import STATUS_PATIENCE_S, status
from shared.contracts.base import Wire
from shared.contracts.datasets import DatasetPage
from shared.contracts.executions import (
    CancelExecution,
    Execution,
    ExecutionPage,
    ExecutionRequest,
    GetExecution,
    GetLatestExecution,
    ListExecutions,
)
from shared.contracts.notebooks import AddCell, Cell, CellDraft, CheckNotebook, GetNotebook


class Block(Cell):
    """A cell as the vendor's client names it."""

    block_id: str = Field(description="the same as cellId")


class Blocks(Wire):
    """The cells of a notebook."""

    blocks: list[Block]
    total_count: int


class Address(Wire):
    """Where something is found."""

    url: str


async def get_blocks(asked: Asked) -> Blocks:
    """`GET notebook/{notebookId}/blocks`."""
    notebook = await asked.ask(GetNotebook(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id))
    return Blocks(blocks=[_block(cell) for cell in notebook.cells], total_count=len(notebook.cells))


async def add_block(asked: Asked) -> Answered:
    """`POST notebook/{notebookId}/blocks`."""
    cell: CellDraft = asked.body
    notebook = await asked.ask(
        AddCell(
            scope=asked.scope,
            caller=asked.caller,
            idempotency=asked.idempotency(cell),
            notebook_id=asked.notebook_id,
            cell=cell,
            change_message=asked.change_message(),
        )
    )
    added = _block(notebook.cells[-1])
    return Answered(model=added, location=asked.address("notebook", asked.notebook_id, "cells", added.cell_id))


async def get_notebook_url(asked: Asked) -> Address:
    """`GET notebook/{notebookId}/url`."""
    await asked.ask(CheckNotebook(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id))
    return Address(url=asked.address("notebook", asked.notebook_id))


async def get_latest_status(asked: Asked) -> Execution:
    """`GET notebook/{notebookId}/execution-status`."""
    command = GetLatestExecution(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id)
    return await asked.ask(command, patience_s=STATUS_PATIENCE_S)


async def get_status(asked: Asked) -> Execution:
    """`GET execution/status/{executionId}`."""
    return await status(asked, GetExecution(scope=asked.scope, caller=asked.caller, execution_id=asked.execution_id))


async def get_queue(asked: Asked) -> ExecutionPage:
    """`GET execution/queue`: what has not ended."""
    return await _project_executions(asked, active=True)


async def get_history(asked: Asked) -> ExecutionPage:
    """`GET execution/history`: what has ended."""
    return await _project_executions(asked, active=False)


async def queue_notebook(asked: Asked) -> Answered:
    """`POST execution/queue/notebook/{notebookId}`."""
    return await start_execution(asked)


async def cancel_queued(asked: Asked) -> Execution:
    """`DELETE execution/queue/{executionId}`."""
    return await asked.ask(CancelExecution(scope=asked.scope, caller=asked.caller, execution_id=asked.execution_id))


async def list_datasets_for_vendor(asked: Asked) -> DatasetPage:
    """`GET dataset`."""
    return await list_datasets(asked)


async def _project_executions(asked: Asked, *, active: bool) -> ExecutionPage:
    query: PageQuery = asked.query
    return await asked.ask(
        ListExecutions(
            scope=asked.scope,
            caller=asked.caller,
            active=active,
            page=query.page,
            page_size=query.page_size,
            cursor=query.cursor,
        )
    )


def _block(cell: Cell) -> Block:
    return Block.model_validate({**cell.model_dump(), "block_id": cell.cell_id})


def _call(method: str, path: str, summary: str, handler: Any, role: Role | None, **more: Any) -> Call:
    return Call(method=method, path=path, tag="Vendor's client", summary=summary, handler=handler, role=role, **more)


CALLS = (
    _call(
        "GET",
        f"{SCOPE}/notebook/{{notebookId}}/blocks",
        "List a notebook's cells",
        get_blocks,
        Role.viewer,
        reply=Blocks,
        example=examples.BLOCKS,
    ),
    _call(
        "POST",
        f"{SCOPE}/notebook/{{notebookId}}/blocks",
        "Append a cell",
        add_block,
        Role.editor,
        body=Json(model=CellDraft, example=examples.CELL_DRAFT),
        reply=Block,
        status=201,
        example=examples.BLOCK,
        creates=True,
        explained=True,
    ),
    _call(
        "GET",
        f"{SCOPE}/notebook/{{notebookId}}/url",
        "Get a notebook's address",
        get_notebook_url,
        Role.viewer,
        reply=Address,
        example=examples.ADDRESS,
    ),
    _call(
        "GET",
        f"{SCOPE}/notebook/{{notebookId}}/execution-status",
        "Read the status of a notebook's newest execution",
        get_latest_status,
        Role.viewer,
        is_poll=True,
        reply=Execution,
        example=examples.EXECUTION,
    ),
    _call(
        "GET",
        f"{SCOPE}/execution/status/{{executionId}}",
        "Read an execution's status",
        get_status,
        Role.viewer,
        is_poll=True,
        reply=Execution,
        example=examples.EXECUTION,
    ),
    _call(
        "GET",
        f"{SCOPE}/execution/queue",
        "List the project's executions that have not ended",
        get_queue,
        Role.viewer,
        query=PageQuery,
        reply=ExecutionPage,
        example=examples.EXECUTION_PAGE,
    ),
    _call(
        "GET",
        f"{SCOPE}/execution/history",
        "List the project's executions that have ended",
        get_history,
        Role.viewer,
        query=PageQuery,
        reply=ExecutionPage,
        example=examples.EXECUTION_PAGE,
    ),
    _call(
        "POST",
        f"{SCOPE}/execution/queue/notebook/{{notebookId}}",
        "Execute a notebook",
        queue_notebook,
        Role.runner,
        check=check_start,
        body=Json(model=ExecutionRequest, optional=True, example=examples.EXECUTION_REQUEST),
        reply=Execution,
        status=202,
        example=examples.STARTED_EXECUTION,
        creates=True,
        refusals=(429,),
        also=CHECKED,
    ),
    _call(
        "DELETE",
        f"{SCOPE}/execution/queue/{{executionId}}",
        "Cancel an execution",
        cancel_queued,
        Role.runner,
        body=Json(model=NoMembers, optional=True),
        reply=Execution,
        status=202,
        example=examples.STARTED_EXECUTION,
    ),
    _call(
        "GET",
        f"{SCOPE}/dataset",
        "List datasets",
        list_datasets_for_vendor,
        Role.viewer,
        query=PageQuery,
        reply=DatasetPage,
        example=examples.DATASET_PAGE,
    ),
)
