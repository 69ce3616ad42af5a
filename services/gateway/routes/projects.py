"""The tenant's projects: list them, look at one, make one."""

from __future__ import annotations

from uuid import UUID, uuid4

from services.gateway import examples
from services.gateway.bodies import PageQuery
from services.gateway.calls import Answered, Asked, Call, Json
from services.gateway.model import Role
from shared.contracts.base import Scope
from shared.contracts.projects import CreateProject, FindProject, ListProjects, Project, ProjectDraft, ProjectPage
from shared.errors import Forbidden

PROJECTS = "/api/{tenantId}/projects"

NO_PROJECT = UUID(int=0)
"""In commands that are about a whole tenant."""


async def list_projects(asked: Asked) -> ProjectPage:
    """`GET projects`."""
    query: PageQuery = asked.query
    return await asked.ask(
        ListProjects(
            scope=_scope(asked, NO_PROJECT),
            caller=asked.caller,
            only=asked.principal.project_id,
            page=query.page,
            page_size=query.page_size,
            cursor=query.cursor,
        )
    )


async def get_project(asked: Asked) -> Project:
    """`GET projects/{projectId}`."""
    return await asked.ask(FindProject(scope=asked.scope, caller=asked.caller))


async def create_project(asked: Asked) -> Answered:
    """`POST projects`. Raises Forbidden for a credential that is limited to a project."""
    draft: ProjectDraft = asked.body
    if asked.principal.project_id is not None:
        raise Forbidden(
            "This credential is limited to one project and makes none; use an admin's that is not limited to projects."
        )
    scope = _scope(asked, draft.project_id or uuid4())
    made = await asked.ask(
        CreateProject(
            scope=scope,
            caller=asked.caller,
            idempotency=asked.idempotency(draft),
            project_name=draft.project_name,
        )
    )
    asked.gateway.projects.add(Scope(tenant_id=made.tenant_id, project_id=made.project_id))
    location = f"{asked.base_url}/api/{made.tenant_id}/projects/{made.project_id}"
    return Answered(model=made, location=location)


def _scope(asked: Asked, project_id: UUID) -> Scope:
    return Scope(tenant_id=asked.ids["tenantId"], project_id=project_id)


CALLS = (
    Call(
        method="GET",
        path=PROJECTS,
        tag="Projects",
        summary="List projects",
        handler=list_projects,
        role=Role.viewer,
        query=PageQuery,
        reply=ProjectPage,
        example=examples.PROJECT_PAGE,
        notes="The tenant's, newest first; for a credential that is limited to a project, that one.",
    ),
    Call(
        method="POST",
        path=PROJECTS,
        tag="Projects",
        summary="Make a project",
        handler=create_project,
        role=Role.admin,
        body=Json(model=ProjectDraft, optional=True, example=examples.PROJECT_DRAFT),
        reply=Project,
        status=201,
        example=examples.PROJECT_MADE,
        creates=True,
        refusals=(403,),
        notes="Only with a credential that is not limited to projects; its first write to a project makes it, too.",
    ),
    Call(
        method="GET",
        path=f"{PROJECTS}/{{projectId}}",
        tag="Projects",
        summary="Get a project",
        handler=get_project,
        role=Role.viewer,
        reply=Project,
        example=examples.PROJECT_MADE,
    ),
)
