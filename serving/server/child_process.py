"""Starts a process of ours that talks with the server over a socket, and ends with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def start_child(
    module: str, *numbers: int, cwd: Path | None = None
) -> tuple[subprocess.Popen[bytes], Connection[Any, Any]]:
    """Starts `python -m MODULE DESCRIPTOR NUMBERS...`, and returns it with our end of the socket.

    Args:
        module: what it runs; its first argument is the descriptor of its own end.
        numbers: further arguments.
        cwd: the folder that it works in; default: the server's.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, (theirs.fileno(), *numbers))],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd=cwd,
        )
    return process, Connection(ours.detach())
