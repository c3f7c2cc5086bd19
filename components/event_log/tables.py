"""What each of the log's two tables has to hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from components.contracts.names import AS_OF, DERIVED_STEPS, EVENT_TYPE, LEARNER, TIME, UNIT
from components.event_log.spec import FeatureType, LogSpec


class Kind(StrEnum):
    """What a column holds, and so how it is read."""

    KEY = "key"  # text, never missing
    CLOCK = "clock"  # timestamps or numbers, never missing
    TEXT = "text"  # names; whole numbers among them as their digits
    NUMBER = "number"
    CLASS = "class"  # one of the configured classes
    SCORE = "score"  # a number, never missing
    ANY = "any"  # integers, floats or text, whichever the log has


@dataclass(frozen=True)
class Table:
    """A table of the log.

    Attributes:
        name: `events` or `outcomes`.
        kinds: the columns that are read, by their standard names.
        sources: what the log calls those that it calls otherwise.
        timezone: zone of timestamps that name none.
        nan_as_missing: whether NaN is a missing value instead of an error.
        classes: what a column of kind `CLASS` may hold.
    """

    name: str
    kinds: dict[str, Kind]
    sources: dict[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    nan_as_missing: bool = False
    classes: tuple[str, ...] = ()

    @property
    def clock(self) -> str:
        """The column that says when: `time` or `as_of`."""
        return next(name for name, kind in self.kinds.items() if kind is Kind.CLOCK)

    def source(self, name: str) -> str:
        """Returns what the log calls a column."""
        return self.sources.get(name, name)


def events_table(spec: LogSpec) -> Table:
    """Returns what events have to hold: the keys, the time, and every step feature that is not computed."""
    features = {
        name: _kind(type_) for name, type_ in spec.features.items() if name not in DERIVED_STEPS
    }
    columns = spec.columns
    return Table(
        name="events",
        kinds={LEARNER: Kind.KEY, UNIT: Kind.KEY, TIME: Kind.CLOCK, **features},
        sources={
            LEARNER: columns.learner_id, UNIT: columns.unit_id, TIME: columns.time, EVENT_TYPE: columns.event_type,
        },
        timezone=spec.timezone,
        nan_as_missing=spec.nan_as_missing,
    )  # fmt: skip


def outcomes_table(spec: LogSpec) -> Table:
    """Returns what outcomes have to hold: the keys, the moment, the label, and columns to group and slice by.

    What a model reads has the type that the configuration says, so that a log of whole numbers is no other log.
    """
    label = Kind.SCORE if spec.label.task == "regression" else Kind.CLASS
    others = {
        name: _kind(spec.inputs[name]) if name in spec.inputs else Kind.ANY
        for name in spec.outcome_columns
    }
    columns = spec.columns
    return Table(
        name="outcomes",
        kinds={
            LEARNER: Kind.KEY,
            UNIT: Kind.KEY,
            AS_OF: Kind.CLOCK,
            spec.label.column: label,
            **others,
        },
        sources={LEARNER: columns.learner_id, UNIT: columns.unit_id, AS_OF: columns.as_of},
        timezone=spec.timezone,
        nan_as_missing=spec.nan_as_missing,
        classes=tuple(spec.label.classes),
    )


def _kind(feature: FeatureType) -> Kind:
    return Kind.TEXT if feature == "categorical" else Kind.NUMBER
