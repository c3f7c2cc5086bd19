"""Conditions in SQL say what a plain evaluation of the same tree says, on both databases."""

from __future__ import annotations

import math
import operator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from serving.answers.alerts.condition import parse_condition
from serving.answers.alerts.sql import Reader
from serving.answers.alerts.tree import (
    FIELDS,
    All,
    Comparison,
    Condition,
    Either,
    Field,
    Flag,
    Missing,
    Negation,
    Number,
    Operand,
    Probability,
    Text,
)
from serving.answers.tables import CurrentAnswer, Group, ModelVersion, Unit

MOMENT = datetime(2026, 3, 2, 6, 0, 0, 250_000, tzinfo=UTC)
# Three versions: the second has other classes in another order, the third predicts a number.
CLASSES = {1: ["low", "middle", "high"], 2: ["high", "low", "it's 100%"], 3: list[str]()}
UNITS = {"unit-1": "algebra", "unit-2": None, "50% off": "it's"}
GROUPS = {"group-1": "north", "group-2": None}

OPERATORS = {">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
             ">": operator.gt, "<": operator.lt}  # fmt: skip


def read(operand: Operand, row: dict[str, Any]) -> Any:
    """Returns an operand's value for a row; None if it is missing."""
    match operand:
        case Number(value) | Text(value):
            return value
        case Probability(of):
            classes = CLASSES[row["version_id"]]
            return row["probabilities"][classes.index(of)] if of in classes else None
        case Field(name):
            return field(name, row)


def field(name: str, row: dict[str, Any]) -> Any:
    columns = {"class": "predicted_class", "unit": "unit_id", "group": "group_id"}
    times = {"horizon": "first_event_at", "days_since_visit": "last_event_at",
             "days_in_class": "since"}  # fmt: skip
    if name in times:
        moment = row[times[name]]
        if moment is None:
            return None
        return (math.floor(MOMENT.timestamp()) - math.floor(moment.timestamp())) / 86400.0
    if name == "course":
        return UNITS.get(row["unit_id"])
    if name == "region":
        return GROUPS.get(row["group_id"])
    return row[columns.get(name, name)]


def holds(condition: Condition, row: dict[str, Any]) -> bool | None:
    """Returns whether a condition is true; None if that is not known."""
    match condition:
        case Comparison(left, sign, right):
            one, other = read(left, row), read(right, row)
            return None if one is None or other is None else OPERATORS[sign](one, other)
        case Missing(operand, negated):
            return (read(operand, row) is None) != negated
        case Flag("not_sure"):
            return None if row["answer_text"] is None else row["answer_text"] == "not sure"
        case Flag("unfamiliar"):
            return None if row["unfamiliar"] is None else row["unfamiliar"] != ""
        case Flag():
            taken = row["decisions"]
            return None if taken is None else condition.decision in taken
        case Negation(part):
            found = holds(part, row)
            return None if found is None else not found
        case All(parts):
            values = [holds(part, row) for part in parts]
            return False if False in values else None if None in values else True
        case Either(parts):
            values = [holds(part, row) for part in parts]
            return True if True in values else None if None in values else False


shares = st.integers(0, 1_000_000).map(lambda number: number / 1_000_000)
classes = st.sampled_from(["low", "middle", "high", "it's 100%", "nowhere"])
times = st.integers(0, 90 * 86_400_000_000).map(lambda age: MOMENT - timedelta(microseconds=age))
texts = st.sampled_from(["low", "high", "unit-1", "group-1", "north", "algebra", "it's", "prior"])
numbers = st.one_of(shares, st.sampled_from([0.0, 1.0, 7.0, 14.0, 28.5]))

number_fields = st.sampled_from([name for name, (kind, _) in FIELDS.items() if kind == "number"])
text_fields = st.sampled_from([name for name, (kind, _) in FIELDS.items() if kind == "text"])
known_numbers = st.one_of(number_fields.map(Field), classes.map(Probability))
comparisons = st.one_of(
    st.builds(
        Comparison, known_numbers, st.sampled_from([*OPERATORS]),
        st.one_of(numbers.map(Number), known_numbers),
    ),
    st.builds(
        Comparison, text_fields.map(Field), st.sampled_from(["==", "!="]),
        st.one_of(texts.map(Text), text_fields.map(Field)),
    ),
    st.sampled_from(["not_sure", "unfamiliar", "decision.call", "decision.c_ll"]).map(Flag),
    st.builds(Missing, st.one_of(known_numbers, text_fields.map(Field)), st.booleans()),
)  # fmt: skip
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(Negation, inner),
        st.builds(All, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Either, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    version = draw(st.sampled_from([*CLASSES]))
    names = CLASSES[version]
    class_ = draw(st.sampled_from(names)) if names else None
    return {
        "version_id": version,
        "unit_id": draw(st.sampled_from([*UNITS, "unit-9"])),
        "group_id": draw(st.sampled_from([*GROUPS, "group-9", None])),
        "as_of": MOMENT, "scored_at": MOMENT, "reasons": [],
        "predicted_class": class_,
        "previous_class": draw(st.sampled_from([None, *names])),
        "probabilities": [draw(shares) for _ in names],
        "prediction": None if names else draw(numbers),
        "need": draw(shares),
        "basis": draw(st.sampled_from(["sequence", "prior"])),
        "answer_text": draw(st.sampled_from([None, "low", "not sure"])),
        "unfamiliar": draw(st.sampled_from([None, "", "level"])),
        "decisions": draw(st.sampled_from([None, [], ["call"], ["c_ll", "recall"], ["recall"]])),
        "since": draw(times),
        "first_event_at": draw(st.none() | times),
        "last_event_at": draw(st.none() | times),
    }  # fmt: skip


@pytest.fixture
def prepared(database: Engine) -> Engine:
    """A database with versions, units and groups, and no answers."""
    with Session(database) as session, session.begin():
        session.add_all(
            ModelVersion(id=number, model="m", version=number, run=None, pushed_at=None,
                         classes=names, metrics={}, report=None, card=None)
            for number, names in CLASSES.items()
        )  # fmt: skip
        session.add_all(
            Unit(unit_id=name, title=name, course=course, prerequisites=[])
            for name, course in UNITS.items()
        )
        session.add_all(
            Group(group_id=name, name=name, region=region) for name, region in GROUPS.items()
        )
    return database


def select_in_sql(session: Session, condition: Condition) -> set[str]:
    query = (
        select(CurrentAnswer.learner_id)
        .outerjoin(Group, Group.group_id == CurrentAnswer.group_id)
        .outerjoin(Unit, Unit.unit_id == CurrentAnswer.unit_id)
        .where(Reader(CLASSES, MOMENT).condition(condition))
    )
    return set(session.scalars(query))


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the database is emptied after each example
@given(st.lists(rows(), min_size=1, max_size=6), st.lists(conditions, min_size=1, max_size=6))
def test_sql_and_a_plain_evaluation_agree(
    prepared: Engine, answers: list[dict[str, Any]], tried: list[Condition]
) -> None:
    answers = [{**row, "learner_id": str(number)} for number, row in enumerate(answers)]
    with Session(prepared) as session:
        session.execute(insert(CurrentAnswer), answers)
        for condition in tried:
            expected = {row["learner_id"] for row in answers if holds(condition, row)}
            assert select_in_sql(session, condition) == expected
        session.rollback()


def test_a_probability_is_read_by_the_classes_of_the_answers_own_version(prepared: Engine) -> None:
    common = {"unit_id": "unit-1", "as_of": MOMENT, "scored_at": MOMENT, "since": MOMENT,
              "need": 0.5, "basis": "sequence", "reasons": [], "group_id": None,
              "previous_class": None, "first_event_at": None, "last_event_at": None}  # fmt: skip
    answers = [
        {"learner_id": "first", "version_id": 1, "predicted_class": "low",
         "probabilities": [0.9, 0.05, 0.05], "prediction": None},
        {"learner_id": "second", "version_id": 2, "predicted_class": "high",
         "probabilities": [0.9, 0.05, 0.05], "prediction": None},
        {"learner_id": "third", "version_id": 3, "predicted_class": None,
         "probabilities": [], "prediction": 0.9},
    ]  # fmt: skip
    with Session(prepared) as session, session.begin():
        session.execute(insert(CurrentAnswer), [{**common, **row} for row in answers])
    with Session(prepared) as session:
        for text, expected in (
            ("p(low) >= 0.9", {"first"}), ("p(high) >= 0.9", {"second"}),
            ("not p(low) >= 0.9", {"second"}),  # not known of the third
            ("p(low) is missing", {"third"}), ("p(middle) is missing", {"second", "third"}),
            ("p(low) < 0.5 or prediction > 0.5", {"second", "third"}),
            ('group != "group-1"', set()), ("group is missing", {"first", "second", "third"}),
        ):  # fmt: skip
            assert select_in_sql(session, parse_condition(text)) == expected, text
