"""A run that saves things of every kind, stopped at a named step of their way into its results.

As in storing.py the services know nothing of it. The S3 server is stopped (SIGSTOP) while objects go to it, or a
trigger on one table makes one statement of theirs wait.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import random
import signal
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson

from deploy.local import Stack
from shared.errors import Unavailable
from tests.faults.in_flight import bodies_in_flight
from tests.faults.storing import PATIENCE_S, patiently
from tests.support.api import Api
from tests.support.runs import address

LOCK = 20_406
"""The advisory lock that holds a statement: its number means nothing, nobody else takes it."""

STATEMENTS = {
    "registering": "BEFORE INSERT ON artifacts.artifact FOR EACH ROW WHEN (NEW.position = 1)",
    "sealing": "BEFORE UPDATE ON artifacts.manifest FOR EACH ROW WHEN (NEW.final)",
    "sealed": "BEFORE UPDATE ON executor.execution FOR EACH ROW WHEN (NEW.state = 'Completed')",
}
"""The steps that are held in the database, and the statement that then waits."""

OUTPUTS = 600
"""More than one message registers."""

PACKED = 200
"""Outputs that go to the store in packs: their cell fills more than one."""

SIZES = (60_000, 3_000_000, 18_000_000)
"""Of what is saved, in bytes: all more than travels in a message, the last in several parts, which the store is told of
before any of them is sent."""

CELLS = [
    f"for number in range({OUTPUTS}): display(number)",
    f"""
import os
for number in range({PACKED}): display({{{{'text/plain': os.urandom(30_000).hex()}}}}, raw=True)
""",
    """
import os, pandas as pd
from mindzie_sdk import ProcessMiningClient
cases = [os.urandom(12).hex() for _ in range({size} // 60)]
ProcessMiningClient().save_enriched_dataset(pd.DataFrame({{'case_id': cases}}), name='enriched')
""",
    """
import os
from mindzie_sdk import ProcessMiningClient
ProcessMiningClient().save_model({{'weights': os.urandom({size})}}, name='model')
""",
    """
import os, pathlib
_ = pathlib.Path(os.environ['ATELIER_RUN_DIR'], 'outputs', 'loose.bin').write_bytes(os.urandom({size}))
""",
]

Listed = dict[str, int]
"""How many things of each kind the results list."""

EVERYTHING: Listed = {"output": OUTPUTS + PACKED, "enriched_dataset": 2, "model": 1, "file": 1}


@dataclass
class Saving:
    """One run. Sizes, the order of its cells, and whether results are shown while it goes on are left to chance."""

    api: Api
    chance: random.Random
    sizes: tuple[int, ...] = SIZES
    execution: dict[str, Any] = field(default_factory=dict)

    async def start(self) -> None:
        """Begin."""
        cells = [cell.format(size=self.chance.choice(self.sizes)) for cell in CELLS]
        self.chance.shuffle(cells)
        notebook = await self.api.create(*cells, integration={"enrichmentMode": True})
        shown = {"saveIntermediateResults": self.chance.random() < 0.5}
        self.execution = await self.api.start(notebook["notebookId"], {"outputOptions": shown})

    async def ended(self) -> dict[str, Any]:
        """The status object at the end."""

        async def wait() -> dict[str, Any]:
            found: dict[str, Any] = orjson.loads(await self._bytes(address(self.execution), wait="10"))
            if found["status"] == "Running":
                raise Unavailable("It goes on.")
            return found

        return await patiently(wait)

    async def listed(self) -> Listed:
        """What the results list now, each one downloaded, by its link if it is large, and found to match its hash."""
        path = f"{address(self.execution)}/results"
        results = orjson.loads(await self._bytes(path, format="summary"))
        archive = zipfile.ZipFile(io.BytesIO(await self._bytes(path, format="download")))
        described = {each["artifactId"]: each for each in orjson.loads(archive.read("manifest.json"))["artifacts"]}
        for each in described.values():
            assert _matches(archive.read(each["path"]), each)
        links = _links(results)
        if results["status"] != "Running":
            assert links.keys() == described.keys()
        for artifact_id in links.keys() & described.keys():
            if described[artifact_id]["sizeBytes"] >= min(SIZES):
                assert _matches(await self._bytes(links[artifact_id]), described[artifact_id])
        kinds = [each["kind"] for each in described.values()]
        return {kind: kinds.count(kind) for kind in kinds}

    async def _bytes(self, path: str, **params: str) -> bytes:
        url = path if path.startswith("http") else self.api.url(path)

        async def once() -> bytes:
            async with self.api.session.get(url, params=params or None, headers=self.api.headers) as answer:
                if answer.status == 503:
                    raise Unavailable("Away.")
                assert answer.status == 200, await answer.text()
                return await answer.read()

        return await patiently(once)


class Hold:
    """Keeps all runs of a stack from getting past a step."""

    def __init__(self, stack: Stack, database: asyncpg.Connection, step: str) -> None:
        self._stack, self._database, self._step = stack, database, step
        self._server = stack["s3"].pid if step == "storing" else None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """For as long as the context lasts."""
        if self._server is not None:
            os.kill(self._server, signal.SIGSTOP)
        try:
            if self._step in STATEMENTS:
                await self._database.execute("SELECT pg_advisory_lock($1)", LOCK)
                await self._database.execute(
                    "CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN NEW; END $$"
                )
                await self._database.execute(
                    f"CREATE TRIGGER hold {STATEMENTS[self._step]} EXECUTE FUNCTION public.hold()"
                )
            yield
        finally:
            self.let_server_go()
            await self._database.execute("SELECT pg_advisory_unlock_all()")
            await self._database.execute("DROP FUNCTION IF EXISTS public.hold() CASCADE")

    def let_server_go(self) -> None:
        """Let the S3 server read on, if it is the one that was stopped."""
        if self._server is not None and self._stack["s3"].pid == self._server:
            os.kill(self._server, signal.SIGCONT)

    async def reached(self, runs: list[Saving]) -> None:
        """Return when all have come to the step; for "ended", when the first has just ended."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self._is_at(runs):
                await asyncio.sleep(0.01)

    async def _is_at(self, runs: list[Saving]) -> bool:
        if self._step == "storing":
            return bodies_in_flight(self._stack.worker.pid, self._stack["s3"].port) == len(runs)
        if self._step == "ended":
            return bool(await self.over(runs))
        statement = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted"
        waiting = int(await self._database.fetchval(statement, LOCK))
        if self._step != "sealed":
            return waiting == len(runs)
        # One of them waits in the trigger, the others for their tenant's row, which it has locked.
        statement = "SELECT count(*) FROM artifacts.manifest WHERE execution_id = ANY($1) AND final"
        return waiting > 0 and int(await self._database.fetchval(statement, _ids(runs))) == len(runs)

    async def over(self, runs: list[Saving]) -> set[str]:
        """The runs whose end is committed."""
        statement = "SELECT execution_id FROM executor.execution WHERE execution_id = ANY($1) AND ended_at IS NOT NULL"
        return {str(row["execution_id"]) for row in await self._database.fetch(statement, _ids(runs))}


def _ids(runs: list[Saving]) -> list[str]:
    return [run.execution["executionId"] for run in runs]


def _links(results: dict[str, Any]) -> dict[str, str]:
    found = {
        each["artifactId"]: each["downloadUrl"]
        for section in ("outputs", "models", "reports", "files")
        for each in results[section]
    }
    for dataset in results["enrichedDatasets"]:
        found |= {dataset["artifactIds"][form]: url for form, url in dataset["downloadUrls"].items()}
    return found


def _matches(body: bytes, described: dict[str, Any]) -> bool:
    return (len(body), hashlib.sha256(body).hexdigest()) == (described["sizeBytes"], described["sha256"])
