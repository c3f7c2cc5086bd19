"""Machines for tests: network namespaces of this one, which reach one another by a bridge."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

WHY = "several machines need network namespaces"


@dataclass(frozen=True)
class Machine:
    """A network namespace.

    Attributes:
        name: of the namespace.
        address: its IP address on the bridge.
    """

    name: str
    address: str

    def command(self, *arguments: str) -> list[str]:
        """Returns a command that runs another one there."""
        return ["ip", "netns", "exec", self.name, *arguments]


@contextmanager
def machines(count: int) -> Iterator[Sequence[Machine]]:
    """Makes machines that reach one another and nobody else; skips the test where that fails."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip(f"{WHY}: expected root and the command `ip`")

    base = f"mastery-{os.getpid()}"
    with ExitStack() as stack:
        switch = _namespace(f"{base}-switch", stack)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        yield [
            _connect(_namespace(f"{base}-{number}", stack), number, switch)
            for number in range(1, count + 1)
        ]


def _namespace(name: str, stack: ExitStack) -> str:
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{WHY}: {done.stderr.strip()}")
    stack.callback(_ip, "netns", "delete", name)
    return name


def _connect(name: str, number: int, switch: str) -> Machine:
    address, port = f"10.77.0.{number}", f"port{number}"
    _ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", port, "netns", switch)
    _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
    _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip("-n", name, "link", "set", device, "up")
    _ip("-n", name, "route", "add", "default", "via", "10.77.0.254")
    return Machine(name, address)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
