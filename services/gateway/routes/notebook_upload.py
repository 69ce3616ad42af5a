"""`POST notebook/upload`: a notebook file from a form, checked as far as that goes without parsing it."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from services.gateway import examples, mending
from services.gateway.bodies import NotebookUpload
from services.gateway.calls import SCOPE, Answered, Asked, Call, Form
from services.gateway.decoding import refuse
from services.gateway.dispatch import further_faults
from services.gateway.forms import FormFields, parts
from services.gateway.model import Role
from services.gateway.notebook_files import text_of
from services.gateway.routes.notebooks import created
from shared.contracts.notebooks import CheckImport, ImportNotebook, Integration, Notebook
from shared.errors import Fault


async def upload_notebook(asked: Asked) -> Answered:
    """`POST notebook/upload`."""
    form = FormFields()
    content: bytes | None = None
    async for file in parts(asked.request, form, file_limit=asked.gateway.settings.notebook_max_bytes):
        content = b"".join([piece async for piece in file.pieces()])
    fields = form.checked(NotebookUpload)
    text = ""
    if content is None:
        form.faults.append(Fault(path="file", message="is required"))
    else:
        text = await asyncio.to_thread(text_of, content, form.faults)
    about: dict[str, Any] = {"scope": asked.scope, "caller": asked.caller}
    if form.faults and text:
        rest = NotebookUpload.model_validate(mending.mended(NotebookUpload, form.values) or {})
        form.faults += await further_faults(form.faults, asked.ask(CheckImport(**about, **_members(form, rest, text))))
    refuse(form.faults)
    if fields is None or content is None:
        raise LookupError("an upload without faults has its fields and its file")
    command = ImportNotebook(
        **about,
        **_members(form, fields, text),
        idempotency=asked.idempotency(fields, file_sha256=hashlib.sha256(content).hexdigest()),
        change_message=asked.change_message(),
    )
    return await created(asked, await asked.ask(command))


def _members(form: FormFields, fields: NotebookUpload, text: str) -> dict[str, Any]:
    """The file and what is said about it, as the members of a command."""
    return {
        "file_name": form.file_name or "notebook.ipynb",
        "file": text,
        "notebook_name": fields.notebook_name,
        "notebook_description": fields.notebook_description,
        "kernel_type": fields.kernel_type,
        "integration": Integration(enrichment_mode=fields.enrichment_mode, dataset_binding=fields.dataset_binding),
    }


CALLS = (
    Call(
        method="POST",
        path=f"{SCOPE}/notebook/upload",
        tag="Notebooks",
        summary="Upload a notebook",
        handler=upload_notebook,
        role=Role.editor,
        body=Form(
            model=NotebookUpload,
            file="an .ipynb file, or a script, Markdown, R Markdown or Quarto file that Jupytext reads",
            example=examples.UPLOAD,
            held_whole=True,
        ),
        reply=Notebook,
        status=201,
        example=examples.UPLOADED_NOTEBOOK,
        creates=True,
        explained=True,
        streams=True,
        refusals=(413,),
    ),
)
