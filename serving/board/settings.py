"""The section `board` of `answers.yaml`."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from components.config.section import Address, KeyedError, Section, Variable

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"expected a network such as 10.0.0.0/8 ({error})") from None
    return text


def _origin(url: str) -> str:
    """Returns an address of a whole site, without a slash at its end."""
    parts = urlsplit(url)
    is_plain = not (parts.path.strip("/") or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
        raise ValueError("expected an address such as https://board.example.org, without a path")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _issuer(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ValueError("expected an address that begins with https://")
    return url.rstrip("/")


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected a time zone such as Europe/Berlin, found {name!r}") from None
    return name


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches an address to listen on."""
    return host in LOOPBACK or host.startswith("127.")


class ProxySettings(Section):
    """A proxy in front of the board logs readers in, and says in a header who they are."""

    header: str = Field(
        "X-Forwarded-User",
        pattern=r"^[A-Za-z0-9-]+$",
        description="the header with the user's name; the proxy must remove what clients send",
    )
    trusted: list[Annotated[str, AfterValidator(_network)]] = Field(
        min_length=1,
        description="networks of the proxy, e.g. `[10.0.0.0/8]`; the header counts from no other",
    )
    logout_url: Address | None = Field(None, description="the proxy's page for logging out")


class OidcSettings(Section):
    """Readers log in at a provider of OpenID Connect."""

    issuer: Annotated[Address, AfterValidator(_issuer)] = Field(
        description="the provider, e.g. `https://login.example.org/realms/school`"
    )
    client_id: str = Field(min_length=1, description="the board's name at the provider")
    client_secret_env: Variable | None = Field(
        None, description="environment variable with the client's secret; none: a public client"
    )
    user_claim: str = Field(
        "sub",
        min_length=1,
        description="the claim that is the name in the table `users`; `email` counts only if the "
        "provider has verified it",
    )


class AccessSettings(Section):
    """How readers prove who they are: exactly one of the two."""

    proxy: ProxySettings | None = Field(None, description="a header of a trusted proxy")
    oidc: OidcSettings | None = Field(None, description="OpenID Connect")

    @model_validator(mode="after")
    def _one_of_two(self) -> AccessSettings:
        if self.proxy is not None and self.oidc is not None:
            raise KeyedError("oidc", "expected either proxy or oidc, found both")
        return self


class SessionSettings(Section):
    """How long a login lasts."""

    idle_minutes: int = Field(60, ge=1, le=1440, description="without a request, until it ends")
    hours: int = Field(12, ge=1, le=168, description="altogether, until it ends")


class Board(Section):
    """The pages that teachers, training managers and administrators see."""

    capacity: int = Field(
        20,
        ge=1,
        description="learners whom a teacher can call in a week, unless the user's row "
        "has another number",
    )
    access: AccessSettings = Field(
        default_factory=AccessSettings, description="who may come in; `--demo` needs none"
    )
    public_url: Annotated[Address, AfterValidator(_origin)] | None = Field(
        None,
        description="the address that readers type, e.g. `https://board.example.org`; needed "
        "unless only this machine reaches the board, and then https: TLS ends in front of it",
    )
    hosts: list[str] = Field(
        default_factory=list,
        description="further names under which the board answers, e.g. that of its service in "
        "the cluster; the others are refused",
    )
    models: Address | None = Field(
        None,
        description="the serving folder, a path or URL: versions can then be approved on the "
        "board, by managers and administrators whose role `approvals.roles` lists",
    )
    watch: str | None = Field(
        None,
        description="`watch.json`, which `mastery watch` writes into the root: managers and "
        "administrators then see whether the model is still right",
    )
    sessions: SessionSettings = Field(
        default_factory=SessionSettings, description="how long a login lasts"
    )
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        "UTC", description="of the days and times on pages, e.g. `Europe/Berlin`"
    )
