"""The Kubernetes manifests, rendered by kustomize and checked offline: schemas first, then what schemas cannot know."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[3]
K8S = ROOT / "deploy/k8s"

OLDER_MINOR = "1.28"
"""The oldest release that the manifests are promised for; the newest is whatever the validator knows."""

PROCESSES = {
    "atelier-gateway": "gateway",
    "atelier-catalog": "catalog",
    "atelier-executor-control": "executor control",
    "atelier-executor-worker": "executor worker",
    "atelier-artifacts": "artifacts",
    "atelier-migrate": "migrate",
}
OPS_PORT = 9100
HTTP_PORT = 8080
SECRET_NAME = re.compile(r"SECRET|PASSWORD|ACCESS_KEY|JWT_KEY|DSN|AMQP_URL|INDEX_URL")

Object = dict[str, Any]


def of_kind(objects: Iterable[Object], kind: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == kind}


def workloads(objects: Iterable[Object]) -> dict[str, Object]:
    listed = list(objects)
    return of_kind(listed, "Deployment") | of_kind(listed, "Job")


def pod(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Object) -> Object:
    (only,) = pod(workload)["containers"]
    found: Object = only
    return found


def environment(workload: Object, objects: Iterable[Object]) -> dict[str, str]:
    """Every variable the container is given, each with the kind of object it comes from."""
    listed = list(objects)
    kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
    found = {item["name"]: "value" for item in container(workload).get("env", [])}
    for source in container(workload)["envFrom"]:
        ((reference, target),) = source.items()
        data = of_kind(listed, kinds[reference])[target["name"]]["data"]
        assert not found.keys() & data.keys(), "one variable, two sources"
        found |= dict.fromkeys(data, kinds[reference])
    return found


@pytest.mark.parametrize("minor", [OLDER_MINOR, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("rendered", ["base", "example"])
def test_every_object_validates(rendered: str, minor: str, request: pytest.FixtureRequest) -> None:
    objects = request.getfixturevalue(rendered)
    assert len(objects) > len(PROCESSES)
    for item in objects:
        kubernetes_validate.validate(item, minor, strict=True)


def test_the_validation_notices_a_misspelt_member(example: list[Object]) -> None:
    broken = copy.deepcopy(of_kind(example, "Deployment")["atelier-gateway"])
    container(broken)["readinesProbe"] = container(broken).pop("readinessProbe")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, OLDER_MINOR, strict=True)


def test_every_process_is_there_with_its_start_command(example: list[Object]) -> None:
    assert {name: " ".join(container(item)["args"]) for name, item in workloads(example).items()} == PROCESSES
    assert set(of_kind(example, "Job")) == {"atelier-migrate"}


def test_every_server_has_truthful_probes_on_the_port_for_operations(example: list[Object]) -> None:
    for item in of_kind(example, "Deployment").values():
        ports = {port["name"]: port["containerPort"] for port in container(item)["ports"]}
        assert ports["ops"] == OPS_PORT
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            assert container(item)[probe]["httpGet"] == {"path": path, "port": "ops"}
        annotations = item["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(OPS_PORT)
        assert annotations["prometheus.io/scrape"] == "true"


def test_a_pod_leaves_its_service_before_it_stops_and_has_time_for_both(example: list[Object]) -> None:
    served = {item["spec"]["selector"]["app.kubernetes.io/component"] for item in of_kind(example, "Service").values()}
    assert served == {"gateway", "artifacts"}
    for item in of_kind(example, "Deployment").values():
        pause = 0
        if item["metadata"]["labels"]["app.kubernetes.io/component"] in served:
            program, seconds = container(item)["lifecycle"]["preStop"]["exec"]["command"]
            assert program == "sleep"
            pause = int(seconds)
            assert pause >= 5
        settings = {entry["name"]: entry["value"] for entry in container(item).get("env", [])}
        drain = int(settings.get("ATELIER_DRAIN_TIMEOUT", "30"))
        assert pod(item)["terminationGracePeriodSeconds"] >= pause + drain + 10


def test_pods_have_no_privilege_and_write_only_to_scratch_space(example: list[Object]) -> None:
    for item in workloads(example).values():
        assert pod(item)["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container(item)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod(item)["automountServiceAccountToken"] is False
        assert pod(item)["serviceAccountName"] in of_kind(example, "ServiceAccount")
        assert all(set(volume) == {"name", "emptyDir"} for volume in pod(item)["volumes"])
        assert {mount["name"] for mount in container(item)["volumeMounts"]} == {v["name"] for v in pod(item)["volumes"]}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_with_a_work_folder_may_write_to_it(
    name: str, example: list[Object], declared: Callable[[str], Any]
) -> None:
    writable = {mount["mountPath"] for mount in container(workloads(example)[name])["volumeMounts"]}
    assert ("/var/lib/atelier" in writable) == ("ATELIER_WORK_DIR" in declared(PROCESSES[name]).known)


def test_no_variable_comes_from_the_cluster_unasked(example: list[Object]) -> None:
    """A Service named atelier-gateway would otherwise put ATELIER_GATEWAY_PORT into every pod."""
    assert all(pod(item)["enableServiceLinks"] is False for item in workloads(example).values())


def test_every_container_has_requests_and_a_memory_limit(example: list[Object]) -> None:
    for item in workloads(example).values():
        resources = container(item)["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert "memory" in resources["limits"]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_gets_what_it_declares_and_nothing_else(
    name: str, example: list[Object], declared: Callable[[str], Any]
) -> None:
    given = set(environment(workloads(example)[name], example))
    settings = declared(PROCESSES[name])
    assert given <= settings.known
    assert settings.required <= given


def test_each_service_gets_only_its_own_database_role(example: list[Object]) -> None:
    for name, process in PROCESSES.items():
        given = {item for item in environment(workloads(example)[name], example) if item.endswith("_DSN")}
        own = {f"ATELIER_{process.partition(' ')[0].upper()}_POSTGRES_DSN"}
        assert given == own or process == "migrate"


def test_only_worker_and_artifacts_hold_the_object_stores_keys(example: list[Object]) -> None:
    holders = {
        name
        for name, item in workloads(example).items()
        if any(variable.startswith("ATELIER_S3_") for variable in environment(item, example))
    }
    assert holders == {"atelier-executor-worker", "atelier-artifacts"}


def test_secrets_are_in_secrets_and_the_example_has_none(example: list[Object]) -> None:
    for item in of_kind(example, "ConfigMap").values():
        assert not [key for key in item["data"] if SECRET_NAME.search(key)]
    secrets = of_kind(example, "Secret").values()
    assert {key for item in secrets for key in item["data"] if not SECRET_NAME.search(key)} == set()
    assert {value for item in secrets for value in item["data"].values()} == {""}
    for item in workloads(example).values():
        assert not [entry["name"] for entry in container(item).get("env", []) if SECRET_NAME.search(entry["name"])]


def test_the_example_replaces_every_secret_of_the_base() -> None:
    def generated(folder: str) -> dict[str, Any]:
        text = (K8S / folder / "kustomization.yaml").read_text()
        return {item["name"]: item for item in yaml.safe_load(text)["secretGenerator"]}

    wanted = {name: {line.rstrip("=") for line in item["literals"]} for name, item in generated("base").items()}
    replaced = generated("overlays/example")
    assert all(item["behavior"] == "replace" for item in replaced.values())
    files = {name: K8S / "overlays/example" / item["envs"][0] for name, item in replaced.items()}
    keys = {
        name: {line.split("=")[0] for line in path.read_text().splitlines() if line and not line.startswith("#")}
        for name, path in files.items()
    }
    assert keys == wanted


def test_one_image_with_a_version_is_used_everywhere(example: list[Object]) -> None:
    (image,) = {container(item)["image"] for item in workloads(example).values()}
    assert re.fullmatch(r"registry\.example\.org/atelier:\d+\.\d+\.\d+", image)


def test_services_lead_to_pods_and_the_ingress_to_the_gateway(example: list[Object]) -> None:
    pods = [item["spec"]["template"] for item in of_kind(example, "Deployment").values()]
    services = of_kind(example, "Service")
    for item in services.values():
        selector = item["spec"]["selector"].items()
        (chosen,) = [template for template in pods if selector <= template["metadata"]["labels"].items()]
        (only,) = chosen["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in only["ports"]}
        assert [ports[port["targetPort"]] for port in item["spec"]["ports"]] == [HTTP_PORT]
    (ingress,) = of_kind(example, "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    target = path["backend"]["service"]
    assert target["port"]["name"] in {port["name"] for port in services[target["name"]]["spec"]["ports"]}
    assert target["name"] == "atelier-gateway"


def test_the_ingress_neither_buffers_nor_limits(example: list[Object]) -> None:
    (ingress,) = of_kind(example, "Ingress").values()
    nginx = {key.split("/")[1]: value for key, value in ingress["metadata"]["annotations"].items()}
    assert nginx["proxy-buffering"] == nginx["proxy-request-buffering"] == "off"
    assert nginx["proxy-body-size"] == "0"
    assert int(nginx["proxy-read-timeout"]) >= 3600


def test_the_internal_address_is_that_of_the_artifacts_service(example: list[Object]) -> None:
    (settings,) = [item for name, item in of_kind(example, "ConfigMap").items() if "atelier-settings" in name]
    service = of_kind(example, "Service")["atelier-artifacts"]
    (port,) = service["spec"]["ports"]
    assert settings["data"]["ATELIER_ARTIFACTS_URL"] == f"http://atelier-artifacts:{port['port']}"


def test_everything_is_labelled_and_in_one_namespace(example: list[Object]) -> None:
    for item in example:
        assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "atelier"
        if item["kind"] != "Namespace":
            assert item["metadata"]["namespace"] == "atelier"
            assert {"app.kubernetes.io/name", "app.kubernetes.io/component"} <= item["metadata"]["labels"].keys()
    for item in of_kind(example, "Deployment").values():
        selector = item["spec"]["selector"]["matchLabels"]
        assert selector.items() <= item["spec"]["template"]["metadata"]["labels"].items()
