"""The reference's own two programs, and the vendor's published client, run unchanged against the stack."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from pathlib import Path

import pytest
from mindzie_api import MindzieAPIClient
from mindzie_api.exceptions import MindzieAPIException

from deploy.local import Stack
from tests.support.api import Api

PROGRAM_TIMEOUT_S = 120
NODE = Path(sys.executable).parent / "node"  # of the development environment


async def run_program(api: Api, dataset_id: str, *command: str | Path) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "ATELIER_URL": api.base,
        "ATELIER_TENANT": api.tenant,
        "ATELIER_PROJECT": api.project,
        "ATELIER_API_KEY": api.key,
        "ATELIER_DATASET": dataset_id,
    }
    process = await asyncio.create_subprocess_exec(
        *map(str, command), env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PROGRAM_TIMEOUT_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_the_references_python_example(api: Api, simulated_log: Path, reference_programs: Path) -> None:
    dataset = await api.upload_dataset(simulated_log)
    printed = await run_program(api, dataset["datasetId"], sys.executable, reference_programs / "notebook_manager.py")
    assert "Notebookuitvoering succesvol afgerond!" in printed
    assert "Verrijkte datasets: 1" in printed
    assert "Gemaakte ML-modellen: 2" in printed
    assert "Fout in notebook workflow" not in printed
    link = next(line for line in printed.splitlines() if line.startswith("Download verrijkte data: ")).split(": ")[1]
    async with api.session.get(link) as response:
        assert response.status == 200
        assert len((await response.text()).splitlines()) == dataset["recordCount"] + 1


async def test_the_references_javascript_workflow(api: Api, simulated_log: Path, reference_programs: Path) -> None:
    dataset = await api.upload_dataset(simulated_log)
    printed = await run_program(api, dataset["datasetId"], NODE, reference_programs / "workflow.mjs")
    assert "Notebook uitvoering voltooid!" in printed
    assert "workflow mislukt" not in printed
    assert "modelType: 'RandomForestClassifier'" in printed
    assert re.search(r"Verrijkte datasets: \[\s*\{", printed)
    assert re.search(r"\breports: \[\s*\{", printed)


async def test_the_vendors_published_client(api: Api, stack: Stack, simulated_log: Path) -> None:
    dataset = await api.upload_dataset(simulated_log)
    notebook = await api.create("print(1)", notebookName="for the vendor's client")
    identity = notebook["notebookId"]

    def session() -> None:
        client = MindzieAPIClient(base_url=stack.url, tenant_id=api.tenant, api_key=api.key, max_retries=1)
        with client:
            project = api.project
            notebooks, execution = client.notebooks, client.execution
            pings = (
                notebooks.ping_unauthorized(project),
                notebooks.ping(project),
                execution.ping_unauthorized(project),
                execution.ping(project),
                client.ping.ping(),
                client.ping.unauthorized_ping(),
            )
            assert set(pings) == {"Ping Successful"}
            listed = notebooks.get_all(project, project)
            assert identity in {item["notebookId"] for item in listed["notebooks"]}
            assert notebooks.get(project, identity)["notebookName"] == "for the vendor's client"
            assert notebooks.update(project, identity, notebookName="renamed")["notebookName"] == "renamed"
            with pytest.raises(MindzieAPIException, match="404"):
                notebooks.get_execution_status(project, identity)
            notebooks.add_block(project, identity, cellType="code", content="print(2)")
            blocks = notebooks.get_blocks(project, identity)
            assert blocks["totalCount"] == 2
            assert all(block["blockId"] for block in blocks["blocks"])
            assert identity in notebooks.get_url(project, identity)["url"]
            first = notebooks.execute(project, identity)["executionId"]
            second = execution.queue_notebook(project, identity)["executionId"]
            assert {first, second} >= {item["executionId"] for item in execution.get_queue(project)["executions"]}
            deadline = time.monotonic() + 60
            while any(execution.get_status(project, run)["status"] == "Running" for run in (first, second)):
                assert time.monotonic() < deadline
            assert notebooks.get_execution_status(project, identity)["executionId"] == second
            history = execution.get_history(project)
            assert {first, second} <= {item["executionId"] for item in history["executions"]}
            with pytest.raises(MindzieAPIException, match="409"):
                execution.cancel(project, second)
            with pytest.raises(MindzieAPIException, match="404"):
                execution.queue_investigation(project, identity)
            assert dataset["datasetId"] in {item["datasetId"] for item in client.datasets.get_all(project)["items"]}
            assert notebooks.delete(project, identity)["success"]
            with pytest.raises(MindzieAPIException, match="404"):
                notebooks.get(project, identity)

    await asyncio.to_thread(session)
