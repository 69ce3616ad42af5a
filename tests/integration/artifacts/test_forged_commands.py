"""A command that no part of Atelier has signed is refused, whatever tenant and role it claims to come from."""

from __future__ import annotations

import pytest

from deploy.local import Stack
from shared import broker_users, signatures
from shared.broker import Broker
from shared.contracts.datasets import DatasetPage, ListDatasets
from shared.errors import Unauthorized
from shared.requests import Requests
from tests.integration.artifacts.client import Client


@pytest.mark.parametrize("service", broker_users.SERVICES)
async def test_each_services_user_needs_more_than_its_password(client: Client, stack: Stack, service: str) -> None:
    forger = Broker(stack.amqp_url_of(service), name="forger")
    await forger.open()
    try:
        source = "executor-control" if service == "executor" else service
        requests = Requests(forger, client.requests._payloads, source=source, key="a key of sixteen characters")
        await requests.open()
        with pytest.raises(Unauthorized, match="not signed"):
            await requests.ask(ListDatasets(scope=client.scope, caller=client.caller))
    finally:
        await forger.close()


@pytest.mark.parametrize("key", ["another key of sixteen characters", ""])
async def test_a_forged_command_is_refused(client: Client, broker: Broker, key: str) -> None:
    forger = Requests(broker, client.requests._payloads, source="forger", key=key)
    await forger.open()
    command = ListDatasets(scope=client.scope, caller=client.caller)
    with pytest.raises(Unauthorized, match="not signed"):
        await forger.ask(command)
    assert isinstance(await client.requests.ask(command), DatasetPage)


def test_a_signature_is_for_one_body_and_one_key() -> None:
    signature = signatures.sign(b"body", key="k")
    assert signatures.is_ours(signature, b"body", key="k")
    assert not signatures.is_ours(signature, b"Body", key="k")
    assert not signatures.is_ours(signature, b"body", key="l")
    for nothing in (None, "", b"", 5, ["x"], signature.upper(), "ü"):
        assert not signatures.is_ours(nothing, b"body", key="k")
