"""From settings to something that serves."""

from __future__ import annotations

import ipaddress
import logging
import sys

from components.errors import MasteryError
from components.pusher.push import SAVED_MODEL
from serving.server.external import EngineError, choose_engine, run_engine
from serving.server.settings import TOKEN, Settings

log = logging.getLogger("mastery.serving")


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
    chosen = choose_engine(engine, settings)
    log.info("Engine: %s (%s).", chosen.kind, chosen.why)
    is_open = chosen.kind == "binary" or not _is_loopback(settings.host)
    if chosen.kind == "binary" and _is_loopback(settings.host):
        log.warning("tensorflow_model_server knows no --host: it listens on every address of this machine.")
    elif is_open and not settings.token:
        log.warning("%s can be reached from elsewhere, and everybody may call: set $%s.", settings.host, TOKEN)
    if is_open and settings.token and not settings.tls_cert:
        log.warning("The token goes over the network in the clear: give --tls-cert and --tls-key.")
    if chosen.kind != "embedded":
        code = run_engine(chosen, settings)
        if code:
            raise EngineError(f"expected TensorFlow Serving to serve until it is stopped, found exit code {code}.")
        return
    _serve_embedded(settings)


def _serve_embedded(settings: Settings) -> None:
    import asyncio
    import os

    from components.quiet import quiet_imports

    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # a GPU that trains shall go on training
    with quiet_imports():
        import tensorflow as tf

        from serving.server.app import serve_until_stopped

        tf.config.list_physical_devices()  # looks for CUDA, and says what it did not find
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    asyncio.run(serve_until_stopped(settings))


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
    for path in filter(None, (settings.tls_cert, settings.tls_key)):
        if not path.is_file():
            raise MasteryError(f"{path}: expected a PEM file, found no such file.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
