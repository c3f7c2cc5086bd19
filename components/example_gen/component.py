"""ExampleGen: a file-based component whose two inputs are events and outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.proto import example_gen_pb2
from tfx.types import channel_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.event_log.log_spec import LogSpec
from components.example_gen.driver import LogDriver, input_splits
from components.node.cache_key import code_fingerprint
from components.node.definitions import NamedBeamExecutor

if TYPE_CHECKING:
    from components.config.root import Config

EXECUTOR = "components.example_gen.executor.Executor"


class ExampleGenSpec(ComponentSpec):  # type: ignore[misc]
    """One input per pattern of files; the driver adds spans, version and fingerprint."""

    PARAMETERS = {
        "input_config": ExecutionParameter(type=example_gen_pb2.Input),
        # `data.span`; the driver replaces it by the names of the chosen spans.
        "spans": ExecutionParameter(type=str),
        "config": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class ExampleGen(BaseBeamComponent):  # type: ignore[misc]
    """Joins events and outcomes point in time, and splits the examples by learner or unit."""

    SPEC_CLASS = ExampleGenSpec
    EXECUTOR_SPEC = NamedBeamExecutor(EXECUTOR)
    DRIVER_CLASS = LogDriver


def make_example_gen(config: Config) -> ExampleGen:
    """Returns the node of a configuration.

    Its output `examples` has the splits train, eval and test.
    """
    splits = input_splits(config.data.events, config.data.outcome_files)
    spec = ExampleGenSpec(
        input_config=example_gen_pb2.Input(splits=splits),
        spans=config.data.span,
        config=LogSpec.of(config).to_property(),
        code_fingerprint=code_fingerprint(EXECUTOR, LogDriver.__module__),
        examples=channel_utils.as_channel([standard_artifacts.Examples()]),
    )
    return ExampleGen(spec=spec)
