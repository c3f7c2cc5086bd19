"""Where ML Metadata keeps what was run and made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from components.config.addresses import Host, shown
from components.config.section import Section
from components.errors import ConfigError

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
