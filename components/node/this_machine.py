"""What processes need to know of the machine they run on: its cores, free ports, and parents."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from contextlib import ExitStack

IS_LINUX = sys.platform == "linux"
_PARENT_DEATH_SIGNAL = 1  # option of prctl: the signal that comes when the parent has ended


def usable_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if IS_LINUX else os.cpu_count() or 1


def free_ports(count: int, host: str = "") -> list[int]:
    """Returns ports that nobody listens at now, all different.

    Another process can take one before it is used; whoever uses it has to try again then.

    Args:
        count: how many.
        host: the address of this machine that they are free at; default: all of its addresses.
    """
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind((host, 0))
        return [held.getsockname()[1] for held in sockets]


def be_killed_with_parent() -> None:
    """Has Linux kill this process when the one that has started it ends, however that does."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
