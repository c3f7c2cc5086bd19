"""The sections `channels` and `delivery` of `answers.yaml`: who receives what."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from components.config.runtime import Email, Webhook
from components.config.section import Address, KeyedError, Section, Variable

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
EventType = Literal["mastery.answer.changed", "mastery.answer.given"]


class WebhookChannel(Webhook):
    """A chat, or a service that takes JSON."""

    kind: Literal["webhook"] = Field(description="a webhook")
    form: Literal["slack", "teams", "mattermost", "json"] = Field(
        "json",
        description="what the receiver reads: a chat's own form, or the alert as it is",
    )


class MailChannel(Email):
    """Mail: plain text and HTML, one mail to all addresses."""

    kind: Literal["smtp"] = Field(description="mail")


class FileChannel(Section):
    """A file on this machine; alerts are appended, each whole or not at all."""

    kind: Literal["file"] = Field(description="a file")
    form: Literal["jsonl", "mbox"] = Field(
        "jsonl", description="one line of JSON per alert, or a mailbox that mail programs read"
    )
    path: str = Field(description="the file; it is made if there is none", min_length=1)


Channel = Annotated[WebhookChannel | MailChannel | FileChannel, Field(discriminator="kind")]


class Xapi(Section):
    """A learning record store that gets answers as xAPI statements."""

    url: Address | None = Field(
        None,
        description="the store's xAPI endpoint, such as https://lrs.example.org/xapi; statements "
        "are posted to `/statements` below it",
    )
    url_env: Variable | None = Field(
        None, description="name of the environment variable that holds the address instead"
    )
    user_env: Variable | None = Field(
        None, description="name of the environment variable with the name (key) to log in with"
    )
    password_env: Variable | None = Field(
        None, description="name of the environment variable with the password (secret)"
    )
    home_page: Address = Field(
        description="the address of the platform that the learners' ids belong to: "
        "`actor.account.homePage`"
    )
    units: Address | None = Field(
        None,
        description="a unit's activity is this address followed by the unit's id; default: "
        "`units/` below home_page",
    )
    version: Literal["1.0.3", "2.0.0"] = Field(
        "1.0.3", description="the version of xAPI that the store speaks"
    )
    changes_only: bool = Field(
        True, description="send an answer only if it differs from the one before"
    )
    batch: int = Field(100, ge=1, le=1000, description="statements per request, at most")
    timeout_seconds: float = Field(
        30.0, gt=0, le=120, description="seconds to wait for the store, at each step"
    )

    @model_validator(mode="after")
    def _address_and_login_are_whole(self) -> Xapi:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("expected one of url and url_env")
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("expected both of user_env and password_env, or none of them")
        for key in ("url", "home_page", "units"):
            _check_address(key, getattr(self, key))
        return self


class CloudEvents(Webhook):
    """A service that gets answers as CloudEvents by POST."""

    types: list[EventType] = Field(
        default_factory=lambda: list[EventType](["mastery.answer.changed"]),
        description="which events: of answers that differ from the one before, or of every answer",
        min_length=1,
    )
    mode: Literal["structured", "binary", "batch"] = Field(
        "structured",
        description="how an event travels: whole in the body, its attributes in headers, or many "
        "in one body",
    )
    batch: int = Field(
        100, ge=1, le=1000, description="events per request, at most, in the mode batch"
    )


class Delivery(Section):
    """Where every answer goes, besides the database, and how long a message is tried."""

    xapi: Xapi | None = Field(None, description="a learning record store; none: nowhere")
    cloud_events: dict[Name, CloudEvents] = Field(
        default_factory=dict, description="services that get events, each with a name"
    )
    attempts: int = Field(
        20, ge=1, le=100, description="how often a message is tried before it is given up"
    )
    first_wait_seconds: float = Field(
        30.0, gt=0, le=86400, description="seconds until the second attempt; each wait is doubled"
    )
    longest_wait_seconds: float = Field(
        21600.0, gt=0, le=604800, description="seconds between two attempts, at most"
    )


def _check_address(key: str, address: str | None) -> None:
    if address is None:
        return
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise KeyedError(key, "expected an address that starts with https:// or http://")
