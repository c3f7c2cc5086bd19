"""Whom to tell how a run ended, and how."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from components.config.addresses import Address, Host, Variable
from components.config.section import KeyedError, Section

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
