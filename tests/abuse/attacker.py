"""Tenant A of the abuse suite: a viewer, a runner and an editor, and what no answer to them may be."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
from typing_extensions import override

from deploy.local import Stack
from tests.support.api import Api
from tests.support.keys import make_key

END_S = 120.0
"""How long a run of the attacker may take, in seconds; each is asked to end after `TIMEOUT_S`."""

TIMEOUT_S = 20
"""The `timeout` of the attacker's runs, in seconds."""

NOT_OUR_FAULT = {"WorkerLostError", "InternalError", "ArtifactStoreError"}
"""How no run may end, whatever its notebook does."""


class Broken(Exception):
    """An answer, or the end of a run, that no input may lead to."""


class JudgedApi(Api):
    """The API as one of the attackers sees it: answers of 500 and above are faults, but for a 503 that says when to
    come again."""

    @override
    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        try:
            status, body, headers = await super().call(method, path, **options)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, TimeoutError):
            # A body that is refused before it was read, or an upload that takes longer than this client waits.
            return 0, None, {}
        if status >= 500 and not (status == 503 and "Retry-After" in headers):
            raise Broken(f"{method} {path[:80]}: {status} {str(body)[:300]}")
        return status, body, headers

    @override
    async def create(self, *sources: str, **members: Any) -> dict[str, Any]:
        """As Api does, again where the machine has too much to do."""
        async with asyncio.timeout(END_S):
            while True:
                with contextlib.suppress(AssertionError):
                    return await super().create(*sources, **members)
                await asyncio.sleep(1)


@dataclass(frozen=True)
class Attacker:
    """One project, seen by three keys."""

    viewer: JudgedApi
    runner: JudgedApi
    editor: JudgedApi

    @classmethod
    async def of(cls, stack: Stack, session: aiohttp.ClientSession) -> Attacker:
        """A new tenant."""
        tenant, project = str(uuid4()), str(uuid4())

        async def api(role: str) -> JudgedApi:
            key = await make_key(stack, tenant=tenant, project=project, role=role)
            return JudgedApi(stack.url, session, tenant=tenant, project=project, key=key)

        await api("admin")
        return cls(await api("viewer"), await api("runner"), await api("editor"))

    def api(self, role: str) -> JudgedApi:
        """The API as that role sees it."""
        found: JudgedApi = getattr(self, role)
        return found

    async def send(self, role: str, method: str, path: str, body: bytes | Any, **options: Any) -> tuple[int, Any]:
        """Send a JSON body, given as bytes or as a value. Returns status and answer."""
        data = body if isinstance(body, bytes) else await asyncio.to_thread(orjson.dumps, body)
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        status, answer, _ = await self.api(role).call(method, path, data=io.BytesIO(data), headers=headers, **options)
        return status, answer

    async def upload(self, path: str, content: bytes, file_name: str, **fields: str) -> tuple[int, Any]:
        """Send a form with a file. Returns status and answer."""
        form = aiohttp.FormData()
        for name, value in fields.items():
            form.add_field(name, value)
        form.add_field("file", io.BytesIO(content), filename=file_name)
        status, answer, _ = await self.editor.post(path, data=form)
        return status, answer

    async def look(
        self, notebook: Any, *, parts: tuple[str, ...] = ("", "/parameters", "/versions", "/export")
    ) -> None:
        """Read what there is of a notebook, as its viewer may; nothing where there is none."""
        if isinstance(notebook, dict) and "notebookId" in notebook:
            for part in parts:
                await self.viewer.get(f"notebook/{notebook['notebookId']}{part}")

    async def run(self, notebook: dict[str, Any], **body: Any) -> dict[str, Any] | None:
        """Run a notebook to its end and read all that it left. Raises Broken for an end that is our fault."""
        path = f"notebook/{notebook['notebookId']}"
        asked = {"timeout": TIMEOUT_S, "errorPolicy": "continue", **body}
        status, execution = await self.send("runner", "POST", f"{path}/execute", asked)
        if status != 202:
            return None
        async with asyncio.timeout(END_S):
            while execution.get("status") == "Running":
                code, answer, _ = await self.viewer.get(
                    f"{path}/execution/{execution['executionId']}", params={"wait": "5"}
                )
                if code == 200:
                    execution = answer
        said = (execution["status"], execution["errorType"], execution["errorMessage"])
        if said[1] in NOT_OUR_FAULT:
            raise Broken(f"the run ended {said}")
        for part in ("results", "results?format=summary", "notebook", "report"):
            await self.viewer.get(f"{path}/execution/{execution['executionId']}/{part}")
        return dict(execution)


Send = Callable[[Attacker], Awaitable[None]]


@dataclass(frozen=True)
class Input:
    """One thing that a tenant can send, by name."""

    name: str
    send: Send

    def of(self, group: str) -> Input:
        """The same, named as one of a group."""
        return replace(self, name=f"{group}: {self.name}")


def grouped(group: str, inputs: list[Input]) -> list[Input]:
    """The inputs of one generator, with the group's name before their own. Raises ValueError when two share a name."""
    named = [one.of(group) for one in inputs]
    if len({one.name for one in named}) < len(named):
        raise ValueError(f"two inputs of {group} have the same name")
    return named
