"""The scheduler of a run: which nodes may start, the same on one machine and in a container."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from components.command.program import quiet_imports
from components.config.beam import FLINK_JOB, WORKERS
from components.contracts.run_record import NodeRecord, NodeState, RunResult, SeenBefore
from components.node.node_id import Node
from pipeline.layout import Layout
from pipeline.run.ending import note_result
from pipeline.run.imports import import_early, lean_tfx, modules_of, no_collection
from pipeline.run.prepare import cancel_jobs, cancel_unfinished, nodes_of
from pipeline.run.processes import NodeDeathError, Outcome, Processes, ThisProcess
from pipeline.store.connection import connect_to_store, connection_config
from pipeline.store.lookups import NodeResult, check_lineage

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2
    from tfx.proto.orchestration import pipeline_pb2

    from components.config.beam import Beam
    from components.contracts.run_plan import RunPlan
    from pipeline.run.mirror import Mirror


@dataclass(frozen=True)
class NodeChange:
    """A node of a run has started or ended.

    Attributes:
        nodes: those of the run, in order.
        node: the one that has changed.
        result: how it ended; None if it has started or failed.
        repeats: the run that this one would only repeat, and therefore stops after the node.
    """

    nodes: list[NodeRecord]
    node: NodeRecord
    result: NodeResult | None = None
    repeats: SeenBefore | None = None


Observer = Callable[[NodeChange], None]


def planned_nodes(plan: RunPlan) -> list[Node]:
    """Returns the nodes that a plan runs, in order.

    A container may be asked for a node that this run's parameters leave out of the pipeline.
    """
    nodes = nodes_of(plan.config)
    if plan.nodes is not None:
        return [node for node in plan.nodes if node in nodes]
    end = nodes.index(plan.to_node) + 1 if plan.to_node else len(nodes)
    return nodes[:end]


def run_nodes(
    plan: RunPlan,
    result: RunResult,
    observe: Observer,
    *,
    processes: Processes | None = None,
    mirror: Mirror | None = None,
    quiet: bool = False,
) -> None:
    """Runs the nodes of a plan, each when the nodes that it needs have ended well.

    After a node has failed, only those before it in the order go on, as if all had run one after
    the other: which error a run ends with does not depend on which node was faster.

    Args:
        plan: what to run.
        result: gets what each node has produced as soon as it ends, also if another one fails.
        observe: is called when a node has started and when it has ended.
        processes: where nodes run; default: in this process, one after the other.
        mirror: where artifacts are kept beyond this machine; None where the root itself lasts.
        quiet: whether what TensorFlow prints while it is imported is dropped.

    Raises:
        MetadataError: the metadata store cannot be used, or does not know an earlier run.
        Exception: whatever the first node, in the order, raised that has failed.
    """
    os.environ[WORKERS] = str(plan.config.beam.workers)
    os.environ.update(plan.config.beam.as_environment())  # in a container; else it is there already
    layout = Layout(plan.root, plan.config.name)
    store = connection_config(plan.config.metadata, layout)
    # TFX takes long to load; a wrong password or a lost store is reported before that.
    check_lineage(connect_to_store(store), layout.store_name, layout.nodes.glob("*"))
    compiled = _compile(plan, layout, quiet=quiet)
    # After `_compile`, which imports TFX.
    from pipeline.run.launch import upstream_nodes

    needed = upstream_nodes(compiled)
    if plan.only_new_data:  # whether there is anything to do is known after ExampleGen
        needed = {node: {Node.EXAMPLE_GEN, *others} - {node} for node, others in needed.items()}
    schedule = Schedule(planned_nodes(plan), needed)
    run = _Run(plan, layout, store, compiled, mirror, observe, result, schedule, quiet)
    run.to_end(processes or ThisProcess())


class Schedule:
    """The states of a run's nodes, and which of them may start.

    Args:
        nodes: those of the run, in order.
        needed: for each node the others that it depends on; those that are not of the run have
            ended well before it.

    Attributes:
        records: of the nodes, in order.
    """

    def __init__(self, nodes: Iterable[Node], needed: Mapping[Node, set[Node]]) -> None:
        self.records = [NodeRecord(id=node) for node in nodes]
        self._needed = needed

    def record(self, node: Node) -> NodeRecord:
        """Returns the record of a node."""
        return next(record for record in self.records if record.id == node)

    @property
    def running(self) -> list[NodeRecord]:
        """The nodes that run."""
        return [record for record in self.records if record.state == "running"]

    @property
    def ready(self) -> list[NodeRecord]:
        """The nodes that may start now, in order; none after one that has failed."""
        pending = {item.id for item in self.records if item.state not in ("done", "cached")}
        return [
            record
            for record in self.records[: self._first_failed()]
            if record.state == "waiting" and not pending & self._needed[Node(record.id)]
        ]

    def follows_execution(self, node: Node) -> bool:
        """Returns whether a node that this one needs was executed, not taken from the cache."""
        needed = self._needed[node]
        return any(item.state == "done" for item in self.records if item.id in needed)

    @property
    def in_vain(self) -> list[NodeRecord]:
        """The nodes that run although one before them has failed."""
        return [item for item in self.records[self._first_failed() :] if item.state == "running"]

    def _first_failed(self) -> int:
        failed = (index for index, item in enumerate(self.records) if item.state == "failed")
        return next(failed, len(self.records))


@dataclass
class _Run:
    """A run while its nodes run; the first attributes are as in `run_nodes`.

    Attributes:
        compiled: the plan as TFX compiled it.
        schedule: the states of the nodes.
        errors: why nodes failed.
        leaves_pieces: whether the process of a node was ended in the middle of its work.
    """

    plan: RunPlan
    layout: Layout
    store: metadata_store_pb2.ConnectionConfig
    compiled: pipeline_pb2.Pipeline
    mirror: Mirror | None
    observe: Observer
    result: RunResult
    schedule: Schedule
    quiet: bool
    errors: dict[str, Exception] = field(default_factory=dict)
    leaves_pieces: bool = False

    @property
    def beam(self) -> Beam:
        """Where Beam runs."""
        return self.plan.config.beam.with_environment(os.environ)

    def to_end(self, processes: Processes) -> None:
        """Runs the nodes, and leaves nothing half written.

        Raises:
            Exception: why the first node, in the order, failed that did.
        """
        try:
            while self._start_nodes(processes):
                outcome = processes.wait()
                if outcome is None:
                    continue
                self._note_end(outcome)
                for record in self.schedule.in_vain:
                    processes.end(Node(record.id))
                    cancel_jobs(self.beam, self.plan.run, Node(record.id))
                    self.leaves_pieces = True
                    self._change(record, "interrupted")
        finally:
            self.leaves_pieces |= processes.close()
            if self.leaves_pieces:
                cancel_jobs(self.beam, self.plan.run)
                cancel_unfinished(connect_to_store(self.store), self.layout, self.plan.run)

        failed = next((item.id for item in self.schedule.records if item.id in self.errors), None)
        if failed:
            raise self.errors[failed]

    def _start_nodes(self, processes: Processes) -> bool:
        """Starts nodes that may; returns whether there is one to wait for."""
        if self.result.seen_before:
            return False
        for record in self.schedule.ready:
            node = Node(record.id)
            is_free = len(self.schedule.running) < processes.capacity
            if is_free and processes.may_start(node, executes=self._executes(node)):
                record.started = datetime.now(UTC)
                self._change(record, "running")
                processes.start(node, partial(self._launch, node))
        return bool(self.schedule.running or self.schedule.ready)

    def _executes(self, node: Node) -> bool:
        """Returns whether a node will hardly come from the cache; a wrong guess only costs time."""
        is_first_time = not (self.layout.nodes / node).exists()
        return is_first_time or self._is_anew(node) or self.schedule.follows_execution(node)

    def _is_anew(self, node: Node) -> bool:
        """Returns whether a node is executed even if an earlier run's outputs would do."""
        order = nodes_of(self.plan.config)
        first = self.plan.from_node
        return not self.plan.use_cache or bool(first and order.index(node) >= order.index(first))

    def _launch(self, node: Node, note_execution: Callable[[], None]) -> NodeResult:
        """Runs a node; in the process of the node."""
        from pipeline.run.launch import launch_node

        os.environ[FLINK_JOB] = f"mastery-{self.plan.config.name}-{node}-{self.plan.run}"

        def prepare() -> None:
            note_execution()
            with quiet_imports() if self.quiet else nullcontext():
                for name in modules_of(node, self.plan.config):
                    with suppress(Exception):  # raised again where the module is used
                        import_early(name)

        return launch_node(
            self.compiled,
            node,
            store=self.store,
            mirror=self.mirror,
            use_cache=not self._is_anew(node),
            note_execution=prepare,
        )

    def _note_end(self, outcome: Outcome) -> None:
        record = self.schedule.record(outcome.node)
        record.seconds, record.peak_mib = outcome.seconds, outcome.peak_mib
        if isinstance(outcome.end, Exception):
            self.errors[record.id] = outcome.end
            self.leaves_pieces |= isinstance(outcome.end, NodeDeathError)
            self._change(record, "failed")
            return

        self._change(record, outcome.end.state, outcome.end)
        note_result(self.result, outcome.end, self.mirror)
        if self.plan.only_new_data and outcome.node is Node.EXAMPLE_GEN:
            from pipeline.run.freshness import stop_if_seen

            seen = stop_if_seen(connect_to_store(self.store), self.compiled)
            self.result.seen_before = seen
            if seen:
                self.observe(NodeChange([record], record, repeats=seen))

    def _change(
        self, record: NodeRecord, state: NodeState, result: NodeResult | None = None
    ) -> None:
        record.state = state
        self.observe(NodeChange(self.schedule.records, record, result))


def _compile(plan: RunPlan, layout: Layout, *, quiet: bool) -> pipeline_pb2.Pipeline:
    # Imported here so that a broken installation is reported as a failed run.
    with quiet_imports() if quiet else nullcontext(), no_collection(), lean_tfx():
        from pipeline.dag import create_pipeline
        from pipeline.run.launch import compile_plan

    pipeline = create_pipeline(plan.config, layout, enable_cache=plan.use_cache)
    compiled = compile_plan(pipeline, plan.run)
    if plan.retraining is not None:
        from pipeline.run.freshness import note_retraining

        note_retraining(compiled, plan.retraining)
    return compiled
