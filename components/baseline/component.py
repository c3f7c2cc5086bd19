"""The nodes that find a blessed model for Evaluator and Trainer."""

from __future__ import annotations

from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel

from components.baseline.strategy import (
    BLESSING,
    CANDIDATE,
    EXAMPLES,
    MODEL,
    LatestModelOfOtherExamples,
    LatestOtherBlessedModel,
)
from components.node.node_id import Node


def make_baseline_resolver(model: BaseChannel) -> Resolver:
    """Returns the node that finds the baseline of a candidate.

    Its output `model` is for Evaluator's `baseline_model`, and may be empty.

    Args:
        model: the Trainer's `model`, the candidate that is compared.
    """
    node = _make_resolver(LatestOtherBlessedModel, CANDIDATE, model)
    return node.with_id(Node.BASELINE_RESOLVER.value)


def make_warm_start_resolver(examples: BaseChannel) -> Resolver:
    """Returns the node that finds the model to start training from.

    Its output `model` is for Trainer's `base_model`, and may be empty.

    Args:
        examples: ExampleGen's `examples`, which the run trains on.
    """
    node = _make_resolver(LatestModelOfOtherExamples, EXAMPLES, examples)
    return node.with_id(Node.WARM_START_RESOLVER.value)


def _make_resolver(strategy: type[ResolverStrategy], key: str, channel: BaseChannel) -> Resolver:
    """Returns a resolver over models and blessings of all runs, and one channel of this run."""
    channels = {
        MODEL: Channel(type=standard_artifacts.Model),
        BLESSING: Channel(type=standard_artifacts.ModelBlessing),
        key: channel,
    }
    return Resolver(strategy_class=strategy, **channels)
