"""Libraries of a project: upload, list, delete."""

from __future__ import annotations

from typing import Any

from services.gateway import examples
from services.gateway.bodies import NoMembers, PageQuery
from services.gateway.calls import LONGEST_NAME, SCOPE, Answered, Asked, Call, Form, Json
from services.gateway.decoding import refuse
from services.gateway.dispatch import json_response
from services.gateway.forms import FormFields, parts
from services.gateway.model import Role
from services.gateway.staging import Staging
from shared.contracts.libraries import DeleteLibrary, Library, LibraryPage, ListLibraries, PinLibraries, StoreLibrary
from shared.errors import Fault, NotFound

NO_LIBRARY = "There is no such library."


async def create_library(asked: Asked) -> Answered:
    """`POST library`."""
    form = FormFields()
    async with Staging(asked.gateway.settings.work_dir) as staging:
        async for part in parts(asked.request, form, file_limit=asked.gateway.settings.library_max_bytes):
            staging.begin(part.name)
            async for piece in part.pieces():
                await staging.add(piece)
            staging.end()
        await staging.flush()
        fields = form.checked(NoMembers)
        if form.file_name is None:
            form.faults.append(Fault(path="file", message="is required"))
        elif not staging.total:
            form.faults.append(Fault(path="file", message="is empty"))
        refuse(form.faults)
        if fields is None or form.file_name is None:
            raise LookupError("an upload without faults has its file")
        (file,) = staging.files
        async with asked.gateway.transfers.waiting(file.size, staging.pieces(file)) as reference:
            command = StoreLibrary(
                scope=asked.scope,
                caller=asked.caller,
                idempotency=asked.idempotency(fields, file_sha256=file.sha256),
                file_name=form.file_name,
                reference=reference,
            )
            library = await asked.ask(command)
    return Answered(model=library, location=asked.address("libraries"))


async def list_libraries(asked: Asked) -> LibraryPage:
    """`GET libraries`."""
    query: PageQuery = asked.query
    return await asked.ask(
        ListLibraries(
            scope=asked.scope,
            caller=asked.caller,
            page=query.page,
            page_size=query.page_size,
            cursor=query.cursor,
        )
    )


async def delete_library(asked: Asked) -> Any:
    """`DELETE library/{name}`."""
    done = await asked.ask(DeleteLibrary(scope=asked.scope, caller=asked.caller, library_name=_name(asked)))
    return json_response(Answered(model=done), 204)


async def see_library(asked: Asked) -> None:
    """Raise NotFound unless the project has the library."""
    found = await asked.ask(PinLibraries(scope=asked.scope, caller=asked.caller, library_names=[_name(asked)]))
    if not found.libraries:
        raise NotFound(NO_LIBRARY)


def _name(asked: Asked) -> str:
    return asked.word("name", longest=LONGEST_NAME, missing=NO_LIBRARY)


CALLS = (
    Call(
        method="POST",
        path=f"{SCOPE}/library",
        tag="Libraries",
        summary="Upload a library",
        handler=create_library,
        role=Role.editor,
        body=Form(model=NoMembers, file="a wheel (.whl) or a single module (.py)", example={}),
        reply=Library,
        status=201,
        example=examples.LIBRARY,
        creates=True,
        streams=True,
        refusals=(413,),
        notes="Notebooks of the project name it in `environment.customLibraries`. One of the same name is replaced.",
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/libraries",
        tag="Libraries",
        summary="List libraries",
        handler=list_libraries,
        role=Role.viewer,
        query=PageQuery,
        reply=LibraryPage,
        example=examples.LIBRARY_PAGE,
    ),
    Call(
        method="DELETE",
        path=f"{SCOPE}/library/{{name}}",
        tag="Libraries",
        summary="Delete a library",
        handler=delete_library,
        sight=see_library,
        role=Role.editor,
        body=Json(model=NoMembers, optional=True),
        status=204,
    ),
)
