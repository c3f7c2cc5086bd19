"""Settings of the server: what to serve, where, to whom, and within which bounds."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from components.errors import MasteryError
from components.model_version.folders import SAVED_MODEL

TOKEN = "MASTERY_SERVE_TOKEN"


RELOAD_TOKEN = "MASTERY_SERVE_RELOAD_TOKEN"


def read_token(environment: Mapping[str, str], name: str) -> str | None:
    """Returns a token from the environment; None where the variable is not set.

    >>> read_token({"MASTERY_SERVE_TOKEN": "sesame"}, "MASTERY_SERVE_TOKEN")
    'sesame'

    Raises:
        MasteryError: it is empty, or holds what no header can: then nobody, or everybody, would get in by mistake.
    """
    token = environment.get(name)
    if token is not None and not (token and all("!" <= character <= "~" for character in token)):
        found = "an empty value" if not token.strip() else "spaces or other characters in it"
        raise MasteryError(
            f"${name}: expected a token of printable ASCII characters without spaces, found {found}; set it to one, or "
            "unset it."
        )
    return token


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request, and all of them together, may take.

    Attributes:
        max_request_bytes: size of a request's body.
        max_rows: rows of one request.
        max_requests: requests under way at once; more are refused at once.
        max_queue_rows: rows that wait for one signature; more are refused at once.
        max_batch_rows: rows that are answered in one call of the graph; a larger request goes alone.
        batch_timeout: seconds that a request waits, at most, for others to go with it.
        request_timeout: seconds until a request that is not answered is given up.
        drain_timeout: seconds that a stopping server gives to the requests under way.
        max_inflight_bytes: of the bodies of all large requests under way together; beyond it, one that is still
            arriving gives way, and where there is none, more are refused.
        max_header_bytes: names and values of one request's headers.
        max_connections: open at once, REST and gRPC together; those longest waited for give way to new ones.
        max_connections_per_address: of these, from one address.
        max_streams: calls at once on one connection of gRPC.
        header_timeout: seconds for the head of a request, for TLS's handshake, or for HTTP/2's greeting.
        idle_timeout: seconds until a connection that asks nothing is closed.
        max_connection_age: seconds until a connection of gRPC is asked to open another, to find other servers.
    """

    max_request_bytes: int = 16 * 2**20
    max_rows: int = 4096
    max_requests: int = 512
    max_queue_rows: int = 16_384
    max_batch_rows: int = 128
    batch_timeout: float = 0.002
    request_timeout: float = 30.0
    drain_timeout: float = 5.0
    max_inflight_bytes: int = 64 * 2**20
    max_header_bytes: int = 16 * 2**10
    max_connections: int = 1024
    max_connections_per_address: int = 512
    max_streams: int = 100
    header_timeout: float = 10.0
    idle_timeout: float = 75.0
    max_connection_age: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """One model on one machine.

    Attributes:
        models: the folder with a subfolder for each version.
        name: the model's name in requests.
        host: address to listen on.
        rest_port: port of the REST API; 0 for any free one.
        grpc_port: port of the gRPC API; 0 for any free one.
        poll_seconds: seconds between two looks at the folder.
        limits: see there.
        token: what callers have to present as `Authorization: Bearer`; none: everybody may call.
        tls_cert: certificate chain (PEM) for both ports; none: no TLS.
        tls_key: its private key (PEM).
        require_manifest: whether a version without the digests of what was pushed is refused.
        allowed_operations: operations that a graph may hold beside those that only compute.
        reload_token: what HandleReloadConfigRequest wants beside the token; none: it is refused.
        allow_anonymous: whether callers from other machines need no token, or send it without TLS.
        cors_origins: origins whose pages may call by REST; "*" for all.
        otlp_endpoint: where traces go, such as `http://localhost:4318`; none: there are none.
        threads: batches that are computed at the same time.
    """

    models: Path
    name: str
    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    poll_seconds: float = 1.0
    limits: Limits = field(default_factory=Limits)
    token: str | None = field(default=None, repr=False)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    require_manifest: bool = False
    allowed_operations: frozenset[str] = frozenset()
    reload_token: str | None = field(default=None, repr=False)
    allow_anonymous: bool = False
    cors_origins: tuple[str, ...] = ()
    otlp_endpoint: str | None = None
    # Half of the cores: the other half reads requests and writes answers.
    threads: int = max(1, (os.cpu_count() or 1) // 2)


log = logging.getLogger("mastery.serving")


_ORIGIN = re.compile(r"https?://[^/?#@\s]+")


def check_settings(settings: ServerSettings) -> None:
    """Checks what can be checked before the server starts.

    Raises:
        MasteryError: a folder, a file or a setting cannot be used, or the server would be open to others.
    """
    _check_exposure(settings)
    if not settings.models.is_dir():
        raise MasteryError(
            f"{settings.models}: expected the folder of a model's versions, found no such folder. `mastery run` "
            "makes it with the first push."
        )
    if (settings.models / SAVED_MODEL).is_file():
        raise MasteryError(
            f"{settings.models}: expected a folder with a subfolder for each version, found a single version; give "
            "the folder above it."
        )
    if not settings.name or set(settings.name) & set("/:"):
        raise MasteryError(f"--name: expected a name without '/' and ':', found {settings.name!r}.")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise MasteryError("expected both --tls-cert and --tls-key, or neither.")
    for origin in settings.cors_origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise MasteryError(
                f"--cors-origin {origin[:200]}: expected an origin such as https://example.com:8080, or * for all."
            )
    if settings.otlp_endpoint is not None and not _is_plain_url(settings.otlp_endpoint):
        raise MasteryError(
            "--otlp-endpoint: expected the URL of a collector such as http://localhost:4318, without user, password "
            "and query; a collector's headers are in $OTEL_EXPORTER_OTLP_HEADERS."
        )
    for path in filter(None, (settings.tls_cert, settings.tls_key)):
        if not path.is_file():
            raise MasteryError(f"{path}: expected a PEM file, found no such file.")


def _is_plain_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that do not close
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and not ("@" in text or "?" in text)
    )


def _check_exposure(settings: ServerSettings) -> None:
    """Refuses to be reached by others who need no token, or whose token could be read on its way.

    Raises:
        MasteryError: that is so, and nobody has said that it may be.
    """
    if _is_loopback(settings.host):
        return
    lacks = [
        what
        for what, there in (
            (f"no ${TOKEN}", settings.token),
            ("neither --tls-cert nor --tls-key", settings.tls_cert),
        )
        if not there
    ]
    if not lacks:
        return
    found = " and ".join(lacks)
    if not settings.allow_anonymous:
        raise MasteryError(
            f"--host {settings.host}: expected a token and TLS, as others can reach this address; found {found}. With "
            "--allow-anonymous, it is served all the same."
        )
    log.warning(
        "%s can be reached from elsewhere, with %s: --allow-anonymous.", settings.host, found
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
