"""From settings to something that serves."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import logging
import re
import sys
from urllib.parse import urlsplit

from components.errors import MasteryError
from components.model_version.folders import SAVED_MODEL
from serving.server.external import EngineError, choose_engine, run_engine
from serving.server.settings import TOKEN, Settings

log = logging.getLogger("mastery.serving")

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BLOCK = 2**20

_ORIGIN = re.compile(r"https?://[^/?#@\s]+")


def serve(settings: Settings, engine: str) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        settings: what, where, and how much.
        engine: auto, binary, container or embedded.

    Raises:
        MasteryError: there is no such folder, the engine is not there, or the server cannot start.
    """
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    log.setLevel(logging.INFO)
    _check(settings)
    _check_exposure(settings)
    chosen = choose_engine(engine, settings)
    log.info("Engine: %s (%s).", chosen.kind, chosen.why)
    if chosen.kind != "embedded":
        log.warning(
            "TensorFlow Serving checks neither digests nor operations of a model; --engine embedded does."
        )
        code = run_engine(chosen, settings)
        if code:
            raise EngineError(
                f"expected TensorFlow Serving to serve until it is stopped, found exit code {code}."
            )
        return
    _serve_embedded(settings)


def _serve_embedded(settings: Settings) -> None:
    import asyncio
    import os

    from components.command.program import quiet_imports

    _give_large_blocks_back()
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # a GPU that trains shall go on training
    with quiet_imports():
        import tensorflow as tf

        from serving.server.app import serve_until_stopped

        tf.config.list_physical_devices()  # looks for CUDA, and says what it did not find
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    asyncio.run(serve_until_stopped(settings))


def _give_large_blocks_back() -> None:
    """Has the C library return blocks of `LARGE_BLOCK` and more to the system when they are freed.

    glibc does so until the first large block was freed; from then on it keeps those of that size,
    and a few bodies of 16 MiB would take more than a hundred for good. See `man 3 mallopt`.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such switch
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def _check(settings: Settings) -> None:
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


def _check_exposure(settings: Settings) -> None:
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
