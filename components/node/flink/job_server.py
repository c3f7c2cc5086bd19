"""Beam's job server, which translates pipelines for Flink: it runs beside a run, and ends then."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.config.beam import Beam, is_endpoint
from components.node.flink.cluster import Cluster, FlinkError
from components.node.this_machine import IS_LINUX, be_killed_with_parent, free_ports

LOG = "job-server.log"
_ARTIFACTS = "job-server"  # its folder for files on their way to workers
_GRACE = 5.0  # seconds between asking the process to end and killing it


@contextmanager
def running_job_server(beam: Beam, folder: Path) -> Iterator[Beam]:
    """Runs the job server that a configuration names by its jar, until the block ends.

    The server starts while the block runs: who submits a job waits for it.

    Args:
        beam: where Beam runs.
        folder: exists; the server's log and temporary files go there.

    Yields:
        `beam` with the server's host:port. Unchanged if one runs elsewhere, or without Flink.

    Raises:
        FlinkError: there is no Java or no jar.
    """
    if beam.runner is None or is_endpoint(beam.flink_job_server or ""):
        yield beam
        return

    jar = beam.flink_job_server or _download(beam)
    [port] = free_ports(1, "localhost")
    command = [
        find_java(), "-jar", jar, "--flink-master", f"http://{beam.flink_master}",
        "--job-port", str(port), "--artifact-port", "0", "--expansion-port", "0",
        "--artifacts-dir", str(folder / _ARTIFACTS),
    ]  # fmt: skip
    with (folder / LOG).open("wb") as log:
        # A session of its own: Ctrl-C must not reach it before the job is cancelled.
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            cwd=folder, preexec_fn=be_killed_with_parent if IS_LINUX else None,
        )  # fmt: skip
    try:
        yield beam.model_copy(update={"flink_job_server": f"localhost:{port}"})
    finally:
        server.terminate()
        try:
            server.wait(_GRACE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder / _ARTIFACTS, ignore_errors=True)


def find_java() -> str:
    """Returns the path of Java: of JAVA_HOME, else the one on PATH.

    Raises:
        FlinkError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(Path(home, "bin", "java") if home else "java") or shutil.which("java")
    if java is None:
        raise FlinkError(
            "Beam's job server for Flink needs Java 11 or newer, and there is no java on PATH. "
            "Install one, or set beam.flink_job_server to host:port of a server that runs."
        )
    return java


def _download(beam: Beam) -> str:
    """Has Beam download the jar for the cluster's version of Flink, into its own cache."""
    # Imported here: it takes seconds, and only this needs it.
    from apache_beam.utils.subprocess_server import JavaJarServer

    assert beam.flink_master is not None, "the configuration has checked that"
    version = ".".join(Cluster(beam.flink_master).slots().version.split(".")[:2])
    try:
        url = JavaJarServer.path_to_beam_jar(f":runners:flink:{version}:job-server:shadowJar")
        return str(JavaJarServer.local_jar(url))
    except Exception as error:
        raise FlinkError(
            f"Beam could not download its job server for Flink {version} ({error}). Set "
            "beam.flink_job_server to its jar, or to host:port of a server that runs."
        ) from None
