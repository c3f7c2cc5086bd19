"""What of the configuration decides how a log becomes examples, and nothing else: a part of ExampleGen's cache key."""

from __future__ import annotations

from typing import Literal

from components.config import Config
from components.config.data import Columns, Label, Splits
from components.config.section import Section

FeatureType = Literal["categorical", "numeric"]


class LogSpec(Section):
    """How a log is read, checked, joined and split; for the fields see the sections of `Config` they come from.

    Attributes:
        features: the type of each step feature.
        inputs: the type of each column of outcomes that the model reads.
    """

    columns: Columns
    timezone: str
    max_cold_start_share: float
    nan_as_missing: bool
    min_class_examples: int
    splits: Splits
    sample_learners: int | None
    label: Label
    max_steps: int
    features: dict[str, FeatureType]
    outcome_columns: list[str]
    inputs: dict[str, FeatureType]
    partitions: int

    @classmethod
    def of(cls, config: Config) -> LogSpec:
        """Returns the part of `config` that examples depend on; how a feature is scaled, say, is none of it."""
        data = config.data
        return cls(
            columns=data.columns,
            timezone=data.timezone,
            max_cold_start_share=data.max_cold_start_share,
            nan_as_missing=data.nan_as_missing,
            min_class_examples=data.min_class_examples,
            splits=data.splits,
            sample_learners=data.sample_learners,
            label=config.label,
            max_steps=config.steps.max_steps,
            features={name: feature.type for name, feature in config.steps.features.items()},
            outcome_columns=config.outcome_columns,
            inputs=_inputs(config),
            partitions=config.beam.partitions,
        )


def _inputs(config: Config) -> dict[str, FeatureType]:
    """Returns how the model reads columns of outcomes: as names where it groups by them, unless they are numbers."""
    groups: dict[str, FeatureType] = dict.fromkeys(config.prior.group_by, "categorical")
    return groups | {name: feature.type for name, feature in config.context.items()}
