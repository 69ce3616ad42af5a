"""Files beside a notebook: put one, many or an archive; list, get and delete them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from services.gateway import examples, forms, reading
from services.gateway.archives import ARCHIVE_BYTES
from services.gateway.bodies import Expected, NoMembers, PutFilesQuery, VersionQuery
from services.gateway.calls import OF_DOWNLOADS, SCOPE, Answered, Asked, Bytes, Call, Json
from services.gateway.dispatch import json_response
from services.gateway.model import Role
from services.gateway.staging import Staging
from shared import file_paths
from shared.contracts.base import Wire
from shared.contracts.files import (
    CheckFiles,
    ContentSize,
    DeleteFile,
    FindFile,
    ListFiles,
    NotebookFiles,
    OpenFileUpload,
    PutFiles,
)
from shared.contracts.notebooks import CheckNotebook, FileReference
from shared.contracts.transfers import FILE_DOWNLOAD, FileDownload
from shared.errors import Fault, Invalid, NotFound, UnsupportedMediaType
from shared.file_limits import MAX_FILE_BYTES, MAX_FILES_BYTES

FILES = f"{SCOPE}/notebook/{{notebookId}}/files"
FILE = f"{FILES}/{{path}}"

NO_FILE = "The notebook has no such file."

ZIP_TYPES = ("application/zip", "application/x-zip-compressed", "application/x-zip")
"""What clients call a zip archive."""

UPLOADS_AT_ONCE = 4
"""Contents of one request that are on their way to artifacts at a time."""


class _Content(Wire):
    """What an Idempotency-Key is about."""

    files: list[FileReference]
    replace: bool


async def list_files(asked: Asked) -> Answered:
    """`GET notebook/{notebookId}/files`."""
    query: VersionQuery = asked.query
    found = await asked.ask(ListFiles(**_about(asked), version=query.version))
    return Answered(model=found, etag=found.etag)


async def get_file(asked: Asked) -> Any:
    """`GET notebook/{notebookId}/files/{path}`."""
    query: VersionQuery = asked.query
    file = await asked.ask(FindFile(**_about(asked), path=_known_path(asked), version=query.version))
    name = file.path.rpartition("/")[2]
    return await asked.gateway.transfers.download(
        asked.request,
        path=f"internal/files/{file.sha256}",
        purpose=FILE_DOWNLOAD,
        claims=FileDownload(
            scope=asked.scope,
            notebook_id=asked.notebook_id,
            sha256=file.sha256,
            file_name=name,
            media_type=file.media_type,
        ),
        file_name=name,
    )


async def put_file(asked: Asked) -> Answered:
    """`PUT notebook/{notebookId}/files/{path}`."""
    path = _checked(asked.request.match_info["path"], "path")
    await _admit(asked)
    async with Staging(asked.gateway.settings.work_dir) as staging:
        if asked.request.content_type.startswith("multipart/"):
            async for part in forms.files(asked.request, **_limits(asked)):
                if staging.files:
                    raise Invalid("The form has two files.", faults=[Fault(path="file", message="is one too many")])
                await _stage(staging, path, part.pieces())
            if not staging.files:
                raise Invalid("The form has no file.", faults=[Fault(path="file", message="is required")])
        else:
            reading.check_length(asked.request, MAX_FILE_BYTES)
            await _stage(staging, path, reading.raw_pieces(asked.request, **_limits(asked)))
        return await store(asked, staging, replace=False)


async def put_files(asked: Asked) -> Answered:
    """`PUT notebook/{notebookId}/files`."""
    query: PutFilesQuery = asked.query
    await _admit(asked)
    warnings: list[str] = []
    async with Staging(asked.gateway.settings.work_dir) as staging:
        if asked.request.content_type.startswith("multipart/"):
            await _stage_parts(asked, staging, warnings)
        elif asked.request.content_type in ZIP_TYPES:
            reading.check_length(asked.request, ARCHIVE_BYTES)
            pieces = reading.raw_pieces(asked.request, **_limits(asked))
            unpacked = await asked.gateway.archives.unpack(pieces, staging, with_notebook=False)
            warnings += unpacked.warnings
        else:
            raise UnsupportedMediaType(
                "Send multipart/form-data, a part for each file with its path as `filename`, or a zip as "
                "application/zip. One file alone goes to …/files/{path}."
            )
        if not staging.files and not query.replace:
            raise Invalid("There is no file in the request.", faults=[Fault(path="", message="has no file")])
        return await store(asked, staging, replace=query.replace, warnings=warnings)


async def delete_file(asked: Asked) -> Any:
    """`DELETE notebook/{notebookId}/files/{path}`."""
    command = DeleteFile(
        **_about(asked),
        path=_known_path(asked),
        precondition=asked.precondition(),
        change_message=asked.change_message(),
    )
    answer: NotebookFiles = await asked.ask(command)
    return json_response(Answered(model=answer), 204)


async def see_file(asked: Asked) -> None:
    """Raise NotFound unless the notebook has the file."""
    await asked.ask(FindFile(**_about(asked), path=_known_path(asked)))


async def see_notebook(asked: Asked) -> None:
    """Raise NotFound unless there is the notebook."""
    await asked.ask(CheckNotebook(**_about(asked)))


async def store(asked: Asked, staging: Staging, *, replace: bool, warnings: list[str] | None = None) -> Answered:
    """Have artifacts keep the bytes, then catalog make a version with the files."""
    files = [file.reference() for file in staging.files]
    key = asked.idempotency(_Content(files=files, replace=replace))
    if key is None:  # asked again, a request that has changed the state already must not fail for what it found then
        await asked.ask(CheckFiles(**_about(asked), files=files, replace=replace, precondition=asked.precondition()))
    await send_contents(asked, staging, asked.notebook_id)
    answer = await asked.ask(
        PutFiles(
            **_about(asked),
            idempotency=key,
            files=files,
            replace=replace,
            precondition=asked.precondition(),
            change_message=asked.change_message(),
        )
    )
    return Answered(model=answer.model_copy(update={"warnings": warnings or []}), etag=answer.etag)


async def send_contents(asked: Asked, staging: Staging, notebook_id: Any) -> None:
    """Have artifacts keep the staged bytes for a notebook: it reserves what it has, and is sent the rest."""
    if not staging.files:
        return
    contents = {file.sha256: file for file in staging.files}
    opened = await asked.ask(
        OpenFileUpload(
            scope=asked.scope,
            caller=asked.caller,
            notebook_id=notebook_id,
            contents=[ContentSize(sha256=file.sha256, size_bytes=file.size) for file in contents.values()],
        )
    )
    await staging.flush()
    turn = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def send(sha256: str) -> None:
        async with turn:
            file = contents[sha256]
            await asked.gateway.transfers.send_content(opened, sha256, file.size, staging.pieces(file))

    sending = [asyncio.create_task(send(sha256)) for sha256 in opened.missing]
    try:
        await asyncio.gather(*sending)
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


async def _admit(asked: Asked) -> None:
    """Raise NotFound or Conflict before anything of the body is read."""
    if asked.idempotency(NoMembers()) is not None:
        await asked.ask(CheckNotebook(**_about(asked)))
        return
    path = asked.request.match_info.get("path")
    files = [] if path is None else [FileReference(path=path, size_bytes=0, sha256="0" * 64)]
    await asked.ask(CheckFiles(**_about(asked), files=files, precondition=asked.precondition()))


async def _stage_parts(asked: Asked, staging: Staging, warnings: list[str]) -> None:
    faults: list[Fault] = []
    left_out = 0
    async for part in forms.files(asked.request, **_limits(asked)):
        name = file_paths.normalized(part.name)
        fault = None if file_paths.is_leftover(name) else file_paths.fault_of(name)
        if fault is None and not file_paths.is_leftover(name):
            await _stage(staging, name, part.pieces())
            continue
        if fault is not None:
            faults.append(Fault(path=name[:200] or "filename", message=fault))
        else:
            warnings.append(f"Left out, since only file managers and caches make such files: {name[:200]}.")
        async for piece in part.pieces():  # read, so that the faults of other parts can be told as well
            left_out += len(piece)
            if left_out + staging.total > MAX_FILES_BYTES:
                raise reading.too_large(MAX_FILES_BYTES)
    if faults:
        raise Invalid(f"{faults[0].path} {faults[0].message}.", faults=faults[:100])


async def _stage(staging: Staging, path: str, pieces: AsyncIterator[bytes]) -> None:
    staging.begin(path)
    async for piece in pieces:
        await staging.add(piece)
    staging.end()


def _limits(asked: Asked) -> dict[str, Any]:
    return {"silence_s": asked.gateway.settings.upload_silence_s}


def _about(asked: Asked) -> dict[str, Any]:
    return {"scope": asked.scope, "caller": asked.caller, "notebook_id": asked.notebook_id}


def _checked(path: str, field: str) -> str:
    try:
        return file_paths.checked(path)
    except ValueError as error:
        raise Invalid(f"The path {error}.", faults=[Fault(path=field, message=str(error))]) from error


def _known_path(asked: Asked) -> str:
    """The path in the address. Raises NotFound for one that no file can have."""
    try:
        return file_paths.checked(asked.request.match_info["path"])
    except ValueError as error:
        raise NotFound(NO_FILE) from error


CALLS = (
    Call(
        method="GET",
        path=FILES,
        tag="Files",
        summary="List the files beside a notebook",
        handler=list_files,
        role=Role.viewer,
        query=VersionQuery,
        reply=NotebookFiles,
        example=examples.NOTEBOOK_FILES,
        notes="All of them, by path. They are laid into the work folder of each run before its first cell.",
    ),
    Call(
        method="PUT",
        path=FILES,
        tag="Files",
        summary="Put files beside a notebook",
        handler=put_files,
        sight=see_notebook,
        role=Role.editor,
        query=PutFilesQuery,
        body=Bytes(
            description="multipart/form-data with a part for each file, whose `filename` is its path; or a zip",
            media_types={
                "multipart/form-data": {"data/lookup.csv": examples.FILE_TEXT},
                "application/zip": examples.ZIP,
            },
        ),
        reply=NotebookFiles,
        example=examples.PUT_FILES,
        idempotent=True,
        conditional=True,
        explained=True,
        streams=True,
        refusals=(413,),
        notes="Files with the same paths are replaced; the others stay, unless `replace=true`. Raises the minor "
        "version where anything changes. Paths are relative, with slashes, in Unicode's composed form (NFC).",
    ),
    Call(
        method="GET",
        path=FILE,
        tag="Files",
        summary="Get a file beside a notebook",
        handler=get_file,
        role=Role.viewer,
        query=VersionQuery,
        media_type="*/*",
        example=examples.FILE_TEXT,
        streams=True,
        also=OF_DOWNLOADS,
        notes="The media type is that of the file's name.",
    ),
    Call(
        method="PUT",
        path=FILE,
        tag="Files",
        summary="Put a file beside a notebook",
        handler=put_file,
        sight=see_notebook,
        role=Role.editor,
        body=Bytes(description="the file's bytes, of any media type", media_types={"*/*": examples.FILE_TEXT}),
        reply=NotebookFiles,
        example=examples.PUT_FILES,
        idempotent=True,
        conditional=True,
        explained=True,
        streams=True,
        refusals=(413,),
        notes="`If-Match` may name the notebook's ETag or the file's. Raises the minor version where anything changes.",
    ),
    Call(
        method="DELETE",
        path=FILE,
        tag="Files",
        summary="Delete a file beside a notebook",
        handler=delete_file,
        sight=see_file,
        role=Role.editor,
        body=Json(model=Expected, optional=True),
        status=204,
        conditional=True,
        explained=True,
        notes="Raises the minor version; earlier versions keep the file.",
    ),
)
