"""Everything around a model: pushes, metadata, notifications, and CI's small training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, ValidationError, model_validator

from components.command.explain import as_sentence, explain_invalid
from components.config.gates import Gate, OverallMetricName
from components.config.section import Address, Host, KeyedError, Section, Variable
from components.errors import ConfigError

VARIABLES = "MASTERY_METADATA_"  # prefix of the environment variables that override the file
PASSWORD = VARIABLES + "PASSWORD"
SIGNING_KEY = "MASTERY_SIGNING_KEY"  # overrides `push.signing_key`, and passes it on to nodes
SIGNING_PASSWORD = "MASTERY_SIGNING_PASSWORD"  # of that key

Occasion = Literal["passed", "gates failed", "failed", "interrupted", "no new data", "attention"]
Mailbox = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*[^@\s]@[^@\s\x00-\x1f\x7f]+$")
]


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
    # Excluded from every dump, as `metadata` is: no plan, manifest or fingerprint says where keys
    # are kept, or depends on it.
    signing_key: Address | None = Field(
        None,
        exclude=True,
        description="a private key (PEM, a path) that signs each version; its password, if it has "
        "one, is in MASTERY_SIGNING_PASSWORD; none: versions are not signed",
    )
    public_key: Address | None = Field(
        None,
        exclude=True,
        description="the public key (PEM, a path) that `mastery models promote` and `verify` "
        "check signatures with",
    )

    def key_for_signing(self, environment: Mapping[str, str]) -> str | None:
        """Returns the path of the private key; MASTERY_SIGNING_KEY overrides the file."""
        return environment.get(SIGNING_KEY) or self.signing_key

    def as_environment(self) -> dict[str, str]:
        """Returns variables that pass the key's path on to nodes; without its password."""
        key = self.key_for_signing(os.environ)
        return {SIGNING_KEY: str(Path(key).absolute())} if key else {}


class Ci(Section):
    """How `mastery ci` trains and judges; a run of `mastery run` ignores it."""

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
        description="what may not be worse than the baseline; default: the first gate's, with its "
        "class",
    )
    tolerance: float = Field(
        0.0, ge=0, description="how much worse than the baseline that metric may be"
    )


class Metadata(Section):
    """The store of executions and artifacts, ML Metadata.

    On a cluster every key may come from the environment instead, which overrides the file:
    `MASTERY_METADATA_STORE`, `_HOST`, `_PORT`, `_DATABASE`, `_USER`, `_SSL_CA`.
    The password comes from `MASTERY_METADATA_PASSWORD` only. Nothing of this section is written
    into plans, manifests or cache keys.
    """

    store: Literal["sqlite", "mysql"] = Field(
        "sqlite",
        description="sqlite: a file in the run's root; mysql: a server, MySQL or MariaDB, that "
        "pods can share",
    )
    host: Host | None = Field(None, description="mysql: name or address of the server")
    port: int = Field(3306, ge=1, le=65535, description="mysql: its port")
    database: str | None = Field(
        None, description="mysql: the database; created when missing, if the user may"
    )
    user: str | None = Field(None, description="mysql: the user who logs in")
    ssl_ca: str | None = Field(
        None,
        description="mysql: file of the authority that signed the server's certificate; turns on "
        "encryption. ML Metadata does not check the certificate and goes without encryption if the "
        "server offers none, so make the server require it (`REQUIRE SSL`)",
    )

    def with_environment(self, environment: Mapping[str, str]) -> Metadata:
        """Returns the section with the environment's values put in; empty variables are ignored.

        Raises:
            ConfigError: the environment's values do not fit, or mysql lacks a value or the
                password.
        """
        found = {name: environment.get(_variable_of(name)) for name in type(self).model_fields}
        given = {name: text for name, text in found.items() if text}
        try:
            whole = Metadata.model_validate({**self.model_dump(), **given})
        except ValidationError as error:
            problems = [
                as_sentence(f"{_variable_of(problem['loc'][0])}: {explain_invalid(problem)}")
                for problem in error.errors()
            ]
            raise ConfigError("\n".join(problems)) from None

        if whole.store == "mysql":
            _check_mysql(whole, environment)
        return whole

    def as_environment(self) -> dict[str, str]:
        """Returns variables that pass this section on to another process; without the password."""
        values = self.model_dump(exclude_none=True)
        return {_variable_of(name): str(value) for name, value in values.items()}


def _variable_of(name: object) -> str:
    return f"{VARIABLES}{name}".upper()


def _check_mysql(metadata: Metadata, environment: Mapping[str, str]) -> None:
    problems = [
        f"metadata.{name}: expected a value for metadata.store mysql, found none; "
        f"write it into the file or set {_variable_of(name)}."
        for name in ("host", "database", "user")
        if not getattr(metadata, name)
    ]

    if PASSWORD not in environment:
        problems.append(
            f"{PASSWORD} is not set; put the password of the metadata store into this variable."
        )
    if metadata.ssl_ca and not Path(metadata.ssl_ca).is_file():
        problems.append(
            f"metadata.ssl_ca: there is no file {metadata.ssl_ca}; name the file of the "
            "certificate authority."
        )

    if problems:
        raise ConfigError("\n".join(problems))


class Webhook(Section):
    """An address that takes JSON by POST: Slack, Mattermost, Microsoft Teams or a service."""

    url: Address | None = Field(None, description="the address, if it is not a secret")
    url_env: Variable | None = Field(
        None,
        description="name of the environment variable that holds the address; chat services' "
        "addresses are secrets",
    )
    timeout_seconds: float = Field(
        10.0, gt=0, le=120, description="seconds to wait for an answer, at each try"
    )

    @model_validator(mode="after")
    def _one_address(self) -> Webhook:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("expected one of url and url_env")
        if self.url is None:
            return self

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
        description="its port; usually 587 with starttls, 465 with tls, 25 with none",
    )
    tls: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="encrypt after connecting, from the start, or not at all (a relay on this "
        "machine)",
    )
    user: str | None = Field(None, description="the name to log in with; none: no login")
    password_env: Variable | None = Field(
        None, description="name of the environment variable with the password"
    )
    sender: Mailbox = Field(description="the address the mail is from")
    to: list[Mailbox] = Field(description="the addresses it goes to", min_length=1)
    timeout_seconds: float = Field(
        20.0, gt=0, le=120, description="seconds to wait for the server, at each step"
    )

    @model_validator(mode="after")
    def _login_is_whole_and_encrypted(self) -> Email:
        if (self.user is None) != (self.password_env is None):
            raise ValueError("expected both of user and password_env, or none of them")
        if self.user is not None and self.tls == "none":
            raise KeyedError("tls", "expected starttls or tls with a password, found none")
        return self


def _failures() -> list[Occasion]:
    return ["gates failed", "failed", "attention"]


class Notify(Section):
    """Notifications at the end of a run, and of what `mastery watch` finds."""

    on: list[Occasion] = Field(
        default_factory=_failures,
        description="which endings of a run send a notification; `attention`: `mastery watch` "
        "found something new",
    )
    webhook: Webhook | None = Field(None, description="where to POST; none: nowhere")
    email: Email | None = Field(None, description="where to send mail; none: nowhere")
