"""Runs one node of the pipeline with TFX's portable launcher; runners only schedule."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ml_metadata.proto import metadata_store_pb2
from ml_metadata.proto.metadata_store_pb2 import Value
from tfx.components.evaluator.constants import ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import (
    base_executor_operator,
    data_types,
    launcher,
    outputs_utils,
    runtime_parameter_utils,
)
from tfx.proto.orchestration import executable_spec_pb2, execution_result_pb2, pipeline_pb2
from tfx.proto.orchestration.placeholder_pb2 import PlaceholderExpression

from components.config.beam import options_of_node
from components.model_version.folders import version_names
from components.node.node_id import Node
from pipeline.run.freshness import sign_plan
from pipeline.store.connection import connect_to_store, explained, take_turn
from pipeline.store.lookups import NodeResult, RunHistory, check_lineage

if TYPE_CHECKING:
    from pipeline.run.mirror import Mirror

SCHEMA_FILE = "schema_file"  # property of ImportSchemaGen: the snapshot of the curated schema
DIRECTORY = "directory"  # property of Pusher: the folder that TensorFlow Serving watches


class NodeFailedError(Exception):
    """A node failed without raising, for example because an input could not be resolved."""


class StoreHandle(metadata.Metadata):  # type: ignore[misc]
    """TFX's handle on the metadata store, which waits for a database that is starting.

    The launcher connects again at every step, so a node that ran for hours outlives a restart of
    the database. While one handle is open on a SQLite file, those of other processes wait.
    """

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig) -> None:
        super().__init__(connection)
        self._turn = ExitStack()

    def __enter__(self) -> StoreHandle:
        """Connects, unless this handle is connected.

        Raises:
            MetadataError: the store cannot be used.
        """
        if not self._users:
            connection = self.connection_config
            with ExitStack() as turn:
                turn.enter_context(take_turn(connection))
                self._store = connect_to_store(connection)
                self._turn = turn.pop_all()
        self._users += 1
        return self

    def __exit__(self, *error: Any) -> None:
        """Disconnects, if nothing else inside this process uses the handle."""
        super().__exit__(*error)
        if not self._users:
            self._turn.close()


class LateOperator(base_executor_operator.BaseExecutorOperator):  # type: ignore[misc]
    """Imports an executor when it is about to run, not to find out that the cache will do."""

    SUPPORTED_EXECUTOR_SPEC_TYPE = [
        executable_spec_pb2.PythonClassExecutableSpec,
        executable_spec_pb2.BeamExecutableSpec,
    ]
    SUPPORTED_PLATFORM_CONFIG_TYPE: ClassVar[list[type]] = []

    def run_executor(
        self, execution_info: data_types.ExecutionInfo
    ) -> execution_result_pb2.ExecutorOutput:
        """Runs the executor by TFX's own operator."""
        make_operator = launcher.DEFAULT_EXECUTOR_OPERATORS[type(self._executor_spec)]
        operator = make_operator(executor_spec=self._executor_spec)
        operator.with_execution_watcher(self._execution_watcher_address)
        if hasattr(operator, "beam_pipeline_args"):  # after the cache has been asked
            planned = [item.value.string_value for item in operator.beam_pipeline_args]
            operator.beam_pipeline_args = [
                PlaceholderExpression(value=Value(string_value=option))
                for option in options_of_node(planned, os.environ)
            ]
        return operator.run_executor(execution_info)


class NodeLauncher(launcher.Launcher):  # type: ignore[misc]
    """TFX's launcher, which says when it executes a node instead of taking it from the cache.

    Args:
        note_execution: is called right before the executor runs.
        arguments: TFX's.
    """

    def __init__(self, *, note_execution: Callable[[], None], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._note_execution = note_execution

    def _run_executor(
        self, execution_info: data_types.ExecutionInfo
    ) -> execution_result_pb2.ExecutorOutput:
        self._note_execution()
        return super()._run_executor(execution_info)


class MirroredLauncher(NodeLauncher):
    """A launcher where an object store, and not a disk, keeps artifacts between nodes.

    It pulls what an executor reads right before it runs, and pushes what it wrote before the node
    counts as done. A node that comes from the cache moves nothing: the store is only listed.
    """

    def __init__(self, *, mirror: Mirror, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._mirror = mirror

    def _run_executor(
        self, execution_info: data_types.ExecutionInfo
    ) -> execution_result_pb2.ExecutorOutput:
        # If this raises, the launcher publishes the node as failed; so a node whose outputs are
        # not in the store has failed.
        self._mirror.pull(self._covered(_paths_read(execution_info)))
        watched = [*self._covered(_path_property(execution_info, DIRECTORY))]
        for folder in watched:
            self._mirror.outline_versions(folder)
        before = {folder: set(version_names(folder)) for folder in watched}

        output = super()._run_executor(execution_info)

        self._mirror.push(self._covered(_paths_of(execution_info.output_dict)))
        for folder in watched:  # last: a version is served once it is there, whatever fails after
            for version in sorted(set(version_names(folder)) - before[folder]):
                self._mirror.push_version(folder / str(version))
        return output

    def _covered(self, paths: Iterable[Path]) -> Iterator[Path]:
        return (path for path in paths if self._mirror.covers(path))


def compile_plan(pipeline: Pipeline, run_id: str) -> pipeline_pb2.Pipeline:
    """Compiles a pipeline into TFX's intermediate representation, bound to one run.

    The plan can be serialized, and each of its nodes launched in a process or container of its own.
    """
    plan = compiler.Compiler().compile(pipeline)
    sign_plan(plan)
    runtime_parameter_utils.substitute_runtime_parameter(
        plan, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    return plan


def upstream_nodes(plan: pipeline_pb2.Pipeline) -> dict[Node, set[Node]]:
    """Returns for each node of the plan the nodes that have to end well before it starts."""
    nodes = (item.pipeline_node for item in plan.nodes)
    return {Node(node.node_info.id): {*map(Node, node.upstream_nodes)} for node in nodes}


def launch_node(
    plan: pipeline_pb2.Pipeline,
    node_id: str,
    *,
    store: metadata_store_pb2.ConnectionConfig,
    mirror: Mirror | None = None,
    use_cache: bool = True,
    note_execution: Callable[[], None] = lambda: None,
) -> NodeResult:
    """Runs one node: resolves its inputs, executes it or takes it from the cache, publishes it.

    Args:
        plan: what `compile_plan` returned.
        node_id: one of the plan's nodes.
        store: the connection to ML Metadata (see `pipeline.store.connection`).
        mirror: where artifacts are kept beyond this machine; None where the root itself lasts.
        use_cache: False executes the node even if an earlier run's outputs would do.
        note_execution: is called when the node is executed, and not if it comes from the cache.

    Raises:
        NodeFailedError: the node could not start or was published as failed.
        MetadataError: the metadata store cannot be used, or does not know an earlier run.
        ObjectStoreError: an input is not in the object store, or an output cannot be written to it.
        Exception: whatever the node's executor raised.
    """
    nodes = (item.pipeline_node for item in plan.nodes)
    [node] = [item for item in nodes if item.node_info.id == node_id]
    node.execution_options.caching_options.enable_cache &= use_cache
    deployment = runner_utils.extract_local_deployment_config(plan)
    handle = StoreHandle(store)
    make_launcher = partial(MirroredLauncher, mirror=mirror) if mirror else NodeLauncher
    ready = make_launcher(
        note_execution=note_execution,
        pipeline_node=node,
        mlmd_connection=handle,
        pipeline_info=plan.pipeline_info,
        pipeline_runtime_spec=plan.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
        custom_executor_operators=dict.fromkeys(
            LateOperator.SUPPORTED_EXECUTOR_SPEC_TYPE, LateOperator
        ),
    )

    started = time.monotonic()
    with explained(store):
        folder = Path(outputs_utils.get_node_dir(plan.runtime_spec, node_id))
        if mirror:
            # TFX reuses outputs of earlier runs only where their folders exist.
            mirror.outline(folder)
        with handle as opened:
            check_lineage(opened.store, plan.pipeline_info.id, [folder])
        info = ready.launch()
        if info is None or info.execution_id is None:
            raise NodeFailedError(f"{node_id} was not started: one of its inputs is missing.")
        result = _published(handle, plan.pipeline_info.id, info.execution_id)

    if result.state == "failed":
        raise NodeFailedError(f"{node_id} failed: one of its inputs could not be resolved.")
    return replace(result, seconds=time.monotonic() - started)


def _published(store: StoreHandle, pipeline: str, execution_id: int) -> NodeResult:
    """Reads from ML Metadata how an execution ended; the launcher does not return it."""
    with store as handle:
        [execution] = handle.store.get_executions_by_id([execution_id])
        return RunHistory(handle.store, pipeline).result_of(execution)


def _paths_read(execution_info: data_types.ExecutionInfo) -> Iterator[Path]:
    """Yields what an executor opens: inputs, the schema's file, the model that a blessing names."""
    yield from _paths_of(execution_info.input_dict)
    yield from _path_property(execution_info, SCHEMA_FILE)
    for artifacts in execution_info.input_dict.values():
        for artifact in artifacts:
            model = artifact.get_string_custom_property(ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY)
            if model:
                yield Path(model)


def _path_property(execution_info: data_types.ExecutionInfo, name: str) -> Iterator[Path]:
    path = execution_info.exec_properties.get(name)
    if path:
        yield Path(path)


def _paths_of(artifacts: dict[str, list[Any]]) -> Iterator[Path]:
    for group in artifacts.values():
        yield from (Path(artifact.uri) for artifact in group)
