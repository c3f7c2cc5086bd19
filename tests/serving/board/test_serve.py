"""`mastery board` as a process: its start, its end, and its limits."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port
from tests.serving.board.running import opened_copy

COMMAND = [sys.executable, "-m", "pipeline.cli.main", "board"]


@pytest.fixture
def database(classroom_database: Path, tmp_path: Path) -> Path:
    with opened_copy(classroom_database, tmp_path):
        return tmp_path / "answers.db"


@contextmanager
def running(database: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs the command; gives the process and the address that it prints."""
    process = subprocess.Popen(
        [*COMMAND, "--db", str(database), *options], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        printed = process.stderr.readline()
        found = re.search(r"Board: (http://\S+);", printed)
        assert found, printed + process.stderr.read()
        yield process, found[1]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demonstration_starts_and_ends(database: Path, number: signal.Signals) -> None:
    options = ("--demo", "--port", "0", "--now", "2026-03-02T06:00")
    with running(database, *options) as (process, address):
        with httpx.Client(base_url=address, timeout=60) as client:
            page = client.get("/login").text
            csrf = page.split('name="csrf" value="')[1].split('"')[0]
            assert client.post("/login", data={"user": "ada", "csrf": csrf}).status_code == 303
            assert "Learner 0" in client.get("/worklist").text
            assert client.get("/ready").text == "ok"

            host, port = address.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as wide:
                wide.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 20_000)
                wide.sendall(b"\r\n\r\n")
                assert wide.recv(100).startswith(b"HTTP/1.1 431")
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_port_in_use_and_a_wrong_time_are_explained(database: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        for options, expected in (
            (["--port", str(port)], "cannot be listened on"),
            (["--now", "today"], "expected a time such as"),
        ):
            done = subprocess.run(
                [*COMMAND, "--db", str(database), "--demo", *options],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 2
            assert expected in done.stderr
            assert "Traceback" not in done.stderr
