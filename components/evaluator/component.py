"""Evaluator: judges a model on learners it has never seen, and blesses it if all gates pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.evaluator.evaluator_settings import EvaluatorSettings, digest_baseline
from components.node.cache_key import code_fingerprint
from components.node.definitions import NamedExecutor
from components.node.node_id import Node

if TYPE_CHECKING:
    from components.config.root import Config

EXECUTOR = "components.evaluator.executor.Executor"


class EvaluatorSpec(ComponentSpec):  # type: ignore[misc]
    """What Evaluator reads and writes."""

    PARAMETERS = {
        "config": ExecutionParameter(type=str),
        "code_fingerprint": ExecutionParameter(type=str),
        "baseline_digest": ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun, optional=True),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class Evaluator(BaseComponent):  # type: ignore[misc]
    """The node that writes predictions, metrics and the gates' verdicts to `evaluation`.

    The output `blessing` says whether all gates passed.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = NamedExecutor(EXECUTOR)


def make_evaluator(
    config: Config,
    *,
    examples: BaseChannel,
    model: BaseChannel,
    model_run: BaseChannel | None = None,
    baseline_model: BaseChannel | None = None,
) -> Evaluator:
    """Returns the node.

    Args:
        config: the sections of `EvaluatorSettings` are part of the cache key.
        examples: ExampleGen's `examples`; the test split is used.
        model: the Trainer's `model`.
        model_run: the Trainer's `model_run`, with the models of further seeds.
        baseline_model: the blessed model to compare with, from `components.baseline`; may be empty.

    Raises:
        MasteryError: `evaluation.baseline` is configured and holds no model.
    """
    spec = EvaluatorSpec(
        examples=examples,
        model=model,
        model_run=model_run,
        baseline_model=baseline_model,
        evaluation=Channel(type=standard_artifacts.ModelEvaluation),
        blessing=Channel(type=standard_artifacts.ModelBlessing),
        config=EvaluatorSettings.of(config).to_property(),
        baseline_digest=digest_baseline(config.evaluation.baseline),
        code_fingerprint=code_fingerprint(EXECUTOR),
    )
    node: Evaluator = Evaluator(spec=spec).with_id(Node.EVALUATOR)
    return node
