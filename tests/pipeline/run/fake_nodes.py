"""Nodes that run without TFX, for tests of the loop; as a program, the worker with such nodes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from components.contracts.evaluation import Evaluation, Result
from components.contracts.run_record import REPORT_FILE, SeenBefore
from components.contracts.training_history import TrainingHistory
from components.node.node_id import Node
from components.node.progress import report_progress
from pipeline.store.lookups import NodeResult, StoredArtifact

# What each node needs; `test_nodes.py` compares it with the compiled plan.
UPSTREAM = {
    Node.EXAMPLE_GEN: set(),
    Node.IMPORT_SCHEMA_GEN: set(),
    Node.STATISTICS_GEN: {Node.EXAMPLE_GEN},
    Node.EXAMPLE_VALIDATOR: {Node.STATISTICS_GEN, Node.IMPORT_SCHEMA_GEN},
    Node.DATA_GATE: {Node.STATISTICS_GEN, Node.EXAMPLE_VALIDATOR},
    Node.TRANSFORM: {Node.EXAMPLE_GEN, Node.IMPORT_SCHEMA_GEN},
    Node.TRAINER: {Node.TRANSFORM, Node.DATA_GATE},
    Node.BASELINE_RESOLVER: {Node.TRAINER},
    Node.EVALUATOR: {Node.EXAMPLE_GEN, Node.TRAINER, Node.BASELINE_RESOLVER},
    Node.SERVING_CHECK: {Node.EXAMPLE_GEN, Node.TRAINER, Node.EVALUATOR},
    Node.PUSHER: {
        Node.EXAMPLE_GEN, Node.STATISTICS_GEN, Node.TRAINER, Node.EVALUATOR, Node.SERVING_CHECK,
    },
    Node.REPORT: {
        Node.EXAMPLE_GEN, Node.STATISTICS_GEN, Node.IMPORT_SCHEMA_GEN, Node.EXAMPLE_VALIDATOR,
        Node.TRAINER, Node.EVALUATOR, Node.PUSHER,
    },
}  # fmt: skip
SEEN = SeenBefore(run="20260101-000000-before", pushed_version="/serving/17")


class Modules(dict[str, Any]):
    """`sys.modules` for the time of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._monkeypatch = monkeypatch

    def __setitem__(self, name: str, module: Any) -> None:
        self._monkeypatch.setitem(sys.modules, name, module)


def install(
    modules: MutableMapping[str, Any],
    folder: Path,
    *,
    failing: str = "",
    slow: str = "",
    killed: str = "",
    together: Sequence[str] = (),
    seen: SeenBefore | None = None,
    imports: bool = False,
) -> list[tuple[str, bool]]:
    """Puts modules in the place of those that import TFX.

    Args:
        modules: `sys.modules`.
        folder: where the nodes write their files.
        failing: the nodes that raise, separated by blanks.
        slow: the nodes that never end, separated by blanks.
        killed: the node whose process is killed.
        together: nodes each of which waits until all of them run.
        seen: the run that this one would only repeat.
        imports: whether nodes import what they need to execute.

    Returns:
        A list that receives each launched node, with whether the cache may be used.
    """
    launched: list[tuple[str, bool]] = []

    def launch_node(
        _: object, node: str, *, use_cache: bool, note_execution: Callable[[], None], **__: object
    ) -> NodeResult:
        launched.append((node, use_cache))
        if imports:
            note_execution()
        print(f"{node} prints this", flush=True)
        report_progress(f"{node} reports this")
        (folder / f"{node}.runs").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
        while node in together and not all((folder / f"{one}.runs").exists() for one in together):
            time.sleep(0.01)
        if node in failing.split():
            raise RuntimeError(f"{node} is broken")
        if node == killed:
            os.kill(os.getpid(), signal.SIGKILL)
        while node in slow.split():
            time.sleep(0.05)
        return NodeResult(Node(node), "done", 1.5, _outputs(Node(node), folder))

    fakes = {
        "pipeline.dag": {"create_pipeline": lambda *_, **__: SimpleNamespace()},
        "pipeline.run.launch": {
            "compile_plan": lambda *_: None,
            "launch_node": launch_node,
            "upstream_nodes": lambda _: UPSTREAM,
        },
        "pipeline.run.freshness": {"stop_if_seen": lambda *_: seen},
    }
    for name, content in fakes.items():
        module = ModuleType(name)
        vars(module).update(content)
        modules[name] = module
    return launched


def _outputs(node: Node, folder: Path) -> dict[str, list[StoredArtifact]]:
    if node is Node.EXAMPLE_GEN:
        return {"examples": [StoredArtifact(str(folder), {"spans": "3,4", "version": 1})]}
    if node is Node.TRAINER:
        TrainingHistory(device_warning="a GPU is idle").write(folder)
        return {"model_run": [StoredArtifact(str(folder))]}
    if node is Node.EVALUATOR:
        overall = Result(examples=9, metrics={"f1_macro": 0.8})
        Evaluation(task="classification", blessed=True, overall=overall).write(folder)
        return {"evaluation": [StoredArtifact(str(folder))]}
    if node is Node.PUSHER:
        pushed = {"pushed": 1, "pushed_destination": "/serving/18"}
        return {"pushed_model": [StoredArtifact(str(folder), pushed)]}
    if node is Node.REPORT:
        (folder / REPORT_FILE).touch()
        return {"report": [StoredArtifact(str(folder))]}
    return {}


if __name__ == "__main__":
    from pipeline.run import processes, worker

    processes.usable_cores = lambda: 2
    worker.modules_before_fork = lambda *_: {}
    if os.environ.get("MASTERY_LINUX") == "no":
        processes.IS_LINUX = worker.IS_LINUX = False
    run = Path(sys.argv[1])
    install(
        sys.modules,
        run,
        failing=os.environ.get("MASTERY_FAILING", ""),
        slow=os.environ.get("MASTERY_SLOW", ""),
        killed=os.environ.get("MASTERY_KILLED", ""),
        together=os.environ.get("MASTERY_TOGETHER", "").split(),
    )
    sys.exit(worker.main(run, os.getppid()))
