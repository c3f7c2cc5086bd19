"""The pool of SDK workers, called by a job server of Beam as TaskManagers call it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.errors import MasteryError
from components.node.this_machine import IS_LINUX
from pipeline.beam_workers import _Pool
from tests.beam_pool import start_pool
from tests.end_to_end.conftest import COMMAND, environment
from tests.ports import free_port

pytestmark = pytest.mark.skipif(not IS_LINUX, reason="only Linux forks safely")

# Which process, environment and Python a function runs in.
PIPELINE = """
import sys
import apache_beam as beam

def where(number):
    import os, sys
    loaded = "tensorflow" in sys.modules
    return os.getpid(), os.environ["PYTHONHASHSEED"], sys.executable, loaded

with beam.Pipeline(argv=[
    "--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL",
    f"--environment_config={sys.argv[1]}",
    "--experiments=disable_logging_submission_environment",
]) as pipeline:
    found = pipeline | beam.Create([1, 2]) | beam.Map(where)
    found | beam.Map(lambda it, path: open(path, "a").write(repr(it) + chr(10)), sys.argv[2])
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process, address, _ = start_pool(tmp_path_factory.mktemp("pool"))
    yield process, address
    process.kill()
    process.communicate()


def children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]


def test_workers_run_functions_in_this_environment_and_end_with_the_pool(
    pool: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, endpoint = pool
    [forker] = children(process.pid)
    done = subprocess.run(
        [sys.executable, "-c", PIPELINE, endpoint, str(tmp_path / "out.txt")],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {eval(line) for line in (tmp_path / "out.txt").read_text().splitlines()}
    assert len(found) == 1
    [(worker, seed, python, loaded)] = found
    assert worker not in (process.pid, forker)
    assert (seed, python, loaded) == ("0", sys.executable, True)

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    for pid in (forker, worker):
        assert has_ended(pid)


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [("1 2", "localhost:1"), ("1\nended", "localhost:1"), ("1", "localhost:1\nended"), ("", "a:1")],
)
def test_a_name_that_would_be_another_command_is_refused(name: str, endpoint: str) -> None:
    with pytest.raises(MasteryError, match="expected the name of a worker and host:port"):
        _Pool(print).start(name, endpoint)


def has_ended(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_port_that_is_taken_is_an_error() -> None:
    import socket

    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = subprocess.run(
            [*COMMAND, "beam-workers", "--port", str(port)],
            capture_output=True, text=True, env=environment(), check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"mastery: cannot listen at 127.0.0.1:{port}: the port is taken")
    assert "add_port.cc" not in done.stderr
