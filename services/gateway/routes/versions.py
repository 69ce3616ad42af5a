"""A notebook's history: versions, their differences, restore and copy; and its parameters as a form wants them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.gateway import examples, history_examples, transfers
from services.gateway.base_python import with_version
from services.gateway.bodies import DiffQuery, Expected, PageQuery, VersionExportQuery, VersionQuery
from services.gateway.calls import SCOPE, Answered, Asked, Call, Json
from services.gateway.model import Role
from services.gateway.routes.notebooks import EXPORT_NOTES, created
from shared.contracts.notebooks import ExportNotebook, Notebook
from shared.contracts.versions import (
    CopyNotebook,
    CopyRequest,
    DiffVersions,
    GetParameters,
    GetVersion,
    ListVersions,
    NotebookDiff,
    NotebookVersion,
    ParameterSchema,
    RestoreVersion,
    ShowDiff,
    VersionPage,
)
from shared.errors import Invalid, NotFound

NOTEBOOK = f"{SCOPE}/notebook/{{notebookId}}"
VERSION = f"{NOTEBOOK}/versions/{{version}}"

LONGEST_VERSION = 32
"""Characters of a version at most: three numbers of nine digits."""

PAGE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
"""A diff shows what others wrote: a browser may lay it out, and nothing else."""


async def list_versions(asked: Asked) -> VersionPage:
    """`GET notebook/{notebookId}/versions`."""
    query: PageQuery = asked.query
    command = ListVersions(**_about(asked), page=query.page, page_size=query.page_size, cursor=query.cursor)
    return await asked.ask(command)


async def get_version(asked: Asked) -> NotebookVersion:
    """`GET …/versions/{version}`."""
    return await asked.ask(GetVersion(**_about(asked), version=_version(asked)))


async def export_version(asked: Asked) -> Any:
    """`GET …/versions/{version}/export`."""
    query: VersionExportQuery = asked.query
    try:
        command = ExportNotebook(**_about(asked), version=_version(asked), format=query.format)
        file = await asked.ask(command)
    except Invalid as error:  # what is a fault in a query is an address without anything behind it here
        if any(fault.path != "version" for fault in error.faults):
            raise
        raise NotFound(error.detail) from error
    return await transfers.notebook_response(file)


async def diff_versions(asked: Asked) -> Any:
    """`GET …/versions/{a}/diff/{b}`."""
    query: DiffQuery = asked.query
    pair = {"a": _version(asked, "a"), "b": _version(asked, "b")}
    if query.format == "json":
        return await asked.ask(DiffVersions(**_about(asked), **pair))
    shown = await asked.ask(ShowDiff(**_about(asked), **pair))
    headers = {**transfers.SAFETY_HEADERS, "Content-Security-Policy": PAGE_POLICY}
    return web.Response(text=shown.html, content_type="text/html", charset="utf-8", headers=headers)


async def restore_version(asked: Asked) -> Answered:
    """`POST …/versions/{version}/restore`."""
    notebook = await asked.ask(
        RestoreVersion(
            **_about(asked),
            idempotency=asked.idempotency(asked.body),
            version=_version(asked),
            precondition=asked.precondition(),
            change_message=asked.change_message(),
        )
    )
    location = asked.address("notebook", notebook.notebook_id, "versions", notebook.notebook_version)
    return Answered(model=await with_version(asked, notebook), location=location, etag=notebook.etag)


async def copy_notebook(asked: Asked) -> Answered:
    """`POST notebook/{notebookId}/copy`."""
    request: CopyRequest = asked.body
    command = CopyNotebook(
        **_about(asked),
        idempotency=asked.idempotency(request),
        request=request,
        change_message=asked.change_message(),
    )
    return await created(asked, await asked.ask(command))


async def get_parameters(asked: Asked) -> ParameterSchema:
    """`GET notebook/{notebookId}/parameters`."""
    query: VersionQuery = asked.query
    return await asked.ask(GetParameters(**_about(asked), version=query.version))


def _about(asked: Asked) -> dict[str, Any]:
    return {"scope": asked.scope, "caller": asked.caller, "notebook_id": asked.notebook_id}


async def see_version(asked: Asked) -> None:
    """Raise NotFound unless the notebook has the version."""
    await get_version(asked)


def _version(asked: Asked, name: str = "version") -> str:
    return asked.word(name, longest=LONGEST_VERSION, missing="The notebook has no such version.")


CALLS = (
    Call(
        method="GET",
        path=f"{NOTEBOOK}/versions",
        tag="Versions",
        summary="List a notebook's versions",
        handler=list_versions,
        role=Role.viewer,
        query=PageQuery,
        reply=VersionPage,
        example=history_examples.VERSION_PAGE,
        notes="Newest first. Versions are immutable; each says who made it, when, and why where `X-Change-Message` "
        "said so.",
    ),
    Call(
        method="GET",
        path=VERSION,
        tag="Versions",
        summary="Read a version",
        handler=get_version,
        role=Role.viewer,
        reply=NotebookVersion,
        example=history_examples.VERSION,
    ),
    Call(
        method="GET",
        path=f"{VERSION}/export",
        tag="Versions",
        summary="Export a version",
        handler=export_version,
        role=Role.viewer,
        query=VersionExportQuery,
        notes=EXPORT_NOTES,
        forms=examples.NOTEBOOK_TEXTS,
        media_type="application/x-ipynb+json",
        example=examples.IPYNB,
    ),
    Call(
        method="GET",
        path=f"{NOTEBOOK}/versions/{{a}}/diff/{{b}}",
        tag="Versions",
        summary="Compare two versions",
        handler=diff_versions,
        role=Role.viewer,
        query=DiffQuery,
        reply=NotebookDiff,
        example=history_examples.NOTEBOOK_DIFF,
        forms={"text/html": examples.HTML_PAGE},
        notes="`diff` is nbdime's: applied to the exported version a it gives the exported version b; it is empty for "
        "equal versions. With `format=html` the answer is a page to read.",
    ),
    Call(
        method="POST",
        path=f"{VERSION}/restore",
        tag="Versions",
        summary="Restore a version",
        handler=restore_version,
        sight=see_version,
        role=Role.editor,
        body=Json(model=Expected, optional=True),
        reply=Notebook,
        status=201,
        example=examples.NOTEBOOK,
        creates=True,
        conditional=True,
        explained=True,
        notes="Makes a new version with the cells and settings of the earlier one; none when nothing differs.",
    ),
    Call(
        method="POST",
        path=f"{NOTEBOOK}/copy",
        tag="Versions",
        summary="Copy a notebook",
        handler=copy_notebook,
        role=Role.editor,
        body=Json(model=CopyRequest, optional=True, example=history_examples.COPY_REQUEST),
        reply=Notebook,
        status=201,
        example=history_examples.NOTEBOOK_COPY,
        creates=True,
        explained=True,
        notes="Cells, settings and binding are those of the version; schedule and automation are left out, so that "
        "nothing runs twice.",
    ),
    Call(
        method="GET",
        path=f"{NOTEBOOK}/parameters",
        tag="Notebooks",
        summary="Read a notebook's parameters",
        handler=get_parameters,
        role=Role.viewer,
        query=VersionQuery,
        reply=ParameterSchema,
        example=history_examples.PARAMETER_SCHEMA,
        notes="JSON Schema, ready for a form: `x-order` is the order of the fields, each has a `title`.",
    ),
)
