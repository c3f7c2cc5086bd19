"""Runs nodes of the pipeline in a container: `python -m pipeline.kubeflow.container`.

What it prints is for people: lines per node, and the reason if one fails. Launcher, root and
metadata store are the same as on one machine.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from components.command.program import FAILED, explain_with_log, run_program, start_process
from components.config import Config, load_config
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import RunResult
from components.node.node_id import Node
from pipeline.kubeflow.outputs import TaskOutputs, show_node
from pipeline.kubeflow.parameters import ONLY_NEW_DATA, settings_of
from pipeline.kubeflow.tasks import NEW_DATA
from pipeline.layout import Layout
from pipeline.run.mirror import Mirror
from pipeline.run.nodes import NodeChange, planned_nodes, run_nodes
from pipeline.run.prepare import find_log, snapshot_schema


def main(arguments: Sequence[str]) -> int:
    """Runs what the arguments ask for; returns 0, or 2 after an error, which it prints."""
    options = _parse(arguments)
    try:
        _run(options)
    except Exception as error:
        print(explain_with_log(error, options.root / "errors"), flush=True)
        return FAILED
    return 0


def _run(options: argparse.Namespace) -> None:
    outputs = TaskOutputs(options.executor_input) if options.executor_input else None
    settings = [*options.set, *settings_of(outputs.parameters if outputs else {})]
    config = load_config(options.config, settings)
    layout = Layout(options.root, config.name)
    mirror = Mirror(options.storage, options.root) if options.storage else None

    if options.finish:
        from pipeline.kubeflow.finish import finish_run

        finish_run(config, layout, options.run, outputs, mirror)
    else:
        plan = RunPlan(
            run=options.run,
            root=options.root,
            config=config,
            nodes=options.nodes,
            only_new_data=bool(outputs and outputs.parameters.get(ONLY_NEW_DATA)),
        )
        _run_task(plan, layout, outputs, mirror)
    if outputs:
        outputs.write()


def _run_task(
    plan: RunPlan, layout: Layout, outputs: TaskOutputs | None, mirror: Mirror | None
) -> None:
    config: Config = plan.config
    os.environ.update(config.push.as_environment())
    os.environ.update(config.training.as_environment())
    asked = plan.nodes or []
    present = planned_nodes(plan)
    if Node.EXAMPLE_GEN in present:
        find_log(config)
    snapshot_schema(config, layout)
    if mirror:
        mirror.push([layout.schema_snapshot(config)])

    result = RunResult()
    if present:
        observe = partial(_show_change, outputs, mirror)
        run_nodes(plan, result, observe, mirror=mirror, quiet=True)
    for node in asked:
        if node not in present:
            _print_node(node, "not part of this run")
    if outputs and Node.EXAMPLE_GEN in present:
        outputs.set_parameter(NEW_DATA, result.seen_before is None)


def _show_change(outputs: TaskOutputs | None, mirror: Mirror | None, change: NodeChange) -> None:
    """Prints how a node goes; one that has ended well is shown in Kubeflow."""
    node = change.node
    if change.repeats:
        print(f"no new data since run {change.repeats.run}", flush=True)
    elif node.state == "running":
        _print_node(node.id, "started")
    elif change.result is None:
        _print_node(node.id, "failed")
    else:
        _print_node(node.id, f"{node.state} after {node.seconds:.1f} s")
        if outputs:
            show_node(change.result, outputs, mirror)


def _print_node(node: str, text: str) -> None:
    print(f"{node:<20} {text}", flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.kubeflow.container",
        description="Runs nodes of the pipeline in a container.",
    )
    add = parser.add_argument

    add("--config", type=Path, required=True, help="the configuration, a YAML file")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value; repeatable",
    )
    add("--root", type=Path, required=True, help="keeps everything; shared by all containers")
    add("--run", required=True, help="the run's id, the same for all nodes of a run")
    add("--storage", help="s3:// or gs:// folder that keeps the root between containers")
    add("--nodes", type=_node_list, default=[], help="nodes to run, in order")
    add("--finish", action="store_true", help="finish the run, instead of running nodes")
    add("--executor-input", help="Kubeflow's JSON: the pipeline's parameters, where outputs go")

    return parser.parse_args(arguments)


def _node_list(text: str) -> list[Node]:
    return [Node(name) for name in text.split(",")]


if __name__ == "__main__":
    # TFX warns at every node that ML Metadata has no SQL filters; only errors are worth reading.
    warnings.simplefilter("ignore")
    logging.getLogger("absl").setLevel(logging.ERROR)
    start_process("pipeline.kubeflow.container")
    sys.exit(run_program("pipeline.kubeflow.container", lambda: main(sys.argv[1:])))
