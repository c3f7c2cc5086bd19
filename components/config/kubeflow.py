"""How the pipeline runs on Kubeflow Pipelines: where, in which image, with which resources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from components.config.data import check_timezone
from components.config.kubernetes import (
    AbsolutePath,
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
from components.config.section import Address, KeyedError, Section, Variable


class Gpu(Section):
    """GPUs of a container."""

    type: Resource = Field("nvidia.com/gpu", description="the resource's name in Kubernetes")
    vertex_type: str = Field("NVIDIA_TESLA_T4", description="the accelerator's name on Vertex AI")
    count: PositiveInt = Field(1, description="how many")


class Toleration(Section):
    """A taint that a container's pod tolerates."""

    key: LabelKey | None = Field(None, description="the taint's key; none: every one")
    operator: Literal["Exists", "Equal"] = Field(
        "Exists", description="Exists: the key has to match; Equal: the value as well"
    )
    value: LabelValue | None = Field(None, description="the taint's value, with `operator: Equal`")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="the taint's effect; none: every one"
    )

    @model_validator(mode="after")
    def _value_goes_with_equal(self) -> Toleration:
        if (self.value is None) == (self.operator == "Equal"):
            raise KeyedError(
                "value",
                "expected one with operator: Equal and none with operator: Exists, "
                f"found {self.value!r}",
            )
        if self.key is None and self.operator == "Equal":
            raise KeyedError("key", "expected one with operator: Equal, found none")
        return self


class Retry(Section):
    """How often a failed task is tried again, and after how long."""

    attempts: int = Field(1, ge=0, description="tries after the first one")
    backoff_seconds: PositiveInt = Field(30, description="wait before the first of them")
    backoff_factor: float = Field(
        2.0, ge=1, description="each further wait is this many times as long"
    )
    backoff_max_seconds: int = Field(600, ge=1, le=3600, description="the longest wait")

    @model_validator(mode="after")
    def _waits_fit(self) -> Retry:
        if self.backoff_seconds > self.backoff_max_seconds:
            raise KeyedError(
                "backoff_seconds",
                f"expected at most backoff_max_seconds ({self.backoff_max_seconds}), "
                f"found {self.backoff_seconds}",
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
        default_factory=list, description="taints that it tolerates"
    )
    retry: Retry | None = Field(None, description="what happens after a failure")
    timeout_seconds: PositiveInt | None = Field(
        None, description="seconds after which it is stopped"
    )


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


class Score(Section):
    """A task after the training that scores the log into the answers' database.

    The database's address and password come from `secrets`, as `MASTERY_ANSWERS_URL` and
    `MASTERY_ANSWERS_PASSWORD`.
    """

    events: list[Address] = Field(
        default_factory=list, description="events to score; default: `data.events`"
    )
    learners: list[Address] = Field(
        default_factory=list,
        description="tables with the columns of learners that the model reads, if it reads any",
    )
    only_new: bool = Field(
        True, description="leave out learners without events since the last scoring"
    )
    answers: AbsolutePath | None = Field(
        None, description="path of answers.yaml in the container: who is told what"
    )


def _common() -> Resources:
    return Resources(cpu="2", memory="4Gi", retry=Retry())


def _gpu_for_trainer() -> dict[str, Resources]:
    taint = Toleration(key="nvidia.com/gpu", effect="NoSchedule")
    return {"Trainer": Resources(cpu="4", memory="16Gi", gpu=Gpu(), tolerations=[taint])}


def _refuse_duplicates(key: str, what: str, names: Sequence[str]) -> None:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        found = ", ".join(duplicates)
        raise KeyedError(key, f"expected every {what} once, found {found} more often")


class Kubeflow(Section):
    """The pipeline on Kubeflow Pipelines; no key of this section changes a model."""

    host: Address | None = Field(
        None,
        description="address of Kubeflow Pipelines, e.g. http://localhost:8080; "
        "the environment variable MASTERY_KUBEFLOW_HOST overrides it",
    )
    namespace: Label | None = Field(
        None, description="namespace of the user's profile, where Kubeflow serves several users"
    )
    experiment: str | None = Field(
        None, description="experiment that runs are filed under; default: the name"
    )
    token_env: Variable | None = Field(
        None,
        description="name of the environment variable that holds a bearer token; "
        "the token itself never stands here",
    )
    ca_cert: str | None = Field(
        None,
        description="certificates (PEM) of the authority that signed the host's; "
        "default: the public ones",
    )
    timezone: str = Field(
        "UTC",
        description="time zone in which the cluster reads cron expressions: "
        "CRON_SCHEDULE_TIMEZONE of its scheduled-workflow controller",
    )

    image: Image = Field(
        "mastery", description="the container image, made by `make image`; pin it by tag or digest"
    )
    gpu_image: Image | None = Field(
        None,
        description="the image of tasks that ask for a GPU, made by `make image GPU=1`; default: "
        "`image` with `-gpu` appended, which does not work for an image pinned by digest",
    )
    config: AbsolutePath | None = Field(
        None,
        description="path of this file in the containers; "
        "default: `/app/configs/` and the file's name",
    )
    root: AbsolutePath = Field(
        "/mastery",
        description="the pipeline's root in the containers: artifacts, runs, pushed models",
    )
    storage: Address | None = Field(
        None,
        description="`s3://` or `gs://` folder that keeps the root between containers; "
        "none: the root is on a volume",
        pattern=r"^(s3|gs)://[^/\s]+(/\S*)?$",
    )
    tasks: Literal["grouped", "single"] = Field(
        "grouped",
        description="grouped: consecutive small nodes share a container, except those named under "
        "`nodes`; single: one container per node",
    )
    common: Resources = Field(default_factory=_common, description="what every container gets")
    nodes: dict[str, Resources] = Field(
        default_factory=_gpu_for_trainer,
        description="what differs for single nodes, by name; each of them gets its own container",
    )
    volumes: list[Volume] = Field(
        default_factory=list, description="volume claims that every container mounts"
    )
    secrets: list[Secret] = Field(
        default_factory=list, description="secrets that every container reads"
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="when the image is fetched"
    )
    image_pull_secrets: list[Subdomain] = Field(
        default_factory=list, description="secrets for the image's registry"
    )
    service_account: Subdomain | None = Field(
        None, description="the Kubernetes service account that runs use"
    )
    score: Score | None = Field(
        None, description="the task that scores the log after the training; default: none"
    )

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, value: str) -> str:
        return check_timezone(value)

    @model_validator(mode="after")
    def _nothing_is_given_twice(self) -> Kubeflow:
        _refuse_duplicates("volumes", "mount path", [volume.path for volume in self.volumes])
        variables = [name for secret in self.secrets for name in secret.variables.values()]
        _refuse_duplicates("secrets", "variable", variables)
        return self

    def is_on_volume(self, path: str) -> bool:
        """Returns whether a path of the containers is on one of the volumes."""
        return any(PurePosixPath(path).is_relative_to(volume.path) for volume in self.volumes)

    def resources(self, node: str) -> Resources:
        """Returns what a node's container gets.

        Its own settings win over the common ones; node selectors and tolerations are joined.

        >>> kubeflow = Kubeflow(common={"cpu": 2, "memory": "4Gi"}, nodes={"Trainer": {"cpu": 8}})
        >>> kubeflow.resources("Trainer").cpu, kubeflow.resources("Trainer").memory
        ('8', '4Gi')
        """
        own = self.nodes.get(node)
        if own is None:
            return self.common

        changed = {name: getattr(own, name) for name in own.model_fields_set}
        if "node_selector" in changed:
            changed["node_selector"] = {**self.common.node_selector, **own.node_selector}
        if "tolerations" in changed:
            changed["tolerations"] = [*self.common.tolerations, *own.tolerations]
        return self.common.model_copy(update=changed)
