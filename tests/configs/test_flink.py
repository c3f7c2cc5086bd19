"""The manifests of Flink: valid by published schemas, closed, and with options that exist."""

from __future__ import annotations

import copy
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from components.config import load_config
from pipeline.cli.main import app
from pipeline.kubeflow.engine import CLIENT
from tests.maven import jar
from tests.serving.manifests.kubectl import Objects, find_kubectl, rendered
from tests.serving.manifests.test_rendered import RELEASES

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "configs" / "flink" / "overlays" / "example"
OPERATOR = "org.apache.flink:flink-kubernetes-operator-api:1.10.0"
CRD = "META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"
MAIN = "flink-main-container"
WORKERS = "beam-workers"
# What the operator's standalone mode writes on the pods of a cluster.
LABELS = {
    role: {"app": "mastery-flink", "component": role, "type": "flink-standalone-kubernetes"}
    for role in ("jobmanager", "taskmanager")
}


@pytest.fixture(scope="module")
def objects(request: pytest.FixtureRequest) -> Objects:
    kubectl = find_kubectl(request.config.cache.mkdir("kubectl"))
    return rendered(kubectl, EXAMPLE)


@pytest.fixture(scope="module")
def cluster(objects: Objects) -> dict[str, Any]:
    return objects["FlinkDeployment/mastery-flink"]


@pytest.fixture(scope="module")
def schema(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The schema of a FlinkDeployment, which refuses fields that it does not name."""
    cache = request.config.cache.mkdir("maven")
    with jar(cache, OPERATOR, why="the cluster is checked against the operator's schema") as file:
        definition = yaml.load(file.read(CRD), yaml.CSafeLoader)
    [version] = [one for one in definition["spec"]["versions"] if one["name"] == "v1beta1"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    return close({"type": "object", "properties": {"spec": properties["spec"]}})


def close(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema of Kubernetes that refuses unknown fields, which Kubernetes drops."""
    closed = dict(schema)
    if closed.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
    if "properties" in closed:
        closed["properties"] = {name: close(one) for name, one in schema["properties"].items()}
        closed.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(closed.get(key), dict):
            closed[key] = close(closed[key])
    return closed


def templates(cluster: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the pods of a cluster as the operator completes them, by role."""
    pods = {}
    for role, key in (("jobmanager", "jobManager"), ("taskmanager", "taskManager")):
        pod = copy.deepcopy(cluster["spec"][key]["podTemplate"])
        pod["metadata"]["labels"] |= LABELS[role]
        [main] = [one for one in pod["spec"]["containers"] if one["name"] == MAIN]
        main["image"] = cluster["spec"]["image"]
        pods[role] = pod
    return pods


def workers(cluster: dict[str, Any]) -> dict[str, Any]:
    containers = templates(cluster)["taskmanager"]["spec"]["containers"]
    [found] = [one for one in containers if one["name"] == WORKERS]
    return dict(found)


def test_the_cluster_fits_the_operator_s_published_schema(
    cluster: dict[str, Any], schema: dict[str, Any]
) -> None:
    jsonschema.validate({"spec": cluster["spec"]}, schema)


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        (("spec",), "taskManagers"),
        (("spec", "taskManager"), "replica"),
        (("spec", "taskManager", "podTemplate", "spec", "containers", 1), "volumeMount"),
        (("spec", "jobManager", "podTemplate", "spec", "securityContext"), "runAsNotRoot"),
    ],
)
def test_a_misspelt_field_is_found(
    cluster: dict[str, Any], schema: dict[str, Any], keys: tuple[str | int, ...], wrong: str
) -> None:
    changed = copy.deepcopy(cluster)
    place: Any = changed
    for key in keys:
        place = place[key]
    place[wrong] = {}
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        jsonschema.validate({"spec": changed["spec"]}, schema)


def test_everything_else_fits_kubernetes_published_schemas(
    objects: Objects, cluster: dict[str, Any]
) -> None:
    pods = [
        {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": {"name": role, **pod["metadata"]}}
        for role, pod in templates(cluster).items()
    ]
    others = [item for name, item in objects.items() if not name.startswith("FlinkDeployment")]
    assert len(others) == 7
    for release, item in product(RELEASES, [*others, *pods]):
        kubernetes_validate.validate(item, release, strict=True)
    assert {item["metadata"]["namespace"] for item in (cluster, *others)} == {"kubeflow"}


def test_every_option_is_one_of_flink_s(
    cluster: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    version = cluster["spec"]["image"].removeprefix("flink:").partition("-")[0]
    assert cluster["spec"]["flinkVersion"] == f"v{version.rpartition('.')[0].replace('.', '_')}"
    cache = request.config.cache.mkdir("maven")
    artifact = f"org.apache.flink:flink-core:{version}"
    with jar(cache, artifact, why="options are looked up in Flink's own classes") as file:
        options = [name for name in file.namelist() if name.endswith("Options.class")]
        code = b"".join(map(file.read, options))

    unknown = partial(filter, lambda key: _constant(key) not in code)
    assert [*unknown(cluster["spec"]["flinkConfiguration"])] == []
    assert [*unknown(["taskmanager.numberOfTaskSlot", "rest.ports"])] != []


def _constant(text: str) -> bytes:
    """Returns a text as a class file holds it, with its length: no part of another one fits."""
    return b"\x01" + len(text).to_bytes(2, "big") + text.encode()


def test_the_job_server_is_for_this_flink_and_this_beam(
    objects: Objects, cluster: dict[str, Any]
) -> None:
    [container] = objects["Deployment/mastery-beam-jobs"]["spec"]["template"]["spec"]["containers"]
    minor = cluster["spec"]["flinkVersion"].removeprefix("v").replace("_", ".")
    [beam] = [
        line.split("==")[1].split()[0]
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line.startswith("apache-beam==")
    ]
    assert container["image"] == f"apache/beam_flink{minor}_job_server:{beam}"
    given = dict(argument.split("=", 1) for argument in container["args"])
    assert given["--flink-master"] == "mastery-flink-rest:8081"  # the operator names the service
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    assert ports == {"jobs": given["--job-port"], "artifacts": given["--artifact-port"]}
    # Anybody could have a job server with an expansion service start programs in its container.
    assert given["--expansion-port"] == "-1"


def test_workers_run_a_command_of_the_image_on_the_port_that_is_probed(
    cluster: dict[str, Any],
) -> None:
    container = workers(cluster)
    command, *arguments = container["args"]
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert all(option in shown.output for option in options)
    assert f"'localhost', {options['--port']}" in container["livenessProbe"]["exec"]["command"][-1]


def test_workers_find_the_root_where_the_pipeline_s_containers_have_it(
    cluster: dict[str, Any],
) -> None:
    container = workers(cluster)
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = templates(cluster)["taskmanager"]["spec"]["volumes"]
    claims = {
        places[volume["name"]]: volume["persistentVolumeClaim"]["claimName"]
        for volume in volumes
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"/mastery": "mastery"}
    assert load_config(ROOT / "configs" / "sample.yaml").kubeflow.root == "/mastery"
    security = container["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (1000, 1000)
    assert "USER 1000:1000" in (ROOT / "Dockerfile").read_text()


def test_no_container_has_more_rights_than_it_needs(
    objects: Objects, cluster: dict[str, Any]
) -> None:
    jobs = objects["Deployment/mastery-beam-jobs"]["spec"]["template"]
    for pod in (jobs, *templates(cluster).values()):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            # Flink's start script writes into its own folders.
            assert security.get("readOnlyRootFilesystem", False) is (container["name"] != MAIN)
            assert container["name"] == MAIN or {*container["resources"]} == {"requests", "limits"}


def test_what_runs_any_code_is_reached_by_the_one_before_it_only(
    objects: Objects, cluster: dict[str, Any]
) -> None:
    jobs = objects["Deployment/mastery-beam-jobs"]["spec"]["template"]
    labels = {
        "client": dict([CLIENT]),
        "operator": {"app.kubernetes.io/name": "flink-kubernetes-operator"},
        "jobs": jobs["metadata"]["labels"],
        **{role: pod["metadata"]["labels"] for role, pod in templates(cluster).items()},
    }
    policies = [item["spec"] for name, item in objects.items() if name.startswith("NetworkPolicy/")]
    incoming = {
        (source, target, port)
        for policy, target in _targets(policies, labels, "Ingress")
        for rule in policy["ingress"]
        for source in _named(rule["from"], labels)
        for port in _ports(rule)
    }
    assert incoming == {
        ("client", "jobs", 8099),
        ("client", "jobs", 8098),
        ("client", "jobmanager", 8081),
        ("jobs", "jobmanager", 8081),
        ("operator", "jobmanager", 8081),
        ("taskmanager", "jobmanager", 6123),
        ("taskmanager", "jobmanager", 6124),
        ("jobmanager", "taskmanager", 6122),
        ("jobmanager", "taskmanager", 6125),
        ("taskmanager", "taskmanager", 6121),
        ("taskmanager", "taskmanager", 6122),
    }
    outgoing = {
        (source, target, port)
        for policy, source in _targets(policies, labels, "Egress")
        for rule in policy["egress"]
        for target in _named(rule["to"], labels)
        for port in _ports(rule)
    }
    within = {way for way in incoming if way[0] in ("jobs", "jobmanager", "taskmanager")}
    assert outgoing == within


def test_the_ports_of_the_policies_are_flink_s_own(cluster: dict[str, Any]) -> None:
    options = cluster["spec"]["flinkConfiguration"]
    fixed = {int(value) for key, value in options.items() if key.endswith("port")}
    assert fixed == {6121, 6122, 6123, 6124, 6125, 8081}


def _targets(
    policies: list[dict[str, Any]], labels: dict[str, dict[str, str]], kind: str
) -> list[tuple[dict[str, Any], str]]:
    return [
        (policy, name)
        for policy in policies
        if kind in policy["policyTypes"]
        for name, has in labels.items()
        if policy["podSelector"]["matchLabels"].items() <= has.items()
    ]


def _named(peers: list[dict[str, Any]], labels: dict[str, dict[str, str]]) -> list[str]:
    """Returns the pods that peers of a policy select; those of kube-system are for names."""
    selectors = [peer["podSelector"]["matchLabels"] for peer in peers if "podSelector" in peer]
    return [
        name
        for selector in selectors
        for name, has in labels.items()
        if selector.items() <= has.items()
    ]


def _ports(rule: dict[str, Any]) -> list[int]:
    assert {port["protocol"] for port in rule["ports"]} <= {"TCP", "UDP"}
    return [port["port"] for port in rule["ports"]]
