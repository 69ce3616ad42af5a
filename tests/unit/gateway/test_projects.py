"""Unknown projects are not found; an admin's first write makes one, a credential limited to projects never."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from services.gateway import examples
from services.gateway.model import Role
from services.gateway.projects import REMEMBERED, KnownProjects
from services.gateway.store import key_hash
from shared.contracts.base import Scope
from shared.contracts.datasets import DatasetPage, ListDatasets
from shared.contracts.notebooks import CreateNotebook, ListNotebooks, NotebookPage
from shared.contracts.projects import CreateProject, FindProject, ListProjects, Project, ProjectPage
from shared.errors import AtelierError, Conflict, OutcomeUnknown, Unavailable
from tests.unit.gateway.fake_ports import NOTEBOOK, PROJECT, TENANT, Answer, Api, principal

MADE = Project.model_validate(examples.PROJECT_MADE)
PAGE = ProjectPage.model_validate(examples.PROJECT_PAGE)


def tenant_wide(api: Api, role: Role) -> dict[str, str]:
    """The header of a key that is good for all projects of the tenant."""
    key = f"atl_tenant-wide-{role.name}"
    api.keys.known[key_hash(key)] = principal(role, project_id=None)
    return {"Authorization": f"Bearer {key}"}


def forget(api: Api) -> None:
    """Let the gateway know no project."""
    api.gateway.projects.__init__()  # type: ignore[misc]


async def create(api: Api, **more: Any) -> Answer:
    return await api.call("POST", "notebook", json={"notebookName": "n"}, **more)


@pytest.fixture
def unknown(api: Api) -> Api:
    """The API, with nothing known of the project, which does not exist."""
    forget(api)
    api.requests.on(CreateNotebook, NOTEBOOK)
    api.requests.on(CreateProject, MADE)
    return api


@pytest.mark.parametrize(
    "path", ["notebooks", "datasets", "libraries", "templates", "execution/queue", "notebook/ping"]
)
async def test_lists_of_an_unknown_project_are_404(unknown: Api, path: str) -> None:
    answer = await unknown.call("GET", path)
    assert answer.status == 404
    assert "There is no such project" in answer.json["detail"]
    assert f"POST /api/{TENANT}/projects" in answer.json["detail"]


async def test_the_vendors_list_of_an_unknown_project_is_404(unknown: Api) -> None:
    answer = await unknown.call("GET", f"notebook/{PROJECT}")
    assert "There is no such project" in answer.json["detail"]


async def test_an_admins_first_write_makes_the_project_once(unknown: Api) -> None:
    header = tenant_wide(unknown, Role.admin)
    for _ in range(2):
        assert (await create(unknown, headers=header)).status == 201
    made = [command for command in unknown.requests.asked if isinstance(command, CreateProject)]
    assert [(command.scope.project_id, command.may_exist) for command in made] == [(PROJECT, True)]


async def test_a_request_that_is_refused_for_its_form_makes_nothing(unknown: Api) -> None:
    answer = await unknown.call("POST", "notebook", json={"x": 1}, headers=tenant_wide(unknown, Role.admin))
    assert answer.status == 400
    assert not any(isinstance(command, CreateProject) for command in unknown.requests.asked)


@pytest.mark.parametrize("role", Role)
async def test_a_key_limited_to_a_project_never_makes_it(unknown: Api, role: Role) -> None:
    answer = await create(unknown, role=role)
    assert answer.status == 404
    assert "not limited to projects" in answer.json["detail"]
    assert [type(command) for command in unknown.requests.asked] == [FindProject]


@pytest.mark.parametrize("role", [Role.viewer, Role.runner, Role.editor])
async def test_only_an_admin_makes_a_project_by_writing(unknown: Api, role: Role) -> None:
    assert (await create(unknown, headers=tenant_wide(unknown, role))).status == 404


async def test_deleting_makes_nothing(unknown: Api) -> None:
    answer = await unknown.call("DELETE", "library/x", headers=tenant_wide(unknown, Role.admin))
    assert answer.status == 404
    assert [type(command) for command in unknown.requests.asked] == [FindProject]


async def test_what_is_known_is_asked_once(unknown: Api) -> None:
    unknown.requests.on(FindProject, MADE)
    unknown.requests.on(ListNotebooks, NotebookPage.model_validate(examples.NOTEBOOK_PAGE))
    for _ in range(3):
        assert (await unknown.call("GET", "notebooks")).status == 200
    assert len([command for command in unknown.requests.asked if isinstance(command, FindProject)]) == 1


@pytest.mark.parametrize("error", [Unavailable("Away."), AtelierError("The service does not know this command.")])
async def test_without_catalog_reads_go_on_and_writes_have_no_effect(unknown: Api, error: Exception) -> None:
    unknown.requests.on(FindProject, error)
    unknown.requests.on(CreateProject, OutcomeUnknown("The catalog service went away."))
    unknown.requests.on(ListDatasets, DatasetPage.model_validate(examples.DATASET_PAGE))
    assert (await unknown.call("GET", "datasets")).status == 200
    assert (await create(unknown)).status == 503
    assert (await create(unknown, headers=tenant_wide(unknown, Role.admin))).status == 503
    assert not any(isinstance(command, CreateNotebook) for command in unknown.requests.asked)


async def test_a_project_is_made_by_name(api: Api) -> None:
    api.requests.on(CreateProject, MADE)
    header = tenant_wide(api, Role.admin)
    answer = await api.call("POST", f"/api/{TENANT}/projects", json=examples.PROJECT_DRAFT, headers=header)
    assert (answer.status, answer.json) == (201, examples.PROJECT_MADE)
    assert answer.headers["Location"].endswith(f"/api/{TENANT}/projects/{PROJECT}")
    command = api.requests.last(CreateProject)
    assert (command.scope.project_id, command.project_name, command.may_exist) == (PROJECT, "Claims handling", False)


async def test_a_project_without_anything_gets_an_id(api: Api) -> None:
    api.requests.on(CreateProject, MADE)
    header = tenant_wide(api, Role.admin) | {"Idempotency-Key": "k"}
    assert (await api.call("POST", f"/api/{TENANT}/projects", headers=header)).status == 201
    command = api.requests.last(CreateProject)
    assert command.scope.project_id not in (UUID(int=0), PROJECT)
    assert command.idempotency.key == "k"


async def test_who_may_not_make_a_project_is_told(api: Api) -> None:
    api.requests.on(CreateProject, Conflict("There is such a project already."))
    path = f"/api/{TENANT}/projects"
    limited = await api.call("POST", path)
    assert (limited.status, "limited to one project" in limited.json["detail"]) == (403, True)
    assert (await api.call("POST", path, headers=tenant_wide(api, Role.editor))).status == 403
    assert (await api.call("POST", path, headers=tenant_wide(api, Role.admin))).status == 409
    assert (await api.call("POST", f"/api/{UUID(int=7)}/projects")).status == 404
    assert (await api.call("GET", f"/api/{UUID(int=7)}/projects")).status == 404


async def test_the_list_shows_a_limited_key_its_own_project_alone(api: Api) -> None:
    api.requests.on(ListProjects, PAGE)
    answer = await api.call("GET", f"/api/{TENANT}/projects", role=Role.viewer)
    assert (answer.status, answer.json) == (200, examples.PROJECT_PAGE)
    assert api.requests.last(ListProjects).only == PROJECT
    await api.call("GET", f"/api/{TENANT}/projects", headers=tenant_wide(api, Role.viewer))
    assert api.requests.last(ListProjects).only is None


async def test_a_project_is_looked_at(api: Api) -> None:
    api.requests.on(FindProject, MADE)
    assert (await api.call("GET", f"/api/{TENANT}/projects/{PROJECT}")).json == examples.PROJECT_MADE
    assert (await api.call("GET", f"/api/{TENANT}/projects/{UUID(int=7)}")).status == 404


def test_the_project_unused_for_longest_is_forgotten() -> None:
    known = KnownProjects()
    scopes = [Scope(tenant_id=TENANT, project_id=UUID(int=number)) for number in range(REMEMBERED + 1)]
    known.add(scopes[0])
    known.add(scopes[1])
    assert scopes[0] in known  # used again
    for scope in scopes[2:]:
        known.add(scope)
    assert scopes[0] in known
    assert scopes[1] not in known
