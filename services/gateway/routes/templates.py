"""Templates: list, read, make one from a notebook, remove."""

from __future__ import annotations

from typing import Any

from services.gateway import examples
from services.gateway.bodies import NoMembers, PageQuery
from services.gateway.calls import LONGEST_NAME, SCOPE, Answered, Asked, Call, Json
from services.gateway.dispatch import json_response
from services.gateway.model import Role
from shared.contracts.templates import (
    AddTemplate,
    GetTemplate,
    ListTemplates,
    RemoveTemplate,
    Template,
    TemplateDraft,
    TemplatePage,
)


async def list_templates(asked: Asked) -> TemplatePage:
    """`GET templates`."""
    query: PageQuery = asked.query
    return await asked.ask(
        ListTemplates(
            scope=asked.scope,
            caller=asked.caller,
            page=query.page,
            page_size=query.page_size,
            cursor=query.cursor,
        )
    )


async def get_template(asked: Asked) -> Template:
    """`GET templates/{name}`."""
    return await asked.ask(GetTemplate(scope=asked.scope, caller=asked.caller, template_name=_name(asked)))


async def see_template(asked: Asked) -> None:
    """Raise NotFound unless there is such a template."""
    await get_template(asked)


async def add_template(asked: Asked) -> Answered:
    """`POST templates`."""
    draft: TemplateDraft = asked.body
    command = AddTemplate(scope=asked.scope, caller=asked.caller, draft=draft, idempotency=asked.idempotency(draft))
    template = await asked.ask(command)
    return Answered(model=template, location=asked.address(f"templates/{template.template_name}"))


async def remove_template(asked: Asked) -> Any:
    """`DELETE templates/{name}`."""
    done = await asked.ask(RemoveTemplate(scope=asked.scope, caller=asked.caller, template_name=_name(asked)))
    return json_response(Answered(model=done), 204)


def _name(asked: Asked) -> str:
    return asked.word("name", longest=LONGEST_NAME, missing="There is no such template.")


CALLS = (
    Call(
        method="GET",
        path=f"{SCOPE}/templates",
        tag="Templates",
        summary="List templates",
        handler=list_templates,
        role=Role.viewer,
        query=PageQuery,
        reply=TemplatePage,
        example=examples.TEMPLATE_PAGE,
        notes="Those that come with the product first, then the project's own, by name.",
    ),
    Call(
        method="POST",
        path=f"{SCOPE}/templates",
        tag="Templates",
        summary="Make a template from a notebook",
        handler=add_template,
        role=Role.editor,
        body=Json(model=TemplateDraft, example=examples.TEMPLATE_DRAFT),
        reply=Template,
        status=201,
        example=examples.TEMPLATE,
        creates=True,
        refusals=(409,),
        notes="A copy: what happens to the notebook later does not change the template. Notebooks of the project name "
        "it in `template` of `POST notebook`.",
    ),
    Call(
        method="GET",
        path=f"{SCOPE}/templates/{{name}}",
        tag="Templates",
        summary="Get a template",
        handler=get_template,
        role=Role.viewer,
        reply=Template,
        example=examples.TEMPLATE,
    ),
    Call(
        method="DELETE",
        path=f"{SCOPE}/templates/{{name}}",
        tag="Templates",
        summary="Delete a template of the project",
        handler=remove_template,
        sight=see_template,
        role=Role.editor,
        body=Json(model=NoMembers, optional=True),
        status=204,
        refusals=(409,),
        notes="Notebooks made from it stay. What comes with the product cannot be deleted.",
    ),
)
