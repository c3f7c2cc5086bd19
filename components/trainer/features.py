"""What the network reads, feature by feature, as Transform left it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow_transform as tft

from components.config import Categorical, Feature
from components.contracts.names import NUM_STEPS
from components.trainer.settings import Settings
from components.transform import names
from components.transform.scaling import OUT_OF_VOCABULARY_IDS, read_vocabulary


@dataclass(frozen=True)
class Embedded:
    """Ids that get an embedding.

    Attributes:
        size: number of ids, from 0.
        width: of the embedding.
        tokens: what the ids stand for, in order, where it is a vocabulary; for a warm start.
    """

    size: int
    width: int
    tokens: tuple[bytes, ...] | None = None


@dataclass(frozen=True)
class Layout:
    """The inputs of the network by their transformed names; None is a number that is read as it is."""

    steps: Mapping[str, Embedded | None]
    context: Mapping[str, Embedded | None]


def read_layout(settings: Settings, transform: tft.TFTransformOutput) -> Layout:
    """Returns the inputs of the network: the configured features, with the vocabularies that Transform learned."""
    steps = _inputs(settings.steps.features, names.step, names.step_missing, transform)
    context = _inputs(settings.context, names.context, names.context_missing, transform)
    return Layout(steps, context)


def _inputs(
    features: Mapping[str, Feature],
    name_of: Callable[[str], str],
    missing_of: Callable[[str], str],
    transform: tft.TFTransformOutput,
) -> dict[str, Embedded | None]:
    inputs: dict[str, Embedded | None] = {}
    for column, feature in features.items():
        name = name_of(column)
        if isinstance(feature, Categorical):
            tokens = tuple(read_vocabulary(transform, name))
            inputs[name] = Embedded(
                1 + len(tokens) + OUT_OF_VOCABULARY_IDS, feature.embedding, tokens
            )
            continue
        inputs[name] = (
            Embedded(1 + feature.buckets, feature.embedding) if feature.scale == "buckets" else None
        )
        inputs[missing_of(column)] = None
    return inputs


def parse_spec(layout: Layout, transform: tft.TFTransformOutput) -> dict[str, object]:
    """Returns how transformed examples are parsed: ragged steps, dense context, label and number of events."""
    spec = transform.transformed_feature_spec()
    return {name: spec[name] for name in (*layout.steps, *layout.context, NUM_STEPS, names.LABEL)}
