"""The node ServingCheck: nothing is pushed unless a server gives the evaluated answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.node.cache_key import code_fingerprint
from components.node.definitions import NamedExecutor
from components.node.settings import ServingCheckSettings

if TYPE_CHECKING:
    from components.config.root import Config

EXECUTOR = "components.serving_check.executor.Executor"


class ServingCheckSpec(ComponentSpec):  # type: ignore[misc]
    """What ServingCheck reads and writes."""

    PARAMETERS = {
        "config": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "trained_model": ChannelParameter(type=standard_artifacts.Model),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }
    OUTPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
    }


class ServingCheck(BaseComponent):  # type: ignore[misc]
    """The node that replays test examples in a fresh process, and writes warm-up requests."""

    SPEC_CLASS = ServingCheckSpec
    EXECUTOR_SPEC = NamedExecutor(EXECUTOR)


def make_serving_check(
    config: Config, *, examples: BaseChannel, model: BaseChannel, evaluation: BaseChannel
) -> ServingCheck:
    """Returns the node.

    Args:
        config: the values of `ServingCheckSettings` are part of the cache key.
        examples: ExampleGen's `examples`.
        model: the Trainer's `model`.
        evaluation: the Evaluator's `evaluation` of that model.
    """
    spec = ServingCheckSpec(
        examples=examples,
        trained_model=model,
        evaluation=evaluation,
        model=Channel(type=standard_artifacts.Model),
        blessing=Channel(type=standard_artifacts.InfraBlessing),
        config=ServingCheckSettings.of(config).to_property(),
        code_fingerprint=code_fingerprint(EXECUTOR),
    )
    return ServingCheck(spec=spec)
