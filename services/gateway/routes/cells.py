"""Single cells of a notebook."""

from __future__ import annotations

from typing import Any

from services.gateway import examples
from services.gateway.bodies import CellPatch, Expected
from services.gateway.calls import SCOPE, Answered, Asked, Call, Json
from services.gateway.model import Role
from shared.contracts.notebooks import DeleteCell, Notebook, UpdateCell
from shared.errors import NotFound

LONGEST_CELL_ID = 64
"""Characters of a cell's id at most (nbformat 4.5)."""


async def update_cell(asked: Asked) -> Answered:
    """`PUT notebook/{notebookId}/cells/{cellId}`."""
    patch: dict[str, Any] = asked.body
    command = UpdateCell(
        scope=asked.scope,
        caller=asked.caller,
        notebook_id=asked.notebook_id,
        cell_id=_cell_id(asked),
        patch={name: value for name, value in patch.items() if name not in ("etag", "dateModified")},
        precondition=asked.precondition(),
        change_message=asked.change_message(),
    )
    notebook = await asked.ask(command)
    return Answered(model=notebook, etag=notebook.etag)


async def delete_cell(asked: Asked) -> Answered:
    """`DELETE notebook/{notebookId}/cells/{cellId}`."""
    command = DeleteCell(
        scope=asked.scope,
        caller=asked.caller,
        notebook_id=asked.notebook_id,
        cell_id=_cell_id(asked),
        precondition=asked.precondition(),
        change_message=asked.change_message(),
    )
    notebook = await asked.ask(command)
    return Answered(model=notebook, etag=notebook.etag)


def _cell_id(asked: Asked) -> str:
    text = asked.request.match_info["cellId"]
    if len(text) > LONGEST_CELL_ID or not text.isprintable():
        raise NotFound("The notebook has no such cell.")
    return text


CALLS = (
    Call(
        method="PUT",
        path=f"{SCOPE}/notebook/{{notebookId}}/cells/{{cellId}}",
        tag="Notebooks",
        summary="Change one cell",
        handler=update_cell,
        role=Role.editor,
        body=Json(model=CellPatch, optional=True, as_sent=True, nulls_are_absent=False, example=examples.CELL_PATCH),
        reply=Notebook,
        example=examples.NOTEBOOK,
        conditional=True,
        explained=True,
    ),
    Call(
        method="DELETE",
        path=f"{SCOPE}/notebook/{{notebookId}}/cells/{{cellId}}",
        tag="Notebooks",
        summary="Take one cell out",
        handler=delete_cell,
        role=Role.editor,
        body=Json(model=Expected, optional=True),
        reply=Notebook,
        example=examples.NOTEBOOK,
        conditional=True,
        explained=True,
        notes="Answers with the notebook as it is then.",
    ),
)
