"""`POST notebook/upload`: a notebook file from a form, checked as far as that goes without parsing it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from services.gateway import examples, mending, reading
from services.gateway.archives import ARCHIVE_BYTES, SIGNATURES
from services.gateway.bodies import NotebookUpload
from services.gateway.calls import SCOPE, Answered, Asked, Call, Form
from services.gateway.decoding import refuse
from services.gateway.dispatch import further_faults
from services.gateway.forms import FormFields, parts
from services.gateway.model import Role
from services.gateway.notebook_files import text_of
from services.gateway.routes.files import send_contents
from services.gateway.routes.notebooks import created
from services.gateway.staging import Staging
from shared.contracts.notebooks import CheckImport, FileReference, ImportNotebook, Integration, Notebook
from shared.errors import Fault, Invalid


@dataclass
class _Uploaded:
    """The notebook in the form, and what came with it."""

    content: bytes | None = None
    warnings: list[str] = field(default_factory=list)


async def upload_notebook(asked: Asked) -> Answered:
    """`POST notebook/upload`."""
    form = FormFields()
    async with Staging(asked.gateway.settings.work_dir) as staging:
        uploaded = await _read(asked, form, staging)
        fields = form.checked(NotebookUpload)
        content, text = uploaded.content, ""
        if content is not None:
            text = await asyncio.to_thread(text_of, content, form.faults)
        elif form.file_name is None:
            form.faults.append(Fault(path="file", message="is required"))
        about: dict[str, Any] = {"scope": asked.scope, "caller": asked.caller}
        if form.faults and text:
            rest = NotebookUpload.model_validate(mending.mended(NotebookUpload, form.values) or {})
            check = CheckImport(**about, **_members(form, rest, text))
            form.faults += await further_faults(form.faults, asked.ask(check))
        refuse(form.faults)
        if fields is None or content is None:
            raise LookupError("an upload without faults has its fields and its file")
        files, notebook_id = [file.reference() for file in staging.files], uuid4()
        if files:
            await asked.ask(CheckImport(**about, **_members(form, fields, text)))
            await send_contents(asked, staging, notebook_id)
        command = ImportNotebook(
            **about,
            **_members(form, fields, text),
            notebook_id=notebook_id,
            files=files,
            idempotency=asked.idempotency(fields, file_sha256=_fingerprint(content, files)),
            change_message=asked.change_message(),
        )
        notebook = await asked.ask(command)
    if uploaded.warnings and notebook.parsing is not None:
        told = notebook.parsing.model_copy(update={"warnings": [*notebook.parsing.warnings, *uploaded.warnings]})
        notebook = notebook.model_copy(update={"parsing": told})
    return await created(asked, notebook)


async def _read(asked: Asked, form: FormFields, staging: Staging) -> _Uploaded:
    """Read the form to its end: the notebook's bytes, and the files beside it into the staging area."""
    found, limit = _Uploaded(), asked.gateway.settings.notebook_max_bytes
    async for file in parts(asked.request, form, file_limit=max(limit, ARCHIVE_BYTES)):
        pieces = file.pieces()
        head = b""
        while len(head) < len(SIGNATURES[0]) and (piece := await anext(pieces, b"")):
            head += piece
        if not head.startswith(SIGNATURES):
            found.content = await _whole(head, pieces, limit)
            continue
        try:
            unpacked = await asked.gateway.archives.unpack(_joined(head, pieces), staging, with_notebook=True)
        except Invalid as error:
            form.faults += error.faults
            continue
        found.warnings = unpacked.warnings
        if unpacked.notebook is not None:
            form.file_name = unpacked.notebook.path
            found.content = await staging.whole(unpacked.notebook)
    return found


async def _whole(head: bytes, pieces: AsyncIterator[bytes], limit: int) -> bytes:
    """Return all bytes of a file that is no archive. Raises TooLarge as soon as they are over the limit."""
    gathered, size = [], 0
    async for piece in _joined(head, pieces):
        size += len(piece)
        if size > limit:
            raise reading.too_large(limit)
        gathered.append(piece)
    return b"".join(gathered)


async def _joined(head: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for piece in pieces:
        yield piece


def _fingerprint(content: bytes, files: Sequence[FileReference]) -> str:
    """The hash of what was uploaded; that of the notebook alone where it came alone."""
    digest = hashlib.sha256(content)
    for file in files:
        digest.update(f"\n{file.sha256} {file.path}".encode())
    return digest.hexdigest()


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
            file="an .ipynb file, or a script, Markdown, R Markdown or Quarto file that Jupytext reads; or a zip with "
            "one .ipynb, and the files beside it",
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
