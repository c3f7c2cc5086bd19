"""The exit handler: what became of a run, read from the metadata store, whatever happened to its containers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Event, Execution
from rich.console import Console

from components.config import Config
from pipeline.kubeflow.outputs import TaskOutputs
from pipeline.kubeflow.tasks import NODES
from pipeline.layout import Layout
from pipeline.metadata import connect, connection_config
from pipeline.record import NodeRecord, RunRecord, RunState, run_folder, write_record
from pipeline.recover import cancel_unfinished
from pipeline.summary import print_summary

_STATES = {Execution.COMPLETE: "done", Execution.CACHED: "cached"}
SUMMARY = "run_summary"
_TELLING_FILES = (
    ("Evaluator", "evaluation", "metrics.json"),
    ("Pusher", "pushed_model", "push.json"),
    ("Report", "report", "report.html"),
)


def finish_run(config: Config, layout: Layout, run: str, outputs: TaskOutputs | None) -> RunRecord:
    """Writes `run.json` as a run on one machine does, prints how the run ended, and shows it in Kubeflow.

    What a container that was killed left unfinished is marked as cancelled and tidied up.
    """
    store = connect(connection_config(config.metadata, layout))
    unfinished = cancel_unfinished(store, layout, run)
    record = read_run(store, layout, run, {"WarmStartResolver"} if not config.training.warm_start else set())
    if unfinished:
        record.error = f"{', '.join(unfinished)} did not come to an end; out of memory, or out of time?"
    folder = run_folder(layout, run)
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, record)
    print_summary(record, Console(highlight=False, width=120))
    if outputs:
        outputs.show_text(SUMMARY, summarise_run(record))
    return record


def read_run(store: MetadataStore, layout: Layout, run: str, absent: set[str]) -> RunRecord:
    """Returns the record of a run from the metadata store.

    Args:
        store: the metadata store.
        layout: of the run's pipeline.
        run: the run's id.
        absent: nodes that this run does not have.
    """
    context = store.get_context_by_type_and_name("pipeline_run", run)
    executions = {} if context is None else _latest(store, store.get_executions_by_context(context.id))
    nodes = [NodeRecord(id=name) for name in NODES if name not in absent]
    for node in nodes:
        if node.id in executions:
            found = executions[node.id]
            node.state = _STATES.get(found.last_known_state, "failed")  # type: ignore[assignment]
            node.seconds = (found.last_update_time_since_epoch - found.create_time_since_epoch) / 1000
    started = min((item.create_time_since_epoch for item in executions.values()), default=None)
    began = datetime.fromtimestamp(started / 1000, UTC) if started else datetime.now(UTC)
    metrics, push, report = (
        _output_file(store, executions.get(node), output, name) for node, output, name in _TELLING_FILES
    )
    return RunRecord(
        run=run,
        name=layout.name,
        state=_judge(nodes, metrics),
        started=began,
        seconds=(datetime.now(UTC) - began).total_seconds(),
        nodes=nodes,
        metrics=metrics,
        report=report,
        pushed_version=json.loads(Path(push).read_text(encoding="utf-8"))["destination"] if push else None,
    )


def summarise_run(record: RunRecord) -> str:
    """Returns how a run ended as Markdown."""
    rows = [
        f"| {node.id} | {node.state} | {'' if node.seconds is None else format(node.seconds, '.1f')} |"
        for node in record.nodes
    ]
    places = [
        f"- {name}: `{place}`"
        for name, place in (("pushed", record.pushed_version), ("report", record.report), ("metrics", record.metrics))
        if place
    ]
    error = ["", record.error] if record.error else []
    head = [f"# Run {record.run}: {record.state}", *error, "", "| node | state | seconds |", "|---|---|--:|"]
    return "\n".join([*head, *rows, "", *places, ""])


def _judge(nodes: list[NodeRecord], metrics: str | None) -> RunState:
    if any(node.state not in ("done", "cached") for node in nodes):
        return "failed"
    blessed = metrics is not None and json.loads(Path(metrics).read_text(encoding="utf-8"))["blessed"]
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


def _output_file(store: MetadataStore, execution: Execution | None, output: str, name: str) -> str | None:
    """Returns the path of a file in an execution's output, None where there is none."""
    events = store.get_events_by_execution_ids([execution.id]) if execution else []
    ids = [event.artifact_id for event in events if event.type == Event.OUTPUT and event.path.steps[0].key == output]
    files = [Path(artifact.uri, name) for artifact in store.get_artifacts_by_id(ids)] if ids else []
    return next((str(file) for file in files if file.exists()), None)
