"""Measures how good answers are: expected from their probabilities, realised by outcomes.

Expected quality needs no outcome, so it is there on the day of the answers; realised quality
follows when outcomes come in (`serving.answers.outcomes`). Of the answers about a learner in a unit
only the last one of a week counts, because one outcome will judge all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Connection, Engine, Select, and_, func, select

from components.contracts.quality_report import (
    GroupKind,
    Measurement,
    QualityGroup,
    QualityReport,
    VersionQuality,
)
from components.evaluator.draws import DrawnMeans
from components.monitoring.expected_confusion import (
    ASSUMPTION,
    CONFIDENCE,
    DRAWS,
    Estimate,
    Quality,
    expected_quality,
    realised_quality,
)
from serving.answers.tables import Answer, CurrentAnswer, Group, Learner, ModelVersion, Outcome

WEEKS = 12
WEEK = timedelta(days=7)
MOST_VALUES = 40  # slices of a column: those with the most answers
MIN_OUTCOMES = 30  # fewer contradict nothing
JUDGED_WITHIN = timedelta(days=2)  # an older answer did not know what happened since
LAST_HORIZON = 5  # weeks; later ones are one group
_SURE = 2.5758 / 1.96  # the reach of a 99% interval, in that of a 95% one

_SCHEMA: dict[str, Any] = {
    "learner_id": pl.String,
    "unit_id": pl.String,
    "as_of": pl.Datetime("us", "UTC"),
    "answered": pl.String,
    "probabilities": pl.List(pl.Float64),
    "prediction": pl.Float64,
    "region": pl.String,
    "first_event_at": pl.Datetime("us", "UTC"),
    "label": pl.String,
    "value": pl.Float64,
}


def measure_quality(
    engine: Engine, *, now: datetime, weeks: int = WEEKS, draws: int = DRAWS
) -> QualityReport:
    """Returns how good the answers of the last weeks are, for each version that gave any.

    Args:
        engine: the answers' database.
        now: answers and outcomes of later moments do not count.
        weeks: how many, the one of `now` included; a week begins on Monday, 0:00 UTC.
        draws: how often learners are drawn for an interval.
    """
    monday = _monday(now)
    first = monday - (weeks - 1) * WEEK
    with engine.connect() as connection:
        known = connection.execute(
            select(ModelVersion.id, ModelVersion.model, ModelVersion.version, ModelVersion.classes)
            .where(ModelVersion.id.in_(_versions_since(first, now)))
            .order_by(ModelVersion.id)
        ).all()
        versions = []
        for number, model, version, classes in known:
            answers = _read_answers(connection, number, first, now)
            outcomes = _read_outcomes(connection, number, first, now)
            groups = [*_groups(answers, outcomes, classes, draws)]
            versions.append(
                VersionQuality(model=model, version=version, classes=classes, groups=groups)
            )

    notes = [
        f"{item.model} {item.version} answers with numbers: nothing is expected of them before "
        "outcomes come in."
        for item in versions
        if not item.classes
    ]
    return QualityReport(
        as_of=now.astimezone(UTC).isoformat(timespec="seconds"),
        since=first.date().isoformat(),
        assumes=ASSUMPTION,
        versions=versions,
        notes=notes,
    )


def _monday(moment: datetime) -> datetime:
    """Returns the beginning of a moment's week."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _versions_since(first: datetime, now: datetime) -> Select[Any]:
    return select(Answer.version_id).where(Answer.as_of >= first, Answer.as_of <= now).distinct()


def _read_answers(
    connection: Connection, version_id: int, first: datetime, now: datetime
) -> pl.DataFrame:
    """Returns the last answer per learner, unit and week; label and value are missing."""
    rows: list[Sequence[Any]] = []
    start = first
    while start <= now:
        end = min(start + WEEK - timedelta(microseconds=1), now)
        pair = (Answer.learner_id, Answer.unit_id)
        in_week = and_(Answer.version_id == version_id, Answer.as_of.between(start, end))
        last = (
            select(*pair, func.max(Answer.as_of).label("as_of"))
            .where(in_week)
            .group_by(*pair)
            .subquery()
        )
        is_last = and_(
            Answer.learner_id == last.c.learner_id,
            Answer.unit_id == last.c.unit_id,
            Answer.as_of == last.c.as_of,
            Answer.version_id == version_id,
        )
        rows += connection.execute(_with_learner(select(*_answer_columns())).join(last, is_last))
        start += WEEK
    return pl.DataFrame([(*row, None, None) for row in rows], schema=_SCHEMA, orient="row")


def _read_outcomes(
    connection: Connection, version_id: int, first: datetime, now: datetime
) -> pl.DataFrame:
    """Returns the outcomes that came in, each beside the answer shortly before that it judges."""
    is_judged = and_(
        Answer.learner_id == Outcome.learner_id,
        Answer.unit_id == Outcome.unit_id,
        Answer.as_of == Outcome.answered_as_of,
        Answer.version_id == Outcome.version_id,
    )
    rows = connection.execute(
        _with_learner(select(*_answer_columns(), Outcome.label, Outcome.value, Outcome.as_of))
        .join(Outcome, is_judged)
        .where(Outcome.version_id == version_id, Outcome.answered_as_of.between(first, now))
        .where(Outcome.as_of <= now)
    ).all()
    judged = [tuple(row) for *row, as_of in rows if as_of - row[2] <= JUDGED_WITHIN]
    return pl.DataFrame(judged, schema=_SCHEMA, orient="row")


def _answer_columns() -> list[Any]:
    return [
        Answer.learner_id, Answer.unit_id, Answer.as_of, Answer.predicted_class,
        Answer.probabilities, Answer.prediction, Group.region, CurrentAnswer.first_event_at,
    ]  # fmt: skip


def _with_learner(query: Select[Any]) -> Select[Any]:
    """Returns a query of answers with the learner's region and first event beside them."""
    is_current = and_(
        CurrentAnswer.learner_id == Answer.learner_id, CurrentAnswer.unit_id == Answer.unit_id
    )
    return (
        query.select_from(Answer)
        .outerjoin(Learner, Learner.learner_id == Answer.learner_id)
        .outerjoin(Group, Group.group_id == Learner.group_id)
        .outerjoin(CurrentAnswer, is_current)
    )


@dataclass(frozen=True)
class _Partition:
    """A way of dividing answers: by a text of each row."""

    kind: GroupKind
    column: str | None
    text: pl.Expr
    by_size: bool = False


def _partitions() -> list[_Partition]:
    week = pl.col("as_of").dt.truncate("1w").dt.strftime("%Y-%m-%d")
    weeks = (pl.col("as_of") - pl.col("first_event_at")).dt.total_days() // 7 + 1
    horizon = (
        pl.when(weeks >= LAST_HORIZON)
        .then(pl.lit(f"week {LAST_HORIZON} and later"))
        .otherwise(pl.format("week {}", weeks.clip(lower_bound=1)))
    )
    slices = [
        _Partition("slice", name, pl.col(name), by_size=True) for name in ("unit_id", "region")
    ]
    return [_Partition("week", None, week), _Partition("horizon", None, horizon), *slices]


def _groups(
    answers: pl.DataFrame, outcomes: pl.DataFrame, classes: Sequence[str], draws: int
) -> Iterator[QualityGroup]:
    """Yields all answers, then those of every week, horizon and slice."""
    # Of all weeks together, the last answer per learner and unit counts.
    last = answers.sort("as_of").unique(["learner_id", "unit_id"], keep="last", maintain_order=True)
    yield _group("all", None, "", last, outcomes, classes, draws)

    for part in _partitions():
        of = last if part.kind == "slice" else answers
        mine = of.with_columns(part.text.alias("part")).drop_nulls("part")
        theirs = outcomes.with_columns(part.text.alias("part")).drop_nulls("part")
        sizes = mine.group_by("part").len()
        order = (["len", "part"], [True, False]) if part.by_size else (["part"], [False])
        values = sizes.sort(order[0], descending=order[1]).head(MOST_VALUES)["part"]
        for value in values:
            is_here = pl.col("part") == value
            yield _group(
                part.kind, part.column, value, mine.filter(is_here), theirs.filter(is_here),
                classes, draws,
            )  # fmt: skip


def _group(
    kind: GroupKind,
    column: str | None,
    value: str,
    answers: pl.DataFrame,
    outcomes: pl.DataFrame,
    classes: Sequence[str],
    draws: int,
) -> QualityGroup:
    fields: dict[str, Any] = {
        "kind": kind, "column": column, "value": value, "answers": answers.height,
        "learners": answers["learner_id"].n_unique(),
    }  # fmt: skip
    if not classes:
        judged = outcomes.drop_nulls(["prediction", "value"])
        fields["realised"] = _errors(judged, draws)
    else:
        judged = outcomes.filter(pl.col("label").is_in(classes))
        expected = _expected(answers, classes, draws)
        fields["expected"] = _measurements(expected, classes)
        if judged.height:
            there = _expected(judged, classes, draws)
            realised = _realised(judged, classes, draws)
            fields["expected_there"] = _measurements(there, classes)
            fields["realised"] = _measurements(realised, classes)
            fields["contradicted"] = judged.height >= MIN_OUTCOMES and _is_below(
                realised.accuracy.value, there.accuracy
            )
    fields |= {"outcomes": judged.height, "outcome_learners": judged["learner_id"].n_unique()}
    return QualityGroup.model_validate(fields)


def _is_below(realised: float | None, expected: Estimate) -> bool:
    """Returns whether a number is below a 99% interval; draws are too few for its ends."""
    if realised is None or expected.value is None or expected.low is None:
        return False
    return realised < expected.value - _SURE * (expected.value - expected.low)


def _expected(rows: pl.DataFrame, classes: Sequence[str], draws: int) -> Quality:
    return expected_quality(*_arrays(rows, classes), draws=draws)


def _realised(rows: pl.DataFrame, classes: Sequence[str], draws: int) -> Quality:
    truth = rows["label"].replace_strict(_numbers(classes), return_dtype=pl.Int64).to_numpy()
    return realised_quality(*_arrays(rows, classes), truth, draws=draws)


def _arrays(rows: pl.DataFrame, classes: Sequence[str]) -> tuple[Any, Any, Any]:
    """Returns probabilities [n, C], the answered class [n] and the learner [n]."""
    shares = np.array(rows["probabilities"].to_list(), np.float64).reshape(-1, len(classes))
    answered = rows["answered"].replace_strict(_numbers(classes), return_dtype=pl.Int64)
    return shares, answered.to_numpy(), rows["learner_id"].rank("dense").to_numpy()


def _numbers(classes: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(classes)}


def _measurements(quality: Quality, classes: Sequence[str]) -> list[Measurement]:
    named: list[tuple[Any, str | None, Estimate]] = [
        ("accuracy", None, quality.accuracy),
        ("f1_macro", None, quality.f1_macro),
        *(("recall", name, item) for name, item in zip(classes, quality.recall, strict=True)),
        ("auc", None, Estimate(quality.auc)),
    ]
    return [
        Measurement(measure=measure, class_=class_, value=item.value, low=item.low, high=item.high)
        for measure, class_, item in named
    ]


def _errors(rows: pl.DataFrame, draws: int) -> list[Measurement]:
    """Returns the mean absolute error of predicted numbers."""
    if not rows.height:
        return []
    errors = (rows["prediction"] - rows["value"]).abs().to_numpy()
    learners = rows["learner_id"].rank("dense").to_numpy().astype(np.int64)
    interval = DrawnMeans(learners, draws=draws, confidence=CONFIDENCE).interval(errors)
    low, high = interval or (None, None)
    mean = float(errors.mean())
    return [Measurement(measure="mean_absolute_error", value=mean, low=low, high=high)]
