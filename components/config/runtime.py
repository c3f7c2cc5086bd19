"""The small training that a change of code or configuration is judged by, before anybody trusts it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, ValidationError, model_validator

from components.config.gates import Gate, OverallMetricName
from components.config.section import Address, Host, KeyedError, Option, Section, Variable, shown
from components.errors import ConfigError


class Push(Section):
    """Where a model that passed goes."""

    enabled: bool = Field(True, description="false judges a model and pushes nothing")
    directory: Address | None = Field(
        None,
        description="the folder TensorFlow Serving watches; default: `serving/` in the run's root",
    )
    check_examples: int = Field(200, ge=1, description="test examples that ServingCheck replays")
    warmup_requests: int = Field(
        8, ge=0, le=1000, description="requests written into the model for TensorFlow Serving"
    )


class Beam(Section):
    """How Apache Beam runs the nodes that read data."""

    args: list[Option] = Field(
        # Without a container image TFX packs itself at the start of every node, for workers that are not there.
        default_factory=lambda: ["--direct_running_mode=in_memory", "--sdk_container_image=none"],
        description="options of Beam's runner, e.g. --runner=FlinkRunner; without one Beam runs in the node's process",
    )
    partitions: int = Field(
        8, ge=1, description="parts the log is shuffled into, by a hash of the learner"
    )

    @property
    def options(self) -> list[str]:
        """Options for a Beam pipeline of ours: `args`, after a runner that keeps the order of rows.

        Left to itself, Beam downloads and starts one that hands out rows in any order, and so
        changes the order in which numbers add up. `args` has the last word.
        """
        return ["--runner=FnApiRunner", *self.args]

    @property
    def node_options(self) -> list[str]:
        """Options for the nodes of TFX, which read flags of its own among those of Beam.

        tfx-bsl would fit the size of its batches to how busy the machine is.
        """
        return ["--tfxio_use_byte_size_batching=true", *self.options]


class Ci(Section):
    """How `mastery ci` trains and judges; a run of `mastery run` never looks at it."""

    learners: int = Field(
        1000, ge=1, description="most learners to train and judge with, chosen by a hash"
    )
    epochs: int = Field(3, ge=1, description="most passes over the training split")
    gates: list[Gate] | None = Field(
        None,
        description="what the small training has to reach; default: the gates of the configuration",
        min_length=1,
    )
    metric: OverallMetricName | None = Field(
        None,
        description="what may not be worse than the baseline; default: the first gate's, with its class",
    )
    tolerance: float = Field(
        0.0, ge=0, description="how much worse than the baseline that metric may be"
    )


VARIABLES = "MASTERY_METADATA_"  # prefix of the environment variables that win over the file
PASSWORD = VARIABLES + "PASSWORD"
_REQUIRED = ("host", "database", "user")


class Metadata(Section):
    """The store of executions and artifacts, ML Metadata.

    On a cluster every key may come from the environment instead, which wins over the file:
    `MASTERY_METADATA_STORE`, `_HOST`, `_PORT`, `_DATABASE`, `_USER`, `_SSL_CA`.
    The password comes from `MASTERY_METADATA_PASSWORD` only. Nothing of this section is written into plans,
    manifests or cache keys.
    """

    store: Literal["sqlite", "mysql"] = Field(
        "sqlite",
        description="sqlite: a file in the run's root; mysql: a server, MySQL or MariaDB, that pods can share",
    )
    host: Host | None = Field(None, description="mysql: name or address of the server")
    port: int = Field(3306, ge=1, le=65535, description="mysql: its port")
    database: str | None = Field(
        None, description="mysql: the database; made when missing, if the user may"
    )
    user: str | None = Field(None, description="mysql: who logs in")
    ssl_ca: str | None = Field(
        None,
        description="mysql: file of the authority that signed the server's certificate; turns on encryption. "
        "ML Metadata does not check the certificate and goes without encryption where the server offers none, "
        "so let the server insist (`REQUIRE SSL`)",
    )

    def with_environment(self, environment: Mapping[str, str]) -> Metadata:
        """Returns the section with what the environment says put in; a variable that is empty says nothing.

        Raises:
            ConfigError: the environment's values do not fit, or mysql lacks a value or the password.
        """
        found = {name: environment.get(_variable(name)) for name in type(self).model_fields}
        try:
            whole = Metadata.model_validate(
                {**self.model_dump(), **{key: text for key, text in found.items() if text}}
            )
        except ValidationError as error:
            raise ConfigError(
                "\n".join(_explain(item["loc"][0], item) for item in error.errors())
            ) from None
        if whole.store == "mysql":
            _check_mysql(whole, environment)
        return whole

    def as_environment(self) -> dict[str, str]:
        """Returns the variables that hand this section on to another process; without the password."""
        return {
            _variable(name): str(value)
            for name, value in self.model_dump(exclude_none=True).items()
        }


def _variable(name: object) -> str:
    return f"{VARIABLES}{name}".upper()


def _explain(name: object, item: Mapping[str, object]) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{_variable(name)}: {message}."
    return f"{_variable(name)}: {message[0].lower()}{message[1:]}, found {shown(item['input'])}."


def _check_mysql(metadata: Metadata, environment: Mapping[str, str]) -> None:
    problems = [
        f"metadata.{name}: expected a value for metadata.store mysql, found none; "
        f"write it into the file or set {_variable(name)}."
        for name in _REQUIRED
        if not getattr(metadata, name)
    ]
    if PASSWORD not in environment:
        problems.append(
            f"{PASSWORD}: expected the password of the metadata store in this variable, found it not set."
        )
    if metadata.ssl_ca and not Path(metadata.ssl_ca).is_file():
        problems.append(
            f"metadata.ssl_ca: expected a certificate authority's file at {metadata.ssl_ca}, found none."
        )
    if problems:
        raise ConfigError("\n".join(problems))


Occasion = Literal["passed", "gates failed", "failed", "interrupted", "no new data"]
Mailbox = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*[^@\s]@[^@\s\x00-\x1f\x7f]+$")
]


class Webhook(Section):
    """An address that takes JSON by POST: Slack, Mattermost, Microsoft Teams or a service of your own."""

    url: Address | None = Field(None, description="the address, where it is no secret")
    url_env: Variable | None = Field(
        None,
        description="name of the environment variable that holds the address; those of chats are secrets",
    )
    timeout_seconds: float = Field(
        10.0, gt=0, le=120, description="wait for an answer so long, at each try"
    )

    @model_validator(mode="after")
    def _one_address(self) -> Webhook:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("expected one of url and url_env")
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise KeyedError("url", "expected an address that starts with https:// or http://")
        return self


class Email(Section):
    """Mail by way of an SMTP server."""

    host: Host = Field(description="the SMTP server")
    port: int = Field(
        587,
        ge=1,
        le=65535,
        description="its port; by habit 587 with starttls, 465 with tls, 25 with none",
    )
    tls: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="encrypt after connecting, from the start, or not at all (a relay on this machine)",
    )
    user: str | None = Field(None, description="the name to log in with; none: no login")
    password_env: Variable | None = Field(
        None, description="name of the environment variable with the password"
    )
    sender: Mailbox = Field(description="the address the mail is from")
    to: list[Mailbox] = Field(description="the addresses it goes to", min_length=1)
    timeout_seconds: float = Field(
        20.0, gt=0, le=120, description="wait for the server so long, at each step"
    )

    @model_validator(mode="after")
    def _login_is_whole_and_encrypted(self) -> Email:
        if (self.user is None) != (self.password_env is None):
            raise ValueError("expected both of user and password_env, or none of them")
        if self.user is not None and self.tls == "none":
            raise KeyedError("tls", "expected starttls or tls with a password, found none")
        return self


def _failures() -> list[Occasion]:
    return ["gates failed", "failed"]


class Notify(Section):
    """Notifications at the end of a run."""

    on: list[Occasion] = Field(
        default_factory=_failures, description="how a run has to end to be told of"
    )
    webhook: Webhook | None = Field(None, description="where to POST; none: nowhere")
    email: Email | None = Field(None, description="where to send mail; none: nowhere")
