"""The manifests of training workers: valid for the Kubeflow Trainer, and without rights."""

from __future__ import annotations

import copy
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from kubeflow_trainer_api import models
from pydantic import BaseModel
from typer.testing import CliRunner

from components.trainer.distributed.agent import Endpoint, parse_address
from pipeline.cli.main import app
from tests.serving.manifests.kubectl import Objects, find_kubectl, rendered
from tests.serving.manifests.test_rendered import RELEASES

TRAINING = Path(__file__).parents[2] / "configs" / "training"
OVERLAYS = ("cpu", "gpu")
RUNTIME = "TrainingRuntime/mastery-training-worker"
JOB = "TrainJob/mastery-training"
POLICY = "NetworkPolicy/mastery-training-worker"


@pytest.fixture(scope="module")
def render(request: pytest.FixtureRequest) -> Callable[[str], Objects]:
    kubectl = find_kubectl(request.config.cache.mkdir("kubectl"))

    def run(overlay: str) -> Objects:
        return rendered(kubectl, TRAINING / "overlays" / overlay)

    return run


def model_of(item: dict[str, Any]) -> type[BaseModel] | None:
    """Returns the published model of an object of the Kubeflow Trainer, with those of JobSet."""
    if item["apiVersion"] != "trainer.kubeflow.org/v1alpha1":
        return None
    found: type[BaseModel] = getattr(models, f"TrainerV1alpha1{item['kind']}")
    return found


def check(item: dict[str, Any]) -> None:
    """Fails where the published models of the Kubeflow Trainer have another type, or no such key.

    The models themselves ignore keys that they do not know.
    """
    model = model_of(item)
    assert model is not None
    model.from_dict(item)  # type: ignore[attr-defined]
    assert list(unknown_keys(model, item, "")) == []


def unknown_keys(model: Any, value: Any, where: str) -> Iterator[str]:
    """Yields the keys in a value that the model of its place does not have."""
    models_here = [part for part in parts_of(model) if issubclass(part, BaseModel)]
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from unknown_keys(model, part, f"{where}[{index}]")
    elif isinstance(value, dict) and models_here and not is_mapping(model):
        [here] = models_here
        fields = {field.alias or name: field for name, field in here.model_fields.items()}
        for key, part in value.items():
            if key not in fields:
                yield f"{where}.{key}"
            else:
                yield from unknown_keys(fields[key].annotation, part, f"{where}.{key}")


def is_mapping(annotation: Any) -> bool:
    """Returns whether keys are free in `annotation`, as those of labels and resources are."""
    origins = [typing.get_origin(part) for part in (annotation, *typing.get_args(annotation))]
    return dict in origins


def parts_of(annotation: Any) -> Iterator[type]:
    """Yields the classes in an annotation such as `Optional[List[Container]]`."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from parts_of(argument)


def template(objects: Objects) -> dict[str, Any]:
    """Returns the template of the job that Kubeflow Trainer makes the pods with."""
    [job] = objects[RUNTIME]["spec"]["template"]["spec"]["replicatedJobs"]
    found: dict[str, Any] = job["template"]
    return found


def pod_of(objects: Objects) -> tuple[dict[str, Any], dict[str, Any]]:
    pod = template(objects)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    return pod, container


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_objects_fit_the_published_schemas(
    render: Callable[[str], Objects], overlay: str
) -> None:
    objects = render(overlay)
    assert {RUNTIME, JOB, POLICY, "ServiceAccount/mastery-training"} == set(objects)
    for item in objects.values():
        assert item["metadata"]["namespace"] == "mastery"
        if model_of(item):
            check(item)
            continue
        for release in RELEASES:
            kubernetes_validate.validate(item, release, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_job_that_is_made_of_it_fits_kubernetes_own_schemas(
    render: Callable[[str], Objects], overlay: str
) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job"},
        "spec": {**template(render(overlay))["spec"], "parallelism": 2, "completions": 2},
    }
    for release in RELEASES:
        kubernetes_validate.validate(job, release, strict=True)


def test_the_check_is_strict(render: Callable[[str], Objects]) -> None:
    wrong = copy.deepcopy(render("gpu")[RUNTIME])
    [job] = wrong["spec"]["template"]["spec"]["replicatedJobs"]
    job["template"]["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    with pytest.raises(AssertionError, match=r"containers\[0\].imagePulPolicy"):
        check(wrong)

    wrong = copy.deepcopy(render("gpu")[JOB])
    wrong["spec"]["trainer"]["numNodes"] = "two"
    with pytest.raises(ValueError, match="numNodes"):
        check(wrong)


def test_kubeflow_trainer_finds_what_it_looks_for(render: Callable[[str], Objects]) -> None:
    """Rules of its admission webhooks and plugins, which are in no schema."""
    objects = render("cpu")
    [job] = objects[RUNTIME]["spec"]["template"]["spec"]["replicatedJobs"]
    labels = job["template"]["metadata"]["labels"]
    assert labels == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    assert (job["name"], job["replicas"]) == ("node", 1)
    assert pod_of(objects)[1]["name"] == "node"

    spec = objects[JOB]["spec"]
    assert spec["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": RUNTIME.partition("/")[2],
    }
    assert set(objects[RUNTIME]["spec"]["mlPolicy"]) == {"numNodes"}
    assert spec["trainer"]["numNodes"] == objects[RUNTIME]["spec"]["mlPolicy"]["numNodes"]


def test_no_container_has_more_rights_than_it_needs(render: Callable[[str], Objects]) -> None:
    for overlay in OVERLAYS:
        pod, container = pod_of(render(overlay))
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for each in (*pod["initContainers"], container):
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert {"requests", "limits"} <= set(each["resources"])
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert set(mounted) == {volume["name"] for volume in pod["volumes"]}
        assert mounted["runs"] == "/mastery"  # where kubeflow.root is, by default


def test_workers_reach_one_another_and_nobody_else(render: Callable[[str], Objects]) -> None:
    objects = render("gpu")
    labels = template(objects)["spec"]["template"]["metadata"]["labels"]
    policy = objects[POLICY]["spec"]
    own = policy["podSelector"]
    assert own["matchLabels"].items() <= labels.items()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["ingress"] == [{"from": [{"podSelector": own}]}]
    assert policy["egress"] == [{"to": [{"podSelector": own}]}]


def test_a_pod_with_a_gpu_gets_the_image_with_cuda_and_runs_where_gpus_are(
    render: Callable[[str], Objects],
) -> None:
    pod, container = pod_of(render("cpu"))
    assert container["image"] == "mastery:latest"
    assert not any("gpu" in name for name in container["resources"]["limits"])

    pod, container = pod_of(render("gpu"))
    assert container["image"] == "mastery-gpu:latest"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert [taint["key"] for taint in pod["tolerations"]] == ["nvidia.com/gpu"]


@pytest.mark.parametrize("ip", ["10.1.2.3", "fd00::7"])
def test_the_pod_runs_a_command_with_options_that_it_has(
    render: Callable[[str], Objects], ip: str
) -> None:
    pod, container = pod_of(render("cpu"))
    command, *options = container["args"]
    shown = CliRunner().invoke(app, [command, "--help"]).output
    given = dict(option.split("=", 1) for option in options)
    [folder] = pod["initContainers"]
    assert folder["command"][-1] == given["--folder"]
    assert folder["image"] == container["image"]
    for option in given:
        assert option in shown

    [variable] = container["env"]
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    address = given["--address"].replace(f"$({variable['name']})", ip)
    [port] = container["ports"]
    assert parse_address(address) == Endpoint(ip, port["containerPort"])
