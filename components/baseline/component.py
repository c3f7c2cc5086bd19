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


def make_baseline_resolver(model: BaseChannel) -> Resolver:
    """Returns the node `BaselineResolver`; its output `model` is for Evaluator's `baseline_model`, and may be empty.

    Args:
        model: the Trainer's `model`, the candidate that is to be compared.
    """
    return _make_resolver(LatestOtherBlessedModel, CANDIDATE, model).with_id("BaselineResolver")


def make_warm_start_resolver(examples: BaseChannel) -> Resolver:
    """Returns the node `WarmStartResolver`; its output `model` is for Trainer's `base_model`, and may be empty.

    Args:
        examples: ExampleGen's `examples`, which the run is going to be trained on.
    """
    return _make_resolver(LatestModelOfOtherExamples, EXAMPLES, examples).with_id(
        "WarmStartResolver"
    )


def _make_resolver(strategy: type[ResolverStrategy], key: str, channel: BaseChannel) -> Resolver:
    """Returns a resolver over the models and blessings of all runs, and one channel of the current run."""
    channels = {
        MODEL: Channel(type=standard_artifacts.Model),
        BLESSING: Channel(type=standard_artifacts.ModelBlessing),
        key: channel,
    }
    return Resolver(strategy_class=strategy, **channels)
