"""Agents in threads of the test, and what they say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from components.trainer.distributed.agent import Endpoint, serve
from components.trainer.distributed.shared_folder import members

PATIENCE = 300  # seconds; what is waited for takes a few


@dataclass
class Agent:
    """An agent that can be stopped.

    Attributes:
        said: its lines.
        stop: ends it when set.
    """

    said: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def agents(folder: Path, *hosts: str) -> Iterator[list[Agent]]:
    """Starts an agent for each address of this machine, in this order, and stops them."""
    with ExitStack() as stack:
        started = []
        for host in hosts:
            agent = Agent()
            thread = threading.Thread(
                target=serve,
                args=(folder, Endpoint(host)),
                kwargs={"tell": agent.said.append, "stop": agent.stop},
            )
            thread.start()
            stack.callback(thread.join)
            stack.callback(agent.stop.set)
            started.append(agent)
        yield started


def wait_until(condition: Callable[[], object]) -> None:
    """Waits until a condition holds; fails if that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def only_member(folder: Path) -> Path:
    """Returns the folder of the only worker there is, once it is there."""
    wait_until(lambda: len(members(folder, "workers")) == 1)
    [found] = members(folder, "workers")
    return found
