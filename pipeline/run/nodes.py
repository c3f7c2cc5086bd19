"""The loop over the nodes of a run, the same on one machine and in a container."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from components.command.program import quiet_imports
from components.contracts.run_record import NodeRecord, RunResult, SeenBefore
from components.node.node_id import Node
from pipeline.layout import Layout
from pipeline.run.ending import note_result
from pipeline.run.imports import lean_tfx
from pipeline.run.prepare import nodes_of
from pipeline.store.connection import connect_to_store, connection_config
from pipeline.store.lookups import NodeResult, check_lineage

if TYPE_CHECKING:
    from tfx.proto.orchestration import pipeline_pb2

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
    mirror: Mirror | None = None,
    quiet: bool = False,
) -> None:
    """Runs the nodes of a plan one after the other.

    Args:
        plan: what to run.
        result: gets what each node has produced as soon as it ends, also if a later one fails.
        observe: is called when a node has started and when it has ended.
        mirror: where artifacts are kept beyond this machine; None where the root itself lasts.
        quiet: whether what TensorFlow prints while it is imported is dropped.

    Raises:
        MetadataError: the metadata store cannot be used, or does not know an earlier run.
        Exception: whatever a node raised; those after it have not run.
    """
    layout = Layout(plan.root, plan.config.name)
    store = connection_config(plan.config.metadata, layout)
    # TFX takes long to load; a wrong password or a lost store is reported before that.
    check_lineage(connect_to_store(store), layout.store_name, layout.nodes.glob("*"))
    compiled = _compile(plan, layout, quiet=quiet)
    # After `_compile`, which imports TFX.
    from pipeline.run.freshness import stop_if_seen
    from pipeline.run.launch import launch_node

    anew = _nodes_anew(plan)
    records = [NodeRecord(id=node) for node in planned_nodes(plan)]
    for index, record in enumerate(records):
        use_cache = record.id not in anew
        launch = partial(
            launch_node, compiled, record.id, store=store, mirror=mirror, use_cache=use_cache
        )
        ended = _run_node(records, record, observe, launch)
        note_result(result, ended, mirror)

        if plan.only_new_data and record.id == Node.EXAMPLE_GEN:
            result.seen_before = stop_if_seen(connect_to_store(store), compiled)
            if result.seen_before:
                observe(NodeChange(records[: index + 1], record, repeats=result.seen_before))
                return


def _compile(plan: RunPlan, layout: Layout, *, quiet: bool) -> pipeline_pb2.Pipeline:
    # Imported here so that a broken installation is reported as a failed run.
    with quiet_imports() if quiet else nullcontext(), lean_tfx():
        from pipeline.dag import create_pipeline
        from pipeline.run.launch import compile_plan

    pipeline = create_pipeline(plan.config, layout, enable_cache=plan.use_cache)
    return compile_plan(pipeline, plan.run)


def _nodes_anew(plan: RunPlan) -> set[str]:
    """Returns the nodes that are executed even if an earlier run's outputs would do."""
    if plan.from_node is None:
        return set()
    nodes = nodes_of(plan.config)
    return set(nodes[nodes.index(plan.from_node) :])


def _run_node(
    nodes: list[NodeRecord],
    node: NodeRecord,
    observe: Observer,
    launch: Callable[[], NodeResult],
) -> NodeResult:
    started = time.monotonic()
    node.state = "running"
    observe(NodeChange(nodes, node))
    try:
        result = launch()
    except BaseException:
        node.state = "failed"
        node.seconds = time.monotonic() - started
        observe(NodeChange(nodes, node))
        raise

    node.state = result.state
    node.seconds = result.seconds
    observe(NodeChange(nodes, node, result))
    return result
