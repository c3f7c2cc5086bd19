"""How early a decision is right: what it has found by each day, and how many days ahead.

A learner is asked about a unit on one day or on several. Somebody acts the first time that the
learner is named. So a learner counts as found from that day on, whatever is answered later, and the
lead time runs from that day to the one on which the outcome is known. Nobody can be found before
the first day on which somebody asks: shares by a day are of those who were asked about by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import sparse

from components.config.decisions import EarlyWarning
from components.contracts.decision_results import (
    DecisionMetrics,
    DecisionResults,
    EarlyWarningResults,
    WarningDay,
)
from components.contracts.names import DAYS_SEEN, LEARNER, UNIT, decision_output
from components.evaluator.decisions import Bools, DecisionAnswers
from components.evaluator.draws import MIN_LEARNERS, Draws, interval_of
from components.evaluator.resampling import (
    Floats,
    Ints,
    Measure,
    Sums,
    count_learners,
    draw_metrics,
    ratio,
)
from components.evaluator.scoring import LABEL, class_indices
from components.evaluator.warning_words import warning_sentence

if TYPE_CHECKING:
    from components.config.decisions import Decision
    from components.evaluator.evaluator_settings import EvaluatorSettings

DAYS = (3.0, 7.0, 14.0, 21.0, 30.0, 60.0, 90.0)
MOST_DAYS = 20  # distinct days of a column that are reported as they are

_DAY, _PLACE, _INDEX, _KNOWN = "_day", "_place", "_index", "_known"
_SUMS = ("of_class", "named", "right", "timed", "lead")


@dataclass(frozen=True)
class Timeline:
    """The rows of predictions whose day is known.

    Attributes:
        rows: `learner_id`, `unit_id`, `label`, the outputs of decisions, the learner's index, the
            day, its place among `days`, and the day on which the outcome is known, if that is.
        days: the days to report, rising.
        learners: how many learners the predictions have.
        notes: what was left out.
    """

    rows: pl.DataFrame
    days: list[float]
    learners: int
    notes: list[str] = field(default_factory=list)


def add_early_warning(
    results: Sequence[DecisionResults], predictions: Path, settings: EvaluatorSettings
) -> list[DecisionResults]:
    """Returns decisions with what each has found by each day, where days are known.

    Args:
        results: the decisions that the model takes.
        predictions: its answers.
        settings: the early warning, the draws and the confidence of intervals.
    """
    rules = settings.evaluation.early_warning or EarlyWarning()
    column = rules.by or DAYS_SEEN
    decisions = [
        decision
        for decision in settings.decisions
        if decision.name in {result.name for result in results}
    ]
    if not decisions or column not in pl.read_parquet_schema(predictions):
        return [*results]

    outputs = [decision_output(decision.name) for decision in decisions]
    named = dict.fromkeys([LEARNER, UNIT, LABEL, *outputs, column, *rules.columns])
    timeline = _timeline(pl.read_parquet(predictions, columns=[*named]), rules)
    if timeline.rows.is_empty():
        return [*results]
    found = _measure(timeline, decisions, settings)
    by = rules.by
    return [
        result.model_copy(update={"early_warning": _describe(result, found, timeline, by)})
        for result in results
    ]


def _timeline(table: pl.DataFrame, rules: EarlyWarning) -> Timeline:
    """Returns the rows whose day is known, of outcomes that were not known before."""
    column, known = rules.by or DAYS_SEEN, rules.outcome_day
    known_on = pl.col(known) if isinstance(known, str) else pl.lit(known)
    rows = table.with_columns(
        pl.col(column).cast(pl.Float64, strict=False).alias(_DAY),
        known_on.cast(pl.Float64, strict=False).alias(_KNOWN),
        (pl.col(LEARNER).rank("dense").cast(pl.Int64) - 1).alias(_INDEX),
    )
    days = days_to_report(rows[_DAY].drop_nulls().drop_nans(), rules)
    rows = rows.with_columns(place_of(rows[_DAY], days))

    wanted = {
        "their day is not known": pl.col(_DAY).is_finite().fill_null(value=False),
        "their day is after the last one reported": pl.col(_PLACE) < len(days),
        "they were asked for after the outcome was known": (
            (pl.col(_DAY) <= pl.col(_KNOWN)).fill_null(value=True)
        ),
        "the outcome of the learner in the unit is not the same on all days": (
            pl.col(LABEL).n_unique().over(LEARNER, UNIT) == 1
        ),
    }
    notes = []
    for why, is_wanted in wanted.items():
        kept = rows.filter(is_wanted)
        if left := len(rows) - len(kept):
            notes.append(f"{left:,} of {len(table):,} answers are left out: {why}.")
        rows = kept
    return Timeline(rows, days, int(table[LEARNER].n_unique()), notes)


def days_to_report(found: pl.Series, rules: EarlyWarning) -> list[float]:
    """Returns the days to report, rising, of those found, which are finite."""
    if found.is_empty():
        return []
    if rules.days:
        return rules.days
    distinct = found.unique().sort().to_list()
    if rules.by is not None and len(distinct) <= MOST_DAYS:
        return distinct
    last = next((day for day in DAYS if day >= distinct[-1]), DAYS[-1])
    return [day for day in DAYS if day <= last]


def place_of(days: pl.Series, reported: Sequence[float]) -> pl.Series:
    """Returns the place of the first reported day that is not before each day; their number after.

    >>> place_of(pl.Series([0.5, 3, 4, 99]), [3, 7]).to_list()
    [0, 0, 1, 2]
    """
    places = np.searchsorted(np.array(reported), days.cast(pl.Float64).to_numpy(), side="left")
    return pl.Series(_PLACE, places, pl.Int64)


@dataclass(frozen=True)
class FirstWarnings:
    """When each learner in a unit was first asked about, and first named; P of them.

    Attributes:
        learners: index of the learner, [P].
        asked: place of the first day on which somebody asked, [P].
        named: place of the first day on which the decision was taken; the number of days where it
            never was, [P].
        is_class: whether the learner is of the class, bool [P].
        lead: days from the day of the first naming to the one on which the outcome is known; 0
            where the learner was never named, NaN where the day is not known, [P].
    """

    learners: Ints
    asked: Ints
    named: Ints
    is_class: Bools
    lead: Floats

    @classmethod
    def of(cls, timeline: Timeline, decision: Decision) -> FirstWarnings:
        """Returns those of a decision."""
        taken = pl.col(decision_output(decision.name))
        first = pl.col(_PLACE, _DAY, _KNOWN).sort_by(_DAY).filter(taken.sort_by(_DAY)).first()
        pairs = (
            timeline.rows.group_by(LEARNER, UNIT)
            .agg(
                pl.col(_INDEX).first(),
                pl.col(_PLACE).min().alias("asked"),
                (pl.col(LABEL).first() == decision.class_).alias("is_class"),
                first.name.prefix("first"),
            )
            .with_columns((pl.col(f"first{_KNOWN}") - pl.col(f"first{_DAY}")).alias("lead"))
            .sort(LEARNER, UNIT)  # sums do not depend on the order of the predictions
        )
        never = pairs[f"first{_PLACE}"].is_null()
        return cls(
            learners=pairs[_INDEX].to_numpy(),
            asked=pairs["asked"].to_numpy(),
            named=pairs[f"first{_PLACE}"].fill_null(len(timeline.days)).to_numpy(),
            is_class=pairs["is_class"].to_numpy(),
            lead=pairs["lead"].set(never, 0.0).fill_null(float("nan")).to_numpy(),
        )

    def columns(self, place: int) -> list[Floats]:
        """Returns what is summed by one day, as `_SUMS` names it, each [P].

        Those who are named rightly are timed where it is known when their outcome is.
        """
        named = self.named <= place
        right = named & self.is_class
        of_class = (self.asked <= place) & self.is_class
        timed = right & np.isfinite(self.lead)
        lead = np.where(timed, self.lead, 0.0)
        return [np.asarray(column, np.float64) for column in (of_class, named, right, timed, lead)]

    def measure(self, places: int, count: int) -> Measure:
        """Returns a function from counts of learners, [L, D], to recall, precision and lead.

        Args:
            places: how many days there are.
            count: L.
        """
        columns = [column for place in range(places) for column in self.columns(place)]
        sums = [np.bincount(self.learners, column, minlength=count) for column in columns]
        return partial(_measure_days, sparse.csr_matrix(np.array(sums)))


def _measure_days(sums: Sums, counts: Floats) -> Draws:
    draws: Draws = {}
    by_day = (sums @ counts).reshape(-1, len(_SUMS), counts.shape[1])
    for place, (of_class, named, right, timed, lead) in enumerate(by_day):
        draws["recall", place] = ratio(right, of_class)
        draws["precision", place] = ratio(right, named)
        draws["lead_days", place] = ratio(lead, timed)
    return draws


@dataclass(frozen=True)
class Found:
    """What is known of all decisions.

    Attributes:
        first: when each learner was first named, by the decision's name.
        by_day: the draws of `FirstWarnings.measure`, by the decision's name.
        on_day: the metrics of the answers of each day alone, by the decision's name.
        confidence: of intervals.
    """

    first: dict[str, FirstWarnings]
    by_day: Mapping[str, Draws]
    on_day: dict[str, list[DecisionMetrics]]
    confidence: float


def _measure(
    timeline: Timeline, decisions: Sequence[Decision], settings: EvaluatorSettings
) -> Found:
    classes, rules = settings.label.classes, settings.evaluation
    learners = timeline.rows[_INDEX].to_numpy()
    labels = class_indices(timeline.rows[LABEL], classes)
    answers = DecisionAnswers.of(timeline.rows, labels, decisions, classes)
    places = timeline.rows[_PLACE].to_numpy()
    alone = [np.flatnonzero(places == place) for place in range(len(timeline.days))]

    first = {decision.name: FirstWarnings.of(timeline, decision) for decision in decisions}
    measures: dict[str | int, Measure] = {
        name: item.measure(len(timeline.days), timeline.learners) for name, item in first.items()
    }
    measures |= {
        place: answers.at(rows).measure(learners[rows], timeline.learners)
        for place, rows in enumerate(alone)
        if count_learners(learners[rows]) >= MIN_LEARNERS
    }
    drawn = draw_metrics(measures, learners=timeline.learners, draws=rules.draws)

    on_day: dict[str, list[DecisionMetrics]] = {name: [] for name in first}
    for place, rows in enumerate(alone):
        for name, metrics in answers.at(rows).count().items():
            on_day[name].append(
                _with_intervals(metrics, drawn.get(place, {}), name, rules.confidence)
            )
    by_day = {name: drawn.get(name, {}) for name in first}
    return Found(first, by_day, on_day, rules.confidence)


def _with_intervals(
    metrics: DecisionMetrics, draws: Draws, name: str, confidence: float
) -> DecisionMetrics:
    found = {
        metric: interval_of(values, confidence)
        for (metric, decision), values in draws.items()
        if decision == name
    }
    intervals = {metric: interval for metric, interval in found.items() if interval}
    return metrics.model_copy(update={"intervals": intervals})


def _describe(
    result: DecisionResults, found: Found, timeline: Timeline, by: str | None
) -> EarlyWarningResults:
    first = found.first[result.name]
    days = [
        _warning_day(result, found, place, day)
        for place, day in enumerate(timeline.days)
        if (first.asked <= place).any()
    ]
    last = days[-1]
    half = next((day for day in days if 0 < last.right <= 2 * day.right), last)
    return EarlyWarningResults(
        by=by,
        days=days,
        has_lead=any(day.lead_days is not None for day in days),
        headline=half.sentence,
        notes=timeline.notes,
    )


def _warning_day(result: DecisionResults, found: Found, place: int, day: float) -> WarningDay:
    """Returns what a decision has found by a day on which somebody has been asked about."""
    first, draws = found.first[result.name], found.by_day[result.name]
    sums = (float(column.sum()) for column in first.columns(place))
    of_class, named, right, timed, lead = sums
    asked = first.asked <= place
    warned = WarningDay(
        day=day,
        learners=int(asked.sum()),
        of_class=int(of_class),
        named=int(named),
        right=int(right),
        recall=right / of_class if of_class else None,
        precision=right / named if named else None,
        lead_days=lead / timed if timed else None,
        on_day=found.on_day[result.name][place],
    )
    intervals = {
        metric: interval
        for metric in ("recall", "precision", "lead_days")
        if count_learners(first.learners[asked]) >= MIN_LEARNERS
        and getattr(warned, metric) is not None
        and (interval := interval_of(draws.get((metric, place)), found.confidence))
    }

    warned = warned.model_copy(update={"intervals": intervals})
    sentence = warning_sentence(warned, result.who, asked_share=float(asked.mean()))
    return warned.model_copy(update={"sentence": sentence})
