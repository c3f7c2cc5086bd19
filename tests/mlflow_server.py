"""A server of MLflow for tests: the whole of it, in an environment of its own, on SQLite."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.debian import one_process
from tests.environments import make_environment
from tests.ports import free_port, wait_for_port

LOCK = Path(__file__).parent / "mlflow.lock"
_START = 240  # seconds: on a busy machine its imports take long
_EMPTY = "empty.db"  # in the environment: a database with its tables, which take long to make


def find_programs(cache: Path) -> Path:
    """Returns the folder with `mlflow`; skips, with the reason, where it cannot be installed.

    Args:
        cache: a folder for the environment; another lock makes another environment.
    """
    programs = make_environment(cache, LOCK, "MLflow")
    database = programs.parent / _EMPTY
    with one_process(cache):
        if not database.is_file():
            draft = database.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            subprocess.run(
                [programs / "mlflow", "db", "upgrade", f"sqlite:///{draft}"],
                env={"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(cache)},
                check=True, capture_output=True,
            )  # fmt: skip
            draft.rename(database)
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
