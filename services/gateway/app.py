"""Wires the gateway: which parts there are, in the order in which they open."""

from __future__ import annotations

from services.gateway.archives import Archives
from services.gateway.auth import Authenticator
from services.gateway.body_budget import BodyBudget
from services.gateway.feed import EventFeed
from services.gateway.gateway import Gateway
from services.gateway.links import Links
from services.gateway.rate_limits import OpenStreams, RateLimiter
from services.gateway.server import PublicServer
from services.gateway.settings import JwtSettings, Settings
from services.gateway.store import KeyStore
from services.gateway.tokens import TokenVerifier
from services.gateway.transfers import Transfers
from shared.broker import Broker
from shared.database import Database
from shared.ops import Readiness
from shared.payloads import HttpPayloadStore
from shared.process import Build, Part
from shared.requests import Requests

SCHEMA = "gateway"
"""The gateway's own schema: API keys, nothing of the domain."""


def build(settings: Settings, jwt: JwtSettings) -> Build:
    """The wiring of one gateway process."""

    def parts(readiness: Readiness) -> list[Part]:
        secret = settings.internal_secret.get_secret_value()
        broker = Broker(settings.amqp_url.get_secret_value(), name=SCHEMA)
        payloads = HttpPayloadStore(settings.artifacts_url, key=secret)
        database = Database(settings.gateway_postgres_dsn.get_secret_value(), schema=SCHEMA)
        requests = Requests(broker, payloads, source=SCHEMA, key=secret)
        feed = EventFeed(broker)
        transfers = Transfers(settings.artifacts_url, key=secret)
        gateway = Gateway(
            settings=settings,
            requests=requests,
            authenticator=Authenticator(KeyStore(database), TokenVerifier(jwt)),
            transfers=transfers,
            links=Links(key=settings.link_secret.get_secret_value(), public_url=settings.public_url),
            feeds=feed,
            readiness=readiness,
            rate_limits=RateLimiter(
                per_key=settings.requests_per_s,
                per_tenant=settings.tenant_requests_per_s,
                burst_s=settings.request_burst_s,
            ),
            body_budget=BodyBudget(settings.body_budget_bytes),
            streams=OpenStreams(settings.event_streams_per_key),
            archives=Archives(settings.work_dir),
        )
        readiness.add("broker", broker.check)
        readiness.add("database", database.check)
        server = PublicServer(gateway, announce_close=feed.announce_close)
        return [broker, payloads, database, requests, feed, transfers, server]

    return parts
