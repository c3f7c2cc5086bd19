"""What the model answered, and what learners did; rows ready for pages are derived from these."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from serving.answers.tables.base import Id, MaybeJson, Table


class ModelVersion(Table):
    """A version of a model that answered.

    Attributes:
        run: id of the pipeline run that pushed it.
        classes: lowest mastery first; empty for a regression.
        metrics: on the test split, by name.
        report: path or address of the run's report; None if it is not known.
        card: the same of the model card.
        trust: what is known of how sure the answers are and of decisions; see
            `serving.answers.scoring.versions.trust_of`. None for versions registered earlier.
    """

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model", "version"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger)
    run: Mapped[str | None]
    pushed_at: Mapped[datetime | None]
    classes: Mapped[list[str]]
    metrics: Mapped[dict[str, Any]]
    report: Mapped[str | None]
    card: Mapped[str | None]
    trust: Mapped[dict[str, Any] | None] = mapped_column(MaybeJson)


class Scoring(Table):
    """One call of `mastery score`.

    Attributes:
        as_of: the moment that it asked about.
        finished_at: None while it runs, and for one that was killed.
        answers: how many it wrote or found.
    """

    __tablename__ = "scorings"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    as_of: Mapped[datetime]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    answers: Mapped[int] = mapped_column(default=0)


class Answer(Table):
    """What a version answered about a learner in a unit, as of a moment.

    Attributes:
        predicted_class: the most probable class; None for a regression.
        probabilities: in the order of the version's classes; empty for a regression.
        prediction: the predicted number; None for a classification.
        need: the expected benefit of help, 0 to 1; see `serving.answers.need`.
        basis: `sequence`; `prior` for a learner with too few events; `unfamiliar` for one who is
            unlike those of the fit.
        reasons: where the model gives them, the most important first; see
            `components.reasons.ranking.Reason`.
        prediction_set: the classes that together hold the promised coverage. This and what follows
            is None where the version does not say it.
        answer_text: the set in words: a class, "partial or proficient", or "not sure".
        prediction_interval: lowest and highest number with the promised coverage; of a regression.
        unfamiliar: what is unlike the learners of the fit, joined by ", "; empty for nothing.
        decisions: names of the decisions that are taken.
    """

    __tablename__ = "answers"
    __table_args__ = (Index(None, "version_id", "as_of"),)

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    scoring_id: Mapped[int] = mapped_column(ForeignKey("scorings.id"))
    predicted_class: Mapped[str | None]
    probabilities: Mapped[list[float]]
    prediction: Mapped[float | None]
    need: Mapped[float]
    basis: Mapped[str]
    reasons: Mapped[list[dict[str, Any]]]
    prediction_set: Mapped[list[str] | None] = mapped_column(MaybeJson)
    answer_text: Mapped[str | None]
    prediction_interval: Mapped[list[float] | None] = mapped_column(MaybeJson)
    unfamiliar: Mapped[str | None]
    decisions: Mapped[list[str] | None] = mapped_column(MaybeJson)
    scored_at: Mapped[datetime]


class CurrentAnswer(Table):
    """The newest answer about a learner in a unit.

    Attributes:
        since: the first of the uninterrupted answers, up to the newest, with this class.
        previous_class: the class before `since`; None if there was none.
        group_id: the learner's group, repeated here for the index.
        first_event_at: the learner's first event in the unit, as far as the log goes back.
        last_event_at: the last one before `as_of`.
    """

    __tablename__ = "current_answers"
    __table_args__ = (
        Index(None, "group_id", "need"),
        Index(None, "group_id", "unit_id", "need"),
        Index(None, "unit_id", "need"),
        Index(None, "need"),
    )

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime]
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    predicted_class: Mapped[str | None]
    probabilities: Mapped[list[float]]
    prediction: Mapped[float | None]
    need: Mapped[float]
    basis: Mapped[str]
    reasons: Mapped[list[dict[str, Any]]]
    prediction_set: Mapped[list[str] | None] = mapped_column(MaybeJson)
    answer_text: Mapped[str | None]
    prediction_interval: Mapped[list[float] | None] = mapped_column(MaybeJson)
    unfamiliar: Mapped[str | None]
    decisions: Mapped[list[str] | None] = mapped_column(MaybeJson)
    scored_at: Mapped[datetime]
    since: Mapped[datetime]
    previous_class: Mapped[str | None]
    group_id: Mapped[str | None]
    first_event_at: Mapped[datetime | None]
    last_event_at: Mapped[datetime | None]


class UnitSum(Table):
    """How many current answers of a class a group has in a unit: a heat map's column in short.

    Attributes:
        group_id: empty for learners without a group.
        predicted_class: empty for a regression.
        need: the sum over the answers.
    """

    __tablename__ = "unit_sums"

    group_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    predicted_class: Mapped[str] = mapped_column(primary_key=True)
    answers: Mapped[int]
    need: Mapped[float]


class DailyCount(Table):
    """How many answers of a class a version gave for a moment, by group and unit.

    Attributes:
        group_id: empty for learners without a group.
        predicted_class: empty for a regression.
        need: the sum over the answers.
    """

    __tablename__ = "daily_counts"

    as_of: Mapped[datetime] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    group_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    predicted_class: Mapped[str] = mapped_column(primary_key=True)
    answers: Mapped[int]
    need: Mapped[float]


class DailyActivity(Table):
    """The events of one type that a learner had in a unit on one day (UTC).

    Attributes:
        answered: events with an answer, right or wrong.
        correct: right ones among them.
        seconds: the sum of the dwell times that the log gives.
    """

    __tablename__ = "daily_activity"

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    event_type: Mapped[str] = mapped_column(primary_key=True)
    events: Mapped[int]
    answered: Mapped[int]
    correct: Mapped[int]
    seconds: Mapped[float]


class ComponentResult(Table):
    """How a learner did in the exercises of a knowledge component of a unit, in the whole log.

    Attributes:
        mastery: the share of right answers, 0 to 1, drawn towards that of all learners where
            there are few.
        group_id: the learner's group, repeated here for the index.
    """

    __tablename__ = "component_results"
    __table_args__ = (
        Index(None, "group_id", "component"),
        Index(None, "unit_id", "component", "mastery"),
    )

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    component: Mapped[str] = mapped_column(primary_key=True)
    answered: Mapped[int]
    correct: Mapped[int]
    mastery: Mapped[float]
    group_id: Mapped[str | None]
    updated_at: Mapped[datetime]


class ComponentSum(Table):
    """How a group did in a knowledge component of a unit: a heat map's column in short.

    Attributes:
        group_id: empty for learners without a group.
        learners: who have a result.
        mastery: the sum over them.
    """

    __tablename__ = "component_sums"
    __table_args__ = (Index(None, "unit_id", "component"),)

    group_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    component: Mapped[str] = mapped_column(primary_key=True)
    learners: Mapped[int]
    mastery: Mapped[float]
