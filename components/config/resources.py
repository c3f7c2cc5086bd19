"""What a container of the pipeline gets in a cluster."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from components.config.kubernetes import (
    Cpu,
    Image,
    Label,
    LabelKey,
    LabelValue,
    Memory,
    MountPath,
    Resource,
    SecretKey,
    Subdomain,
    SubPath,
)
from components.config.section import KeyedError, Section, Variable


class Gpu(Section):
    """GPUs of a container."""

    type: Resource = Field("nvidia.com/gpu", description="the resource's name in Kubernetes")
    vertex_type: str = Field("NVIDIA_TESLA_T4", description="the accelerator's name on Vertex AI")
    count: PositiveInt = Field(1, description="how many")


class Toleration(Section):
    """A taint that a container's pod puts up with."""

    key: LabelKey | None = Field(None, description="the taint's key; none: every one")
    operator: Literal["Exists", "Equal"] = Field("Exists", description="whether the value counts")
    value: LabelValue | None = Field(None, description="the taint's value, with `operator: Equal`")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="the taint's effect; none: every one"
    )

    @model_validator(mode="after")
    def _value_goes_with_equal(self) -> Toleration:
        if (self.value is None) == (self.operator == "Equal"):
            raise KeyedError(
                "value",
                f"expected one with operator: Equal and none with Exists, found {self.value!r}",
            )
        if self.key is None and self.operator == "Equal":
            raise KeyedError("key", "expected one with operator: Equal, found none")
        return self


class Retry(Section):
    """How often a task that failed is tried again, and after how long."""

    attempts: int = Field(1, ge=0, description="tries after the first one")
    backoff_seconds: PositiveInt = Field(30, description="wait before the first of them")
    backoff_factor: float = Field(
        2.0, ge=1, description="each further wait is so many times as long"
    )
    backoff_max_seconds: int = Field(600, ge=1, le=3600, description="the longest wait")

    @model_validator(mode="after")
    def _waits_fit(self) -> Retry:
        if self.backoff_seconds > self.backoff_max_seconds:
            raise KeyedError(
                "backoff_seconds",
                f"expected at most backoff_max_seconds ({self.backoff_max_seconds}), found {self.backoff_seconds}",
            )
        return self


class Resources(Section):
    """What a container gets."""

    image: Image | None = Field(
        None, description="another image than `kubeflow.image` or `kubeflow.gpu_image`"
    )
    cpu: Cpu | None = Field(None, description="cores, as request and limit")
    memory: Memory | None = Field(None, description="memory, as request and limit")
    gpu: Gpu | None = Field(None, description="GPUs")
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="labels of the nodes it may run on"
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, description="taints it puts up with"
    )
    retry: Retry | None = Field(None, description="what happens after a failure")
    timeout_seconds: PositiveInt | None = Field(None, description="it is stopped after so long")


class Volume(Section):
    """A volume claim and where containers find it."""

    claim: Label = Field(description="name of the PersistentVolumeClaim")
    path: MountPath = Field(description="where it is mounted")
    sub_path: SubPath = Field("", description="a folder of the volume instead of all of it")


class Secret(Section):
    """A Kubernetes secret whose keys become environment variables."""

    name: Subdomain = Field(description="name of the Secret")
    variables: dict[SecretKey, Variable] = Field(
        description="key of the secret to name of the variable", min_length=1
    )
