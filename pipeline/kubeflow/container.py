"""Runs nodes of the pipeline in a container: `python -m pipeline.kubeflow.container --config F --root DIR --run ID --nodes A,B`.

What it prints is for people: a line a node, and the reason when one fails. Launcher, root and metadata store are the
same as on one machine.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from components.command.program import (
    FAILED,
    explain_with_log,
    quiet_imports,
    run_program,
    start_process,
)
from components.config import Config, load_config
from pipeline.kubeflow.outputs import TaskOutputs
from pipeline.kubeflow.parameters import ONLY_NEW_DATA, settings_of
from pipeline.kubeflow.tasks import NEW_DATA
from pipeline.layout import Layout
from pipeline.run.mirror import Mirror
from pipeline.run.prepare import find_log, snapshot_schema


def main(arguments: Sequence[str]) -> int:
    """Runs what the arguments say; returns 0, or 2 after an error, which it prints."""
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
        _run_nodes(config, layout, options, outputs, mirror)
    if outputs:
        outputs.write()


def _run_nodes(
    config: Config,
    layout: Layout,
    options: argparse.Namespace,
    outputs: TaskOutputs | None,
    mirror: Mirror | None,
) -> None:
    if "ExampleGen" in options.nodes:
        find_log(config)
    with quiet_imports():
        from pipeline.dag import create_pipeline
        from pipeline.kubeflow.show import show_node
        from pipeline.run.freshness import FIRST, end_if_seen
        from pipeline.run.launch import compile_plan, launch_node, node_ids
    from pipeline.store import connect, connection_config

    store = connection_config(config.metadata, layout)
    connect(store)
    snapshot_schema(config, layout)
    if mirror:
        mirror.push([layout.schema_snapshot(config)])
    plan = compile_plan(create_pipeline(config, layout), options.run)
    present = node_ids(plan)
    for node in options.nodes:
        if node not in present:
            print(f"{node:<20} not part of this run", flush=True)
            continue
        print(f"{node:<20} started", flush=True)
        try:
            result = launch_node(plan, node, store=store, mirror=mirror)
        except Exception:
            print(f"{node:<20} failed", flush=True)
            raise
        print(f"{node:<20} {result.state} after {result.seconds:.1f} s", flush=True)
        if outputs:
            show_node(result, outputs, mirror)
        if node == FIRST and outputs:
            seen = (
                end_if_seen(connect(store), plan) if outputs.parameters.get(ONLY_NEW_DATA) else None
            )
            outputs.set_parameter(NEW_DATA, seen is None)
            if seen:
                print(f"no new data since run {seen.run}", flush=True)
                return


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.kubeflow.container", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--config", type=Path, required=True, help="the configuration, a YAML file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value; repeatable",
    )
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        help="where runs keep everything; shared by all containers",
    )
    parser.add_argument(
        "--run", required=True, help="the run's id, the same for all nodes of a run"
    )
    parser.add_argument(
        "--storage", help="s3:// or gs:// folder that keeps the root between containers"
    )
    parser.add_argument(
        "--nodes", type=lambda text: text.split(","), default=[], help="nodes to run, in order"
    )
    parser.add_argument(
        "--finish", action="store_true", help="say how the run ended, instead of running nodes"
    )
    parser.add_argument(
        "--executor-input", help="Kubeflow's JSON: the pipeline's parameters, and where outputs go"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    # TFX says at every node that ML Metadata has no SQL filters; what is worth reading is an error.
    warnings.simplefilter("ignore")
    logging.getLogger("absl").setLevel(logging.ERROR)
    start_process("pipeline.kubeflow.container")
    sys.exit(run_program("pipeline.kubeflow.container", lambda: main(sys.argv[1:])))
