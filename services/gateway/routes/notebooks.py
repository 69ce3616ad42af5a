"""Notebooks: create, read, list, change, delete, export."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import structlog

from services.gateway import examples, transfers
from services.gateway.base_python import with_version
from services.gateway.bodies import DeleteQuery, Expected, ExportQuery, NotebookPatch, NotebooksQuery
from services.gateway.calls import SCOPE, Answered, Asked, Call, Json
from services.gateway.decoding import refuse
from services.gateway.dispatch import json_response
from services.gateway.model import Role
from shared.contracts.executions import BlockNotebook, GetNotebookActivity, NotebookActivity
from shared.contracts.files import ListFiles
from shared.contracts.notebooks import (
    CheckDraft,
    CheckNotebook,
    CheckUpdate,
    CreateNotebook,
    DeleteNotebook,
    ExportNotebook,
    FileReference,
    GetNotebook,
    IpynbFile,
    ListNotebooks,
    Notebook,
    NotebookDraft,
    NotebookPage,
    Precondition,
    ReserveDeletion,
    UpdateNotebook,
)
from shared.contracts.transfers import FILE_ARCHIVE, FileArchive, FileArchiveBody
from shared.errors import AtelierError, Conflict, Fault, NotFound, OutcomeUnknown, Unavailable

log = structlog.get_logger(__name__)

ACTIVITY_PATIENCE_S = 1.5
"""How long a read of a notebook waits for executor's newest word on its runs, in seconds; then catalog's projection
has to do (DESIGN.md decision 9)."""


async def create_notebook(asked: Asked) -> Answered:
    """`POST notebook`."""
    draft: NotebookDraft = asked.body
    command = CreateNotebook(
        scope=asked.scope,
        caller=asked.caller,
        draft=draft,
        idempotency=asked.idempotency(draft),
        change_message=asked.change_message(),
    )
    return await created(asked, await asked.ask(command))


async def check_draft(asked: Asked) -> None:
    """What catalog finds wrong with the body of `POST notebook`."""
    await asked.ask(CheckDraft(scope=asked.scope, caller=asked.caller, draft=asked.body))


async def get_notebook(asked: Asked) -> Answered | NotebookPage:
    """`GET notebook/{notebookId}`; with the project's own id the project's notebooks (the vendor's client)."""
    query: NotebooksQuery = asked.query
    if asked.notebook_id == asked.scope.project_id:
        return await list_notebooks(asked)
    fields = type(query).model_fields
    refuse([Fault(path=str(fields[name].alias), message="is for lists") for name in sorted(query.model_fields_set)])
    activity = asyncio.create_task(_activity(asked))
    try:
        notebook = await asked.ask(GetNotebook(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id))
        shown = await with_version(asked, notebook)
        async with asyncio.timeout(ACTIVITY_PATIENCE_S):
            newest = await activity
    except TimeoutError:
        newest = None
    finally:
        activity.cancel()
    return Answered(model=with_activity(shown, newest), etag=notebook.etag)


async def _activity(asked: Asked) -> NotebookActivity | None:
    """Executor's own word on the notebook's runs; None while it is down."""
    try:
        return await asked.ask(
            GetNotebookActivity(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id)
        )
    except AtelierError as error:
        log.info("run members taken from the projection", reason=error.detail)
        return None


def with_activity(notebook: Notebook, activity: NotebookActivity | None) -> Notebook:
    """The notebook with its run members replaced by executor's, which are never behind a visible end of a run."""
    if activity is None or activity.execution_count == 0:
        return notebook
    cells = [
        cell.model_copy(update=dict(activity.cells[cell.cell_id])) if cell.cell_id in activity.cells else cell
        for cell in notebook.cells
    ]
    return notebook.model_copy(
        update={
            "status": activity.status,
            "execution_count": activity.execution_count,
            "last_execution_date": activity.last_execution_date,
            "cells": cells,
        }
    )


async def list_notebooks(asked: Asked) -> NotebookPage:
    """`GET notebooks`."""
    query: NotebooksQuery = asked.query
    return await asked.ask(
        ListNotebooks(
            scope=asked.scope,
            caller=asked.caller,
            status=query.status,
            kernel_type=query.kernel_type,
            enrichment_mode=query.enrichment_mode,
            search=query.search,
            sort=query.sort,
            page=query.page,
            page_size=query.page_size,
            cursor=query.cursor,
        )
    )


async def update_notebook(asked: Asked) -> Answered:
    """`PUT notebook/{notebookId}`."""
    patch = _patch(asked)
    environment = patch.get("environment")
    gives_version = isinstance(environment, dict) and environment.get("pythonVersion")
    command = UpdateNotebook(
        scope=asked.scope,
        caller=asked.caller,
        notebook_id=asked.notebook_id,
        patch=patch,
        shown_python=await asked.gateway.base_python.version(asked) if gives_version else None,
        precondition=asked.precondition(),
        change_message=asked.change_message(),
    )
    notebook = await asked.ask(command)
    return Answered(model=await with_version(asked, notebook), etag=notebook.etag)


async def check_update(asked: Asked) -> None:
    """What catalog finds wrong with the body of `PUT notebook/{notebookId}`."""
    await asked.ask(
        CheckUpdate(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id, patch=_patch(asked))
    )


def _patch(asked: Asked) -> dict[str, Any]:
    """What is to be merged: the state that the body expects is the precondition's, and `If-Match` goes before it."""
    return {name: value for name, value in asked.body.items() if name not in ("etag", "dateModified")}


async def delete_notebook(asked: Asked) -> Any:
    """`DELETE notebook/{notebookId}`: executor first; it refuses while a run has not ended (DESIGN.md decision 5)."""
    query: DeleteQuery = asked.query
    about: dict[str, Any] = {"scope": asked.scope, "caller": asked.caller, "notebook_id": asked.notebook_id}
    precondition = asked.precondition()
    reserved = precondition != Precondition()
    if reserved:
        await asked.ask(ReserveDeletion(**about, precondition=precondition))
    else:
        await asked.ask(CheckNotebook(**about))
    try:
        await asked.ask(BlockNotebook(**about, force=query.force))
    except Conflict:
        if reserved:
            await asked.ask(ReserveDeletion(**about, release=True))
        raise
    except Unavailable as error:
        if error.extra.get("outcomeUnknown"):  # it gave up when it had cancelled executions already
            raise OutcomeUnknown(error.detail) from error
        raise
    try:
        await asked.ask(DeleteNotebook(**about))
    except NotFound:
        log.info("catalog had heard of the deletion already")
    except (Unavailable, OutcomeUnknown) as error:
        raise OutcomeUnknown(
            "The notebook takes no more runs and will be removed, but that could not be seen through now."
        ) from error
    return json_response(Answered(model=Expected()), 204)


async def export_notebook(asked: Asked) -> Any:
    """`GET notebook/{notebookId}/export`."""
    query: ExportQuery = asked.query
    file = await asked.ask(
        ExportNotebook(
            scope=asked.scope,
            caller=asked.caller,
            notebook_id=asked.notebook_id,
            version=query.version,
            format="ipynb" if query.format == "zip" else query.format,
        )
    )
    if query.format == "zip":
        return await _exported_with_files(asked, file, query.version)
    return await transfers.notebook_response(file)


async def _exported_with_files(asked: Asked, file: IpynbFile, version: str | None) -> Any:
    """The .ipynb and the files beside it, as one zip."""
    about: dict[str, Any] = {"scope": asked.scope, "caller": asked.caller, "notebook_id": asked.notebook_id}
    listed = await asked.ask(ListFiles(**about, version=version))
    taken, name = {one.path for one in listed.files}, file.file_name
    while name in taken:
        name = f"_{name}"
    body = FileArchiveBody(
        notebook_path=name,
        notebook=orjson.dumps(file.content, option=orjson.OPT_INDENT_2).decode(),
        files=[FileReference(path=one.path, sha256=one.sha256, size_bytes=one.size_bytes) for one in listed.files],
    )
    return await asked.gateway.transfers.download(
        asked.request,
        path=f"internal/file-archives/{asked.notebook_id}",
        purpose=FILE_ARCHIVE,
        claims=FileArchive(scope=asked.scope, notebook_id=asked.notebook_id),
        file_name=f"{file.file_name.removesuffix('.ipynb')}.zip",
        body=body.model_dump_json(by_alias=True).encode(),
    )


async def created(asked: Asked, notebook: Notebook) -> Answered:
    """The answer to a call that made `notebook`."""
    location = asked.address("notebook", notebook.notebook_id)
    return Answered(model=await with_version(asked, notebook), location=location, etag=notebook.etag)


EXPORT_NOTES = (
    "As .ipynb, or with `format` as text without outputs that Jupytext reads and `notebook/upload` takes: `script` "
    "(`text/x-python`, `text/x-r-source` or `text/x-scala`, with `# %%` cells), `markdown` or `rmarkdown` "
    "(`text/markdown`)."
)
"""What the documentation says of both exports."""

CALLS = (
    Call(
        method="POST",
        path=f"{SCOPE}/notebook",
        tag="Notebooks",
        summary="Create a notebook",
        handler=create_notebook,
        check=check_draft,
        role=Role.editor,
        body=Json(model=NotebookDraft, example=examples.DRAFT),
        reply=Notebook,
        status=201,
        example=examples.CREATED_NOTEBOOK,
        creates=True,
        explained=True,
        notes="Only `notebookName` is required. The cells of `template` come before `initialCells`.",
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/notebooks",
        tag="Notebooks",
        summary="List notebooks",
        handler=list_notebooks,
        role=Role.viewer,
        query=NotebooksQuery,
        reply=NotebookPage,
        example=examples.NOTEBOOK_PAGE,
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/notebook/{{notebookId}}",
        tag="Notebooks",
        summary="Read a notebook",
        handler=get_notebook,
        role=Role.viewer,
        query=NotebooksQuery,
        reply=Notebook,
        example=examples.NOTEBOOK,
        notes="With the project's own id the answer is that of `notebooks`; only then there are query parameters.",
    ),
    Call(
        method="PUT",
        path=f"{SCOPE}/notebook/{{notebookId}}",
        tag="Notebooks",
        summary="Change a notebook",
        handler=update_notebook,
        check=check_update,
        role=Role.editor,
        body=Json(model=NotebookPatch, optional=True, as_sent=True, nulls_are_absent=False, example=examples.PATCH),
        reply=Notebook,
        example=examples.NOTEBOOK,
        conditional=True,
        explained=True,
        notes="A merge patch (RFC 7396). A change of `cells` raises the minor version, any other change the patch.",
    ),
    Call(
        method="DELETE",
        path=f"{SCOPE}/notebook/{{notebookId}}",
        tag="Notebooks",
        summary="Delete a notebook",
        handler=delete_notebook,
        role=Role.editor,
        query=DeleteQuery,
        body=Json(model=Expected, optional=True),
        status=204,
        conditional=True,
        notes="409 while an execution has not ended; `force=true` stops it first. Everything it made goes, too.",
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/notebook/{{notebookId}}/export",
        tag="Notebooks",
        summary="Export a notebook",
        handler=export_notebook,
        role=Role.viewer,
        query=ExportQuery,
        media_type="application/x-ipynb+json",
        example=examples.IPYNB,
        notes=EXPORT_NOTES,
        forms=examples.NOTEBOOK_TEXTS | {"application/zip": examples.ZIP},
    ),
)
