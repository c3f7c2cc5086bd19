"""Pusher: one more version of the model for TensorFlow Serving, complete or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.node.cache_key import code_fingerprint
from components.node.definitions import NamedExecutor

if TYPE_CHECKING:
    from components.config.root import Config

EXECUTOR = "components.pusher.executor.Executor"


class PusherSpec(ComponentSpec):  # type: ignore[misc]
    """What Pusher reads and writes."""

    PARAMETERS = {
        "config": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
        "directory": ExecutionParameter(type=str),
        "signed": ExecutionParameter(type=int),
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun),
    }
    OUTPUTS = {"pushed_model": ChannelParameter(type=standard_artifacts.PushedModel)}


class Pusher(BaseComponent):  # type: ignore[misc]
    """The node that adds a blessed model, with its papers, to TensorFlow Serving's folder."""

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = NamedExecutor(EXECUTOR)


def make_pusher(
    config: Config,
    *,
    directory: str,
    examples: BaseChannel,
    model: BaseChannel,
    model_blessing: BaseChannel,
    infra_blessing: BaseChannel,
    evaluation: BaseChannel,
    statistics: BaseChannel,
    model_run: BaseChannel,
    signed: bool = False,
) -> Pusher:
    """Returns the node.

    Args:
        config: its recipe goes into the manifest, so the whole recipe is in the cache key.
        directory: the folder that TensorFlow Serving watches.
        examples: ExampleGen's `examples`, for the data's fingerprint, span and summary.
        model: ServingCheck's `model`.
        model_blessing: the Evaluator's `blessing`.
        infra_blessing: ServingCheck's `blessing`.
        evaluation: the Evaluator's `evaluation`, for metrics and gates.
        statistics: StatisticsGen's `statistics`, for the data statement.
        model_run: the Trainer's `model_run`, for how the model was fitted.
        signed: whether there is a key to sign with. The key is not in the cache key, so that a
            signed model is not pushed again for a new key, but whether there is one: a model that
            was pushed without is pushed again.
    """
    spec = PusherSpec(
        examples=examples,
        model=model,
        model_blessing=model_blessing,
        infra_blessing=infra_blessing,
        evaluation=evaluation,
        statistics=statistics,
        model_run=model_run,
        pushed_model=Channel(type=standard_artifacts.PushedModel),
        config=json.dumps(config.recipe, sort_keys=True),
        code_fingerprint=code_fingerprint(EXECUTOR),
        directory=directory,
        signed=int(signed),
    )
    return Pusher(spec=spec)
