"""Where Kubeflow Pipelines is, and how a run is sent there."""

from __future__ import annotations

import zoneinfo

from pydantic import Field, field_validator

from components.config.section import Section


class Kubeflow(Section):
    """The Kubeflow Pipelines that `mastery kubeflow` talks to; no key of this section changes a model."""

    host: str | None = Field(
        None,
        description="address of Kubeflow Pipelines, e.g. http://localhost:8080; "
        "the environment variable MASTERY_KUBEFLOW_HOST wins over it",
    )
    namespace: str | None = Field(None, description="namespace of the user's profile, where Kubeflow serves several")
    experiment: str | None = Field(None, description="experiment that runs are filed under; default: the name")
    token_env: str | None = Field(
        None,
        description="name of the environment variable that holds a bearer token; the token itself never stands here",
    )
    ca_cert: str | None = Field(
        None, description="certificates (PEM) of the authority that signed the host's; default: the public ones"
    )
    timezone: str = Field(
        "UTC",
        description="time zone in which the cluster reads cron expressions: "
        "CRON_SCHEDULE_TIMEZONE of its scheduled-workflow controller",
    )

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"expected a time zone such as Europe/Zurich, found {value!r}") from None
        return value
