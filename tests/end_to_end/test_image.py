"""The image as the manifests run it: a read-only root, no rights, and a real PostgreSQL."""

from __future__ import annotations

import http.client
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.end_to_end.conftest import REPOSITORY
from tests.ports import free_port, wait_for_port
from tests.postgresql import PostgreSQL
from tests.serving.answers.conftest import new_database

pytestmark = pytest.mark.slow

EXAMPLE = REPOSITORY / "configs" / "answers" / "overlays" / "example" / "answers.yaml"
SETTINGS = "/etc/mastery/answers.yaml"


def docker_run(image: str, database: str, *command: str, name: str = "") -> list[str]:
    """Returns the command line of a container with what the manifests leave it."""
    return [
        "docker", "run", "--rm", *(["--name", name] if name else []), "--network", "host",
        "--read-only", "--tmpfs", "/tmp", "--user", "1000:1000", "--cap-drop", "ALL",
        "--env", f"MASTERY_ANSWERS_URL={database}", "--env", "MASTERY_ANSWERS_PASSWORD=secret",
        "--env", "OIDC_CLIENT_SECRET=secret", "--env", "TEACHERS_WEBHOOK=http://127.0.0.1:9/",
        "--volume", f"{EXAMPLE}:{SETTINGS}:ro", image, *command,
    ]  # fmt: skip


def test_commands_write_nowhere_but_in_tmp(image: str, postgresql: PostgreSQL) -> None:
    database = new_database(postgresql)
    for command, said in (
        (("answers", "upgrade"), "its tables are those of this version"),
        (("alerts", "test", "--answers", SETTINGS), "There are no answers yet"),
        (("answers", "send", "--answers", SETTINGS), "Nothing is due."),
    ):
        done = subprocess.run(
            docker_run(image, database, *command), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout


def test_the_board_answers_probes_by_address_and_readers_by_name(
    image: str, postgresql: PostgreSQL, tmp_path: Path
) -> None:
    name, port = f"board-{uuid.uuid4().hex[:8]}", free_port()
    serve = ("board", "--host", "0.0.0.0", "--port", str(port), "--answers", SETTINGS)
    command = docker_run(image, new_database(postgresql), *serve, name=name)
    log = tmp_path / "board.log"
    with log.open("wb") as output, subprocess.Popen(command, stderr=output) as board:
        try:
            wait_for_port(port, board, log)
            for path, host, status in (
                ("/health", "10.1.2.3:8600", 200),
                ("/ready", "10.1.2.3:8600", 200),
                ("/login", "board.example.org", 200),
                ("/login", "10.1.2.3:8600", 400),
            ):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", path, headers={"Host": host})
                assert connection.getresponse().status == status, (path, host)
                connection.close()
        finally:
            subprocess.run(["docker", "stop", name], capture_output=True, check=False)
        assert board.wait(30) == 0
