"""Everything that is looked up in ML Metadata: runs of a pipeline, their executions and outputs.

It imports ml_metadata and not TFX: commands that only look something up answer at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_metadata import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Artifact, Context, Event, Execution

from components.contracts.anomalies import FoundAnomalies
from components.contracts.evaluation import Evaluation
from components.contracts.log_summary import LogSummary
from components.contracts.push_result import PushResult
from components.contracts.run_record import REPORT_FILE, NodeState
from components.contracts.training_history import TrainingHistory
from components.node.node_id import Node
from pipeline.store.connection import (
    MetadataError,
    connect_to_store,
    connection_config,
    explained,
)

if TYPE_CHECKING:
    from components.config.runtime import Metadata
    from pipeline.layout import Layout

# Custom properties of a run's context.
PLAN_FINGERPRINT = "plan_fingerprint"
REPEATS = "repeats"  # the run that this one would have repeated, and therefore stopped
RETRAINED_AT = "retrained_at"  # when `mastery retrain` decided on the run, ISO 8601
RETRAINED_BECAUSE = "retrained_because"  # why

# The output of each node that holds its results, and the file in that output.
RESULT_FILES = {
    Node.EXAMPLE_GEN: ("examples", LogSummary.FILE),
    Node.DATA_GATE: ("verdict", FoundAnomalies.FILE),
    Node.TRAINER: ("model_run", TrainingHistory.FILE),
    Node.EVALUATOR: ("evaluation", Evaluation.FILE),
    Node.PUSHER: ("pushed_model", PushResult.FILE),
    Node.REPORT: ("report", REPORT_FILE),
}

_RUN, _NODE = "pipeline_run", "node"  # TFX's types of contexts
_RESOLVER = "tfx.dsl.components.common.resolver.Resolver"
_SUCCEEDED = (Execution.COMPLETE, Execution.CACHED)
_UNFINISHED = (Execution.NEW, Execution.RUNNING)
_OUTPUT = (Event.OUTPUT, Event.INTERNAL_OUTPUT, Event.DECLARED_OUTPUT)
_INPUT = (Event.INPUT, Event.INTERNAL_INPUT, Event.DECLARED_INPUT)


@dataclass(frozen=True)
class StoredArtifact:
    """Where an output of a node is, and its custom properties."""

    uri: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeResult:
    """How an execution of a node ended.

    Attributes:
        node: which node.
        state: `done`, `cached` or `failed`.
        seconds: how long it took.
        outputs: its artifacts by output key; empty for a node that failed.
    """

    node: Node
    state: NodeState
    seconds: float
    outputs: Mapping[str, list[StoredArtifact]] = field(default_factory=dict)

    @property
    def file(self) -> Path | None:
        """The file with the node's results; None for a node without one."""
        output, name = RESULT_FILES.get(self.node, ("", ""))
        artifacts = self.outputs.get(output)
        return Path(artifacts[0].uri, name) if artifacts else None

    @property
    def pushed_version(self) -> str | None:
        """The folder of the version that a Pusher has pushed."""
        artifacts = (artifact for group in self.outputs.values() for artifact in group)
        found = (artifact.properties.get("pushed_destination") for artifact in artifacts)
        return next(filter(None, found), None)


@contextmanager
def open_history(
    settings: Metadata, layout: Layout, *, patience: float | None = None
) -> Iterator[RunHistory]:
    """Yields the runs of a pipeline.

    Args:
        settings: the section `metadata` of the configuration.
        layout: of the pipeline.
        patience: see `connect_to_store`.

    Raises:
        MetadataError: the store cannot be used, also inside the block.
    """
    connection = connection_config(settings, layout)
    with explained(connection):
        yield RunHistory(connect_to_store(connection, patience=patience), layout.store_name)


class RunHistory:
    """Looks up the runs of one pipeline.

    Args:
        store: the metadata store; it may hold other pipelines as well.
        pipeline: the pipeline's name in it, `Layout.store_name`.
    """

    def __init__(self, store: MetadataStore, pipeline: str) -> None:
        self._store = store
        self._pipeline = pipeline

    def run(self, run_id: str) -> Context | None:
        """Returns the context of a run, or None if no node of it has started."""
        return self._store.get_context_by_type_and_name(_RUN, run_id)

    def runs(self) -> list[tuple[Context, Execution]]:
        """Returns the runs, newest first, each with its execution of ExampleGen."""
        executions = self.executions_of_node(Node.EXAMPLE_GEN)
        newest_first = sorted(executions, key=lambda item: int(item.id), reverse=True)
        return [
            (context, execution)
            for execution in newest_first
            for context in self._store.get_contexts_by_execution(execution.id)
            if context.type == _RUN
        ]

    def repeats(self, run_id: str) -> str | None:
        """Returns the run that a run without new data would have repeated."""
        run = self.run(run_id)
        return run.custom_properties[REPEATS].string_value or None if run else None

    def retrainings(self, since: datetime, until: datetime) -> list[tuple[str, datetime]]:
        """Returns the runs by `mastery retrain` whose Trainer was executed, oldest first.

        A run that never got so far, was interrupted while it trained, or found its model in the
        cache, has not trained again.

        Args:
            since: of the moments that such runs were decided at; excluded.
            until: included.

        Returns:
            The ids of the runs, and when each was decided on.
        """
        found = []
        trainings = {item.id: item for item in self.executions_of_node(Node.TRAINER)}
        for run, _ in self.runs():
            text = run.custom_properties[RETRAINED_AT].string_value
            if not text or not since < (moment := datetime.fromisoformat(text)) <= until:
                continue
            executions = self._store.get_executions_by_context(run.id)
            states = {item.last_known_state for item in executions if item.id in trainings}
            if states & {Execution.COMPLETE, Execution.FAILED}:
                found.append((str(run.name), moment))
        return sorted(found, key=lambda item: item[1])

    def executions_of_node(self, node: str) -> list[Execution]:
        """Returns the executions of a node in all runs."""
        context = self._store.get_context_by_type_and_name(_NODE, f"{self._pipeline}.{node}")
        return list(self._store.get_executions_by_context(context.id)) if context else []

    def latest_executions(self, run_id: str) -> dict[str, Execution]:
        """Returns the last execution of each node of a run: a task that was retried has several."""
        executions = sorted(self._executions_of_run(run_id), key=lambda item: int(item.id))
        return {self.node_of(execution): execution for execution in executions}

    def unfinished_executions(self, run_id: str) -> list[Execution]:
        """Returns the executions of a run that were started and have not ended."""
        executions = self._executions_of_run(run_id)
        return [item for item in executions if item.last_known_state in _UNFINISHED]

    def succeeded_execution(self, run: Context, node: Node) -> Execution | None:
        """Returns the execution of a node in a run that succeeded, executed or cached."""
        of_node = {execution.id for execution in self.executions_of_node(node)}
        executions = self._store.get_executions_by_context(run.id)
        found = (item for item in executions if item.id in of_node and _has_succeeded(item))
        return next(found, None)

    def node_of(self, execution: Execution) -> str:
        """Returns the id of the node that was executed."""
        return str(self._node_context(execution).name).removeprefix(f"{self._pipeline}.")

    def result_of(self, execution: Execution) -> NodeResult:
        """Returns how an execution ended."""
        node = Node(self.node_of(execution))
        milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
        if not _has_succeeded(execution):
            return NodeResult(node, "failed", milliseconds / 1000)
        state: NodeState = "cached" if self.is_cached(execution) else "done"
        outputs = self._artifacts_of(self._output_events(execution))
        return NodeResult(node, state, milliseconds / 1000, outputs)

    def is_cached(self, execution: Execution) -> bool:
        """Returns whether a node's outputs are those of an earlier execution.

        TFX never takes a resolver from the cache. It counts as cached if it resolved to the same
        artifacts as the time before.
        """
        if execution.last_known_state == Execution.CACHED:
            return True
        [kind] = self._store.get_execution_types_by_id([execution.type_id])
        if kind.name != _RESOLVER:
            return False

        node = self._node_context(execution)
        earlier = [
            item
            for item in self._store.get_executions_by_context(node.id)
            if item.id < execution.id
        ]
        latest = max(earlier, key=lambda item: int(item.id), default=None)
        return latest is not None and self.output_ids(latest) == self.output_ids(execution)

    def inputs_of(self, execution: Execution) -> dict[str, list[StoredArtifact]]:
        """Returns the artifacts that an execution read, by input key."""
        events = self._store.get_events_by_execution_ids([execution.id])
        return self._artifacts_of([event for event in events if event.type in _INPUT])

    def output_ids(self, execution: Execution) -> set[int]:
        """Returns the ids of an execution's outputs."""
        return {event.artifact_id for event in self._output_events(execution)}

    def _executions_of_run(self, run_id: str) -> list[Execution]:
        run = self.run(run_id)
        return list(self._store.get_executions_by_context(run.id)) if run else []

    def _artifacts_of(self, events: Iterable[Event]) -> dict[str, list[StoredArtifact]]:
        """Returns the artifacts of events of an execution, by key and in their order."""
        ordered = sorted(events, key=_place_of)
        ids = [event.artifact_id for event in ordered]
        artifacts = self._store.get_artifacts_by_id(ids) if ids else []
        by_id = {artifact.id: _stored(artifact) for artifact in artifacts}
        found: dict[str, list[StoredArtifact]] = defaultdict(list)
        for event in ordered:
            key, _ = _place_of(event)
            found[key].append(by_id[event.artifact_id])
        return dict(found)

    def _output_events(self, execution: Execution) -> list[Event]:
        events = self._store.get_events_by_execution_ids([execution.id])
        return [event for event in events if event.type in _OUTPUT]

    def _node_context(self, execution: Execution) -> Context:
        contexts = self._store.get_contexts_by_execution(execution.id)
        [node] = [context for context in contexts if context.type == _NODE]
        return node


def check_lineage(store: MetadataStore, pipeline: str, nodes: Iterable[Path]) -> None:
    """Makes sure that the store knows every execution that has left a folder below the root.

    TFX names an artifact's folder after the number of its execution, and the store counts
    executions. A store that was lost, restored from an older copy or exchanged counts from the
    beginning: its runs would write into the folders of earlier ones, and remove them on failure.

    Args:
        store: the metadata store.
        pipeline: the pipeline's name in it.
        nodes: folders of nodes; each holds folders of outputs, with one folder per execution.

    Raises:
        MetadataError: the store does not know an execution that left a folder; nothing was changed.
    """
    history = RunHistory(store, pipeline)
    for node in nodes:
        # Folders before executions: a node that makes its folder now is in the store already.
        left = {int(folder.name): folder for folder in node.glob("*/*") if _is_number(folder.name)}
        known = {execution.id for execution in history.executions_of_node(node.name)}
        unknown = sorted(number for number in left if number not in known)
        if unknown and not _was_moved(store, node.name, unknown):
            raise MetadataError(_explain_unknown(node.parent, left[unknown[-1]]))


def _was_moved(store: MetadataStore, node: str, numbers: list[int]) -> bool:
    """Returns whether the executions are of this node under another root, moved with its store."""
    for number in numbers:
        known = store.get_executions_by_id([number])
        contexts = store.get_contexts_by_execution(number) if known else []
        if not any(item.type == _NODE and item.name.endswith(f".{node}") for item in contexts):
            return False
    return True


def _explain_unknown(nodes: Path, folder: Path) -> str:
    return (
        f"metadata: expected the store of {nodes}, found one that does not know "
        f"{folder.relative_to(nodes)} in it: the store was lost, is an older copy, or "
        "metadata.store was changed. Restore the right one, give another --root, or move "
        f"{nodes} away to start again, without a model to compare with. Nothing was changed."
    )


def _has_succeeded(execution: Execution) -> bool:
    return execution.last_known_state in _SUCCEEDED


def _place_of(event: Event) -> tuple[str, int]:
    """Returns an input's or output's key, and the place of an artifact among those of that key."""
    steps = list(event.path.steps)
    return steps[0].key, steps[1].index if len(steps) > 1 else 0


def _stored(artifact: Artifact) -> StoredArtifact:
    held = artifact.custom_properties
    properties = {name: getattr(value, value.WhichOneof("value")) for name, value in held.items()}
    return StoredArtifact(artifact.uri, properties)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()
