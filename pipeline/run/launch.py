"""Runs one node of the pipeline with TFX's portable launcher; runners only schedule."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher, outputs_utils, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2

from pipeline.cached import is_cached
from pipeline.lineage import check_lineage
from pipeline.run.freshness import sign_plan
from pipeline.run.mirror import Mirror
from pipeline.run.mirrored_launcher import MirroredLauncher
from pipeline.store import connect, explained

NodeState = Literal["done", "cached"]


@dataclass(frozen=True)
class Artifact:
    """Where a node's output is, and what was said about it."""

    uri: str
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeResult:
    """How one node ended."""

    node_id: str
    state: NodeState
    seconds: float
    outputs: dict[str, list[Artifact]]


class NodeFailedError(Exception):
    """A node failed without raising, e.g. because an input could not be resolved."""


def compile_plan(pipeline: Pipeline, run_id: str) -> pipeline_pb2.Pipeline:
    """Compiles a pipeline into TFX's intermediate representation, bound to one run.

    The plan can be serialized, and every node of it launched in a process or container of its own.
    """
    plan = compiler.Compiler().compile(pipeline)
    sign_plan(plan)
    runtime_parameter_utils.substitute_runtime_parameter(
        plan, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    return plan


def node_ids(plan: pipeline_pb2.Pipeline) -> list[str]:
    """Returns the plan's nodes in the order they run."""
    return [node.pipeline_node.node_info.id for node in plan.nodes]


class Store(metadata.Metadata):  # type: ignore[misc]
    """TFX's handle on the metadata store, which waits for a database that is starting.

    The launcher connects anew at every step, so a node that ran for hours outlives a restart of the database.
    """

    def __enter__(self) -> Store:
        """Connects.

        Raises:
            MetadataError: nobody answers there, or nobody lets us in.
        """
        connect(self.connection_config)
        super().__enter__()
        return self


def launch_node(
    plan: pipeline_pb2.Pipeline,
    node_id: str,
    *,
    store: metadata_store_pb2.ConnectionConfig,
    mirror: Mirror | None = None,
    use_cache: bool = True,
) -> NodeResult:
    """Runs one node: resolves its inputs, takes it from the cache or executes it, publishes its outputs.

    Args:
        plan: what `compile_plan` returned.
        node_id: one of `node_ids(plan)`.
        store: the connection to ML Metadata (see `pipeline.store`).
        mirror: where artifacts are kept beyond this machine; None where the pipeline's root lasts.
        use_cache: False executes the node even where an earlier run's outputs would do.

    Raises:
        NodeFailedError: the node could not start or was published as failed.
        MetadataError: the metadata store cannot be used, or does not know what earlier runs have left.
        ObjectStoreError: an input is not in the object store, or an output cannot be written to it.
        Exception: whatever the node's executor raised.
    """
    node = next(
        item.pipeline_node for item in plan.nodes if item.pipeline_node.node_info.id == node_id
    )
    node.execution_options.caching_options.enable_cache &= use_cache
    deployment = runner_utils.extract_local_deployment_config(plan)
    handle = Store(store)
    started = time.monotonic()
    kind = partial(MirroredLauncher, mirror) if mirror else launcher.Launcher
    ready = kind(
        pipeline_node=node,
        mlmd_connection=handle,
        pipeline_info=plan.pipeline_info,
        pipeline_runtime_spec=plan.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
    )
    with explained(store):
        folder = Path(outputs_utils.get_node_dir(plan.runtime_spec, node_id))
        if mirror:
            mirror.outline(
                folder
            )  # outputs of earlier runs count as existing when they are whole there
        check_lineage(connect(store), plan.pipeline_info.id, [folder])
        info = ready.launch()
        if info is None or info.execution_id is None:
            raise NodeFailedError(f"{node_id} was not started: one of its inputs is missing.")
        state, outputs = _published(handle, info.execution_id)
    if state is None:
        raise NodeFailedError(f"{node_id} failed: one of its inputs could not be resolved.")
    return NodeResult(node_id, state, time.monotonic() - started, outputs)


def _published(
    store: metadata.Metadata, execution_id: int
) -> tuple[NodeState | None, dict[str, list[Artifact]]]:
    """Reads from ML Metadata how an execution ended; the launcher itself does not tell."""
    with store as handle:
        [execution] = handle.store.get_executions_by_id([execution_id])
        outputs = execution_lib.get_output_artifacts(handle, execution_id)
        cached = is_cached(handle.store, execution)
    if not execution_lib.is_execution_successful(execution):
        return None, {}
    artifacts = {key: [_artifact(item) for item in items] for key, items in outputs.items()}
    return "cached" if cached else "done", artifacts


def _artifact(artifact: Any) -> Artifact:
    values = artifact.mlmd_artifact.custom_properties
    properties = {key: getattr(value, value.WhichOneof("value")) for key, value in values.items()}
    return Artifact(artifact.uri, properties)
