"""A server of MLflow for tests: the whole of it, in an environment of its own, on SQLite."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uv

from tests.debian import one_process
from tests.ports import free_port, wait_for_port

LOCK = Path(__file__).parent / "mlflow.lock"
_START = 240  # seconds: on a busy machine its imports take long
_EMPTY = "empty.db"  # in the environment: a database with its tables, which take long to make


def find_programs(cache: Path) -> Path:
    """Returns the folder with `mlflow`; skips, with the reason, where it cannot be installed.

    Args:
        cache: a folder for the environment; another lock makes another environment.
    """
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    environment = cache / f"{digest}-{sys.version_info[0]}.{sys.version_info[1]}"
    programs = environment / "bin"
    python = os.path.realpath(Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}"))
    with one_process(cache):
        if not programs.is_dir():
            # Programs hold their own path, so the environment is made where it stays.
            for command in (
                ["venv", environment, "--python", python],
                ["pip", "install", "--python", programs / "python", "--require-hashes",
                 "--no-deps", "--compile-bytecode", "--requirement", LOCK],
                ["run", "--no-project", "--python", programs / "python", programs / "mlflow",
                 "db", "upgrade", f"sqlite:///{environment / _EMPTY}"],
            ):  # fmt: skip
                done = subprocess.run(
                    [uv.find_uv_bin(), "--quiet", *command],
                    check=False, capture_output=True, text=True,
                )  # fmt: skip
                if done.returncode:
                    shutil.rmtree(environment, ignore_errors=True)
                    pytest.skip(f"the tests on MLflow need its server, and uv says: {done.stderr}")
    return programs


@contextmanager
def serve(programs: Path, folder: Path) -> Iterator[str]:
    """Runs a server with an empty database until the block ends; yields its address."""
    shutil.copy(programs.parent / _EMPTY, folder / "mlflow.db")
    port = free_port()
    log = folder / "server.log"
    command = [
        programs / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", folder / "artifacts",
    ]  # fmt: skip
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_for_port(port, server, log, seconds=_START)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its processes too; nothing of it is kept
        server.wait()
