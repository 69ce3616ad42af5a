"""Carries calls out: checks credential, sight, role, query and body in this order, then asks the handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import structlog
from aiohttp import web

from services.gateway import decoding, headers, mending, projects, reading, standing
from services.gateway.calls import Answer, Answered, Asked, Call, Form, Json
from services.gateway.gateway import Gateway
from services.gateway.model import Principal
from shared import reply_size
from shared.errors import AtelierError, Conflict, Fault, Invalid, NotFound, OutcomeUnknown, Unauthorized, Unavailable

log = structlog.get_logger(__name__)

ANSWER_S = 24.0
"""Every call that does not stream is answered within this many seconds (SPEC.md: 25, clients give up at 30). Of a
streaming one, credential, sight, query and body are checked within that."""


def handler_of(call: Call, gateway: Gateway) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a call: credential, sight, role, query and body are checked in this order."""

    async def handle(request: web.Request) -> web.StreamResponse:
        begun = False
        try:
            async with AsyncExitStack() as held, asyncio.timeout(ANSWER_S) as limit:
                asked = await _admitted(call, gateway, request)
                await held.enter_async_context(_room_for_body(asked))
                await _take_in(asked)
                begun = True
                if call.streams:
                    limit.reschedule(None)
                with reply_size.measured():
                    answer = await _carried_out(asked)
                    if not isinstance(answer, web.StreamResponse):
                        answered = answer if isinstance(answer, Answered) else Answered(model=answer)
                        answer = await reply_size.off_loop(lambda: json_response(answered, call.status))
        except TimeoutError as error:
            if call.method == "GET" or not begun:
                raise Unavailable("The answer took too long; try again shortly.") from error
            raise OutcomeUnknown(
                "The change took too long; whether it took effect is not known. Look at the present state."
            ) from error
        return answer

    return handle


NOBODY = UUID(int=0)
"""In place of a tenant, for the bodies of calls that are about none."""


async def _admitted(call: Call, gateway: Gateway, request: web.Request) -> Asked:
    """The request of a caller who may make it. Raises Unauthorized, NotFound, Forbidden."""
    principal = None
    if call.role is not None:
        principal = await _identified(gateway, request)
    asked = Asked(gateway, call, request, principal)
    if principal is not None:
        gateway.rate_limits.admit(principal, polled=next(reversed(asked.ids.values())) if call.is_poll else None)
    if principal is not None and "projectId" in asked.ids and not principal.sees(asked.scope):
        raise NotFound("There is no such project, or you may not see it.")
    if principal is not None and asked.ids.get("tenantId", principal.tenant_id) != principal.tenant_id:
        raise NotFound("There is no such tenant, or you may not see it.")
    if principal is not None:
        await projects.require(asked)
    if call.role is not None:
        await standing.require(asked, call.role)
    return asked


async def _identified(gateway: Gateway, request: web.Request) -> Principal:
    """Who asks. Raises Unauthorized, and TooManyRequests for an address that goes on guessing: not for keys that were
    valid lately, since behind a proxy all clients have one address."""
    address, header = request.remote or "", request.headers.get("Authorization")
    if not gateway.authenticator.was_seen(header):
        gateway.rate_limits.admit_credential(address)
    try:
        return await gateway.authenticator.principal(header)
    except Unauthorized:
        gateway.rate_limits.count_refused_credential(address)
        raise


@asynccontextmanager
async def _room_for_body(asked: Asked) -> AsyncIterator[None]:
    """Memory for a body that is held whole. Raises Unavailable when there is none in time."""
    body, settings = asked.call.body, asked.gateway.settings
    length = asked.request.content_length
    if isinstance(body, Json):
        limit = settings.json_max_bytes
    elif isinstance(body, Form) and body.held_whole:
        limit = settings.notebook_max_bytes
    else:
        limit = 0
    if length is None and not asked.request.body_exists:
        limit = 0
    size = limit if length is None else min(length, limit)
    async with asked.gateway.body_budget.reserve(asked.ids.get("tenantId", NOBODY), size):
        yield


async def _take_in(asked: Asked) -> None:
    """Check headers, query and body. Raises Invalid with every fault of all, those that a service knows of included."""
    call, request = asked.call, asked.request
    faults: list[Fault] = []
    _check_headers(asked, faults)
    asked.query = decoding.check_query(call.query, request.query.items(), faults=faults)
    if isinstance(call.body, Json):
        try:
            asked.body = await _body(asked, call.body, faults)
        except Invalid as error:
            faults += error.faults
    if faults and call.check is not None and asked.body is not None:
        faults += await further_faults(faults, call.check(asked))
    decoding.refuse(faults)


def _check_headers(asked: Asked, faults: list[Fault]) -> None:
    """Add what is wrong with the headers that the call honours."""
    call = asked.call
    for honoured, read in (
        (call.creates or call.idempotent, headers.idempotency_key),
        (call.conditional, headers.if_match),
        (call.explained, headers.change_message),
    ):
        if honoured:
            try:
                read(asked.request)
            except Invalid as error:
                faults += error.faults


async def further_faults(known: list[Fault], check: Awaitable[Any]) -> list[Fault]:
    """What a service finds wrong beside the faults that are known already. Raises NotFound when what the call is about
    does not exist; a service that cannot be asked finds nothing."""
    try:
        await check
    except Invalid as error:
        return mending.beside(known, error.faults)
    except NotFound:
        raise
    except AtelierError as error:
        log.info("faults told without a service's", reason=error.detail)
    return []


async def _carried_out(asked: Asked) -> Answer:
    """What the handler answers. Raises whatever the services do; a conflict says which state it is about."""
    try:
        if asked.call.role is not None:
            await projects.make(asked)
        return await asked.call.handler(asked)
    except NotFound:
        if asked.call.is_poll:
            asked.gateway.rate_limits.count_missed_poll(asked.principal)
        raise
    except Conflict as conflict:
        raise await standing.with_state(asked, conflict) from None


async def _body(asked: Asked, body: Json, faults: list[Fault]) -> Any:
    """The checked body; what is left of it when it has faults and a service may find more; else None."""
    raw = await reading.whole_body(asked.request, limit=asked.gateway.settings.json_max_bytes)
    data = await decoding.parse_json(raw)
    if data is None:
        if not body.optional:
            faults.append(Fault(path="", message="needs a JSON body"))
            return None
        data = {}
    salvages = asked.call.check is not None
    if len(raw) <= decoding.IN_LOOP_BYTES:
        return _checked(body, data, faults, salvages=salvages)
    return await asyncio.to_thread(_checked, body, data, faults, salvages=salvages)


def _checked(body: Json, data: Any, faults: list[Fault], *, salvages: bool) -> Any:
    """`data` as the body's model, or as sent; with faults, what is left of it if `salvages` is set, else None."""
    how = {"nulls_are_absent": body.nulls_are_absent, "strict": True}
    checked = decoding.check(body.model, data, faults=faults, **how)
    if checked is None and salvages:
        data = mending.mended(body.model, data, **how)
        checked = None if data is None else decoding.check(body.model, data, faults=[], **how)
    return data if body.as_sent else checked


def json_response(answer: Answered, status: int) -> web.Response:
    """A model as JSON, in camelCase, members without a value as null."""
    if status == 204:
        return web.Response(status=204)
    sent = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    if answer.location is not None:
        sent["Location"] = answer.location
    if answer.etag is not None:
        sent["ETag"] = '"' + answer.etag.strip('"') + '"'
    body = answer.model.__pydantic_serializer__.to_json(answer.model, by_alias=True)  # without a text in between
    return web.Response(body=body, status=answer.status or status, headers=sent)
