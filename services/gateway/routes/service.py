"""The API about itself: who am I, what are the limits, is it well, how is it described."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web
from pydantic import Field

from services.gateway import asyncapi, docs_page, examples, openapi
from services.gateway.bodies import MAX_PAGE_SIZE, MAX_WAIT_S
from services.gateway.calls import Asked, Call
from services.gateway.headers import LONGEST_IDEMPOTENCY_KEY
from services.gateway.model import Role
from services.gateway.settings import LINK_LIFE_S
from shared import ops
from shared.contracts.base import Scope, Wire
from shared.contracts.executions import DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S, GetQuota
from shared.errors import Unavailable
from shared.file_limits import MAX_FILE_BYTES, MAX_FILES, MAX_FILES_BYTES
from shared.nesting import MAX_NESTING, MAX_VALUES

DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
"""The documentation page loads nothing, from here or elsewhere, and runs no script."""


NO_PROJECT = UUID(int=0)
"""In commands that are about a whole tenant."""


class Me(Wire):
    """Who the credential stands for."""

    subject: str
    role: str
    tenant_id: UUID
    projects: list[UUID] | None = Field(description="null: every project of the tenant")


class Limits(Wire):
    """Sizes and quotas in force for the caller's tenant."""

    notebook_file_bytes: int
    dataset_file_bytes: int
    library_file_bytes: int
    notebook_files_file_bytes: int = Field(description="size of one file beside a notebook")
    notebook_files_bytes: int = Field(description="size of all files beside a notebook together")
    notebook_files: int = Field(description="how many files a notebook may have beside it")
    json_body_bytes: int
    json_nesting: int
    json_values: int = Field(description="values of a JSON body, members and items of every level")
    requests_per_second: float | None = Field(description="of one key, status reads of its runs apart; null: no limit")
    tenant_requests_per_second: float | None = Field(description="of all keys together; null: no limit")
    event_streams_per_key: int | None = Field(description="event streams that a key may hold open; null: no limit")
    page_size: int
    status_wait_seconds: int
    execution_timeout_seconds: int
    default_execution_timeout_seconds: int
    download_link_seconds: int
    idempotency_key_length: int
    max_concurrent_runs: int = Field(description="runs of the tenant at a time; further ones wait")
    max_queued_runs: int = Field(description="runs of the tenant that may wait; further ones are refused with 429")
    concurrent_runs: int = Field(description="how many run now")
    queued_runs: int = Field(description="how many wait now")
    run_memory_bytes: int = Field(description="memory of one run's processes together")
    run_processes: int = Field(description="processes and threads of one run")
    run_open_files: int = Field(description="open files of one process of a run")
    run_file_bytes: int = Field(description="size of one file that a run writes")
    run_disk_bytes: int = Field(description="what a run's files may take together")
    run_files: int = Field(description="files and folders of a run")
    run_cpu_seconds: int | None = Field(description="processor time of one run; null: no limit but its timeout")
    run_processors: float | None = Field(description="processors a run may use at a time; null: all")


async def get_me(asked: Asked) -> Me:
    """`GET /api/me`."""
    who = asked.principal
    return Me(
        subject=who.subject,
        role=who.role.name,
        tenant_id=who.tenant_id,
        projects=None if who.project_id is None else [who.project_id],
    )


async def get_limits(asked: Asked) -> Limits:
    """`GET /api/limits`."""
    settings, who = asked.gateway.settings, asked.principal
    # Quotas belong to the tenant; a key that is good for all its projects names none.
    scope = Scope(tenant_id=who.tenant_id, project_id=who.project_id or NO_PROJECT)
    quota = await asked.ask(GetQuota(scope=scope, caller=asked.caller))
    return Limits(
        notebook_file_bytes=settings.notebook_max_bytes,
        dataset_file_bytes=settings.dataset_max_bytes,
        library_file_bytes=settings.library_max_bytes,
        notebook_files_file_bytes=MAX_FILE_BYTES,
        notebook_files_bytes=MAX_FILES_BYTES,
        notebook_files=MAX_FILES,
        json_body_bytes=settings.json_max_bytes,
        json_nesting=MAX_NESTING,
        json_values=MAX_VALUES,
        requests_per_second=settings.requests_per_s or None,
        tenant_requests_per_second=settings.tenant_requests_per_s or None,
        event_streams_per_key=settings.event_streams_per_key or None,
        page_size=MAX_PAGE_SIZE,
        status_wait_seconds=MAX_WAIT_S,
        execution_timeout_seconds=MAX_TIMEOUT_S,
        default_execution_timeout_seconds=DEFAULT_TIMEOUT_S,
        download_link_seconds=int(LINK_LIFE_S),
        idempotency_key_length=LONGEST_IDEMPOTENCY_KEY,
        max_concurrent_runs=quota.max_active,
        max_queued_runs=quota.max_queued,
        concurrent_runs=quota.active,
        queued_runs=quota.queued,
        run_memory_bytes=quota.run.memory_bytes,
        run_processes=quota.run.processes,
        run_open_files=quota.run.open_files,
        run_file_bytes=quota.run.file_bytes,
        run_disk_bytes=quota.run.disk_bytes,
        run_files=quota.run.files,
        run_cpu_seconds=quota.run.cpu_seconds,
        run_processors=quota.run.processors,
    )


async def get_health(asked: Asked) -> Any:
    """`GET /healthz`."""
    return await ops.healthz(asked.request)


async def get_readiness(asked: Asked) -> web.Response:
    """`GET /readyz`. Raises Unavailable, with each dependency's state, when the process cannot work."""
    ready, report = await asked.gateway.readiness.report()
    if ready:
        return web.json_response(report)
    down = [name for name, check in report["checks"].items() if not check["ok"]]
    reason = f"no answer from {', '.join(down)}" if down else str(report["status"])
    raise Unavailable(f"The process cannot work: {reason}.", extra={"checks": report["checks"]})


async def get_openapi(_asked: Asked) -> web.Response:
    """`GET /openapi.json`."""
    return _json(openapi.document(_all_calls()))


async def get_asyncapi(_asked: Asked) -> web.Response:
    """`GET /asyncapi.json`."""
    return _json(asyncapi.document())


async def get_docs(_asked: Asked) -> web.Response:
    """`GET /docs`."""
    return web.Response(text=_page(), content_type="text/html", headers={"Content-Security-Policy": DOCS_POLICY})


@cache
def _page() -> str:
    return docs_page.page(openapi.document(_all_calls()))


def _all_calls() -> tuple[Call, ...]:
    from services.gateway.routes import CALLS as EVERY_CALL  # noqa: PLC0415 - that table includes this module's

    return EVERY_CALL


def _json(document: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")


def _call(path: str, summary: str, handler: Any, role: Role | None, **more: Any) -> Call:
    return Call(method="GET", path=path, tag="Service", summary=summary, handler=handler, role=role, **more)


CALLS = (
    _call("/api/me", "Who am I", get_me, Role.viewer, reply=Me, example=examples.ME),
    _call("/api/limits", "Which limits are in force", get_limits, Role.viewer, reply=Limits, example=examples.LIMITS),
    _call("/healthz", "Is the process alive", get_health, None, example={"status": "ok"}),
    _call(
        "/readyz",
        "Can the process work",
        get_readiness,
        None,
        example={"status": "ready", "checks": {"broker": {"ok": True}, "database": {"ok": True}}},
        refusals=(503,),
    ),
    _call("/openapi.json", "This description", get_openapi, None, example={"openapi": "3.1.0"}),
    _call("/asyncapi.json", "The description of the events", get_asyncapi, None, example={"asyncapi": "3.0.0"}),
    _call("/docs", "The documentation page", get_docs, None, media_type="text/html", example="<!doctype html>…"),
)
