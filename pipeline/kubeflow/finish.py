"""The exit handler: reads from the metadata store how a run ended, and passes it on.

It works whatever happened to the run's containers. It does not import TFX.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ml_metadata import MetadataStore

from components.command.console import PlainConsole
from components.command.escape import for_markdown
from components.contracts.run_record import NodeRecord, RunRecord, RunResult, SeenBefore
from components.contracts.tracking_record import TrackingRecord
from components.files.object_store import ObjectStoreError
from components.node.node_id import Node
from pipeline.run.display import print_summary
from pipeline.run.ending import end_run, explain_unfinished, note_result
from pipeline.run.notify import notification_of, notify
from pipeline.run.prepare import cancel_unfinished, nodes_of
from pipeline.store.connection import connect_to_store, connection_config
from pipeline.store.lookups import NodeResult, RunHistory
from pipeline.tracking.tell import track_run

if TYPE_CHECKING:
    from components.config import Config
    from pipeline.kubeflow.outputs import TaskOutputs
    from pipeline.layout import Layout
    from pipeline.run.mirror import Mirror

SUMMARY = "run_summary"


def finish_run(
    config: Config, layout: Layout, run: str, outputs: TaskOutputs | None, mirror: Mirror | None
) -> RunRecord:
    """Writes `run.json`, prints how the run ended, shows it in Kubeflow, and notifies people.

    What a container that was killed left unfinished is marked as cancelled and removed.

    Args:
        config: what was run.
        layout: of the run's pipeline.
        run: the run's id.
        outputs: of this task; None outside of Kubeflow.
        mirror: where the run's files are kept; None where the root itself lasts.
    """
    store = connect_to_store(connection_config(config.metadata, layout))
    cancelled = cancel_unfinished(store, layout, run)
    record = read_run(store, config, layout, run, cancelled=cancelled, mirror=mirror)
    folder = layout.run(run)
    record.write(folder)
    if mirror:
        mirror.push([folder])

    print_summary(record, PlainConsole(width=120))
    if outputs:
        outputs.show_text(SUMMARY, summarise_run(record))
    notify(config.notify, notification_of(record))
    _track(config, layout, record, RunHistory(store, layout.store_name), mirror)
    return record


def _track(
    config: Config, layout: Layout, record: RunRecord, history: RunHistory, mirror: Mirror | None
) -> None:
    """Tells servers of the run; brings the model here for that, and keeps what was told."""
    mlflow = config.tracking.mlflow
    trainer = history.latest_executions(record.run).get(Node.TRAINER)
    if mirror and mlflow and mlflow.register_ and record.pushed_version and trainer:
        models = history.result_of(trainer).outputs.get("model", [])
        with suppress(ObjectStoreError):  # the server is then told without it, and why
            mirror.pull([Path(model.uri) for model in models])

    track_run(config, layout.root, record)
    told = layout.run(record.run) / TrackingRecord.FILE
    if mirror and told.exists():
        mirror.push([told])


def read_run(
    store: MetadataStore,
    config: Config,
    layout: Layout,
    run: str,
    *,
    cancelled: list[str],
    mirror: Mirror | None = None,
) -> RunRecord:
    """Returns the record of a run from the metadata store.

    Args:
        store: the metadata store.
        config: what was run.
        layout: of the run's pipeline.
        run: the run's id.
        cancelled: nodes that were stopped before they had ended.
        mirror: where the files are that say how nodes went, unless they are here.
    """
    history = RunHistory(store, layout.store_name)
    executions = history.latest_executions(run)
    ended = {Node(node): history.result_of(item) for node, item in executions.items()}
    nodes = [_node_record(node, ended.get(node)) for node in nodes_of(config)]

    result = RunResult()
    for node in ended.values():
        note_result(result, node, mirror)
    repeats = history.repeats(run)
    if repeats:
        result.seen_before = SeenBefore(run=repeats)
    else:
        result.error = explain_unfinished(nodes, cancelled)

    started = min((item.create_time_since_epoch for item in executions.values()), default=None)
    now = datetime.now(UTC)
    began = datetime.fromtimestamp(started / 1000, UTC) if started else now
    seconds = (now - began).total_seconds()
    record = RunRecord(run=run, name=layout.name, started=began, seconds=seconds)
    return end_run(record, nodes, result)


def summarise_run(record: RunRecord) -> str:
    """Returns how a run ended as Markdown."""
    lines = [f"# Run {record.run}: {record.state}"]
    if record.error:
        lines += ["", for_markdown(record.error)]

    lines += ["", "| node | state | seconds |", "|---|---|--:|"]
    for node in record.nodes:
        seconds = "" if node.seconds is None else f"{node.seconds:.1f}"
        lines.append(f"| {node.id} | {node.state} | {seconds} |")

    places = {"pushed": record.pushed_version, "report": record.report, "metrics": record.metrics}
    lines += ["", *(f"- {name}: {for_markdown(at)}" for name, at in places.items() if at), ""]
    return "\n".join(lines)


def _node_record(node: Node, result: NodeResult | None) -> NodeRecord:
    if result is None:
        return NodeRecord(id=node)
    return NodeRecord(id=node, state=result.state, seconds=result.seconds)
