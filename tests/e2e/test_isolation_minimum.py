"""What a worker process says of its isolation, and that it does not start where there is less than it is to have."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.local import Stack, isolation
from deploy.local.services import KERNEL_PYTHON
from services.executor.kernels.isolation import STRONG_LAYERS

REFUSAL_S = 180.0
"""How long a worker may take to see that it cannot start, on a busy machine, in seconds."""

WITHOUT_NETWORKS = (
    "unshare", "--user", "--map-root-user", "sh", "-c", 'echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"', "sh",
)  # fmt: skip
"""Runs a program that may make no network namespace."""


async def kernels(stack: Stack, http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get(f"{stack.worker.ops_url}/readyz") as response:
        assert response.status == 200
        report = await response.json()
    assert report["status"] == "ready"
    found: dict[str, Any] = report["checks"]["kernels"]
    return found


async def test_readyz_names_every_layer_and_the_level_they_come_to(stack: Stack, http: aiohttp.ClientSession) -> None:
    said = await kernels(stack, http)
    allowed = isolation.allowed(KERNEL_PYTHON)
    assert (said["ok"], said["level"]) == (True, allowed.level)
    assert {*STRONG_LAYERS, "uts", "uid", "cgroups"} <= set(said["layers"])
    for name, layer in said["layers"].items():
        assert isinstance(layer["ok"], bool), name
        assert layer["detail"], name
    assert (allowed.level == "strong") == all(said["layers"][name]["ok"] for name in STRONG_LAYERS)
    assert allowed.missing == [] or allowed.level != "strong"


async def test_the_log_says_the_same(stack: Stack, http: aiohttp.ClientSession) -> None:
    said = await kernels(stack, http)
    lines = stack.worker.log.read_text(encoding="utf-8").splitlines()
    (ready, *_) = [line for line in lines if '"fork server ready"' in line]
    assert f'"isolation": "{said["level"]}"' in ready or f'"isolation":"{said["level"]}"' in ready
    for name in said["layers"]:
        assert f'"{name}"' in ready


@pytest.mark.parametrize("minimum", ["strong", None], ids=["asked for", "by default"])
async def test_a_worker_below_its_minimum_does_not_start_and_says_what_is_missing(
    stack: Stack, tmp_path: Path, minimum: str | None
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = stack.worker.environment()
    env |= {"ATELIER_WORK_DIR": str(tmp_path), "ATELIER_OPS_BIND": f"127.0.0.1:{port}"}
    env.pop("ATELIER_ISOLATION_MINIMUM")
    if minimum is not None:
        env["ATELIER_ISOLATION_MINIMUM"] = minimum
    worker = await asyncio.create_subprocess_exec(
        *WITHOUT_NETWORKS, sys.executable, "-m", "services.executor", "worker",
        env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(REFUSAL_S):
            words, _ = await worker.communicate()
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    said = words.decode()
    assert worker.returncode not in {0, None}, said
    assert "ATELIER_ISOLATION_MINIMUM is strong" in said
    assert "Missing: " in said
    assert "net (" in said
    assert '"event": "ready"' not in said
    assert not list(tmp_path.glob("**/k/*"))
