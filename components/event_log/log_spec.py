"""The part of the configuration that says how a log is read, checked, joined and split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from components.config.csv_dialect import CsvDialect
from components.config.data import Columns, Label, Splits
from components.config.mapping import EventMapping
from components.config.outcomes import DerivedOutcomes
from components.contracts.names import AS_OF, LEARNER, SPLIT, UNIT
from components.node.settings import NodeSettings

if TYPE_CHECKING:
    from components.config.root import Config

FeatureType = Literal["categorical", "numeric"]


class LogSpec(NodeSettings):
    """ExampleGen's part of the configuration.

    For the fields see the sections of `Config` they come from. How a feature is scaled, for
    example, is not among them: examples do not depend on it.

    Attributes:
        features: the type of each step feature.
        inputs: the type of each column of outcomes that the model reads.
    """

    columns: Columns
    timezone: str
    max_cold_start_share: float
    nan_as_missing: bool
    min_class_examples: int
    mapping: EventMapping | None = None
    csv: CsvDialect = CsvDialect()
    outcomes_csv: CsvDialect = CsvDialect()
    dwell_cap_seconds: float | None = None
    derived: DerivedOutcomes | None = None
    splits: Splits
    sample_learners: int | None
    left_out: str | None = None
    label: Label
    history: Literal["unit", "learner"]
    max_steps: int
    shared: bool
    features: dict[str, FeatureType]
    outcome_columns: list[str]
    inputs: dict[str, FeatureType]
    partitions: int
    replay: float = 0.0

    @classmethod
    def of(cls, config: Config) -> Self:
        """Returns the part of `config` that examples depend on."""
        data = config.data
        return cls(
            columns=data.columns,
            timezone=data.timezone,
            max_cold_start_share=data.max_cold_start_share,
            nan_as_missing=data.nan_as_missing,
            min_class_examples=data.min_class_examples,
            mapping=data.event_mapping,
            csv=data.csv,
            outcomes_csv=data.outcomes_csv,
            dwell_cap_seconds=data.dwell_cap_seconds,
            derived=data.derived,
            splits=data.splits,
            sample_learners=data.sample_learners,
            left_out=data.left_out,
            label=config.label,
            history=config.steps.history,
            max_steps=config.steps.max_steps,
            shared=config.steps.shared,
            features={name: feature.type for name, feature in config.steps.features.items()},
            outcome_columns=config.outcome_columns,
            inputs=_inputs(config),
            partitions=config.beam.partitions,
            replay=data.replay,
        )

    @property
    def sequence_keys(self) -> tuple[str, ...]:
        """The columns that an outcome has in common with the events that it may see."""
        if self.history == "unit":
            return (LEARNER, UNIT)
        return (LEARNER, SPLIT) if self.hides_units else (LEARNER,)

    @property
    def hides_units(self) -> bool:
        """Whether outcomes do not see all events of their learner; see `splits.show_events`."""
        return self.history == "learner" and self.splits.by == "unit"

    def without_splits(self) -> Self:
        """Returns how a log is read that is only asked about: no unit in it is held out."""
        return self.model_copy(update={"splits": Splits(seed=self.splits.seed)})

    @property
    def sequence_owner(self) -> str:
        """Whose events an outcome may see, in words."""
        return "learner and unit" if self.history == "unit" else "learner"

    def to_property(self) -> str:
        """Returns JSON in the order of the fields: that of the features is theirs in examples."""
        return self.model_dump_json(by_alias=True)


def question_spec(config: Config) -> LogSpec:
    """Returns how a log without labels is read: without classes, slices and splits."""
    inputs = dict.fromkeys([*config.context, *config.prior.group_by])
    label = Label(column=config.label.column, task="regression")
    columns = [name for name in inputs if name not in (LEARNER, UNIT, AS_OF)]
    spec = LogSpec.of(config).without_splits()
    update = {"label": label, "outcome_columns": columns, "derived": None}
    return spec.model_copy(update=update)


def _inputs(config: Config) -> dict[str, FeatureType]:
    """Returns the type of each column of outcomes that the model reads.

    Columns that it groups by are names, unless the context declares them as numbers.
    """
    groups: dict[str, FeatureType] = dict.fromkeys(config.prior.group_by, "categorical")
    return groups | {name: feature.type for name, feature in config.context.items()}
