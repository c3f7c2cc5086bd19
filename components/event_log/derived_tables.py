"""The table beside derived outcomes, and what events must have for them.

The table has a row per learner, or per learner and unit: grades, and columns to slice by or that
the model reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from components.config.outcomes import MADE
from components.contracts.names import AS_OF, EVENT_TYPE, FOLD, LEARNER, ORDER, TIME, UNIT
from components.event_log.clocks import TIMESTAMP, read_compact
from components.event_log.column_kinds import Kind
from components.event_log.point_in_time import find_duplicates, type_of_column
from components.event_log.problems import Hint, describe
from components.event_log.tally import Start

if TYPE_CHECKING:
    from components.config.outcomes import DerivedOutcomes
    from components.event_log.column_kinds import Table
    from components.event_log.log_spec import LogSpec
    from components.event_log.problems import Problem
    from components.event_log.sources import LogFile
    from components.event_log.tally import Tally


def answer_columns(derived: DerivedOutcomes | None) -> dict[str, Kind]:
    """Returns the columns of events that outcomes are derived from."""
    if derived is None or derived.grades_are_in_table:
        return {}
    answer = derived.answer_column
    types = {EVENT_TYPE: Kind.TEXT} if derived.event_types else {}
    return types if answer is None else {**types, answer: Kind.NUMBER}


def table_beside(given: Table, derived: DerivedOutcomes, label: str) -> Table:
    """Returns the columns of the table beside derived outcomes.

    Args:
        given: the columns that a table of outcomes would have.
        derived: how they are derived.
        label: the column that would have the label.
    """
    kinds = {name: kind for name, kind in given.kinds.items() if name not in (AS_OF, *MADE)}
    kinds[UNIT] = Kind.KEY if given.units_have_folds else Kind.OPTIONAL_KEY
    if derived.mapping and UNIT not in derived.mapping and not given.units_have_folds:
        del kinds[UNIT]
    sources = {} if derived.mapping else dict(given.sources)
    if derived.grades_are_in_table:
        is_number = given.kinds[label] is Kind.SCORE or bool(derived.cuts)
        kinds[label] = Kind.GRADE_NUMBER if is_number else Kind.GRADE
        sources[label] = derived.column
    else:
        del kinds[label]
    return replace(
        given,
        kinds=kinds,
        sources=sources,
        grades=derived.values,
        mapping=derived.table_mapping,
        optional=frozenset(name for name in kinds if kinds[name] is Kind.OPTIONAL_KEY),
    )


def starts_of_units(events: pl.DataFrame, timezone: str) -> dict[str, Start]:
    """Returns the earliest time in each unit, where it is a number also as a compact date."""
    if events.is_empty():
        return {}
    is_number = events.schema[TIME].is_numeric()
    stamps = read_compact(events[TIME], timezone) if is_number else events[TIME]
    first = (
        events.select(UNIT, TIME)
        .with_columns(stamps.cast(TIMESTAMP).to_physical().alias("stamp"))
        .group_by(UNIT)
        .agg(pl.col("stamp").min(), pl.col(TIME).min())
    )
    return {
        unit: Start(stamp=stamp, number=time if is_number else None)
        for unit, stamp, time in first.iter_rows()
    }


@dataclass(frozen=True)
class BesideTable:
    """What the table says about some learners.

    Attributes:
        rows: `learner_id`, `unit_id` (null where a row is about a learner in every unit), `_order`
            and the columns that are wanted, each of one type.
        is_given: whether there is a table.
    """

    rows: pl.DataFrame
    is_given: bool

    @classmethod
    def of(cls, chunks: Sequence[pl.DataFrame], spec: LogSpec, read: Tally) -> BesideTable:
        """Joins the chunks of a part."""
        types = {
            name: type_of_column(name, spec, read)
            for name in spec.outcome_columns
            if name not in MADE
        }
        keys = {LEARNER: pl.String(), UNIT: pl.String(), ORDER: pl.Int64()}
        empty = pl.DataFrame(schema={**keys, **types, **_types_of_answers(spec)})
        typed = [chunk.cast(pl.Schema(types)) for chunk in chunks]
        assert spec.derived is not None, "only called where outcomes are derived"
        rows = pl.concat([empty, *typed], how="diagonal").sort(ORDER)
        return cls(rows, bool(spec.derived.table))

    def columns(self, spec: LogSpec) -> list[str]:
        """Returns the columns that outcomes get."""
        wanted = [*spec.outcome_columns, *([] if spec.splits.column is None else [FOLD])]
        return [name for name in wanted if name in self.rows.columns]

    def places(self, keys: pl.DataFrame) -> pl.Series:
        """Returns the row of each question: that of learner and unit, else of the learner."""
        numbered = self.rows.select(LEARNER, UNIT, pl.int_range(pl.len()).alias("place"))
        of_unit = numbered.filter(pl.col(UNIT).is_not_null()).unique([LEARNER, UNIT])
        of_all = numbered.filter(pl.col(UNIT).is_null()).unique(LEARNER).drop(UNIT)
        found = keys.join(of_unit, on=[LEARNER, UNIT], how="left", maintain_order="left")
        found = found.join(of_all, on=LEARNER, how="left", maintain_order="left", suffix="_all")
        return found.select(pl.coalesce("place", "place_all")).to_series()

    def take(self, name: str, places: pl.Series) -> pl.Series:
        """Returns a column, null for questions without a row."""
        return self.rows[name].gather(places)

    def find_duplicates(self, files: Sequence[LogFile]) -> list[Problem]:
        """Returns problems of learners, or learners in a unit, with two rows."""
        return find_duplicates(self.rows, files, keys=(LEARNER, UNIT)) if self.is_given else []

    def hint_at_missing(self, outcomes: pl.DataFrame) -> list[Hint]:
        """Returns a hint at learners with outcomes who have no row."""
        if not self.is_given:
            return []
        asked = outcomes.select(LEARNER, UNIT)
        missing = asked.filter(self.places(asked).is_null())[LEARNER].unique().sort()
        if missing.is_empty():
            return []
        text = "learners without a row in data.outcomes.table (its columns are missing)"
        example = f"learner {describe(missing[0])}"
        return [Hint(text=text, count=len(missing), example=example)]


def _types_of_answers(spec: LogSpec) -> dict[str, pl.DataType]:
    """Returns the types of the columns that only derived outcomes have in their table."""
    derived = spec.derived
    assert derived is not None, "only called where outcomes are derived"
    types: dict[str, pl.DataType] = {}
    if derived.grades_are_in_table:
        is_number = spec.label.task == "regression" or bool(derived.cuts)
        types[spec.label.column] = pl.Float64() if is_number else pl.String()
    if spec.splits.column is not None:
        types[FOLD] = pl.Int64()
    return types
