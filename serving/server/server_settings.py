"""Settings of the server: what it serves, on which address, to whom, and within which limits."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.command.escape import shorten
from components.errors import MasteryError
from components.model_version.folders import SAVED_MODEL
from components.model_version.signing_keys import key_digest
from serving.prediction_log.settings import PredictionLogSettings, check_prediction_log

if TYPE_CHECKING:
    from components.model_version.signature import Trust

log = logging.getLogger("mastery.serving")

TOKEN = "MASTERY_SERVE_TOKEN"
RELOAD_TOKEN = "MASTERY_SERVE_RELOAD_TOKEN"

_ORIGIN = re.compile(r"https?://[^/?#@\s]+")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one request, and all requests together, may take.

    Attributes:
        max_request_bytes: size of a request's body.
        max_rows: rows in one request.
        max_requests: requests in progress; further ones are refused at once.
        max_queue_rows: rows that wait for one signature; further ones are refused at once.
        max_batch_rows: rows in one call of the graph; a larger request is computed alone.
        batch_timeout: seconds that a request waits, at most, for others to join its batch.
        request_timeout: seconds until an unanswered request is given up.
        drain_timeout: seconds that a stopping server gives to the requests in progress.
        max_inflight_bytes: bodies of all large requests in progress together. Beyond it, a body
            that is still arriving is dropped; if there is none, new ones are refused.
        max_header_bytes: names and values of one request's headers.
        max_connections: open connections, REST and gRPC together. In a full table, the connection
            that has kept the server waiting longest gives way to a new one.
        max_connections_per_address: the same, per client address.
        max_streams: concurrent calls on one gRPC connection.
        header_timeout: seconds for a request's head, a TLS handshake, or HTTP/2's greeting.
        idle_timeout: seconds until a connection without requests is closed.
        max_connection_age: seconds until the client of a gRPC connection is asked to reconnect,
            so that it finds new servers.
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
        models: folder with a subfolder per version.
        name: the model's name in requests.
        host: address to listen on.
        rest_port: port of the REST API; 0 for any free one.
        grpc_port: port of the gRPC API; 0 for any free one.
        poll_seconds: seconds between two polls of the folder.
        limits: see `Limits`.
        token: what callers must send as `Authorization: Bearer`; None lets everybody in.
        tls_cert: certificate chain (PEM) for both ports; None for no TLS.
        tls_key: its private key (PEM).
        require_manifest: whether to refuse a version without the digests of what was pushed.
        trust: whose signature a version has to have to be loaded; None where none is asked for.
        allowed_operations: operations that a graph may hold in addition to those that only compute.
        reload_token: what HandleReloadConfigRequest requires in addition to the token; None turns
            that method off.
        allow_anonymous: whether callers from other machines may come without a token or TLS.
        cors_origins: origins whose pages may call the REST API; "*" for all.
        otlp_endpoint: collector of traces, such as `http://localhost:4318`; None for no traces.
        threads: batches that are computed at the same time.
        prediction_log: where answers are logged; None for nowhere.
        shadow: share of the learners about whom another version is asked as well.
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
    trust: Trust | None = None
    allowed_operations: frozenset[str] = frozenset()
    reload_token: str | None = field(default=None, repr=False)
    allow_anonymous: bool = False
    cors_origins: tuple[str, ...] = ()
    otlp_endpoint: str | None = None
    # Half of the cores: the other half reads requests and writes answers.
    threads: int = max(1, (os.cpu_count() or 1) // 2)
    prediction_log: PredictionLogSettings | None = None
    shadow: float = 0.0


def read_token(environment: Mapping[str, str], name: str) -> str | None:
    """Returns a token from the environment; None if the variable is not set.

    >>> read_token({"MASTERY_SERVE_TOKEN": "sesame"}, "MASTERY_SERVE_TOKEN")
    'sesame'

    Raises:
        MasteryError: the token is empty or cannot stand in a header; such a token would let in
            either nobody or everybody.
    """
    token = environment.get(name)
    if token is None:
        return None

    if not (token and all("!" <= character <= "~" for character in token)):
        found = "spaces or other characters in it" if token.strip() else "an empty value"
        raise MasteryError(
            f"${name}: expected a token of printable ASCII characters without spaces, found "
            f"{found}; set it to one, or unset it."
        )
    return token


def check_settings(settings: ServerSettings) -> None:
    """Checks the settings before anything is loaded.

    Raises:
        MasteryError: a folder or a file is missing, an option has a wrong value, or the server
            would be open to other machines.
    """
    _check_folder(settings.models)
    _check_name(settings.name)
    _check_tls_files(settings.tls_cert, settings.tls_key)
    _check_addresses(settings)
    _check_exposure(settings)
    if settings.trust is not None and settings.trust.public_key is not None:
        key_digest(settings.trust.public_key)  # fails for a file without a key
    if settings.prediction_log is not None:
        check_prediction_log(settings.prediction_log)
    if not 0 <= settings.shadow <= 1:
        raise MasteryError(f"--shadow: expected a share of 0 to 1, found {settings.shadow:g}.")
    if settings.shadow and settings.prediction_log is None:
        raise MasteryError(
            "--shadow: expected --prediction-log, too: the answers of a shadow go nowhere else."
        )


def _check_folder(models: Path) -> None:
    if not models.is_dir():
        raise MasteryError(
            f"{models}: expected the folder of a model's versions, found no such folder. "
            "`mastery run` makes it with the first push."
        )
    if (models / SAVED_MODEL).is_file():
        raise MasteryError(
            f"{models}: expected a folder with a subfolder for each version, found a single "
            "version; give the folder above it."
        )


def _check_name(name: str) -> None:
    if not name or set(name) & set("/:"):
        raise MasteryError(f"--name: expected a name without '/' and ':', found {name!r}.")


def _check_tls_files(certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        raise MasteryError("expected both --tls-cert and --tls-key, or neither.")

    for path in filter(None, (certificate, key)):
        if not path.is_file():
            raise MasteryError(f"{path}: expected a PEM file, found no such file.")


def _check_addresses(settings: ServerSettings) -> None:
    for origin in settings.cors_origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise MasteryError(
                f"--cors-origin {shorten(origin, 200)}: expected an origin such as "
                "https://example.com:8080, or * for all."
            )

    if settings.otlp_endpoint is not None and not _is_plain_url(settings.otlp_endpoint):
        raise MasteryError(
            "--otlp-endpoint: expected the URL of a collector such as http://localhost:4318, "
            "without user, password and query; set a collector's headers in "
            "$OTEL_EXPORTER_OTLP_HEADERS."
        )


def _is_plain_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:  # unbalanced brackets
        return False
    has_host = parts.scheme in ("http", "https") and bool(parts.hostname)
    return has_host and "@" not in text and "?" not in text


def _check_exposure(settings: ServerSettings) -> None:
    """Refuses to serve other machines without a token, or with one that is sent in clear.

    Raises:
        MasteryError: that would happen, and `allow_anonymous` is off.
    """
    if _is_loopback(settings.host):
        return

    missing = []
    if not settings.token:
        missing.append(f"no ${TOKEN}")
    if not settings.tls_cert:
        missing.append("neither --tls-cert nor --tls-key")
    if not missing:
        return

    found = " and ".join(missing)
    if not settings.allow_anonymous:
        raise MasteryError(
            f"--host {settings.host}: expected a token and TLS, as other machines can reach this "
            f"address; found {found}. Use --allow-anonymous to serve without."
        )
    log.warning(
        "%s can be reached from other machines, with %s: --allow-anonymous.", settings.host, found
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
