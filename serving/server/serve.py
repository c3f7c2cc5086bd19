"""Serves a folder of versions: by TensorFlow Serving if this machine has it, else embedded.

TensorFlow Serving is taken as a binary or as an image of a container engine. The embedded server is
taken where settings ask for what TensorFlow Serving lacks: tokens, TLS for REST, checks, traces, a
prediction log.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.errors import MasteryError
from serving.models.server_config import MODELS_CONFIG
from serving.server.server_settings import ServerSettings, check_settings

log = logging.getLogger("mastery.serving")

BINARY = "tensorflow_model_server"
IMAGE = "tensorflow/serving"
EVERY_ADDRESS = ("0.0.0.0", "::")
CONTAINER_ENGINES = ("docker", "podman")
ENGINES = ("auto", "binary", "container", "embedded")
INSPECT_SECONDS = 20  # a container engine that has not answered by then counts as absent
MONITORING = 'prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }\n'

M_MMAP_THRESHOLD = -3  # from glibc's malloc.h
LARGE_BLOCK = 2**20  # bytes

_STOPPED = (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)


class EngineError(MasteryError):
    """The requested engine is not installed, or lacks a requested feature."""


@dataclass(frozen=True)
class Engine:
    """The program that will serve.

    Attributes:
        kind: binary, container or embedded.
        why: reason for the choice, for the user.
        program: executable of TensorFlow Serving or of the container engine; None if embedded.
    """

    kind: str
    why: str
    program: str | None = None


def serve_model(settings: ServerSettings, engine: str) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        settings: what to serve, where, and within which limits.
        engine: auto, binary, container or embedded.

    Raises:
        MasteryError: a setting is wrong, the engine is missing, or the server cannot start.
    """
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    log.setLevel(logging.INFO)
    check_settings(settings)

    chosen = choose_engine(engine, settings)
    log.info("Engine: %s (%s).", chosen.kind, chosen.why)
    if chosen.kind == "embedded":
        _serve_embedded(settings)
        return

    log.warning(
        "TensorFlow Serving checks neither digests nor operations of a model; "
        "--engine embedded does."
    )
    code = run_engine(chosen, settings)
    if code:
        raise EngineError(f"TensorFlow Serving ended with exit code {code} before it was stopped.")


def choose_engine(wanted: str, settings: ServerSettings) -> Engine:
    """Chooses the engine: TensorFlow Serving where it is installed and has what is requested.

    Args:
        wanted: one of `ENGINES`.
        settings: its binary listens on every address, so it is taken only for `--host 0.0.0.0`
            or `::`.

    Raises:
        EngineError: there is no such engine, or it is not installed or lacks a requested feature.
    """
    if wanted not in ENGINES:
        raise EngineError(f"--engine: expected one of {', '.join(ENGINES)}; found {wanted}.")
    if wanted == "embedded":
        return Engine("embedded", "as requested")

    missing = _missing_features(settings)
    if missing and wanted == "auto":
        return Engine("embedded", f"TensorFlow Serving has no {missing}")
    if missing:
        raise EngineError(
            f"--engine {wanted}: TensorFlow Serving has no {missing}; use --engine embedded."
        )

    if wanted == "binary":
        return _choose_binary(settings.host)
    if wanted == "container":
        return _choose_container()
    return _choose_installed(settings.host)


def _choose_binary(host: str) -> Engine:
    binary = shutil.which(BINARY)
    if not binary:
        raise EngineError(f"--engine binary: {BINARY} is not on the PATH.")
    if host not in EVERY_ADDRESS:
        raise EngineError(
            f"--engine binary: {BINARY} listens on every address of this machine, and --host is "
            f"{host}; use --host 0.0.0.0 or another engine."
        )
    return Engine("binary", binary, binary)


def _choose_container() -> Engine:
    engine = _find_container()
    if engine is None:
        raise EngineError(
            f"--engine container: neither docker nor podman has the image {IMAGE}; "
            f"`docker pull {IMAGE}` fetches it."
        )
    return engine


def _choose_installed(host: str) -> Engine:
    binary = shutil.which(BINARY)
    if binary and host in EVERY_ADDRESS:
        return Engine("binary", binary, binary)

    container = _find_container()
    if container is not None:
        return container
    found = f"{BINARY} would listen on every address" if binary else f"found no {BINARY}"
    return Engine("embedded", f"{found}, and there is no image {IMAGE}")


def _missing_features(settings: ServerSettings) -> str:
    """Returns the requested features that TensorFlow Serving lacks; "" if it has them all."""
    requested = {
        "tokens": settings.token is not None or settings.reload_token is not None,
        "TLS for REST": settings.tls_cert is not None,
        "--require-manifest": settings.require_manifest,
        "--require-signature": settings.trust is not None,
        "--cors-origin": bool(settings.cors_origins),
        "traces by OTLP": settings.otlp_endpoint is not None,
        "--prediction-log": settings.prediction_log is not None,
        "--shadow": settings.shadow > 0,
        "choice of free ports": 0 in (settings.rest_port, settings.grpc_port),
    }
    return " and no ".join(name for name, is_requested in requested.items() if is_requested)


def _find_container() -> Engine | None:
    for program in CONTAINER_ENGINES:
        if _has_image(program):
            return Engine("container", f"image {IMAGE} of {program}", program)
    return None


def _has_image(program: str) -> bool:
    if not shutil.which(program):
        return False

    command = [program, "image", "inspect", IMAGE]
    try:
        done = subprocess.run(command, capture_output=True, timeout=INSPECT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def run_engine(engine: Engine, settings: ServerSettings) -> int:
    """Runs TensorFlow Serving until it ends and forwards SIGTERM and Ctrl-C.

    Returns:
        Its exit code; 0 if it was stopped by a signal.
    """
    folder = settings.models.resolve()
    with tempfile.TemporaryDirectory() as extra:
        monitoring = Path(extra, "monitoring.config")
        monitoring.write_text(MONITORING, encoding="utf-8")
        Path(extra).chmod(0o755)  # the server in a container runs as another user
        monitoring.chmod(0o644)

        make_command = binary_command if engine.kind == "binary" else container_command
        return _run(make_command(str(engine.program), settings, folder, monitoring))


def binary_command(
    program: str, settings: ServerSettings, folder: Path, monitoring: Path
) -> list[str]:
    """Returns the command line of `tensorflow_model_server`."""
    ports = [f"--port={settings.grpc_port}", f"--rest_api_port={settings.rest_port}"]
    return [program, *ports, *_options(settings, folder, monitoring)]


def container_command(
    program: str, settings: ServerSettings, folder: Path, monitoring: Path
) -> list[str]:
    """Returns the command line of a container engine.

    Paths are the same inside the container, because `models.config` holds some.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return [
        program, "run", "--rm", "--init", "--entrypoint", BINARY,
        "--publish", f"{host}:{settings.grpc_port}:8500",
        "--publish", f"{host}:{settings.rest_port}:8501",
        "--volume", f"{folder}:{folder}:ro",
        "--volume", f"{monitoring.parent}:{monitoring.parent}:ro",
        IMAGE, "--port=8500", "--rest_api_port=8501", *_options(settings, folder, monitoring),
    ]  # fmt: skip


def _options(settings: ServerSettings, folder: Path, monitoring: Path) -> list[str]:
    poll = max(1, round(settings.poll_seconds))
    common = [
        f"--monitoring_config_file={monitoring}",
        f"--file_system_poll_wait_seconds={poll}",
        f"--rest_api_timeout_in_ms={round(settings.limits.request_timeout * 1000)}",
    ]

    config = folder / MODELS_CONFIG
    if not config.is_file():
        return [*common, f"--model_name={settings.name}", f"--model_base_path={folder}"]
    return [
        *common,
        f"--model_config_file={config}",
        f"--model_config_file_poll_wait_seconds={poll}",
    ]


def _run(command: Sequence[str]) -> int:
    with subprocess.Popen(command) as process:
        # The terminal sends Ctrl-C to the whole process group, but SIGTERM reaches only us.
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            code = _wait(process)
        finally:
            signal.signal(signal.SIGTERM, before)
    return 0 if code in _STOPPED else code


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # the process got it too and is ending
            return process.wait()


def _serve_embedded(settings: ServerSettings) -> None:
    import asyncio
    import os

    from components.command.program import quiet_imports

    _return_large_blocks()
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # leaves the GPU to training
    with quiet_imports():
        import tensorflow as tf

        from serving.server.embedded_server import serve_until_stopped

        tf.config.list_physical_devices()  # looks for CUDA now, while its output is silenced
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

    asyncio.run(serve_until_stopped(settings))


def _return_large_blocks() -> None:
    """Makes the C library return freed blocks of `LARGE_BLOCK` and more to the system.

    By default, glibc stops doing so after the first large block was freed and keeps blocks of that
    size: a few bodies of 16 MiB would take more than a hundred for good. See `man 3 mallopt`.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such option
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
