"""What `kubectl apply -k` sends is valid by Kubernetes' schemas, and as the manual says."""

from __future__ import annotations

import copy
import ipaddress
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.serving.manifests.kubectl import Objects

# The oldest release with sidecars by default (and unhealthyPodEvictionPolicy), and the newest one
# whose schemas are known here.
RELEASES = ("1.29", "1.37")
Render = Callable[..., Objects]
KINDS = {
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "ServiceAccount",
}


def serving(objects: Objects) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the pod's specification and the server's container."""
    pod = objects["Deployment/mastery-serving"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    return pod, container


def test_all_objects_fit_the_published_schemas(render: Render) -> None:
    different: dict[str, dict[str, Any]] = {}
    for overlay, store in product(("cpu", "gpu"), ("claim", "gcs", "s3")):
        objects = render(overlay, store)
        assert {name.partition("/")[0] for name in objects} == KINDS
        different |= {json.dumps(item, sort_keys=True): item for item in objects.values()}
    for release, item in product(RELEASES, different.values()):
        kubernetes_validate.validate(item, release, strict=True)


def test_the_schemas_are_strict(render: Render) -> None:
    objects = render("cpu")
    wrong = copy.deepcopy(objects["Deployment/mastery-serving"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(wrong, RELEASES[0], strict=True)


def test_a_rollout_loses_no_request(render: Render) -> None:
    objects = render("gpu")
    pod, container = serving(objects)
    spec = objects["Deployment/mastery-serving"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in spec  # the autoscaler's
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "15"]
    assert pod["terminationGracePeriodSeconds"] > 15
    startup = container["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] < spec["progressDeadlineSeconds"]


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_the_model_has_one_name_everywhere(render: Render, overlay: str) -> None:
    _, container = serving(render(overlay, model="my-log"))
    probes = [
        container[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "readiness", "liveness")
    ]
    assert probes == ["/v1/models/my-log"] * 3
    variables = {item["name"]: item["value"] for item in container["env"]}
    assert (variables["FOLDER"], variables["MODEL"]) == ("/models", "my-log")
    assert variables["EXPORT"] == ""
    assert "--model_config_file=$(FOLDER)/$(MODEL)$(EXPORT)/models.config" in container["args"]


def test_servers_with_a_gpu_may_read_the_export_that_is_for_them(render: Render) -> None:
    _, container = serving(render("gpu", extra="gpu-export"))
    variables = {item["name"]: item["value"] for item in container["env"]}
    assert [variables[name] for name in ("FOLDER", "MODEL", "EXPORT")] == [
        "/models",
        "sample",
        "/gpu",
    ]


@pytest.mark.parametrize("store", ["claim", "gcs", "s3"])
def test_no_container_has_more_rights_than_it_needs(render: Render, store: str) -> None:
    pod, container = serving(render("gpu", store))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for item in (container, *pod.get("initContainers", [])):
        assert item["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert {"requests", "limits"} <= set(item["resources"])
        assert any(mount["mountPath"] == "/tmp" for mount in item["volumeMounts"])
    for item in pod.get("volumes", []):
        assert "hostPath" not in item


def test_a_gpu_is_asked_for_on_gpu_nodes_and_nowhere_else(render: Render) -> None:
    pod, container = serving(render("gpu"))
    assert container["image"] == "tensorflow/serving:2.19.1-gpu"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["nodeSelector"]
    assert [item["key"] for item in pod["tolerations"]] == ["nvidia.com/gpu"]
    pod, container = serving(render("cpu"))
    assert container["image"] == "tensorflow/serving:2.19.1"
    assert "nvidia" not in str(pod)


def test_every_volume_that_is_mounted_is_there(render: Render) -> None:
    for store in ("claim", "gcs", "s3"):
        pod, container = serving(render("cpu", store))
        mounted = {
            m["name"]
            for item in (container, *pod.get("initContainers", []))
            for m in item["volumeMounts"]
        }
        assert mounted == {item["name"] for item in pod["volumes"]}


def test_settings_are_where_the_server_reads_them_and_a_change_makes_new_pods(
    render: Render,
) -> None:
    objects = render("gpu")
    pod, container = serving(objects)
    [name] = [item["configMap"]["name"] for item in pod["volumes"] if item["name"] == "settings"]
    assert name != "serving-settings"  # its content is part of its name
    mount = next(
        item["mountPath"] for item in container["volumeMounts"] if item["name"] == "settings"
    )
    asked = {arg.partition("=")[2] for arg in container["args"] if "_file=/" in arg}
    assert asked == {f"{mount}/{file}" for file in objects[f"ConfigMap/{name}"]["data"]}


def test_metrics_are_scraped_where_they_are(render: Render) -> None:
    objects = render("cpu")
    pod = objects["Deployment/mastery-serving"]["spec"]["template"]
    ports = {item["name"]: item["containerPort"] for item in pod["spec"]["containers"][0]["ports"]}
    [settings] = [
        item["data"]
        for name, item in objects.items()
        if name.startswith("ConfigMap/serving-settings")
    ]
    notes = pod["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(ports["http"])
    assert f'path: "{notes["prometheus.io/path"]}"' in settings["monitoring.config"]


def test_the_service_the_budget_and_the_policy_find_the_pods(render: Render) -> None:
    objects = render("cpu")
    labels = objects["Deployment/mastery-serving"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        objects[f"Service/{name}"]["spec"]["selector"]
        for name in ("mastery-serving", "mastery-serving-pods")
    ]
    selectors.append(
        objects["PodDisruptionBudget/mastery-serving"]["spec"]["selector"]["matchLabels"]
    )
    selectors.append(objects["NetworkPolicy/mastery-serving"]["spec"]["podSelector"]["matchLabels"])
    assert all(selector and selector.items() <= labels for selector in selectors)


def test_only_a_store_elsewhere_is_reached(render: Render) -> None:
    policies = {
        store: render("cpu", store)["NetworkPolicy/mastery-serving"]
        for store in ("claim", "gcs", "s3")
    }
    egress = {store: policy["spec"]["egress"] for store, policy in policies.items()}
    assert egress["claim"] == []
    for store in ("gcs", "s3"):
        names, *addresses = egress[store]
        [resolver] = names["to"]
        assert resolver["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}
        assert {(port["protocol"], port["port"]) for port in names["ports"]} == {
            ("UDP", 53),
            ("TCP", 53),
        }
        blocks = [
            ipaddress.ip_network(to["ipBlock"]["cidr"]) for rule in addresses for to in rule["to"]
        ]
        assert blocks  # every rule says where to, and nowhere is it half of the Internet
        assert all(block.prefixlen >= 24 for block in blocks)
        assert 443 in {port["port"] for rule in addresses for port in rule["ports"]}


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_grpc_is_reached_through_the_proxy_alone(render: Render, overlay: str) -> None:
    objects = render(overlay)
    pod, container = serving(objects)
    [proxy] = pod["initContainers"]
    assert {"--port=0", "--enable_profiler=false"} < set(container["args"])
    assert [port["containerPort"] for port in container["ports"]] == [8501]
    assert proxy["restartPolicy"] == "Always"
    assert proxy["ports"] == [
        {"name": "grpc", "containerPort": 8500}
    ]  # the name that the Services have as target

    [argument] = [item for item in container["args"] if item.startswith("--grpc_socket_path=")]
    socket_file = Path(argument.partition("=")[2])
    [settings] = [
        item["data"] for name, item in objects.items() if name.startswith("ConfigMap/serving-proxy")
    ]
    assert f"server unix:{socket_file};" in settings["nginx.conf"]
    for item in (container, proxy):  # both see the folder that it is in
        assert {"name": "socket", "mountPath": str(socket_file.parent)} in item["volumeMounts"]
    [config] = [mount["mountPath"] for mount in proxy["volumeMounts"] if mount["name"] == "proxy"]
    assert f"{config}/nginx.conf" in proxy["command"]


def test_clients_and_prometheus_reach_the_ports_that_are_for_them(render: Render) -> None:
    clients, prometheus = render("cpu")["NetworkPolicy/mastery-serving"]["spec"]["ingress"]
    assert [port["port"] for port in clients["ports"]] == [8500, 8501]
    assert [port["port"] for port in prometheus["ports"]] == [8501]
    assert all("from" in rule for rule in (clients, prometheus))
