"""The process that runs a local run's nodes: `python -m pipeline.run.worker RUN_FOLDER PARENT`.

It is separate from the command line so that TFX's output goes to log files, and so that the command
line can stop it at any moment, whatever C++ code it is in. It compiles the plan, then schedules:
nodes run in processes forked from it.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.command.explain import explain
from components.command.program import run_program
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import NodeRecords, RunResult
from components.gpu import hide_gpus, show_gpus
from components.node.node_id import Node
from components.node.progress import keep_progress
from components.node.this_machine import IS_LINUX
from components.serving_check.standby import start_standby
from pipeline.run.ending import explain_death, last_line
from pipeline.run.processes import (
    ForkedProcesses,
    NodeDeathError,
    Observe,
    Processes,
    ThisProcess,
    end_with_parent,
)

if TYPE_CHECKING:
    from components.config import Config
    from pipeline.run.nodes import NodeChange


def main(folder: Path, parent: int) -> int:
    """Runs the plan in a folder, and ends when its parent does.

    Args:
        folder: the run's.
        parent: the process number of the command line, which may have ended already.

    Returns:
        0, or 1 if a node failed.
    """
    end_with_parent(parent)
    _send_output(folder / "logs" / "start.log")
    result = RunResult()
    records = _Records(folder)
    try:
        # Imported here so that a broken installation is reported as a failed run.
        from pipeline.run.nodes import planned_nodes, run_nodes

        plan = RunPlan.read(folder)
        with StandbyForServing(planned_nodes(plan)) as standby:
            processes = _processes(plan, partial(_enter_node, folder), standby.start_for)
            run_nodes(plan, result, records.note, processes=processes)
    except Exception as error:
        traceback.print_exc()
        log = records.failed_log() or folder / "logs" / "start.log"
        result.error = _explain(error, log)
        result.log = str(log)
    result.write(folder)
    return 1 if result.error else 0


class _Records:
    """Writes the nodes' states to the run's folder whenever one changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records = NodeRecords()

    def note(self, change: NodeChange) -> None:
        """Writes the states of the nodes."""
        self._records = NodeRecords(nodes=change.nodes)
        self._records.write(self._folder)

    def failed_log(self) -> Path | None:
        """Returns the log of the first node, in the order, that failed."""
        failed = (node.id for node in self._records.nodes if node.state == "failed")
        node = next(failed, None)
        return _log_of(self._folder, node) if node else None


class StandbyForServing:
    """The process that answers ServingCheck's requests, and loads TensorFlow long before.

    Without it, ServingCheck starts a process of its own.

    Args:
        nodes: those of the run.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._is_due = Node.SERVING_CHECK in nodes
        self._process = ExitStack()

    def __enter__(self) -> StandbyForServing:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def start_for(self, executed: Node) -> None:
        """Starts the process when a node is executed from which a new model to check will follow.

        With DataGate, after which a core is idle while Transform goes on; with the Trainer if
        DataGate comes from the cache.
        """
        if self._is_due and executed in (Node.DATA_GATE, Node.TRAINER):
            self._is_due = False
            with suppress(OSError):
                standby = start_standby(Path(tempfile.gettempdir()))
                self._process.enter_context(standby)
                os.environ.update(standby.environment)


def _processes(plan: RunPlan, enter: Observe, note_execution: Observe) -> Processes:
    """Returns where the nodes of a plan run; forking is not safe with the libraries of macOS."""
    from pipeline.run.nodes import planned_nodes

    if not IS_LINUX:
        return ThisProcess(enter, note_execution)
    modules = modules_before_fork(planned_nodes(plan), plan.config)
    return ForkedProcesses(enter, note_execution, modules=modules)


def modules_before_fork(nodes: Sequence[Node], config: Config) -> dict[Node, list[str]]:
    """Returns what to import before each node is forked.

    Polars is not among it, because it starts threads when it is imported; nor are modules of ours,
    which import it.
    """
    from pipeline.run.imports import modules_of

    later = ("components", "polars")
    return {
        node: [name for name in modules_of(node, config) if name.partition(".")[0] not in later]
        for node in nodes
    }


def _log_of(folder: Path, node: str) -> Path:
    return folder / "logs" / f"{node}.log"


def _enter_node(folder: Path, node: Node) -> None:
    """Sends what this process prints and reports to the files of a node; GPUs are the Trainer's."""
    (show_gpus if node == Node.TRAINER else hide_gpus)()
    keep_progress(folder, node)
    _send_output(_log_of(folder, node))


def _explain(error: Exception, log: Path) -> str:
    if isinstance(error, NodeDeathError):
        return explain_death(error.code, last_line(log), who=error.node)
    return explain(error)


def _send_output(path: Path) -> None:
    """Sends everything this process prints, C++ included, to `path`."""
    path.parent.mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    os.dup2(target, sys.stdout.fileno())
    os.dup2(target, sys.stderr.fileno())
    os.close(target)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(run_program("mastery", lambda: main(Path(sys.argv[1]), int(sys.argv[2]))))
