"""Who gets in, who sees what, and which role may do it."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from uuid import UUID

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr, ValidationError

from services.gateway.auth import FRESH_S, STALE_S, Authenticator
from services.gateway.calls import Call
from services.gateway.model import Role
from services.gateway.routes import CALLS
from services.gateway.settings import JwtSettings
from services.gateway.store import KEY_PREFIX, key_hash, new_key
from services.gateway.tokens import TokenVerifier
from shared.contracts.datasets import GetDataset
from shared.contracts.executions import GetExecution, PurgeExecution, StartExecution
from shared.contracts.files import FindFile
from shared.contracts.libraries import PinLibraries, PinnedLibraries
from shared.contracts.lineage import TraceExecution
from shared.contracts.notebooks import CheckNotebook, GetNotebook, ListNotebooks, UpdateNotebook
from shared.contracts.results import GetArtifact
from shared.contracts.templates import GetTemplate
from shared.contracts.versions import GetVersion
from shared.errors import NotFound, Unauthorized, Unavailable
from tests.unit.gateway.fake_ports import (
    EXECUTION,
    KEYS,
    LIBRARY,
    NOTEBOOK,
    OTHER_PROJECT_KEY,
    OTHER_TENANT_KEY,
    PROJECT,
    TENANT,
    TRACE,
    Api,
    FakeKeys,
)

NOTEBOOK_PATH = f"notebook/{NOTEBOOK.notebook_id}"
WEAK_RSA = (
    rsa.generate_private_key(public_exponent=65537, key_size=1024)
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
SECRET = "a-secret-of-at-least-forty-eight-bytes-for-any-of-the-algorithms"


def address(call: Call) -> str:
    ids = {"tenantId": TENANT, "projectId": PROJECT, "cellId": "cell-001", "name": "rules"}
    ids |= {"version": "1.0.0", "a": "1.0.0", "b": "1.1.0"}
    path = call.path
    for name in ("notebookId", "executionId", "datasetId", "artifactId", "otherId", "uploadId"):
        ids[name] = NOTEBOOK.notebook_id
    for name, value in ids.items():
        path = path.replace("{" + name + "}", str(value))
    return path


@pytest.mark.parametrize(
    "call", [call for call in CALLS if call.role is not None], ids=lambda call: f"{call.method} {call.path}"
)
async def test_every_call_but_the_open_ones_needs_a_credential(api: Api, call: Call) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer atl_wrong"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "x.y.z"},
    ):
        answer = await api.call(call.method, address(call), role=None, headers=headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not api.requests.asked


@pytest.mark.parametrize(
    "call",
    [call for call in CALLS if call.role is not None and "{projectId}" in call.path],
    ids=lambda call: f"{call.method} {call.path}",
)
async def test_other_tenants_and_projects_do_not_exist(api: Api, call: Call) -> None:
    for key in (OTHER_TENANT_KEY, OTHER_PROJECT_KEY):
        answer = await api.call(call.method, address(call), role=None, headers={"Authorization": f"Bearer {key}"})
        assert answer.status == 404
    assert not api.requests.asked


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.name)
@pytest.mark.parametrize(
    "call", [call for call in CALLS if call.role is not None], ids=lambda call: f"{call.method} {call.path}"
)
async def test_the_role_decides(api: Api, call: Call, role: Role) -> None:
    assert call.role is not None
    for command in (CheckNotebook, GetExecution, GetDataset, GetVersion, GetTemplate, GetArtifact, FindFile):
        api.requests.on(command, EXECUTION)
    api.requests.on(GetNotebook, NOTEBOOK)
    api.requests.on(TraceExecution, TRACE)
    api.requests.on(PinLibraries, PinnedLibraries(libraries=[LIBRARY]))
    api.is_described = call.name != "getLimits"
    answer = await api.call(call.method, address(call), role=role)
    if role < call.role:
        assert answer.status == 403
        assert call.role.name in answer.json["detail"]
    elif call.name == "createProject":  # never with a key that is limited to projects
        assert "limited to one project" in answer.json["detail"]
    else:
        assert answer.status != 403


def test_reads_need_viewer_runs_runner_changes_editor() -> None:
    for call in CALLS:
        if call.role is None:
            continue
        if call.name in ("setRetention", "createProject"):  # one removes what others have made
            assert call.role is Role.admin
            continue
        runs = "execut" in call.summary.lower()
        expected = Role.viewer if call.method == "GET" else Role.runner if runs else Role.editor
        assert call.role is expected, call.path


async def test_a_thing_that_does_not_exist_is_404_even_where_the_role_lacks(api: Api) -> None:
    api.requests.on(CheckNotebook, NotFound("No such notebook."))
    assert (await api.call("PUT", NOTEBOOK_PATH, json={}, role=Role.viewer)).status == 404
    api.requests.on(CheckNotebook, NOTEBOOK)
    assert (await api.call("PUT", NOTEBOOK_PATH, json={}, role=Role.viewer)).status == 403
    assert not [command for command in api.requests.asked if isinstance(command, UpdateNotebook)]


async def test_a_runner_cancels_but_does_not_remove(api: Api) -> None:
    api.requests.on(GetExecution, EXECUTION)
    answer = await api.call(
        "DELETE", f"{NOTEBOOK_PATH}/execution/{EXECUTION.execution_id}?purge=true", role=Role.runner
    )
    assert answer.status == 403
    assert not [command for command in api.requests.asked if isinstance(command, PurgeExecution)]


async def test_commands_carry_who_asked(api: Api) -> None:
    await api.call("POST", f"{NOTEBOOK_PATH}/execute", role=Role.runner)
    command = api.requests.last(StartExecution)
    assert command.caller.subject == "runner"
    assert command.caller.role == "runner"
    assert (command.scope.tenant_id, command.scope.project_id) == (TENANT, PROJECT)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_look_ups_are_remembered_for_a_few_seconds() -> None:
    keys, clock = FakeKeys(), Clock()
    authenticator = Authenticator(keys, TokenVerifier(JwtSettings()), clock=clock)
    header = f"Bearer {KEYS[Role.viewer]}"
    for _ in range(5):
        assert (await authenticator.principal(header)).role is Role.viewer
    assert keys.looked_up == 1
    clock.now += FRESH_S + 0.1
    await authenticator.principal(header)
    assert keys.looked_up == 2


async def test_a_revoked_key_stops_when_its_memory_is_old() -> None:
    keys, clock = FakeKeys(), Clock()
    authenticator = Authenticator(keys, TokenVerifier(JwtSettings()), clock=clock)
    header = f"Bearer {KEYS[Role.viewer]}"
    await authenticator.principal(header)
    del keys.known[key_hash(KEYS[Role.viewer])]
    clock.now += FRESH_S + 0.1
    with pytest.raises(Unauthorized):
        await authenticator.principal(header)


async def test_known_keys_outlive_a_short_outage_of_the_database() -> None:
    keys, clock = FakeKeys(), Clock()
    authenticator = Authenticator(keys, TokenVerifier(JwtSettings()), clock=clock)
    header = f"bearer {KEYS[Role.viewer]}"
    await authenticator.principal(header)
    keys.error = Unavailable("The database is away.")
    clock.now += STALE_S - 1
    assert (await authenticator.principal(header)).role is Role.viewer
    clock.now += 2
    with pytest.raises(Unavailable):
        await authenticator.principal(header)
    with pytest.raises(Unavailable):
        await authenticator.principal(f"Bearer {KEYS[Role.admin]}")


async def test_an_unknown_key_while_the_database_is_away_is_503(api: Api) -> None:
    api.keys.error = Unavailable("The database is away.")
    answer = await api.call("GET", "notebooks")
    assert answer.status == 503
    assert "Retry-After" in answer.headers


def test_keys_are_random_and_recognisable() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith(KEY_PREFIX) and len(key) == len(KEY_PREFIX) + 43 for key in keys)


def claims(**changes: Any) -> dict[str, Any]:
    usual = {
        "iss": "https://issuer.example",
        "aud": "atelier",
        "sub": "ada",
        "exp": time.time() + 60,
        "atelier_tenant": str(TENANT),
        "atelier_project": str(PROJECT),
        "atelier_role": "runner",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def verifier(**changes: Any) -> TokenVerifier:
    usual = {"issuer": "https://issuer.example", "audience": "atelier", "algorithms": "HS256", "key": SecretStr(SECRET)}
    return TokenVerifier(JwtSettings.model_validate({**usual, **changes}))


async def test_a_token_of_the_issuer_gets_in() -> None:
    principal = await verifier().verify(jwt.encode(claims(), SECRET, algorithm="HS256"))
    assert (principal.subject, principal.role) == ("ada", Role.runner)
    assert (principal.tenant_id, principal.project_id) == (TENANT, PROJECT)
    whole_tenant = await verifier().verify(jwt.encode(claims(atelier_project=None), SECRET, algorithm="HS256"))
    assert whole_tenant.project_id is None


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"sub": "a\x00"},
        {"exp": 1},
        {"exp": None},
        {"atelier_tenant": None},
        {"atelier_tenant": "x"},
        {"atelier_project": "x"},
        {"atelier_role": "owner"},
        {"atelier_role": None},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_does_not(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        await verifier().verify(jwt.encode(claims(**changes), SECRET, algorithm="HS256"))


def unsigned(content: dict[str, Any]) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, content)
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), ""])


async def test_only_the_configured_key_and_algorithm_count() -> None:
    refused = [
        jwt.encode(claims(), SECRET + "x", algorithm="HS256"),
        jwt.encode(claims(), SECRET, algorithm="HS384"),
        unsigned(claims()),
        "not.a.token",
    ]
    for token in refused:
        with pytest.raises(Unauthorized):
            await verifier(algorithms="HS256, none").verify(token)


@pytest.mark.parametrize(
    ("kind", "is_let_in"),
    [
        ("JWT", True),
        ("jwt", True),
        ("at+jwt", True),
        ("application/at+jwt", True),
        ("logout+jwt", False),
    ],
)
async def test_a_token_of_another_type_is_no_credential(kind: str, is_let_in: bool) -> None:
    token = jwt.encode(claims(), SECRET, algorithm="HS256", headers={"typ": kind})
    if is_let_in:
        assert (await verifier().verify(token)).subject == "ada"
    else:
        with pytest.raises(Unauthorized):
            await verifier().verify(token)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"audience": None}, "ATELIER_JWT_AUDIENCE"),
        ({"key": SecretStr("x" * 31)}, "at least 32 bytes"),
        ({"key": None}, "ATELIER_JWT_JWKS_URL"),
        ({"algorithms": "RS256"}, "not a PEM public key"),
        ({"algorithms": "RS256", "key": SecretStr(WEAK_RSA)}, "at least 2048 bits"),
    ],
)
def test_settings_that_would_let_others_in_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        verifier(**changes)


async def test_while_the_issuer_cannot_be_reached_an_unknown_key_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    known = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key())), "kid": "first", "alg": "RS256"}
    answers: list[Any] = [{"keys": [known]}]

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(answers[0]) if answers else web.Response(status=500)

    app = web.Application()
    app.router.add_get("/keys", answer)
    async with TestServer(app) as server:
        tokens = verifier(key=None, algorithms="RS256", jwks_url=str(server.make_url("/keys")))
        token = jwt.encode(claims(), private, algorithm="RS256", headers={"kid": "first"})
        assert (await tokens.verify(token)).subject == "ada"
        answers.clear()
        monkeypatch.setattr("services.gateway.tokens.KEYS_RETRY_S", 0.0)
        rotated = jwt.encode(claims(), private, algorithm="RS256", headers={"kid": "second"})
        for _ in range(2):
            with pytest.raises(Unavailable):
                await tokens.verify(rotated)
        assert (await tokens.verify(token)).subject == "ada"
        answers.append({"keys": [known]})
        with pytest.raises(Unauthorized):
            await tokens.verify(rotated)


async def test_without_an_issuer_no_token_is_believed() -> None:
    token = jwt.encode(claims(), SECRET, algorithm="HS256")
    with pytest.raises(Unauthorized):
        await TokenVerifier(JwtSettings(key=SecretStr(SECRET), algorithms="HS256")).verify(token)


async def test_me_says_what_the_credential_is(api: Api) -> None:
    answer = await api.call("GET", "/api/me", role=Role.editor)
    assert answer.json == {"subject": "editor", "role": "editor", "tenantId": str(TENANT), "projects": [str(PROJECT)]}
    tenant_wide = await api.call("GET", "/api/me", role=None, headers={"Authorization": f"Bearer {OTHER_TENANT_KEY}"})
    assert tenant_wide.json["projects"] is None
    assert tenant_wide.json["tenantId"] == str(UUID(int=7))


async def test_a_list_is_confined_to_the_address(api: Api) -> None:
    await api.call("GET", "notebooks", role=Role.viewer)
    assert api.requests.last(ListNotebooks).scope.project_id == PROJECT
