"""Derives outcomes from events: what became of a learner in a unit after a moment.

A question is a learner, a unit in which he or she has events before a moment, and that moment. Its
answer is in the events from the moment on, in a window that is closed at the moment and open at its
end. Where the log ends before the window does, there is no answer, not even one that could be given
already: those that are known early are not a fair sample.

The moments and the end of the log (`moments`) are the same for all parts of a log; questions and
answers follow from the rows of a part alone. So outcomes are derived part by part, and are then
joined with their events as if a table had held them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from components.config.outcomes import HORIZON, MOMENT, DerivedOutcomes
from components.contracts.names import AS_OF, EVENT_TYPE, FOLD, LEARNER, ORDER, TIME, UNIT
from components.event_log.derived_tables import BesideTable
from components.event_log.moments import Moments, find_moments
from components.event_log.point_in_time import (
    Part,
    cross_check,
    first_not_before,
    join_events,
    type_of_column,
)
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock

if TYPE_CHECKING:
    from components.event_log.clocks import Clock
    from components.event_log.log_spec import LogSpec
    from components.event_log.sources import LogFile

Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]  # int64 or float64: times, or positions of events

# Why a question has no outcome; in the order in which they are looked at.
NOT_BEGUN = "no event before the moment"
NOT_OVER = "window not over when the log ended"
DECIDED = "already decided before the moment"
NO_GRADE = "no grade"
FEW_ANSWERS = "too few answers"
NO_FOLD = "no fold in data.outcomes.table"

TRUE_FROM = 0.5  # of `completed` and `correct`


def join_part(
    events: Sequence[pl.DataFrame],
    outcomes: Sequence[pl.DataFrame],
    spec: LogSpec,
    read: Tally,
    files: Sequence[LogFile],
) -> Part:
    """Finds the events and the split of every outcome of a part, given or derived.

    Args:
        events: chunks of events.
        outcomes: chunks of outcomes of the same learners, at least one; or, where outcomes are
            derived, rows of their table, if there is one.
        spec: how the log is read.
        read: the counts of reading the whole log.
        files: the files of `outcomes`, for messages.
    """
    if spec.derived is None:
        return cross_check(events, outcomes, spec, read, files)

    clock = common_clock(read.clocks)
    assert clock is not None, "judge_reading refuses a log without one clock"
    rows, tally = derive(join_events(events, clock, spec), outcomes, spec, read, files)
    part = cross_check(events, [rows], spec, _with_types_made(read, spec.derived), [])
    return replace(part, tally=merge_tallies([part.tally, tally]))


def derive(
    events: pl.DataFrame,
    table: Sequence[pl.DataFrame],
    spec: LogSpec,
    read: Tally,
    files: Sequence[LogFile],
) -> tuple[pl.DataFrame, Tally]:
    """Derives the outcomes of some learners.

    Args:
        events: all events of these learners, on one clock.
        table: chunks of rows of the same learners from the table, if there is one.
        spec: how outcomes are derived.
        read: the counts of reading the whole log.
        files: the files of the table, for messages.

    Returns:
        `learner_id`, `unit_id`, `as_of`, the label, the columns of outcomes, `_fold` with
        `data.splits.column`, and `_order`; and the counts: how many questions have no outcome and
        why, problems.
    """
    derived = spec.derived
    assert derived is not None, "only called where outcomes are derived"
    clock = common_clock(read.clocks)
    assert clock is not None, "judge_reading refuses a log without one clock"
    moments, problems = find_moments(derived, clock, read, spec.timezone)
    known = BesideTable.of(table, spec, read)
    tally = Tally(problems=[*problems, *known.find_duplicates(files)])
    if moments is None:
        return _no_rows(clock, spec, read), tally

    asked = _ask(events, moments, read)
    places = known.places(asked.keys())
    values, none = _answers(asked, derived, known.rows, places, spec)
    no_fold = FOLD in known.rows.columns and known.take(FOLD, places).is_null().to_numpy()
    reasons = {
        NOT_BEGUN: asked.start >= asked.as_of,
        NOT_OVER: ~moments.is_over(asked.as_of),
        **none,
        NO_FOLD: no_fold | np.zeros(len(asked.as_of), np.bool_),
    }
    is_known, tally.unasked = _sift(reasons)

    rows = asked.keys().with_columns(
        pl.Series(AS_OF, asked.as_of).cast(clock.dtype),
        values.alias(spec.label.column),
        *_made_columns(asked, derived),
        *(known.take(name, places) for name in known.columns(spec)),
        pl.int_range(pl.len(), dtype=pl.Int64).alias(ORDER),
    )
    schema = _no_rows(clock, spec, read).schema
    rows = rows.filter(pl.Series(is_known)).select(schema.names()).cast(schema)
    if rows.height:
        as_of = rows[AS_OF].to_physical()
        tally.asked = (float(as_of.min()), float(as_of.max()))  # type: ignore[arg-type]
    tally.hints = known.hint_at_missing(rows)
    return rows, tally


def _with_types_made(read: Tally, derived: DerivedOutcomes) -> Tally:
    """Returns the counts of reading with the types of the columns that are made here."""
    whole = all(float(value).is_integer() for value in horizons(derived))
    made = {HORIZON: "integer" if whole else "float", MOMENT: "text"}
    return read.model_copy(update={"types": {**read.types, **made}})


def horizons(derived: DerivedOutcomes) -> list[float]:
    """Returns each moment in days after the start, or as the number it is; 0 for dates."""
    found = []
    for moment in derived.moments:
        days = moment.total_seconds() / 86_400 if hasattr(moment, "total_seconds") else moment
        found.append(days if isinstance(days, float) else 0.0)
    return found


def _no_rows(clock: Clock, spec: LogSpec, read: Tally) -> pl.DataFrame:
    """Returns a table of outcomes without rows."""
    assert spec.derived is not None, "only called where outcomes are derived"
    types = _with_types_made(read, spec.derived)
    label = pl.String() if spec.label.task == "classification" else pl.Float64()
    schema = {
        LEARNER: pl.String(),
        UNIT: pl.String(),
        AS_OF: clock.dtype,
        spec.label.column: label,
        **{name: type_of_column(name, spec, types) for name in spec.outcome_columns},
        **({} if spec.splits.column is None else {FOLD: pl.Int64()}),
        ORDER: pl.Int64(),
    }
    return pl.DataFrame(schema=schema)


def _sift(reasons: dict[str, Bools]) -> tuple[Bools, Counter[str]]:
    """Returns which questions have an outcome, and how many have none for which first reason."""
    left = ~np.zeros_like(reasons[NOT_BEGUN])
    counts: Counter[str] = Counter()
    for reason, applies in reasons.items():
        if count := int((left & applies).sum()):
            counts[reason] = count
        left &= ~applies
    return left, counts


@dataclass(frozen=True)
class _Asked:
    """Questions, and where in a learner's events their window is. Q questions, P pairs.

    Attributes:
        pairs: `learner_id` and `unit_id` of each pair that has events, sorted, `[P]`.
        events: sorted by pair, then by time and place in the log.
        pair: the pair of each question, `[Q]`.
        moment: which of the moments it is, `[Q]`.
        start: time of the pair's first event, `[Q]`.
        as_of: the moment, `[Q]`.
        first: position of the pair's first event, `[Q]`.
        low: position of the first event at or after the moment, `[Q]`.
        high: position after the last event in the window, `[Q]`.
    """

    pairs: pl.DataFrame
    events: pl.DataFrame
    pair: Numbers
    moment: Numbers
    start: Numbers
    as_of: Numbers
    first: Numbers
    low: Numbers
    high: Numbers

    def keys(self) -> pl.DataFrame:
        """Returns learner and unit of each question."""
        return self.pairs[self.pair]

    def column(self, name: str) -> Numbers:
        """Returns a column of numbers of the events; NaN where there is none."""
        return self.events[name].cast(pl.Float32).fill_null(np.nan).to_numpy()

    def are_of_types(self, types: Sequence[str]) -> Bools:
        """Returns which events are of one of some types; all events, if there are none."""
        if not types:
            return np.ones(self.events.height, np.bool_)
        return self.events[EVENT_TYPE].is_in([*types]).fill_null(value=False).to_numpy()


def _ask(events: pl.DataFrame, moments: Moments, read: Tally) -> _Asked:
    """Returns the questions about every learner in every unit, at every moment."""
    keys = [LEARNER, UNIT]
    pairs = events.select(keys).unique().sort(keys)
    number = pl.int_range(pl.len(), dtype=pl.Int64).alias("_pair")
    numbered = pairs.with_columns(number)
    ordered = events.join(numbered, on=keys, how="left").sort("_pair", TIME, ORDER)
    pair_of_event = ordered["_pair"].to_numpy()
    times = ordered[TIME].to_physical().to_numpy()

    firsts = np.searchsorted(pair_of_event, np.arange(pairs.height))
    ends = np.searchsorted(pair_of_event, np.arange(pairs.height), side="right")
    pair = np.repeat(np.arange(pairs.height), moments.count)
    moment = np.tile(np.arange(moments.count), pairs.height)
    start = times[firsts][pair]
    as_of = moments.as_of(start, pairs[UNIT], pair, moment, read)

    stop = moments.stop(as_of)
    asked = [as_of] if stop is None else [as_of, stop]
    low, *rest = first_not_before(pair_of_event, times, pair, asked)
    high = np.maximum(rest[0], low) if rest else ends[pair]
    return _Asked(pairs, ordered, pair, moment, start, as_of, firsts[pair], low, high)


def _answers(
    asked: _Asked, derived: DerivedOutcomes, table: pl.DataFrame, places: pl.Series, spec: LogSpec
) -> tuple[pl.Series, dict[str, Bools]]:
    """Returns the label of each question, and which have none for which reason."""
    classes = spec.label.classes
    if derived.grades_are_in_table:
        grades = table[spec.label.column].gather(places)
        none = {NO_GRADE: grades.is_null().to_numpy()}
        if not derived.cuts:
            return grades, none
        return _cut(grades.fill_null(np.nan).to_numpy(), derived.cuts, classes), none

    counting = asked.are_of_types(derived.event_types)
    if derived.derive == "inactivity":
        return _classes(_among(counting, asked.low, asked.high) > 0, classes), {}
    if derived.derive == "grade":
        numbers, none = _last_score(asked, derived, counting)
    elif derived.derive == "next_answers":
        numbers, none = _right_answers(asked, derived, counting)
    else:
        decisive = counting & _is_decisive(asked, derived)
        none = {DECIDED: _among(decisive, asked.first, asked.low) > 0}
        return _classes(_among(decisive, asked.low, asked.high) > 0, classes), none

    if classes:
        return _cut(numbers, derived.cuts, classes), none
    return pl.Series(numbers, dtype=pl.Float64), none


def _is_decisive(asked: _Asked, derived: DerivedOutcomes) -> Bools:
    """Returns which events complete or pass a unit, if they are of the right type."""
    column = derived.answer_column
    if column is None:
        return np.ones(asked.events.height, np.bool_)
    lowest = TRUE_FROM if derived.min_score is None else derived.min_score
    return asked.column(column) >= np.float32(lowest)


def _among(is_one: Bools, low: Numbers, high: Numbers) -> Numbers:
    """Returns how many events from `low` to before `high` are one, for each question."""
    before = np.concatenate([[0], np.cumsum(is_one)])
    return np.asarray(before[high] - before[low])


def _last_score(
    asked: _Asked, derived: DerivedOutcomes, counting: Bools
) -> tuple[Numbers, dict[str, Bools]]:
    """Returns the last score in the window; decided is one before it, with none in it."""
    scores = asked.column(str(derived.answer_column))
    scored = counting & ~np.isnan(scores)
    among = np.flatnonzero(scored)
    until = np.concatenate([[0], np.cumsum(scored)])[asked.high]  # scores before the window's end
    has_one = _among(scored, asked.low, asked.high) > 0
    last = np.full(len(asked.as_of), np.nan)
    last[has_one] = scores[among[until[has_one] - 1]]
    before = _among(scored, asked.first, asked.low) > 0
    return last, {DECIDED: ~has_one & before, NO_GRADE: ~has_one & ~before}


def _right_answers(
    asked: _Asked, derived: DerivedOutcomes, counting: Bools
) -> tuple[Numbers, dict[str, Bools]]:
    """Returns how many of the next answers in the window are right."""
    answers = asked.column(str(derived.answer_column))
    answered = counting & ~np.isnan(answers)
    among = np.flatnonzero(answered)
    first = np.concatenate([[0], np.cumsum(answered)])[asked.low]  # answers before the moment
    enough = _among(answered, asked.low, asked.high) >= derived.next

    right = np.concatenate([[0], np.cumsum(answers[among] >= TRUE_FROM)])
    count = np.full(len(asked.as_of), np.nan)
    count[enough] = right[first[enough] + derived.next] - right[first[enough]]
    return count, {FEW_ANSWERS: ~enough}


def _classes(is_upper: Bools, classes: Sequence[str]) -> pl.Series:
    return pl.Series(np.array(classes, dtype=object)[is_upper.astype(np.int64)], dtype=pl.String)


def _cut(numbers: Numbers, cuts: Sequence[float], classes: Sequence[str]) -> pl.Series:
    """Returns the class of each number, in 32 bits as numbers of events are; any for NaN."""
    bounds = np.array(cuts, np.float32)
    place = np.searchsorted(bounds, numbers.astype(np.float32), side="right")
    return pl.Series(np.array(classes, dtype=object)[place], dtype=pl.String)


def _made_columns(asked: _Asked, derived: DerivedOutcomes) -> list[pl.Series]:
    days = np.array(horizons(derived))
    if all(float(day).is_integer() for day in days):
        days = days.astype(np.int64)
    texts = np.array(derived.at, dtype=object)[asked.moment]
    return [pl.Series(HORIZON, days[asked.moment]), pl.Series(MOMENT, texts, dtype=pl.String)]
