"""How the pipeline runs on Kubeflow Pipelines: where, in which image, with what for each node."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, model_validator

from components.config.section import Section


def _is_cpu(value: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?|\d+m", value):
        raise ValueError(f"expected cores such as 2, 0.5 or 500m, found {value!r}")
    return value


def _is_memory(value: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?([KMGTP]i?)?", value):
        raise ValueError(f"expected bytes such as 512Mi or 8Gi, found {value!r}")
    return value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Cpu = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_cpu)]
Memory = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_memory)]


class Gpu(Section):
    """GPUs of a container."""

    type: str = Field("nvidia.com/gpu", description="the resource's name in Kubernetes")
    vertex_type: str = Field("NVIDIA_TESLA_T4", description="the accelerator's name on Vertex AI")
    count: PositiveInt = Field(1, description="how many")


class Toleration(Section):
    """A taint that a container's pod puts up with."""

    key: str | None = Field(None, description="the taint's key; none: every one")
    operator: Literal["Exists", "Equal"] = Field("Exists", description="whether the value counts")
    value: str | None = Field(None, description="the taint's value, with `operator: Equal`")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="the taint's effect; none: every one"
    )

    @model_validator(mode="after")
    def _value_goes_with_equal(self) -> Toleration:
        if (self.value is None) == (self.operator == "Equal"):
            raise ValueError(f"value: expected one with operator: Equal and none with Exists, found {self.value!r}")
        if self.key is None and self.operator == "Equal":
            raise ValueError("key: expected one with operator: Equal, found none")
        return self


class Retry(Section):
    """How often a task that failed is tried again, and after how long."""

    attempts: int = Field(1, ge=0, description="tries after the first one")
    backoff_seconds: PositiveInt = Field(30, description="wait before the first of them")
    backoff_factor: float = Field(2.0, ge=1, description="each further wait is so many times as long")
    backoff_max_seconds: int = Field(600, ge=1, le=3600, description="the longest wait")


class Resources(Section):
    """What a container gets."""

    image: str | None = Field(None, description="another image than `kubeflow.image`")
    cpu: Cpu | None = Field(None, description="cores, as request and limit")
    memory: Memory | None = Field(None, description="memory, as request and limit")
    gpu: Gpu | None = Field(None, description="GPUs")
    node_selector: dict[str, str] = Field(default_factory=dict, description="labels of the nodes it may run on")
    tolerations: list[Toleration] = Field(default_factory=list, description="taints it puts up with")
    retry: Retry | None = Field(None, description="what happens after a failure")
    timeout_seconds: PositiveInt | None = Field(None, description="it is stopped after so long")


class Volume(Section):
    """A volume claim and where containers find it."""

    claim: str = Field(description="name of the PersistentVolumeClaim")
    path: str = Field(description="where it is mounted", pattern=r"^/.+")
    sub_path: str = Field("", description="a folder of the volume instead of all of it")


class Secret(Section):
    """A Kubernetes secret whose keys become environment variables."""

    name: str = Field(description="name of the Secret")
    variables: dict[str, str] = Field(description="key of the secret to name of the variable", min_length=1)


def _common() -> Resources:
    return Resources(cpu="2", memory="4Gi", retry=Retry())  # type: ignore[call-arg]


def _gpu_for_trainer() -> dict[str, Resources]:
    taint = Toleration(key="nvidia.com/gpu", effect="NoSchedule")  # type: ignore[call-arg]
    return {"Trainer": Resources(cpu="4", memory="16Gi", gpu=Gpu(), tolerations=[taint])}  # type: ignore[call-arg]


class Kubeflow(Section):
    """The pipeline on Kubeflow Pipelines."""

    image: str = Field("mastery", description="the container image, made by `make image`; pin it by tag or digest")
    config: str | None = Field(
        None, description="path of this file in the containers; default: `/app/configs/` and the file's name"
    )
    root: str = Field("/mastery", description="the pipeline's root in the containers: artifacts, runs, pushed models")
    storage: str | None = Field(
        None,
        description="`s3://` or `gs://` folder that keeps the root between containers; none: the root is on a volume",
        pattern=r"^(s3|gs)://.+",
    )
    tasks: Literal["grouped", "single"] = Field(
        "grouped",
        description="light neighbours share a container, except those named under `nodes`; or one container a node",
    )
    common: Resources = Field(default_factory=_common, description="what every container gets")
    nodes: dict[str, Resources] = Field(
        default_factory=_gpu_for_trainer,
        description="what differs for single nodes, by name; each of them gets a container of its own",
    )
    volumes: list[Volume] = Field(default_factory=list, description="volume claims that every container mounts")
    secrets: list[Secret] = Field(default_factory=list, description="secrets that every container reads")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="when the image is fetched"
    )
    image_pull_secrets: list[str] = Field(default_factory=list, description="secrets for the image's registry")
    service_account: str | None = Field(None, description="the Kubernetes service account that runs go under")

    def resources(self, node: str) -> Resources:
        """Returns what a node's container gets: its own settings over the common ones, mappings and lists joined."""
        own = self.nodes.get(node)
        if own is None:
            return self.common
        changed = {name: getattr(own, name) for name in own.model_fields_set}
        if "node_selector" in changed:
            changed["node_selector"] = {**self.common.node_selector, **own.node_selector}
        if "tolerations" in changed:
            changed["tolerations"] = [*self.common.tolerations, *own.tolerations]
        return self.common.model_copy(update=changed)
