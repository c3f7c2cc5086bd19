"""How the pipeline runs on Kubeflow Pipelines: where, in which image, with what for each node."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator, model_validator

from components.config.kubernetes import AbsolutePath, Image, Label, Subdomain
from components.config.resources import Gpu, Resources, Retry, Secret, Toleration, Volume
from components.config.section import Address, KeyedError, Section, Variable


def _common() -> Resources:
    return Resources(cpu="2", memory="4Gi", retry=Retry())


def _gpu_for_trainer() -> dict[str, Resources]:
    taint = Toleration(key="nvidia.com/gpu", effect="NoSchedule")
    return {"Trainer": Resources(cpu="4", memory="16Gi", gpu=Gpu(), tolerations=[taint])}


def _refuse_twice(key: str, what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise KeyedError(key, f"expected every {what} once, found {', '.join(twice)} more often")


class Kubeflow(Section):
    """The pipeline on Kubeflow Pipelines; no key of this section changes a model."""

    host: Address | None = Field(
        None,
        description="address of Kubeflow Pipelines, e.g. http://localhost:8080; "
        "the environment variable MASTERY_KUBEFLOW_HOST wins over it",
    )
    namespace: Label | None = Field(
        None, description="namespace of the user's profile, where Kubeflow serves several"
    )
    experiment: str | None = Field(
        None, description="experiment that runs are filed under; default: the name"
    )
    token_env: Variable | None = Field(
        None,
        description="name of the environment variable that holds a bearer token; the token itself never stands here",
    )
    ca_cert: str | None = Field(
        None,
        description="certificates (PEM) of the authority that signed the host's; default: the public ones",
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
        description="the image of tasks that ask for a GPU, made by `make image GPU=1`; default: `image` with `-gpu` "
        "at its end, which an image pinned by digest does not have",
    )
    config: AbsolutePath | None = Field(
        None,
        description="path of this file in the containers; default: `/app/configs/` and the file's name",
    )
    root: AbsolutePath = Field(
        "/mastery",
        description="the pipeline's root in the containers: artifacts, runs, pushed models",
    )
    storage: Address | None = Field(
        None,
        description="`s3://` or `gs://` folder that keeps the root between containers; none: the root is on a volume",
        pattern=r"^(s3|gs)://[^/\s]+(/\S*)?$",
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
        None, description="the Kubernetes service account that runs go under"
    )

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"expected a time zone such as Europe/Zurich, found {value!r}"
            ) from None
        return value

    @model_validator(mode="after")
    def _nothing_is_given_twice(self) -> Kubeflow:
        _refuse_twice("volumes", "mount path", [volume.path for volume in self.volumes])
        variables = [name for secret in self.secrets for name in secret.variables.values()]
        _refuse_twice("secrets", "variable", variables)
        return self

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
