"""Ports of this machine: free ones for the servers of tests, and waiting for a server to listen."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

START = 60  # seconds until a server must have started


def free_port() -> int:
    """Returns a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(
    port: int, server: subprocess.Popen[bytes], log: Path, *, seconds: float = START
) -> None:
    """Waits until a server listens; fails, with its log, if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text(errors="replace")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(
        f"{server.args} did not start within {seconds:.0f} s: {log.read_text(errors='replace')}"
    )
