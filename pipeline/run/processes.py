"""Where nodes run: each in a process forked from one that goes on importing, or in this process.

The scheduler in `pipeline.run.nodes` starts a node and waits for one to end; it does not know
which of the two it is. A fork costs milliseconds, because what a node needs is imported already,
and every node starts from the same state, whatever ran before it or runs beside it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from components.command.explain import explain
from components.errors import MasteryError
from components.node.node_id import Node
from components.node.this_machine import IS_LINUX, be_killed_with_parent, usable_cores
from pipeline.run.ending import explain_death
from pipeline.run.imports import import_early

if TYPE_CHECKING:
    from pipeline.store.lookups import NodeResult

Observe = Callable[[Node], None]  # is called with a node
Launch = Callable[[Callable[[], None]], "NodeResult"]  # gets what to call when an executor starts

_EXECUTES = "executes"  # what a node's process sends when it needs more than the cache
_LOOK = 1.0  # seconds between two checks for a dead process whose pipe others hold


class NodeError(MasteryError):
    """A node failed in a process of its own; the text is that of its error."""


class NodeDeathError(MasteryError):
    """A node's process died and left its outputs half written.

    Attributes:
        node: which node.
        code: the exit code of its process; below 0 the number of the signal that ended it.
    """

    def __init__(self, node: Node, code: int) -> None:
        super().__init__(explain_death(code, None, who=node))
        self.node = node
        self.code = code


@dataclass(frozen=True)
class Outcome:
    """How a node has ended.

    Attributes:
        node: which node.
        end: what it produced, or why it failed.
        seconds: how long it took.
        peak_mib: the most memory that its process had in use; None without a process of its own.
    """

    node: Node
    end: NodeResult | Exception
    seconds: float
    peak_mib: int | None = None


class Processes(Protocol):
    """Runs nodes, at most `capacity` at the same time."""

    capacity: int

    def may_start(self, node: Node, *, executes: bool) -> bool:
        """Returns whether a node had better start now than later.

        Args:
            node: the node.
            executes: whether it is expected to be executed, not taken from the cache.
        """

    def start(self, node: Node, launch: Launch) -> None:
        """Starts a node."""

    def wait(self) -> Outcome | None:
        """Returns how the next node has ended, None if more nodes may start before one has."""

    def end(self, node: Node) -> None:
        """Ends a node at once; its outputs are left half written."""

    def close(self) -> bool:
        """Ends all nodes that still run, and returns whether there were any."""


class ThisProcess:
    """Runs nodes in this process, one at a time: in containers, and where forking is not safe.

    Args:
        enter: is called before a node is launched.
        note_execution: is called when a node is executed, not taken from the cache.
    """

    capacity = 1

    def __init__(
        self, enter: Observe = lambda _: None, note_execution: Observe = lambda _: None
    ) -> None:
        self._enter = enter
        self._note_execution = note_execution
        self._started: list[tuple[Node, Launch]] = []

    def may_start(self, node: Node, *, executes: bool) -> bool:  # noqa: ARG002
        """Returns True: there is nothing to wait for."""
        return True

    def start(self, node: Node, launch: Launch) -> None:
        """Keeps a node for `wait`, which runs it."""
        self._started.append((node, launch))

    def wait(self) -> Outcome:
        """Runs the node that was started."""
        node, launch = self._started.pop()
        self._enter(node)
        began = time.monotonic()
        try:
            result = launch(partial(self._note_execution, node))
        except Exception as error:
            return Outcome(node, error, time.monotonic() - began)
        return Outcome(node, result, result.seconds)

    def end(self, node: Node) -> None:
        """Does nothing: no node runs outside of `wait`."""

    def close(self) -> bool:
        """Returns False: no node runs."""
        return False


@dataclass(frozen=True)
class _Child:
    """A node's process; `began` is a time of `time.monotonic`."""

    pid: int
    node: Node
    began: float


class ForkedProcesses:
    """Runs each node in a process forked from this one.

    While nodes compute, this process imports what later ones need, a module at a time, so that
    they need not do it twice. A node that will be executed waits for that. One that may come from
    the cache waits only if others run, and nothing is imported before these are executed either: a
    run that has nothing to do imports nothing.

    This process must have a single Python thread, and must not have used TensorFlow, Polars or
    Beam: a fork takes over the locks of a pool of threads, but not the threads that release them.

    Args:
        enter: is called in the process of a node before the node is launched.
        note_execution: is called in this process when a node is executed, not taken from the cache.
        modules: what to import before each node, in the order in which they run.
        capacity: how many nodes run at the same time; default: one per core that may be used.
    """

    def __init__(
        self,
        enter: Observe = lambda _: None,
        note_execution: Observe = lambda _: None,
        *,
        modules: Mapping[Node, Iterable[str]] | None = None,
        capacity: int | None = None,
    ) -> None:
        self.capacity = capacity or usable_cores()
        self._enter = enter
        self._note_execution = note_execution
        self._modules = {node: list(names) for node, names in (modules or {}).items()}
        self._children: dict[Connection, _Child] = {}
        self._undecided: set[Connection] = set()  # of nodes that may still come from the cache

    def may_start(self, node: Node, *, executes: bool) -> bool:
        """Returns whether the node's modules are there, or it may do without and nothing runs."""
        return not self._modules.get(node) or not (executes or self._children)

    def start(self, node: Node, launch: Launch) -> None:
        """Forks a process that launches a node."""
        receiver, sender = Pipe(duplex=False)
        gc.freeze()  # a collection in the new process would copy every page that it visits
        began, scheduler = time.monotonic(), os.getpid()
        pid = os.fork()
        if pid == 0:
            missing = self._modules.get(node, [])
            _run_child(sender, partial(self._enter, node), launch, missing, began, scheduler)

        sender.close()
        self._modules.pop(node, None)
        self._children[receiver] = _Child(pid, node, began)
        self._undecided.add(receiver)

    def wait(self) -> Outcome | None:
        """Returns how the next node has ended, None after importing a module."""
        while True:
            module = None if self._undecided else self._next_module()
            ready = wait([*self._children], 0 if module else _LOOK)
            for receiver in [held for held in self._children if held in ready]:
                outcome = self._receive(receiver)
                if outcome:
                    return outcome

            if module and not ready:
                self._import(module)
                return None
            dead = next(filter(self._is_dead, self._children), None)
            if dead and not ready:
                return self._conclude(dead, None)

    def end(self, node: Node) -> None:
        """Kills the process of a node."""
        [receiver] = [held for held, child in self._children.items() if child.node == node]
        os.kill(self._children[receiver].pid, signal.SIGKILL)
        self._conclude(receiver, None)

    def close(self) -> bool:
        """Kills all processes that still run, and returns whether there were any."""
        nodes = [child.node for child in self._children.values()]
        for node in nodes:
            self.end(node)
        return bool(nodes)

    def _receive(self, receiver: Connection) -> Outcome | None:
        """Reads what a node's process has sent; returns how the node ended, if it has."""
        message: Any = None
        with contextlib.suppress(EOFError, OSError):  # it died
            message = receiver.recv()
        if message == _EXECUTES:
            self._undecided.discard(receiver)
            self._note_execution(self._children[receiver].node)
            return None
        return self._conclude(receiver, message)

    def _conclude(self, receiver: Connection, message: NodeResult | NodeError | None) -> Outcome:
        """Waits for the end of a node's process, whose last message is known."""
        child = self._children.pop(receiver)
        self._undecided.discard(receiver)
        receiver.close()
        _, status, usage = os.wait4(child.pid, 0)
        peak_mib = usage.ru_maxrss // 1024

        if message is None or isinstance(message, NodeError):
            error = message or NodeDeathError(child.node, os.waitstatus_to_exitcode(status))
            return Outcome(child.node, error, time.monotonic() - child.began, peak_mib)
        return Outcome(child.node, message, message.seconds, peak_mib)

    def _is_dead(self, receiver: Connection) -> bool:
        pid = self._children[receiver].pid
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return ended is not None and not receiver.poll()

    def _next_module(self) -> str | None:
        return next((names[0] for names in self._modules.values() if names), None)

    def _import(self, module: str) -> None:
        """Imports a module; if that fails, the node that needs it fails and says why."""
        with contextlib.suppress(Exception):
            import_early(module)
        for names in self._modules.values():
            names[:] = [name for name in names if name not in sys.modules and name != module]


def _run_child(
    sender: Connection,
    enter: Callable[[], None],
    launch: Launch,
    missing: list[str],
    began: float,
    scheduler: int,
) -> NoReturn:
    """Launches a node, sends its result or error, and ends this process without a tear-down."""
    code = 1
    try:
        end_with_parent(scheduler)
        enter()
        sender.send(_launch(launch, partial(_begin_execution, sender, missing), began))
        sys.stdout.flush()
        sys.stderr.flush()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _begin_execution(sender: Connection, missing: list[str]) -> None:
    """Says that a node is executed, and imports what it needs and the scheduler has not yet."""
    sender.send(_EXECUTES)
    for module in missing:
        with contextlib.suppress(Exception):  # raised again where the module is used
            import_early(module)


def _launch(
    launch: Launch, note_execution: Callable[[], None], began: float
) -> NodeResult | NodeError:
    try:
        result = launch(note_execution)
    except BaseException as error:  # a panic in a library's Rust code is not an Exception
        traceback.print_exc()
        return NodeError(explain(error))
    return replace(result, seconds=time.monotonic() - began)


def end_with_parent(parent: int) -> None:
    """Ends this process when its parent ends, in whatever code it is then.

    Args:
        parent: the parent's process number; it may have ended already.
    """
    if not IS_LINUX:
        threading.Thread(target=_end_with_input, daemon=True, name="end-with-parent").start()
        return
    be_killed_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def _end_with_input() -> None:
    """Ends this process when its standard input is closed, which the command line's end does."""
    # Not by `sys.stdin`: its lock would be held while the interpreter ends, which aborts.
    while os.read(0, 4096):
        pass
    os._exit(1)
