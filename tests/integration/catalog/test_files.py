"""Files beside a notebook: versions, preconditions, differences, restore and copy, against a real database."""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from shared.contracts.base import Command, Idempotency, Scope
from shared.contracts.files import (
    CheckFiles,
    DeleteFile,
    FindFile,
    FindUsedContents,
    ListFiles,
    NotebookFiles,
    PutFiles,
)
from shared.contracts.notebooks import (
    CreateNotebook,
    DeleteNotebook,
    FileReference,
    GetNotebook,
    ImportNotebook,
    Integration,
    Notebook,
    NotebookDraft,
    PinNotebook,
    Precondition,
    UpdateNotebook,
)
from shared.contracts.versions import CopyNotebook, CopyRequest, DiffVersions, GetVersion, RestoreVersion, ShowDiff
from shared.errors import Conflict, Invalid, NotFound, TooLarge
from shared.file_limits import MAX_FILE_BYTES, MAX_FILES
from tests.integration.catalog.conftest import Bench


def file(path: str, text: str = "", *, size: int | None = None) -> FileReference:
    """A file by what is in it."""
    body = text.encode()
    return FileReference(path=path, sha256=sha256(body).hexdigest(), size_bytes=len(body) if size is None else size)


@pytest.fixture
async def notebook(bench: Bench) -> Notebook:
    cells = [{"cellType": "code", "content": "import helpers"}]
    draft = NotebookDraft.model_validate({"notebookName": "With files", "initialCells": cells})
    created: Notebook = await bench.ask(CreateNotebook, draft=draft)
    return created


async def put(bench: Bench, notebook: Notebook, *files: FileReference, **members: Any) -> NotebookFiles:
    answer: NotebookFiles = await bench.ask(PutFiles, notebook_id=notebook.notebook_id, files=list(files), **members)
    return answer


async def listed(bench: Bench, notebook: Notebook, version: str | None = None) -> dict[str, str]:
    answer: NotebookFiles = await bench.ask(ListFiles, notebook_id=notebook.notebook_id, version=version)
    return {one.path: one.sha256 for one in answer.files}


async def test_a_change_of_files_raises_the_minor_version_and_is_told(bench: Bench, notebook: Notebook) -> None:
    first = await put(bench, notebook, file("b.py", "b"), file("data/a.csv", "1,2"), change_message="why")
    assert (first.notebook_version, first.total_count, first.total_bytes) == ("1.1.0", 2, 4)
    assert [(one.path, one.media_type) for one in first.files] == [
        ("b.py", "text/x-python"),
        ("data/a.csv", "text/csv"),
    ]

    same = await put(bench, notebook, file("b.py", "b"))
    assert (same.notebook_version, same.etag) == ("1.1.0", first.etag)
    assert same.files == first.files[:1]

    renamed = await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch={"notebookName": "x"})
    assert renamed.notebook_version == "1.1.1"
    second = await put(bench, notebook, file("b.py", "c"))
    assert (second.notebook_version, second.total_count) == ("1.2.0", 2)
    assert second.files[0].date_modified > first.files[0].date_modified
    assert (await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)).etag == second.etag

    gone = await bench.ask(DeleteFile, notebook_id=notebook.notebook_id, path="data/a.csv")
    assert (gone.notebook_version, gone.files, gone.total_count) == ("1.3.0", [], 1)
    facts = await bench.sent.of(notebook.notebook_id, 5)
    assert [fact.data["notebookVersion"] for fact in facts] == ["1.0.0", "1.1.0", "1.1.1", "1.2.0", "1.3.0"]


async def test_replace_removes_all_others(bench: Bench, notebook: Notebook) -> None:
    await put(bench, notebook, file("a", "1"), file("b", "2"))
    answer = await put(bench, notebook, file("b", "2"), file("c", "3"), replace=True)
    assert answer.total_count == 2
    assert set(await listed(bench, notebook)) == {"b", "c"}
    assert set(await listed(bench, notebook, "1.1.0")) == {"a", "b"}


async def test_versions_pins_differences_and_restore_have_the_files(bench: Bench, notebook: Notebook) -> None:
    await put(bench, notebook, file("a.py", "1"), file("b.py", "2"), file("same.py", "s"))
    await put(bench, notebook, file("b.py", "3"), file("c.py", "4"))
    await bench.ask(DeleteFile, notebook_id=notebook.notebook_id, path="a.py")
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id}

    whole = await bench.ask(GetVersion, **about, version="1.1.0")
    assert [one.path for one in whole.files] == ["a.py", "b.py", "same.py"]
    pinned = await bench.ask(PinNotebook, **about)
    assert pinned.files == [file("b.py", "3"), file("c.py", "4"), file("same.py", "s")]
    assert (await bench.ask(PinNotebook, **about, version="1.1.0")).files == whole.files

    diff = await bench.ask(DiffVersions, **about, a="1.1.0", b="1.3.0")
    assert [(one.path, one.change) for one in diff.files] == [
        ("a.py", "removed"),
        ("b.py", "changed"),
        ("c.py", "added"),
    ]
    assert (diff.equal, diff.cells, diff.files[0].b, diff.files[2].a) == (False, [], None, None)
    page = await bench.ask(ShowDiff, **about, a="1.1.0", b="1.3.0")
    assert "a.py" in page.html
    assert "3 files changed" in page.html

    restored = await bench.ask(RestoreVersion, **about, version="1.1.0")
    assert restored.notebook_version == "1.4.0"
    assert await listed(bench, notebook) == await listed(bench, notebook, "1.1.0")
    assert (await bench.ask(DiffVersions, **about, a="1.1.0", b="1.4.0")).equal


async def test_the_expected_state_is_the_notebooks_or_the_files(bench: Bench, notebook: Notebook) -> None:
    first = await put(bench, notebook, file("a", "1"), precondition=Precondition(etag=notebook.etag))
    own = first.files[0].sha256
    changes: tuple[tuple[type[Command[Any]], dict[str, Any]], ...] = (
        (PutFiles, {"files": [file("a", "2")]}),
        (DeleteFile, {"path": "a"}),
    )
    for command, members in changes:
        with pytest.raises(Conflict):
            await bench.ask(
                command, notebook_id=notebook.notebook_id, precondition=Precondition(etag=notebook.etag), **members
            )
    with pytest.raises(Conflict):
        await bench.ask(
            CheckFiles,
            notebook_id=notebook.notebook_id,
            files=[file("a", "2")],
            precondition=Precondition(etag=notebook.etag),
        )
    await put(bench, notebook, file("a", "2"), precondition=Precondition(etag=own))
    with pytest.raises(Conflict):  # it is another file's now
        await put(bench, notebook, file("a", "3"), precondition=Precondition(etag=own))


async def test_the_same_idempotency_key_answers_with_the_first_result(bench: Bench, notebook: Notebook) -> None:
    key = Idempotency(key="k", route="r", fingerprint="f")
    first = await put(bench, notebook, file("a", "1"), idempotency=key)
    await put(bench, notebook, file("a", "2"))
    assert await put(bench, notebook, file("a", "1"), idempotency=key) == first
    with pytest.raises(Conflict):
        await put(bench, notebook, file("a", "1"), idempotency=Idempotency(key="k", route="r", fingerprint="g"))


async def test_what_does_not_fit_together_is_refused(bench: Bench, notebook: Notebook) -> None:
    await put(bench, notebook, file("data", "1"))
    refusals: tuple[tuple[list[FileReference], type[Exception], str], ...] = (
        ([file("data/a.csv")], Invalid, "data to be a folder"),
        ([file("x"), file("x", "2")], Invalid, "more than once"),
        ([file("big", size=MAX_FILE_BYTES + 1)], TooLarge, "50,000,000"),
        ([file(f"f{n}", size=MAX_FILE_BYTES) for n in range(5)], TooLarge, "200,000,000"),
        ([file(f"f{n}") for n in range(MAX_FILES)], TooLarge, "1,000 files"),
    )
    commands: tuple[type[Command[Any]], ...] = (PutFiles, CheckFiles)
    for files, error, words in refusals:
        for command in commands:
            with pytest.raises(error, match=words):
                await bench.ask(command, notebook_id=notebook.notebook_id, files=files)
    await put(bench, notebook, *(file(f"f{n}") for n in range(MAX_FILES)), replace=True)
    assert len(await listed(bench, notebook)) == MAX_FILES


async def test_nobody_else_sees_or_changes_them(bench: Bench, notebook: Notebook) -> None:
    await put(bench, notebook, file("a", "1"))
    stranger = Scope(tenant_id=uuid4(), project_id=bench.scope.project_id)
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id, "scope": stranger}
    calls: tuple[tuple[type[Command[Any]], dict[str, Any]], ...] = (
        (ListFiles, {}),
        (FindFile, {"path": "a"}),
        (PutFiles, {"files": [file("a", "2")]}),
        (CheckFiles, {"files": [file("a", "2")]}),
        (DeleteFile, {"path": "a"}),
    )
    for command, members in calls:
        with pytest.raises(NotFound):
            await bench.ask(command, **about, **members)
    used = await bench.ask(FindUsedContents, **about, sha256s=[file("a", "1").sha256])
    assert used.sha256s == []


async def test_one_file_of_a_version(bench: Bench, notebook: Notebook) -> None:
    await put(bench, notebook, file("a", "1"))
    await put(bench, notebook, file("a", "22"))
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id}
    assert (await bench.ask(FindFile, **about, path="a")).size_bytes == 2
    assert (await bench.ask(FindFile, **about, path="a", version="1.1.0")).size_bytes == 1
    absent: tuple[tuple[str, str | None, type[Exception]], ...] = (
        ("b", None, NotFound),
        ("a", "1.0.0", NotFound),
        ("a", "7.0.0", Invalid),
    )
    for path, version, error in absent:
        with pytest.raises(error):
            await bench.ask(FindFile, **about, path=path, version=version)
    with pytest.raises(NotFound):
        await bench.ask(DeleteFile, **about, path="b")


async def test_a_copy_has_the_files_and_reserves_their_bytes_first(bench: Bench, notebook: Notebook) -> None:
    await put(bench, notebook, file("a", "1"), file("b", "1"))
    await put(bench, notebook, file("a", "2"))
    bench.datasets.reserved.clear()
    request = CopyRequest(version="1.1.0")
    copied: Notebook = await bench.ask(CopyNotebook, notebook_id=notebook.notebook_id, request=request)
    assert await listed(bench, copied) == await listed(bench, notebook, "1.1.0")
    (reserved,) = bench.datasets.reserved
    assert reserved.notebook_id == copied.notebook_id
    assert {one.sha256 for one in reserved.contents} == set((await listed(bench, copied)).values())

    bench.datasets.missing = [file("x", "1").sha256]
    try:
        with pytest.raises(NotFound):
            await bench.ask(CopyNotebook, notebook_id=notebook.notebook_id, request=request)
    finally:
        bench.datasets.missing = []


async def test_an_upload_may_bring_files(bench: Bench) -> None:
    notebook_id = uuid4()
    members: dict[str, Any] = {"file_name": "a.ipynb", "integration": Integration(), "notebook_id": notebook_id}
    text = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    made: Notebook = await bench.ask(ImportNotebook, file=text, files=[file("a", "1")], **members)
    assert made.notebook_id == notebook_id
    assert made.notebook_version == "1.0.0"
    assert set(await listed(bench, made)) == {"a"}


async def test_which_contents_are_used_is_known_for_all_versions(
    bench: Bench, notebook: Notebook, connection: asyncpg.Connection
) -> None:
    await put(bench, notebook, file("a", "1"))
    await put(bench, notebook, file("a", "2"))
    hashes = [sha256(text.encode()).hexdigest() for text in "123"]
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id}
    assert set((await bench.ask(FindUsedContents, **about, sha256s=hashes)).sha256s) == set(hashes[:2])
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute("UPDATE file_set SET body = '' WHERE notebook_id = $1", notebook.notebook_id)

    await bench.ask(DeleteNotebook, **about)
    assert (await bench.ask(FindUsedContents, **about, sha256s=hashes)).sha256s == []
    await bench.app.purge.remove_hidden()
    assert set((await bench.rows(notebook.notebook_id)).values()) == {0}
