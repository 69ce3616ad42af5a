"""A small HTTP client for tests: one tenant and project, a key, and the calls most tests make."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson

from deploy.local import Stack
from tests.support.conformance import faults_of
from tests.support.keys import make_key

RUN_TIMEOUT_S = 120.0
"""No run of a test takes longer, in seconds."""


RESULTS_TIMEOUT_S = 60.0
"""How long results may be asked for again, in seconds."""


def asks_again(status: int, body: Any) -> bool:
    """Whether an answer only says that a part of the system was away: no effect (503), or one that nobody knows of."""
    return status == 503 or (status == 409 and isinstance(body, dict) and body.get("outcomeUnknown") is True)


class Api:
    """The API as one caller sees it. With `is_described` every answer must be one that `/openapi.json` describes: not
    where times are measured."""

    is_described = False

    def __init__(self, base: str, session: aiohttp.ClientSession, *, tenant: str, project: str, key: str) -> None:
        self.base, self.tenant, self.project, self.key = base, tenant, project, key
        self.session = session
        self.headers = {"Authorization": f"Bearer {key}"}

    @classmethod
    async def of(cls, stack: Stack, session: aiohttp.ClientSession, *, role: str = "admin") -> Api:
        """A new tenant with a new project and a key of its own."""
        tenant, project = str(uuid4()), str(uuid4())
        key = await make_key(stack, tenant=tenant, project=project, role=role)
        return cls(stack.url, session, tenant=tenant, project=project, key=key)

    def url(self, path: str) -> str:
        """Absolute address: of the project for `notebook/…`, of the service for `/api/me`."""
        return self.base + path if path.startswith("/") else f"{self.base}/api/{self.tenant}/{self.project}/{path}"

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        """Status, decoded JSON (or bytes), headers."""
        headers = {**self.headers, **options.pop("headers", {})}
        async with self.session.request(method, self.url(path), headers=headers, **options) as response:
            body: Any = await response.read()
            if self.is_described:
                faults = faults_of(method, response.url.path, response.status, response.headers)
                assert not faults, f"{method} {response.url.path}: {faults}"
            if "json" in response.content_type and body:
                body = await response.json(content_type=None)
            return response.status, body, response.headers

    async def get(self, path: str, **options: Any) -> tuple[int, Any, Any]:
        return await self.call("GET", path, **options)

    async def post(self, path: str, **options: Any) -> tuple[int, Any, Any]:
        return await self.call("POST", path, **options)

    async def put(self, path: str, **options: Any) -> tuple[int, Any, Any]:
        return await self.call("PUT", path, **options)

    async def delete(self, path: str, **options: Any) -> tuple[int, Any, Any]:
        return await self.call("DELETE", path, **options)

    async def create(self, *sources: str, **members: Any) -> dict[str, Any]:
        """A notebook of code cells (`# …` Markdown for texts that begin with `md:`)."""
        cells = [
            {"cellType": "markdown", "content": source[3:]}
            if source.startswith("md:")
            else {"cellType": "code", "content": source}
            for source in sources
        ]
        body = {"notebookName": "a test", "initialCells": cells, **members}
        # As a file: aiohttp warns of large bodies given as bytes.
        data, headers = io.BytesIO(orjson.dumps(body)), {"Content-Type": "application/json"}
        status, notebook, _ = await self.post("notebook", data=data, headers=headers)
        assert status == 201, notebook
        return dict(notebook)

    async def start(self, notebook_id: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Accept a run."""
        status, execution, _ = await self.post(f"notebook/{notebook_id}/execute", json=body or {})
        assert status == 202, execution
        return dict(execution)

    async def wait(self, notebook_id: str, execution_id: str, timeout_s: float = RUN_TIMEOUT_S) -> dict[str, Any]:
        """The status object at the run's end."""
        async with asyncio.timeout(timeout_s):
            while True:
                status, execution, _ = await self.get(
                    f"notebook/{notebook_id}/execution/{execution_id}", params={"wait": "10"}
                )
                assert status == 200, execution
                if execution["status"] != "Running":
                    return dict(execution)

    async def run(self, notebook_id: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start a run and wait for its end."""
        execution = await self.start(notebook_id, body)
        return await self.wait(notebook_id, execution["executionId"])

    async def results(self, execution: dict[str, Any], **params: str) -> dict[str, Any]:
        """The results object. A machine that has too much to do may say 503 for a while, as clients know."""
        path = f"notebook/{execution['notebookId']}/execution/{execution['executionId']}/results"
        async with asyncio.timeout(RESULTS_TIMEOUT_S):
            while True:
                status, results, headers = await self.get(path, params=params)
                if not asks_again(status, results):
                    break
                await asyncio.sleep(float(headers.get("Retry-After", "1")))
        assert status == 200, results
        return dict(results)

    async def upload_dataset(self, path: Path, name: str = "a log", **fields: str) -> dict[str, Any]:
        """A dataset from a file."""
        form = aiohttp.FormData()
        form.add_field("datasetName", name)
        for field, value in fields.items():
            form.add_field(field, value)
        with path.open("rb") as file:
            form.add_field("file", file, filename=path.name)
            status, dataset, _ = await self.post("dataset", data=form)
        assert status == 201, dataset
        return dict(dataset)
