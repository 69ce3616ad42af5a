"""The gateway's API over a real socket, with everything behind it replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from services.gateway.archives import Archives
from services.gateway.auth import Authenticator
from services.gateway.body_budget import BodyBudget
from services.gateway.gateway import Gateway
from services.gateway.links import Links
from services.gateway.rate_limits import OpenStreams, RateLimiter
from services.gateway.server import application
from services.gateway.settings import JwtSettings, Settings
from services.gateway.tokens import TokenVerifier
from shared.contracts.base import Scope
from shared.ops import Readiness
from tests.unit.gateway.fake_ports import PROJECT, TENANT, Api, FakeFeeds, FakeKeys, FakeRequests, FakeTransfers


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    requests, keys, feeds, transfers = FakeRequests(), FakeKeys(), FakeFeeds(), FakeTransfers()
    settings = Settings(
        amqp_url=SecretStr("amqp://unused"),
        internal_secret=SecretStr("i" * 16),
        http_bind="127.0.0.1:0",
        artifacts_url="http://artifacts.invalid",
        gateway_postgres_dsn=SecretStr("postgresql://unused"),
        link_secret=SecretStr("l" * 16),
        cors_origins="https://studio.example",
        work_dir=tmp_path,
        notebook_max_bytes=200_000,
        json_max_bytes=100_000,
        dataset_max_bytes=5_000_000,
    )
    gateway = Gateway(
        settings=settings,
        requests=requests,
        authenticator=Authenticator(keys, TokenVerifier(JwtSettings())),
        transfers=transfers,
        links=Links(key="l" * 16, public_url=None),
        feeds=feeds,
        archives=Archives(tmp_path),
        readiness=Readiness(),
        rate_limits=RateLimiter(per_key=0, per_tenant=0, burst_s=1),
        body_budget=BodyBudget(settings.body_budget_bytes),
        streams=OpenStreams(settings.event_streams_per_key),
    )
    gateway.projects.add(Scope(tenant_id=TENANT, project_id=PROJECT))
    server = TestServer(application(gateway))
    await server.start_server(auto_decompress=False)
    async with TestClient(server) as client:
        yield Api(client, gateway, requests, keys, feeds, transfers)
