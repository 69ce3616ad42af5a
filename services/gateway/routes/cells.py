"""Single cells of a notebook."""

from __future__ import annotations

from typing import Any

from services.gateway import examples
from services.gateway.base_python import with_version
from services.gateway.bodies import CellPatch, Expected
from services.gateway.calls import SCOPE, Answered, Asked, Call, Json
from services.gateway.model import Role
from shared.contracts.notebooks import DeleteCell, GetNotebook, Notebook, UpdateCell
from shared.errors import NotFound

LONGEST_CELL_ID = 64
"""Characters of a cell's id at most (nbformat 4.5)."""

NO_CELL = "The notebook has no such cell."


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
    return Answered(model=await with_version(asked, notebook), etag=notebook.etag)


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
    return Answered(model=await with_version(asked, notebook), etag=notebook.etag)


async def see_cell(asked: Asked) -> None:
    """Raise NotFound unless the notebook has the cell."""
    notebook = await asked.ask(GetNotebook(scope=asked.scope, caller=asked.caller, notebook_id=asked.notebook_id))
    if _cell_id(asked) not in {cell.cell_id for cell in notebook.cells}:
        raise NotFound(NO_CELL)


def _cell_id(asked: Asked) -> str:
    return asked.word("cellId", longest=LONGEST_CELL_ID, missing=NO_CELL)


CALLS = (
    Call(
        method="PUT",
        path=f"{SCOPE}/notebook/{{notebookId}}/cells/{{cellId}}",
        tag="Notebooks",
        summary="Change one cell",
        handler=update_cell,
        role=Role.editor,
        sight=see_cell,
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
        sight=see_cell,
        body=Json(model=Expected, optional=True),
        reply=Notebook,
        example=examples.NOTEBOOK,
        conditional=True,
        explained=True,
        notes="Answers with the notebook as it is then.",
    ),
)
