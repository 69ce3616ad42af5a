"""Broker users on a real RabbitMQ: each service does what it must and no more; a subscriber hears its tenant only."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import AMQPError, ChannelAccessRefused

from deploy.local import Stack
from deploy.local.folder import ROOT
from services.gateway.asyncapi import events
from shared import broker_users, topology
from shared.broker import Broker
from shared.payloads import HttpPayloadStore
from shared.requests import Requests
from tests.support.stacks import private_stack

CTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
TENANT, OTHER = UUID(int=1), UUID(int=2)  # names of tests must be the same in every process
SOURCES = {
    "gateway": ("gateway",),
    "catalog": ("catalog",),
    "executor": ("executor-control", "executor-worker"),
    "artifacts": ("artifacts",),
}
READ: dict[str, set[str]] = {
    "gateway": set(),
    "catalog": {"atelier.catalog.commands", "atelier.catalog.events", "atelier.catalog.pings"},
    "executor": {f"atelier.executor.{queue}" for queue in ("commands", "events", "hints", "pings")},
    "artifacts": {"atelier.artifacts.commands", "atelier.artifacts.events", "atelier.artifacts.pings"},
}
"""Queues that each service's user may read, beside those of its own processes."""

WRITTEN = {
    "gateway": {"atelier.commands"},
    "catalog": {"atelier.commands", "atelier.events", "atelier.replies"},
    "executor": {"atelier.commands", "atelier.events", "atelier.replies", "atelier.nudges"},
    "artifacts": {"atelier.commands", "atelier.events", "atelier.replies"},
}
"""Exchanges that each may publish to; the empty name is the default exchange, which leads to every queue."""

FACTS: dict[str, set[str]] = {
    "gateway": set(),
    "catalog": {"notebook.created", "notebook.updated", "notebook.deleted", "schedule.fired", "schedule.skipped"},
    "executor": {event.type for event in events() if event.type.startswith("execution.")} | {"notebook.blocked"},
    "artifacts": {"dataset.created", "dataset.updated", "dataset.deleted", "artifacts.purged"},
}
"""Types of facts that each may publish."""


@pytest.fixture(scope="module")
def broker_stack() -> Iterator[Stack]:
    with private_stack(only=["rabbitmq"]) as stack:
        yield stack


@pytest.fixture(scope="module")
def subscriber_url(broker_stack: Stack) -> str:
    """The user of `docs/operations.md`, made as it says there."""
    written = subprocess.run(
        [sys.executable, "-m", "services.broker_definitions", "subscriber", "billing", "--tenant", str(TENANT)],
        env={**os.environ, "ATELIER_SUBSCRIBER_PASSWORD": "a password"},
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    data = broker_stack.folder.data("rabbitmq")
    subprocess.run(
        [CTL, "-n", "atelier@localhost", "import_definitions"],
        input=written,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "HOME": str(data / "home"),
            "ERL_EPMD_PORT": str(broker_stack.folder.ports["epmd"]),
        },
        capture_output=True,
        check=True,
    )
    address = urlsplit(broker_stack.amqp_url)
    return urlunsplit(address._replace(netloc=f"billing:a%20password@{address.hostname}:{address.port}"))


@asynccontextmanager
async def channel_of(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel of one user."""
    connection = await aio_pika.connect(url)
    async with connection:
        yield await connection.channel()


async def may_publish(url: str, exchange: str, key: str) -> bool:
    """Whether a message is taken, with a confirm."""
    async with channel_of(url) as channel:
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        try:
            await target.publish(aio_pika.Message(b"{}", expiration=1), routing_key=key, mandatory=False, timeout=10)
        except ChannelAccessRefused:
            return False
        return True


async def may_read(url: str, name: str) -> bool:
    """Whether a queue may be consumed from."""
    async with channel_of(url) as channel:
        await channel.set_qos(prefetch_count=1)  # a stream asks for it
        queue = await channel.get_queue(name, ensure=False)
        try:
            await queue.consume(_ignore, timeout=10)
        except ChannelAccessRefused:
            return False
        return True


async def _ignore(message: object) -> None:
    """A consumer whose messages go back when its channel ends."""


async def refused(url: str, method: str, *arguments: object, **options: object) -> bool:
    """Whether the broker refuses a method of a channel for want of permission."""
    async with channel_of(url) as channel:
        try:
            await getattr(channel, method)(*arguments, **options)
        except ChannelAccessRefused:
            return True
        return False


def test_the_table_of_permissions() -> None:
    """What a review reads: a change of permissions is a change of this."""
    assert {name: (one.configure, one.write, one.read) for name, one in broker_users.PERMISSIONS.items()} == {
        "gateway": (
            r"^atelier\.((replies\.gateway|gateway\.live)\.[0-9a-f-]{36})$",
            r"^atelier\.((replies\.gateway|gateway\.live)\.[0-9a-f-]{36}|commands)$",
            r"^atelier\.((replies\.gateway|gateway\.live)\.[0-9a-f-]{36}|replies|events)$",
        ),
        "catalog": (
            r"^atelier\.(replies\.catalog\.[0-9a-f-]{36})$",
            r"^atelier\.(replies\.catalog\.[0-9a-f-]{36}|commands|events|replies)$",
            r"^atelier\.(replies\.catalog\.[0-9a-f-]{36}|replies|catalog\.(commands|events|pings))$",
        ),
        "executor": (
            r"^atelier\.((replies\.executor-(control|worker)|nudges)\.[0-9a-f-]{36})$",
            r"^atelier\.((replies\.executor-(control|worker)|nudges)\.[0-9a-f-]{36}|commands|events|replies|nudges)$",
            (
                r"^atelier\.((replies\.executor-(control|worker)|nudges)\.[0-9a-f-]{36}|replies|nudges"
                r"|executor\.(commands|events|hints|pings))$"
            ),
        ),
        "artifacts": (
            r"^atelier\.(replies\.artifacts\.[0-9a-f-]{36})$",
            r"^atelier\.(replies\.artifacts\.[0-9a-f-]{36}|commands|events|replies)$",
            r"^atelier\.(replies\.artifacts\.[0-9a-f-]{36}|replies|artifacts\.(commands|events|pings))$",
        ),
    }


def test_every_fact_has_one_publisher() -> None:
    assert sorted(fact for facts in FACTS.values() for fact in facts) == sorted(event.type for event in events())


@pytest.mark.parametrize("service", broker_users.SERVICES)
async def test_a_service_does_what_it_must(broker_stack: Stack, service: str) -> None:
    for source in SOURCES[service]:
        broker = Broker(broker_stack.amqp_url_of(service), name=source)
        await broker.open()
        try:
            assert not broker.may_declare
            requests = Requests(broker, HttpPayloadStore("http://unused", key="k" * 16), source=source, key="k" * 16)
            await requests.open()
            if "atelier.replies" in WRITTEN[service]:
                await broker.publish_reply(requests._queue, aio_pika.Message(b'{"data": {}}'))
        finally:
            await broker.close()
    for fact in FACTS[service]:
        assert await may_publish(broker_stack.amqp_url_of(service), topology.EVENTS, f"{fact}.{TENANT}.p"), fact


@pytest.mark.parametrize("service", broker_users.SERVICES)
async def test_a_service_does_nothing_else(broker_stack: Stack, service: str) -> None:
    url = broker_stack.amqp_url_of(service)
    readable = {queue.name for queue in topology.QUEUES if await may_read(url, queue.name)}
    assert readable == READ[service]
    for exchange in ("", "amq.topic", *topology.EXCHANGES):
        fact = next(iter(FACTS[service]), "execution.queued")
        assert await may_publish(url, exchange, f"{fact}.x") == (exchange in WRITTEN[service]), exchange
    for fact in set().union(*FACTS.values()) - FACTS[service]:
        assert not await may_publish(url, topology.EVENTS, f"{fact}.{TENANT}.p"), fact
    assert await refused(url, "declare_exchange", "mine")
    assert await refused(url, "declare_exchange", topology.COMMANDS, durable=True)
    for queue in topology.QUEUES:
        assert await refused(url, "queue_delete", queue.name), queue.name
    foreign = next(other for other in SOURCES if other != service)
    for name in ("mine", "atelier.replies", f"atelier.replies.{SOURCES[foreign][0]}.{uuid4()}"):
        assert await refused(url, "declare_queue", name, durable=True), name


@pytest.mark.parametrize("service", ["catalog", "executor", "artifacts"])
async def test_only_the_gateway_listens_to_facts_of_its_choice(broker_stack: Stack, service: str) -> None:
    url = broker_stack.amqp_url_of(service)
    async with channel_of(url) as channel:
        queue = await channel.declare_queue(f"atelier.replies.{SOURCES[service][0]}.{uuid4()}", exclusive=True)
        with pytest.raises(ChannelAccessRefused):
            await queue.bind(topology.EVENTS, "#")


async def test_a_subscriber_hears_its_tenant(broker_stack: Stack, subscriber_url: str) -> None:
    heard: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
    async with channel_of(subscriber_url) as channel:
        queue = await channel.declare_queue("billing.completed", durable=True)
        await queue.bind(topology.EVENTS, f"execution.completed.{TENANT}.#")
        await queue.bind(topology.EVENTS, f"*.*.{TENANT}.*.#")
        await queue.consume(heard.put)
        executor = broker_stack.amqp_url_of("executor")
        assert await may_publish(executor, topology.EVENTS, f"execution.completed.{OTHER}.p.n.e")
        assert await may_publish(executor, topology.EVENTS, f"execution.completed.{TENANT}.p.n.e")
        message = await asyncio.wait_for(heard.get(), 10)
        assert message.routing_key == f"execution.completed.{TENANT}.p.n.e"
        await message.ack()
        assert heard.empty()
        await queue.delete(if_unused=False)


@pytest.mark.parametrize(
    "pattern",
    ["#", "*.*.*.#", "*.#", f"#.{TENANT}.#", f"*.*.{OTHER}.#", f"execution.#.{TENANT}", f"*.{TENANT}.#"],
)
async def test_a_subscriber_cannot_hear_others(subscriber_url: str, pattern: str) -> None:
    async with channel_of(subscriber_url) as channel:
        queue = await channel.declare_queue("billing.others", exclusive=True)
        with pytest.raises(ChannelAccessRefused):
            await queue.bind(topology.EVENTS, pattern)


async def test_a_subscriber_does_nothing_else(subscriber_url: str) -> None:
    for queue in topology.QUEUES:
        assert not await may_read(subscriber_url, queue.name), queue.name
    for exchange in ("", "amq.topic", *topology.EXCHANGES):
        assert not await may_publish(subscriber_url, exchange, "catalog"), exchange
    for name in ("other.queue", "atelier.catalog.commands", "billingx.queue"):
        assert await refused(subscriber_url, "declare_queue", name, durable=True), name
    dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "atelier.catalog.commands"}
    for arguments in (dead_letters, {"x-dead-letter-exchange": topology.COMMANDS}):
        assert await refused(subscriber_url, "declare_queue", "billing.dead", exclusive=True, arguments=arguments)
    async with channel_of(subscriber_url) as channel:
        own = await channel.declare_queue("billing.replies", exclusive=True)
        for source in (topology.COMMANDS, topology.REPLIES, topology.NUDGES):
            with pytest.raises(AMQPError):
                await own.bind(source, "catalog")
            await channel.reopen()


@pytest.mark.parametrize("name", ["", "a", "Billing", "atelier-gateway", "amq-x", "a.b", "a|b", "x" * 42, "billing\n"])
def test_a_subscribers_name_that_would_say_more_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a subscriber's name"):
        broker_users.subscriber(name, "password", tenant=TENANT)


def test_a_subscriber_of_one_project() -> None:
    project = UUID(int=7)
    user = broker_users.subscriber("billing", "password", tenant=TENANT, project=project)
    assert f"{TENANT}" in user.permissions.topic_read
    assert f"{project}" in user.permissions.topic_read
    (account,) = broker_users.definitions("v", [user], with_topology=False)["users"]
    assert "password" not in account
    assert account["tags"] == []
