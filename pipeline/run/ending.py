"""How a run ended: its results, state, error and exit code, from what its nodes left.

Runs on one machine and on Kubeflow share it, so that both describe the same run in the same way.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.evaluation import Evaluation
from components.contracts.provenance import DataProvenance
from components.contracts.training_history import TrainingHistory
from components.node.node_id import Node

if TYPE_CHECKING:
    from components.contracts.run_record import NodeRecord, RunRecord, RunResult, RunState
    from pipeline.run.mirror import Mirror
    from pipeline.store.lookups import NodeResult

_EXIT_CODES: dict[RunState, int] = {
    "passed": 0, "no new data": 0, "gates failed": 1, "failed": 2, "interrupted": 130,
}  # fmt: skip
_SHARED = ("metrics", "report", "pushed_version", "data", "seen_before", "warnings")


def note_result(result: RunResult, node: NodeResult, mirror: Mirror | None = None) -> None:
    """Adds what a node has produced to the results of its run.

    Args:
        result: the results so far.
        node: how the node ended.
        mirror: holds the node's files if they are not on this machine.
    """
    if node.node is Node.EXAMPLE_GEN and node.outputs:
        result.data = DataProvenance.of(node.outputs["examples"][0].properties)
    elif node.node is Node.PUSHER:
        result.pushed_version = node.pushed_version
    elif node.node in (Node.TRAINER, Node.EVALUATOR, Node.REPORT):
        file = local_file(node, mirror)
        if file:
            _note_file(result, node.node, file)


def _note_file(result: RunResult, node: Node, file: Path) -> None:
    if node is Node.EVALUATOR:
        result.metrics = str(file)
    elif node is Node.REPORT:
        result.report = str(file)
    else:
        warning = TrainingHistory.read_file(file).device_warning
        result.warnings += [warning] if warning else []


def local_file(node: NodeResult, mirror: Mirror | None) -> Path | None:
    """Returns the file that says how a node went, pulled from the mirror if it is not here.

    Returns:
        None for a node without such a file, or if it was removed.

    Raises:
        ObjectStoreError: the mirror does not have it.
    """
    file = node.file
    if mirror and file and not file.exists():
        mirror.pull([file])
    return file if file and file.exists() else None


def end_run(record: RunRecord, nodes: Sequence[NodeRecord], result: RunResult) -> RunRecord:
    """Returns the record of a run that has ended.

    Args:
        record: the record of the run while it ran.
        nodes: its nodes.
        result: what they produced, and why the run failed if it did.

    Raises:
        ContractError: the Evaluator's metrics cannot be read.
    """
    log = f"\nLog: {result.log}" if result.log else ""
    return record.model_copy(
        update={
            **{name: getattr(result, name) for name in _SHARED},
            "nodes": [*nodes],
            "state": judge_run(nodes, result),
            "error": f"{result.error}{log}" if result.error else None,
        }
    )


def judge_run(nodes: Sequence[NodeRecord], result: RunResult) -> RunState:
    """Returns how a run ended that was not interrupted.

    A run that was asked to stop before the Evaluator has no gates, and so passes.

    Raises:
        ContractError: the Evaluator's metrics cannot be read.
    """
    if result.error:
        return "failed"
    if result.seen_before:
        return "no new data"
    if any(node.state not in ("done", "cached") for node in nodes):
        return "failed"
    if all(node.id != Node.EVALUATOR for node in nodes):
        return "passed"

    # Without its metrics a model has passed no gate.
    metrics = Path(result.metrics) if result.metrics else None
    blessed = metrics is not None and Evaluation.read_file(metrics).blessed
    return "passed" if blessed else "gates failed"


def exit_code(record: RunRecord) -> int:
    """Returns the exit code of a run that has ended.

    0: passed, or no new data; 1: a gate failed; 2: an error; 130: interrupted.
    """
    return _EXIT_CODES[record.state]


def explain_death(code: int, last_line: str | None, who: str = "The worker") -> str:
    """Returns why a process has left no result.

    Args:
        code: its exit code; below 0 the number of the signal that ended it.
        last_line: the last line that it printed.
        who: what the process is: the worker, or a node.
    """
    if code == -signal.SIGKILL:
        return (
            f"{who} was killed, as the system does when memory runs out. Lower "
            "steps.max_steps or training.batch_size, or use a machine with more memory."
        )
    if code < 0:
        return f"{who} was ended by {_signal_name(-code)} inside a library."
    return f"{who} ended with exit code {code}: {last_line or 'it printed nothing'}"


def last_line(log: Path) -> str | None:
    """Returns the last line of a log that is not empty; None if nothing was written."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return next(filter(None, reversed(text.splitlines())), None)


def explain_unfinished(nodes: Sequence[NodeRecord], cancelled: Sequence[str]) -> str | None:
    """Returns why a run of containers has failed, or None if all of its nodes have ended well.

    Args:
        nodes: the run's nodes.
        cancelled: those whose containers were stopped before the node had ended.
    """
    if cancelled:
        names = ", ".join(cancelled)
        return f"{names} did not finish: the container ran out of memory or time."
    if any(node.state == "failed" for node in nodes):
        return "See the log of the node's container for the reason."
    waiting = next((node.id for node in nodes if node.state == "waiting"), None)
    return f"{waiting} was never started; see Kubeflow for the reason." if waiting else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of the real-time signals only the first and the last have names
        return f"signal {number}"
