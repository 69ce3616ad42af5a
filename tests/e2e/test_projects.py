"""Projects through the whole stack: who makes them, and what others see meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp

from deploy.local import Stack
from services.gateway.model import Role
from services.gateway.store import KeyStore
from shared.database import Database
from tests.support.api import Api

LISTS = ("notebooks", "datasets", "libraries", "templates", "execution/history", "storage", "notebook/ping")


async def api_of(
    stack: Stack, http: aiohttp.ClientSession, *, tenant: str, project: str, role: str, limited: bool
) -> Api:
    """A caller with an ordinary key, as the command `create-key` makes it: it makes no project."""
    database = Database(stack.role_dsn("gateway"), schema="gateway")
    await database.open()
    try:
        confined = UUID(project) if limited else None
        keys = KeyStore(database)
        key = await keys.create(tenant_id=UUID(tenant), project_id=confined, role=Role[role], name=role)
    finally:
        await database.close()
    api = Api(stack.url, http, tenant=tenant, project=project, key=key)
    api.is_described = True
    return api


async def test_an_admins_first_write_makes_a_project(
    stack: Stack, http: aiohttp.ClientSession, simulated_log: Path
) -> None:
    tenant = str(uuid4())
    for write in ("notebook", "dataset"):
        project = str(uuid4())
        admin = await api_of(stack, http, tenant=tenant, project=project, role="admin", limited=False)
        limited = await api_of(stack, http, tenant=tenant, project=project, role="admin", limited=True)
        editor = await api_of(stack, http, tenant=tenant, project=project, role="editor", limited=False)
        for caller in (admin, limited, editor):
            assert [(await caller.get(path))[0] for path in LISTS] == [404] * len(LISTS)
        for caller in (limited, editor):
            status, problem, _ = await caller.post("notebook", json={"notebookName": "n"})
            assert (status, f"/api/{tenant}/projects" in problem["detail"]) == (404, True)
        if write == "notebook":
            await admin.create("1")
        else:
            await admin.upload_dataset(simulated_log)
        for caller in (admin, limited, editor):
            assert [(await caller.get(path))[0] for path in LISTS] == [200] * len(LISTS)
            assert (await caller.create("1"))["projectId"] == project
        assert [item["projectId"] for item in (await limited.get(f"/api/{tenant}/projects"))[1]["items"]] == [project]
    assert (await admin.get(f"/api/{tenant}/projects"))[1]["totalCount"] == 2


async def test_a_project_is_made_by_name_once(stack: Stack, http: aiohttp.ClientSession) -> None:
    tenant = str(uuid4())
    admin = await api_of(stack, http, tenant=tenant, project=str(uuid4()), role="admin", limited=False)
    path, draft = f"/api/{tenant}/projects", {"projectId": admin.project, "projectName": "Claims"}
    answers = await asyncio.gather(*(admin.post(path, json=draft, headers={"Idempotency-Key": "k"}) for _ in range(3)))
    assert {status for status, _, _ in answers} == {201}
    _, made, headers = answers[0]
    assert made["projectName"] == "Claims"
    async with http.get(headers["Location"], headers=admin.headers) as response:
        assert (response.status, await response.json()) == (200, made)
    assert (await admin.post(path, json=draft))[0] == 409
    assert (await admin.post(path))[0] == 201
    assert (await admin.get("notebooks"))[1]["totalCount"] == 0
    other = await api_of(stack, http, tenant=str(uuid4()), project=admin.project, role="admin", limited=False)
    assert (await other.get(path))[0] == 404
    assert (await other.get("notebooks"))[0] == 404
