"""The manifests of board, scoring and sender: valid, without rights, and commands that exist."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from serving.answers.settings import load_settings
from tests.serving.manifests.kubectl import Objects, find_kubectl, rendered
from tests.serving.manifests.test_rendered import RELEASES

EXAMPLE = Path(__file__).parents[3] / "configs" / "answers" / "overlays" / "example"
WORKLOADS = {
    "Deployment/mastery-board": "board",
    "Deployment/mastery-sender": "sender",
    "CronJob/mastery-scoring": "scoring",
}


@pytest.fixture(scope="module")
def objects(request: pytest.FixtureRequest) -> Objects:
    kubectl = find_kubectl(request.config.cache.mkdir("kubectl"))
    return rendered(kubectl, EXAMPLE)


def template(objects: Objects, name: str) -> dict[str, Any]:
    spec = objects[name]["spec"]
    if name.startswith("CronJob"):
        spec = spec["jobTemplate"]["spec"]
    found: dict[str, Any] = spec["template"]
    return found


def pods(objects: Objects) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name in WORKLOADS:
        pod = template(objects, name)["spec"]
        [container] = pod["containers"]
        yield name, pod, container


def test_all_objects_fit_the_published_schemas(objects: Objects) -> None:
    for release, item in product(RELEASES, objects.values()):
        kubernetes_validate.validate(item, release, strict=True)
        assert item["metadata"]["namespace"] == "mastery"


def test_no_container_has_more_rights_than_it_needs(objects: Objects) -> None:
    for _, pod, container in pods(objects):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert {"requests", "limits"} <= set(container["resources"])
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        writable = {
            mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")
        }
        assert writable == {"/tmp"}


def test_the_password_comes_from_a_secret_and_nowhere_else(objects: Objects) -> None:
    [url] = objects["ConfigMap/" + settings_name(objects, "answers-database")]["data"].values()
    assert "@" in url
    assert ":" not in url.partition("://")[2].partition("@")[0]
    for _, _, container in pods(objects):
        assert {"secretRef": {"name": "mastery-answers"}} in container["envFrom"]
    assert not any(name.startswith("Secret/") for name in objects)


def settings_name(objects: Objects, prefix: str) -> str:
    [name] = [name for name in objects if name.startswith(f"ConfigMap/{prefix}-")]
    return name.removeprefix("ConfigMap/")


def test_a_change_of_the_settings_makes_new_pods(objects: Objects) -> None:
    name = settings_name(objects, "answers-settings")
    for _, pod, _ in pods(objects):
        volumes = [v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v]
        assert volumes == [name]


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_container_runs_a_command_with_options_that_it_has(
    objects: Objects, name: str
) -> None:
    [container] = template(objects, name)["spec"]["containers"]
    arguments = container["args"]
    command = [part for part in arguments if not part.startswith("-")]
    command = command[: 2 if command[0] == "answers" else 1]
    shown = CliRunner().invoke(app, [*command, "--help"]).output
    for option in (part.partition("=")[0] for part in arguments if part.startswith("--")):
        assert option in shown


def test_the_example_s_settings_are_valid(objects: Objects) -> None:
    settings = load_settings(EXAMPLE / "answers.yaml")
    hosts = objects["Service/mastery-board"]["metadata"]["name"]
    assert hosts in settings.board.hosts
    assert settings.board.access.oidc is not None


def test_every_workload_has_its_policy_and_reaches_the_database(objects: Objects) -> None:
    for name, component in WORKLOADS.items():
        labels = template(objects, name)["metadata"]["labels"]
        assert labels["app.kubernetes.io/component"] == component
        policy = objects[f"NetworkPolicy/mastery-{component}"]["spec"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
        database = objects["NetworkPolicy/mastery-answers-database"]["spec"]
        assert database["podSelector"]["matchLabels"].items() <= labels.items()

    sources = objects["NetworkPolicy/mastery-board"]["spec"]["ingress"]
    assert [list(source["from"][0]) for source in sources] == [["namespaceSelector"]]


def test_requests_reach_the_board_and_only_ready_pods(objects: Objects) -> None:
    labels = template(objects, "Deployment/mastery-board")["metadata"]["labels"]
    service = objects["Service/mastery-board"]["spec"]
    assert service["selector"].items() <= labels.items()
    [container] = template(objects, "Deployment/mastery-board")["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
