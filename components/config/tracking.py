"""Where runs are recorded beside the root: a server of MLflow, a receiver of OpenLineage."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from components.config.section import Address, KeyedError, Section, Variable

Target = Literal["mlflow", "openlineage"]


class Mlflow(Section):
    """An MLflow server that keeps a run for each of ours, and the models that were pushed.

    It needs `pip install mastery[mlflow]`. What the server asks for may also be in MLflow's own
    variables, such as `MLFLOW_TRACKING_TOKEN`.
    """

    uri: Address | None = Field(
        None, description="the server's address, such as https://mlflow.example.org"
    )
    uri_env: Variable | None = Field(
        None, description="name of the environment variable that holds the address instead"
    )
    experiment: str | None = Field(
        None, description="the experiment that runs are kept in; default: the pipeline's name"
    )
    register_: bool = Field(
        True, alias="register", description="register each pushed version as a model"
    )
    token_env: Variable | None = Field(
        None, description="name of the environment variable with a bearer token"
    )
    user: str | None = Field(None, description="the name to log in with; none: no login")
    password_env: Variable | None = Field(
        None, description="name of the environment variable with the password"
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> Mlflow:
        if (self.uri is None) == (self.uri_env is None):
            raise ValueError("expected one of uri and uri_env")
        if (self.user is None) != (self.password_env is None):
            raise ValueError("expected both of user and password_env, or none of them")
        if self.uri is not None:
            _require_http("uri", self.uri)
        return self


class OpenLineage(Section):
    """A receiver of OpenLineage events, such as Marquez or DataHub."""

    url: Address | None = Field(None, description="the receiver's address")
    url_env: Variable | None = Field(
        None, description="name of the environment variable that holds the address instead"
    )
    endpoint: str = Field("api/v1/lineage", description="the path below it that takes events")
    namespace: str = Field("mastery", min_length=1, description="the namespace of jobs")
    api_key_env: Variable | None = Field(
        None, description="name of the environment variable with a key, sent as a bearer token"
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> OpenLineage:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("expected one of url and url_env")
        if self.url is not None:
            _require_http("url", self.url)
        return self


def _require_http(key: str, address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise KeyedError(key, "expected an address that starts with https:// or http://")


class Tracking(Section):
    """Servers that are told how runs went; one that is away never stops a run."""

    mlflow: Mlflow | None = Field(None, description="an MLflow server; none: no server")
    openlineage: OpenLineage | None = Field(None, description="a receiver of lineage; none: none")
    timeout_seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="the longest that the end of a run, or a promotion, waits for all of them; "
        "`mastery tracking sync` tells them later",
    )

    @property
    def targets(self) -> list[Target]:
        """Names of the servers that are configured."""
        found: list[Target] = []
        if self.mlflow is not None:
            found.append("mlflow")
        if self.openlineage is not None:
            found.append("openlineage")
        return found
