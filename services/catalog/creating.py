"""New notebooks: from a template and cells, or from an uploaded file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from services.catalog import (
    binding,
    child_calls,
    faults,
    importing,
    project_templates,
    schedule,
    shelf,
    store,
    validity,
)
from services.catalog.cell_changes import draft_faults
from services.catalog.cell_ids import Numbering
from services.catalog.changing import kept_message
from services.catalog.document import Document, cells_of_drafts, empty
from services.catalog.files import file_set
from services.catalog.files.file_set import FileSet
from services.catalog.kernels import SPECS
from services.catalog.limits import check_depth, check_size
from services.catalog.model import FIRST_VERSION, Definition
from services.catalog.shelf import Template
from shared.command_log import WriteTransaction
from shared.contracts.base import Caller, Nothing, Scope
from shared.contracts.notebooks import (
    CheckDraft,
    CheckImport,
    CreateNotebook,
    Environment,
    ImportNotebook,
    Integration,
    Notebook,
    NotebookCreated,
    NotebookDraft,
    Session,
)
from shared.errors import Fault, Invalid
from shared.responder import Context

if TYPE_CHECKING:
    from services.catalog.app import Catalog


async def create_notebook(app: Catalog, command: CreateNotebook, context: Context) -> Notebook:
    """A notebook at version 1.0.0: the template's cells first, then the initial ones."""
    definition, numbering, found = await _drafted(app, command)
    async with context.transaction() as transaction:
        # Faults come second: a request that is asked again, and was fine then, gets its first answer.
        faults.refuse(found, "The notebook")
        notebook = await insert(
            transaction, command.scope, command.caller, definition, numbering.highest, command.change_message
        )
        session = Session(session_id=uuid4(), kernel_type=notebook.kernel_type)
        return transaction.reply(notebook.model_copy(update={"session": session}))


async def check_draft(app: Catalog, command: CheckDraft, _context: Context) -> Nothing:
    """Everything that `create_notebook` checks; nothing is kept."""
    *_, found = await _drafted(app, command)
    faults.refuse(found, "The notebook")
    return Nothing()


async def _drafted(app: Catalog, command: CreateNotebook | CheckDraft) -> tuple[Definition, Numbering, list[Fault]]:
    """What a draft asks for, and all that is wrong with it."""
    draft = command.draft
    found: list[Fault] = []
    template = None
    if draft.template:
        try:
            template = await project_templates.choose(app, command.scope, draft.template)
        except Invalid as error:
            found += error.faults
    definition, numbering = await asyncio.to_thread(_definition, draft, template, found)
    found += await _unbindable(app, command, definition.integration, "integration.datasetBinding")
    return definition, numbering, found


async def _unbindable(
    app: Catalog,
    command: CreateNotebook | CheckDraft | ImportNotebook | CheckImport,
    integration: Integration,
    path: str,
) -> list[Fault]:
    return await binding.faults_of(app.requests, command.scope, command.caller, integration.dataset_binding, path)


async def import_notebook(app: Catalog, command: ImportNotebook, context: Context) -> Notebook:
    """A notebook from a file, with what was made of it in `parsing`."""
    imported, refusal = await _imported(app, command, context)
    async with context.transaction() as transaction:
        if imported is None or refusal is not None:
            raise refusal or LookupError("what was not read has its reason")
        files = FileSet().with_files(command.files, replace_all=True)
        file_set.check(command.files, files)
        definition = Definition(
            name=command.notebook_name or importing.name_for(command.file_name),
            description=command.notebook_description,
            kernel_type=imported.kernel_type,
            integration=command.integration,
            environment=Environment(),
            document=imported.document,
            files=files,
        )
        notebook = await insert(
            transaction,
            command.scope,
            command.caller,
            definition,
            imported.highest_cell_number,
            command.change_message,
            notebook_id=command.notebook_id,
        )
        return transaction.reply(notebook.model_copy(update={"parsing": imported.parsing}))


async def check_import(app: Catalog, command: CheckImport, context: Context) -> Nothing:
    """Everything that `import_notebook` checks; nothing is kept."""
    _, refusal = await _imported(app, command, context)
    if refusal is not None:
        raise refusal
    return Nothing()


async def _imported(
    app: Catalog, command: ImportNotebook | CheckImport, context: Context
) -> tuple[importing.Imported | None, Invalid | None]:
    """The file as it was read, and the refusal of all that is wrong with it and with what was said about it."""
    imported = refusal = None
    try:
        imported = await child_calls.read_file(
            app.children,
            command.file_name,
            command.file,
            command.kernel_type,
            owner=str(command.scope.tenant_id),
            deadline=context.deadline,
        )
    except Invalid as error:
        refusal = error
    found = await _unbindable(app, command, command.integration, "datasetBinding")
    found += schedule.faults_of(command.integration, "integration")
    if found:
        refusal = faults.refusal([*(refusal.faults if refusal else []), *found], "The upload")
    return imported, refusal


def _definition(draft: NotebookDraft, template: Template | None, found: list[Fault]) -> tuple[Definition, Numbering]:
    """What the draft asks for; its faults are added to `found`."""
    drafts = draft.initial_cells or []
    check_depth([cell.metadata for cell in drafts], "initialCells")
    integration = draft.integration or Integration()
    if template is not None and (unsuitable := shelf.unsuitable(template, draft.kernel_type)):
        found += unsuitable
        template = None
    found += schedule.faults_of(integration, "integration")
    wrong_ids = draft_faults(drafts, set(), "initialCells")
    found += wrong_ids
    own_ids = {cell.cell_id or "" for cell in drafts}
    numbering = Numbering(known=own_ids)
    given = template.cells_for(draft.kernel_type, numbering, own_ids) if template else []
    body = dict(template.document.body) if template else empty()
    body["cells"] = [*given, *cells_of_drafts(drafts, numbering)]
    body["metadata"] = {**body["metadata"], **SPECS[draft.kernel_type]}
    document = Document(body=body)
    if not wrong_ids:
        found += [
            Fault(path=_in_draft(fault.path, len(given)), message=fault.message) for fault in validity.faults_of(body)
        ]
    check_size(document)
    definition = Definition(
        name=draft.notebook_name,
        description=draft.notebook_description,
        kernel_type=draft.kernel_type,
        integration=integration,
        environment=draft.environment or (template.environment if template else Environment()),
        document=document,
    )
    return definition, numbering


def _in_draft(path: str, template_cells: int) -> str:
    """A place in the document as a place in the draft: `cells[5].metadata.tags` as `initialCells[2].tags`."""
    number, _, rest = path.removeprefix("cells[").partition("]")
    if not number.isdigit():
        return path
    return f"initialCells[{int(number) - template_cells}]{rest.replace('.metadata.tags', '.tags')}"


async def insert(
    transaction: WriteTransaction,
    scope: Scope,
    caller: Caller,
    definition: Definition,
    highest_cell_number: int,
    message: str | None,
    *,
    notebook_id: UUID | None = None,
) -> Notebook:
    """A new notebook at version 1.0.0, and the fact that it is there."""
    notebook_id = notebook_id or uuid4()
    author = caller.subject.replace("\x00", "")
    await store.insert(
        transaction.sql,
        scope,
        notebook_id,
        definition,
        version=FIRST_VERSION,
        highest_cell_number=highest_cell_number,
        author=author,
        message=kept_message(message),
    )
    transaction.emit(
        NotebookCreated(
            scope=scope,
            notebook_id=notebook_id,
            notebook_name=definition.name,
            notebook_version=FIRST_VERSION,
            changed_by=author,
        )
    )
    return await store.get(transaction.sql, scope, notebook_id)
