"""What a container of the pipeline gets in a cluster."""

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

    image: str | None = Field(None, description="another image than `kubeflow.image` or `kubeflow.gpu_image`")
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
