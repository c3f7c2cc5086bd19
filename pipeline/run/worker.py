"""The process that runs the nodes of one local run: `python -m pipeline.run.worker RUN_FOLDER`.

It is apart from the command line so that TFX's output goes to log files, and so that the command
line can stop it at any moment, whatever C++ code it is in.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from components.command.program import run_program
from components.config import Config
from components.contracts.provenance import DataProvenance
from components.errors import MasteryError, explain
from pipeline.layout import Layout
from pipeline.run.record import NodeRecord, SeenBefore, write_json


class Plan(BaseModel):
    """What the command line asks of the worker: `plan.json` in the run's folder.

    How to connect to the metadata store is not in it; the worker finds that in its environment.
    """

    run: str
    root: Path
    config: Config
    use_cache: bool = True
    from_node: str | None = None  # this node and those after it are executed anew
    to_node: str | None = None  # this node is the last
    only_new_data: bool = (
        False  # the run ends after ExampleGen where it would only repeat the one before
    )


class Result(BaseModel):
    """What the worker leaves behind: `result.json`."""

    metrics: str | None = None
    report: str | None = None
    pushed_version: str | None = None
    data: DataProvenance | None = None
    seen_before: SeenBefore | None = None
    warnings: list[str] = Field(default_factory=list)
    error: str | None = None
    log: str | None = None  # of the node that failed


def main(folder: Path) -> int:
    """Runs the plan in `folder`; returns 0, or 1 if a node failed."""
    _end_with_parent()
    _log_to(folder / "logs" / "start.log")
    result = Result()
    try:
        plan = Plan.model_validate_json((folder / "plan.json").read_text(encoding="utf-8"))
        _run_nodes(plan, folder, result)
    except Exception as error:
        traceback.print_exc()
        result.error = explain(error)
        result.log = str(_current_log(folder))
    write_json(folder / "result.json", result.model_dump())
    return 1 if result.error else 0


def _run_nodes(plan: Plan, folder: Path, result: Result) -> None:
    # Imported here so that a broken installation is reported like any failed node.
    from pipeline.lineage import check_lineage
    from pipeline.store import connect, connection_config

    layout = Layout(plan.root, plan.config.name)
    store = connection_config(plan.config.metadata, layout)
    # TFX takes its time to load; who mistyped a password or has lost the store should not wait for it.
    check_lineage(connect(store), layout.store_name, layout.nodes.glob("*"))

    from pipeline.dag import create_pipeline
    from pipeline.run.freshness import FIRST, end_if_seen
    from pipeline.run.launch import compile_plan, launch_node, node_ids

    compiled = compile_plan(
        create_pipeline(plan.config, layout, enable_cache=plan.use_cache), plan.run
    )
    names = node_ids(compiled)
    _check_names(plan, names)
    last = names.index(plan.to_node) if plan.to_node else len(names) - 1
    first_anew = names.index(plan.from_node) if plan.from_node else len(names)
    nodes = [NodeRecord(id=name) for name in names[: last + 1]]
    for index, node in enumerate(nodes):
        _log_to(folder / "logs" / f"{node.id}.log")
        node.state, started = "running", time.monotonic()
        _write_nodes(folder, nodes)
        try:
            done = launch_node(compiled, node.id, store=store, use_cache=index < first_anew)
        except BaseException:
            node.state, node.seconds = "failed", time.monotonic() - started
            _write_nodes(folder, nodes)
            raise
        node.state, node.seconds = done.state, done.seconds
        _write_nodes(folder, nodes)
        _note_outputs(node.id, done.outputs, result)
        if plan.only_new_data and node.id == FIRST:
            result.seen_before = end_if_seen(connect(store), compiled)
            if result.seen_before:
                _write_nodes(folder, nodes[: index + 1])
                return


def _check_names(plan: Plan, names: list[str]) -> None:
    for option, name in (("--from", plan.from_node), ("--to", plan.to_node)):
        if name is not None and name not in names:
            raise MasteryError(f"{option} {name}: expected one of {', '.join(names)}.")
    if plan.from_node and plan.to_node and names.index(plan.from_node) > names.index(plan.to_node):
        raise MasteryError(
            f"--from {plan.from_node} comes after --to {plan.to_node}; nothing would run."
        )


def _note_outputs(node_id: str, outputs: dict[str, Any], result: Result) -> None:
    if node_id == "ExampleGen":
        result.data = DataProvenance.of(outputs["examples"][0].properties)
    elif node_id == "Trainer":
        history = json.loads(
            Path(outputs["model_run"][0].uri, "history.json").read_text(encoding="utf-8")
        )
        result.warnings += [history["device_warning"]] if history.get("device_warning") else []
    elif node_id == "Evaluator":
        result.metrics = str(Path(outputs["evaluation"][0].uri, "metrics.json"))
    elif node_id == "Pusher":
        properties = outputs["pushed_model"][0].properties
        result.pushed_version = (
            properties.get("pushed_destination") if properties.get("pushed") else None
        )
    elif node_id == "Report":
        result.report = str(Path(outputs["report"][0].uri, "report.html"))


def _write_nodes(folder: Path, nodes: list[NodeRecord]) -> None:
    write_json(folder / "nodes.json", [node.model_dump() for node in nodes])


def _log_to(path: Path) -> None:
    """Sends everything this process prints, C++ included, to `path`."""
    path.parent.mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    os.dup2(target, sys.stdout.fileno())
    os.dup2(target, sys.stderr.fileno())
    os.close(target)


def _current_log(folder: Path) -> Path:
    return max((folder / "logs").iterdir(), key=lambda file: file.stat().st_mtime_ns)


def _end_with_parent() -> None:
    """Ends this process when the command line is gone: its end of our standard input closes with it."""

    def wait() -> None:
        while os.read(
            0, 4096
        ):  # not by `sys.stdin`: its lock would be held while the interpreter ends, which aborts
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end-with-parent").start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(run_program("mastery", lambda: main(Path(sys.argv[1]))))
