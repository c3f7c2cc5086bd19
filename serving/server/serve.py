"""Serves a folder of versions: by TensorFlow Serving where this machine has it, by the embedded server elsewhere."""

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


M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


LARGE_BLOCK = 2**20


def serve_model(settings: ServerSettings, engine: str) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        settings: what, where, and how much.
        engine: auto, binary, container or embedded.

    Raises:
        MasteryError: there is no such folder, the engine is not there, or the server cannot start.
    """
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    log.setLevel(logging.INFO)
    check_settings(settings)
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


def _serve_embedded(settings: ServerSettings) -> None:
    import asyncio
    import os

    from components.command.program import quiet_imports

    _give_large_blocks_back()
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # a GPU that trains shall go on training
    with quiet_imports():
        import tensorflow as tf

        from serving.server.embedded_server import serve_until_stopped

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


BINARY = "tensorflow_model_server"


IMAGE = "tensorflow/serving"


EVERY_ADDRESS = ("0.0.0.0", "::")


CONTAINER_ENGINES = ("docker", "podman")


ENGINES = ("auto", "binary", "container", "embedded")


INSPECT_SECONDS = 20  # a container engine that does not answer by then is taken for absent


PROMETHEUS = 'prometheus_config {{ enable: true, path: "{path}" }}\n'


class EngineError(MasteryError):
    """The engine that was asked for is not there, or cannot do what was asked for."""


@dataclass(frozen=True)
class Engine:
    """What will serve.

    Attributes:
        kind: binary, container or embedded.
        why: for the user.
        program: the executable, of TensorFlow Serving or of the container engine; none for the embedded server.
    """

    kind: str
    why: str
    program: str | None = None


def choose_engine(wanted: str, settings: ServerSettings) -> Engine:
    """Looks for what can serve.

    Args:
        wanted: one of `ENGINES`.
        settings: what TensorFlow Serving cannot do is not asked of it: tokens, TLS for REST, checks, traces. Its
            binary listens on every address, so it is taken for `--host 0.0.0.0` or `::` alone.

    Raises:
        EngineError: another word, or what was asked for is not there or not enough.
    """
    if wanted not in ENGINES:
        raise EngineError(f"--engine: expected one of {', '.join(ENGINES)}; found {wanted}.")
    if wanted == "embedded":
        return Engine("embedded", "as asked for")
    lacks = _lacks(settings)
    if lacks and wanted != "auto":
        raise EngineError(
            f"--engine {wanted}: TensorFlow Serving has no {lacks}; use --engine embedded."
        )
    if lacks:
        return Engine("embedded", f"TensorFlow Serving has no {lacks}")
    binary = shutil.which(BINARY) if wanted in ("auto", "binary") else None
    if wanted == "binary" and not binary:
        raise EngineError(f"--engine binary: expected {BINARY} on the PATH, found none.")
    if binary and settings.host in EVERY_ADDRESS:
        return Engine("binary", binary, binary)
    if wanted == "binary":
        raise EngineError(
            f"--engine binary: {BINARY} listens on every address of this machine, and --host is {settings.host}; say "
            "--host 0.0.0.0, or take another engine."
        )
    program = next((name for name in CONTAINER_ENGINES if _has_image(name)), None)
    if program:
        return Engine("container", f"image {IMAGE} of {program}", program)
    if wanted == "container":
        raise EngineError(
            f"--engine container: expected docker or podman with the image {IMAGE}, found none; `docker pull {IMAGE}` "
            "fetches it."
        )
    found = f"{BINARY} would listen on every address" if binary else f"found no {BINARY}"
    return Engine("embedded", f"{found}, and there is no image {IMAGE}")


def run_engine(engine: Engine, settings: ServerSettings) -> int:
    """Runs TensorFlow Serving until it ends, handing SIGTERM and Ctrl-C on; returns its exit code."""
    folder = settings.models.resolve()
    with tempfile.TemporaryDirectory() as extra:
        monitoring = Path(extra, "monitoring.config")
        monitoring.write_text(
            PROMETHEUS.format(path="/monitoring/prometheus/metrics"), encoding="utf-8"
        )
        Path(extra).chmod(0o755)  # the server in a container is another user
        monitoring.chmod(0o644)
        command = (
            binary_command(str(engine.program), settings, folder, monitoring)
            if engine.kind == "binary"
            else container_command(str(engine.program), settings, folder, monitoring)
        )
        return _run(command)


def binary_command(
    program: str, settings: ServerSettings, folder: Path, monitoring: Path
) -> list[str]:
    """Returns the command line of `tensorflow_model_server`."""
    ports = [f"--port={settings.grpc_port}", f"--rest_api_port={settings.rest_port}"]
    return [program, *ports, *_options(settings, folder, monitoring)]


def container_command(
    program: str, settings: ServerSettings, folder: Path, monitoring: Path
) -> list[str]:
    """Returns the command line of a container engine; paths are the same inside, for `models.config` names some."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return [
        program, "run", "--rm", "--init", "--entrypoint", BINARY,
        "--publish", f"{host}:{settings.grpc_port}:8500", "--publish", f"{host}:{settings.rest_port}:8501",
        "--volume", f"{folder}:{folder}:ro", "--volume", f"{monitoring.parent}:{monitoring.parent}:ro",
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
    if config.is_file():
        return [
            *common,
            f"--model_config_file={config}",
            f"--model_config_file_poll_wait_seconds={poll}",
        ]
    return [*common, f"--model_name={settings.name}", f"--model_base_path={folder}"]


def _lacks(settings: ServerSettings) -> str:
    wanted = {
        "tokens": settings.token is not None or settings.reload_token is not None,
        "TLS for REST": settings.tls_cert is not None,
        "--require-manifest": settings.require_manifest,
        "--cors-origin": bool(settings.cors_origins),
        "traces by OTLP": settings.otlp_endpoint is not None,
        "choice of free ports": 0 in (settings.rest_port, settings.grpc_port),
    }
    return " and no ".join(name for name, value in wanted.items() if value)


def _has_image(program: str) -> bool:
    if not shutil.which(program):
        return False
    try:
        command = [program, "image", "inspect", IMAGE]
        return not subprocess.run(
            command, capture_output=True, timeout=INSPECT_SECONDS, check=False
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: Sequence[str]) -> int:
    with subprocess.Popen(command) as process:
        # Ctrl-C reaches the whole group by itself, a SIGTERM only us.
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while True:
                try:
                    code = process.wait()
                except KeyboardInterrupt:
                    continue  # it is ending
                return (
                    0
                    if code in (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 130)
                    else code
                )
        finally:
            signal.signal(signal.SIGTERM, before)
