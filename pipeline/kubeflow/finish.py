"""The exit handler: what became of a run, read from the metadata store, whatever happened to its containers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Event, Execution

from components.command.console import PlainConsole
from components.command.escape import for_markdown
from components.config import Config
from components.node.names import Node
from pipeline.cached import is_cached
from pipeline.kubeflow.outputs import TaskOutputs
from pipeline.kubeflow.tasks import NODES, RESULT_FILES
from pipeline.layout import Layout
from pipeline.run.mirror import Mirror
from pipeline.run.notify import notify, outcome_of
from pipeline.run.record import (
    REPEATS,
    NodeRecord,
    RunRecord,
    RunState,
    SeenBefore,
    run_folder,
    write_record,
)
from pipeline.run.recover import cancel_unfinished
from pipeline.run.summary import print_summary
from pipeline.store import connect, connection_config

_ENDED_WELL = (
    Execution.COMPLETE,
    Execution.CACHED,
)  # TFX has a function for it, and takes ten seconds to import
_TELLING = ("Evaluator", "Pusher", "Report")  # nodes whose files say how the run went
SUMMARY = "run_summary"


def finish_run(
    config: Config, layout: Layout, run: str, outputs: TaskOutputs | None, mirror: Mirror | None
) -> RunRecord:
    """Writes `run.json` as a run on one machine does, prints how the run ended, and shows it in Kubeflow.

    What a container that was killed left unfinished is marked as cancelled and tidied up.
    """
    store = connect(connection_config(config.metadata, layout))
    unfinished = cancel_unfinished(store, layout, run)
    absent = set() if config.training.warm_start else {"WarmStartResolver"}
    record = read_run(store, layout, run, absent, mirror)
    record.error = _explain(record, unfinished)
    folder = run_folder(layout, run)
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, record)
    if mirror:
        mirror.push([folder])
    print_summary(record, PlainConsole(width=120))
    if outputs:
        outputs.show_text(SUMMARY, summarise_run(record))
    notify(config.notify, outcome_of(record))
    return record


def read_run(
    store: MetadataStore, layout: Layout, run: str, absent: set[str], mirror: Mirror | None = None
) -> RunRecord:
    """Returns the record of a run from the metadata store.

    Args:
        store: the metadata store.
        layout: of the run's pipeline.
        run: the run's id.
        absent: nodes that this run does not have.
        mirror: where the files are that tell how it went, unless they are here.
    """
    context = store.get_context_by_type_and_name("pipeline_run", run)
    executions = _latest(store, store.get_executions_by_context(context.id)) if context else {}
    nodes = [_read_node(store, name, executions.get(name)) for name in NODES if name not in absent]
    started = min((item.create_time_since_epoch for item in executions.values()), default=None)
    began = datetime.fromtimestamp(started / 1000, UTC) if started else datetime.now(UTC)
    metrics, push, report = (_telling_file(store, node, executions, mirror) for node in _TELLING)
    repeats = context.custom_properties[REPEATS].string_value if context else ""
    return RunRecord(
        run=run,
        name=layout.name,
        seen_before=SeenBefore(run=repeats) if repeats else None,
        state="no new data" if repeats else _judge(nodes, metrics),
        started=began,
        seconds=(datetime.now(UTC) - began).total_seconds(),
        nodes=nodes,
        metrics=metrics,
        report=report,
        pushed_version=json.loads(Path(push).read_text(encoding="utf-8"))["destination"]
        if push
        else None,
    )


def _explain(record: RunRecord, unfinished: list[str]) -> str | None:
    if unfinished:
        return f"{', '.join(unfinished)} did not come to an end; out of memory, or out of time?"
    if record.state != "failed":
        return None
    if any(node.state == "failed" for node in record.nodes):
        return "The log of the node's container says why."
    waiting = next(node.id for node in record.nodes if node.state == "waiting")
    return f"{waiting} was never started; Kubeflow says why."


def _read_node(store: MetadataStore, name: str, execution: Execution | None) -> NodeRecord:
    if execution is None:
        return NodeRecord(id=name)
    seconds = (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000
    if execution.last_known_state not in _ENDED_WELL:
        return NodeRecord(id=name, state="failed", seconds=seconds)
    return NodeRecord(
        id=name, state="cached" if is_cached(store, execution) else "done", seconds=seconds
    )


def summarise_run(record: RunRecord) -> str:
    """Returns how a run ended as Markdown."""
    rows = [
        f"| {node.id} | {node.state} | {'' if node.seconds is None else format(node.seconds, '.1f')} |"
        for node in record.nodes
    ]
    places = [
        f"- {name}: {for_markdown(place)}"
        for name, place in (
            ("pushed", record.pushed_version),
            ("report", record.report),
            ("metrics", record.metrics),
        )
        if place
    ]
    error = ["", for_markdown(record.error)] if record.error else []
    head = [
        f"# Run {record.run}: {record.state}",
        *error,
        "",
        "| node | state | seconds |",
        "|---|---|--:|",
    ]
    return "\n".join([*head, *rows, "", *places, ""])


def _judge(nodes: list[NodeRecord], metrics: str | None) -> RunState:
    if any(node.state not in ("done", "cached") for node in nodes):
        return "failed"
    blessed = (
        metrics is not None and json.loads(Path(metrics).read_text(encoding="utf-8"))["blessed"]
    )
    return "passed" if blessed else "gates failed"


def _latest(store: MetadataStore, executions: list[Execution]) -> dict[str, Execution]:
    """Returns the last execution of each node: a task that was tried again has several."""
    node_type = store.get_context_type("node").id
    latest: dict[str, Execution] = {}
    for execution in sorted(executions, key=lambda item: item.id):
        contexts = store.get_contexts_by_execution(execution.id)
        [node] = [item.name.rpartition(".")[2] for item in contexts if item.type_id == node_type]
        latest[node] = execution
    return latest


def _telling_file(
    store: MetadataStore, node: str, executions: dict[str, Execution], mirror: Mirror | None
) -> str | None:
    """Returns the path of the file that tells how a node went, None where there is none."""
    if node not in executions:
        return None
    output, name = RESULT_FILES[Node(node)]
    events = store.get_events_by_execution_ids([executions[node].id])
    ids = [
        item.artifact_id
        for item in events
        if item.type == Event.OUTPUT and item.path.steps[0].key == output
    ]
    for artifact in store.get_artifacts_by_id(ids) if ids else []:
        file = Path(artifact.uri, name)
        if mirror and not file.exists():
            mirror.pull([file])
        return str(file) if file.exists() else None
    return None
