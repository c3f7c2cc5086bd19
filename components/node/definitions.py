"""Nodes without what they execute: executors by name, and the nodes of TFX that the DAG has.

A compiled pipeline holds names of classes only. TFX's modules of its nodes import the executors as
well, and so TensorFlow, Beam, TFDV and TFMA, which takes five seconds before the first node. The
definitions here compile to the same plan, but for executors of ours; a test compares them. Under
another version of TFX than `WRITTEN_FOR` its own classes are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec, ExecutorClassSpec
from tfx.proto import trainer_pb2, transform_pb2
from tfx.types import standard_artifacts, system_executions
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import json_utils
from tfx.version import __version__ as tfx_version

from components.node.cache_key import code_fingerprint

WRITTEN_FOR = "1.21.0"

_TEXT = ExecutionParameter(type=str, optional=True)
_NUMBER = ExecutionParameter(type=int, optional=True)


class NamedExecutor(ExecutorClassSpec):  # type: ignore[misc]
    """An executor by the name of its class, which is imported when the node executes.

    Args:
        name: module and class, such as `"components.pusher.executor.Executor"`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(BaseExecutor)
        self._name = name

    @property
    def class_path(self) -> str:
        """The name, which TFX otherwise reads from the class."""
        return self._name


class NamedBeamExecutor(NamedExecutor, BeamExecutorSpec):  # type: ignore[misc]
    """An executor that runs a Beam pipeline, by the name of its class."""


class _NodeOfTfx:
    """A node that ML Metadata knows by the name of TFX's own class."""

    TFX_CLASS: ClassVar[str]

    @classmethod
    def get_class_type(cls) -> str:
        """Returns the type of the node's executions."""
        return cls.TFX_CLASS


class _StatisticsGenSpec(ComponentSpec):  # type: ignore[misc]
    PARAMETERS = {"exclude_splits": _TEXT, "code_fingerprint": _TEXT}
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics)}
    TYPE_ANNOTATION = system_executions.Process


class StatisticsGen(_NodeOfTfx, BaseBeamComponent):  # type: ignore[misc]
    """Describes every split of examples."""

    TFX_CLASS = "tfx.components.statistics_gen.component.StatisticsGen"
    SPEC_CLASS = _StatisticsGenSpec
    EXECUTOR_SPEC = NamedBeamExecutor("components.statistics_gen.executor.Executor")

    def __init__(self, examples: BaseChannel) -> None:
        spec = _StatisticsGenSpec(
            examples=examples,
            exclude_splits="[]",
            code_fingerprint=code_fingerprint(self.EXECUTOR_SPEC.class_path),
            statistics=Channel(type=standard_artifacts.ExampleStatistics),
        )
        super().__init__(spec=spec)


class _ImportSchemaGenSpec(ComponentSpec):  # type: ignore[misc]
    PARAMETERS = {"schema_file": ExecutionParameter(type=str)}
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {}
    OUTPUTS = {"schema": ChannelParameter(type=standard_artifacts.Schema)}


class ImportSchemaGen(_NodeOfTfx, BaseComponent):  # type: ignore[misc]
    """Copies a schema's file into the pipeline."""

    TFX_CLASS = "tfx.components.schema_gen.import_schema_gen.component.ImportSchemaGen"
    SPEC_CLASS = _ImportSchemaGenSpec
    EXECUTOR_SPEC = NamedExecutor("tfx.components.schema_gen.import_schema_gen.executor.Executor")

    def __init__(self, schema_file: str) -> None:
        schema = Channel(type=standard_artifacts.Schema)
        super().__init__(spec=_ImportSchemaGenSpec(schema_file=schema_file, schema=schema))


class _ExampleValidatorSpec(ComponentSpec):  # type: ignore[misc]
    PARAMETERS = {"exclude_splits": _TEXT}
    INPUTS = {
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class ExampleValidator(_NodeOfTfx, BaseComponent):  # type: ignore[misc]
    """Compares statistics with a schema."""

    TFX_CLASS = "tfx.components.example_validator.component.ExampleValidator"
    SPEC_CLASS = _ExampleValidatorSpec
    EXECUTOR_SPEC = NamedExecutor("tfx.components.example_validator.executor.Executor")

    def __init__(self, statistics: BaseChannel, schema: BaseChannel) -> None:
        spec = _ExampleValidatorSpec(
            statistics=statistics,
            schema=schema,
            exclude_splits="[]",
            anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
        )
        super().__init__(spec=spec)


class _TransformSpec(ComponentSpec):  # type: ignore[misc]
    PARAMETERS = {
        "preprocessing_fn": _TEXT,
        "force_tf_compat_v1": _NUMBER,
        "custom_config": _TEXT,
        "splits_config": ExecutionParameter(type=transform_pb2.SplitsConfig, optional=True),
        "disable_statistics": _NUMBER,
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {
        "transform_graph": ChannelParameter(type=standard_artifacts.TransformGraph),
        "transformed_examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    TYPE_ANNOTATION = system_executions.Transform


class Transform(_NodeOfTfx, BaseBeamComponent):  # type: ignore[misc]
    """Learns a graph from examples, and transforms them with it."""

    TFX_CLASS = "tfx.components.transform.component.Transform"
    SPEC_CLASS = _TransformSpec
    EXECUTOR_SPEC = NamedBeamExecutor("components.transform.executor.Executor")

    def __init__(
        self,
        examples: BaseChannel,
        schema: BaseChannel,
        preprocessing_fn: str,
        splits_config: transform_pb2.SplitsConfig,
        custom_config: dict[str, Any],
        *,
        disable_analyzer_cache: bool,
        disable_statistics: bool,
    ) -> None:
        if not (disable_analyzer_cache and disable_statistics):
            raise ValueError("neither an analyzer's cache nor statistics are defined here")
        transformed = Channel(type=standard_artifacts.Examples)
        transformed.matching_channel_name = "examples"
        spec = _TransformSpec(
            examples=examples,
            schema=schema,
            preprocessing_fn=preprocessing_fn,
            force_tf_compat_v1=0,
            splits_config=splits_config,
            transform_graph=Channel(type=standard_artifacts.TransformGraph),
            transformed_examples=transformed,
            custom_config=json_utils.dumps(custom_config),
            disable_statistics=1,
        )
        super().__init__(spec=spec)


class _TrainerSpec(ComponentSpec):  # type: ignore[misc]
    PARAMETERS = {
        "train_args": ExecutionParameter(type=trainer_pb2.TrainArgs),
        "eval_args": ExecutionParameter(type=trainer_pb2.EvalArgs),
        "run_fn": _TEXT,
        "custom_config": _TEXT,
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "transform_graph": ChannelParameter(type=standard_artifacts.TransformGraph, optional=True),
        "base_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun),
    }
    TYPE_ANNOTATION = system_executions.Train


class Trainer(_NodeOfTfx, BaseComponent):  # type: ignore[misc]
    """Calls a function that fits a model."""

    TFX_CLASS = "tfx.components.trainer.component.Trainer"
    SPEC_CLASS = _TrainerSpec
    EXECUTOR_SPEC = NamedExecutor("tfx.components.trainer.executor.GenericExecutor")

    def __init__(
        self,
        run_fn: str,
        examples: BaseChannel,
        transform_graph: BaseChannel,
        base_model: BaseChannel | None,
        train_args: trainer_pb2.TrainArgs,
        eval_args: trainer_pb2.EvalArgs,
        custom_config: dict[str, Any],
    ) -> None:
        spec = _TrainerSpec(
            examples=examples,
            transform_graph=transform_graph,
            base_model=base_model,
            train_args=train_args,
            eval_args=eval_args,
            run_fn=run_fn,
            custom_config=json_utils.dumps(custom_config),
            model=Channel(type=standard_artifacts.Model),
            model_run=Channel(type=standard_artifacts.ModelRun),
        )
        super().__init__(spec=spec)


def make_node(kind: type[_NodeOfTfx], **arguments: Any) -> Any:
    """Returns a node of TFX: of the class given, or under another version of TFX, of TFX's own.

    Args:
        kind: one of the classes above.
        arguments: of its constructor, and so of TFX's.
    """
    if tfx_version == WRITTEN_FOR:
        return kind(**arguments)
    module, _, name = kind.TFX_CLASS.rpartition(".")
    return getattr(import_module(module), name)(**arguments)
