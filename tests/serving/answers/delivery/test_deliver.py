"""From a scoring to messages: which answers, in which batches, and each once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary, from_structured
from cloudevents.core.formats.json import JSONFormat
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from serving.answers.database import open_database
from serving.answers.delivery import cloud_events
from serving.answers.delivery.deliver import deliver_answers, receivers
from serving.answers.delivery.given import given_answers
from serving.answers.delivery.xapi import EXTENSIONS, statement
from serving.answers.settings import AnswersSettings
from serving.answers.tables import Answer, Message, ModelVersion, Scoring
from tests.serving.answers.classroom import DAYS, NOW, fill
from tests.serving.answers.delivery.http_receiver import answer, http_receiver, in_turn
from tests.serving.answers.delivery.messages import Clock, send, settings_of

FIRST = NOW - timedelta(days=DAYS - 1)
GIVEN, CHANGED = "mastery.answer.given", "mastery.answer.changed"
HOME = {"url": "https://lrs.example/xapi", "home_page": "https://school.example"}


@pytest.fixture
def classroom(database: Engine) -> Engine:
    fill(database, learners=6, units=2)
    return database


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(f"sqlite:///{tmp_path}/answers.db")
    fill(opened, learners=6, units=2)
    yield opened
    opened.dispose()


def events(url: str, **more: Any) -> AnswersSettings:
    return settings_of(delivery={"cloud_events": {"warehouse": {"url": url, **more}}})


def changes(engine: Engine, as_of: datetime) -> dict[tuple[str, str], str | None]:
    """Returns the class before of every answer that differs from it, by the plainest way."""
    with Session(engine) as session:
        said = {
            (one.learner_id, one.unit_id, one.as_of): one.predicted_class
            for one in session.scalars(select(Answer))
        }
    return {
        (learner, unit): said.get((learner, unit, as_of - timedelta(days=1)))
        for learner, unit, moment in said
        if moment == as_of
        and said[learner, unit, as_of] != said.get((learner, unit, as_of - timedelta(days=1)))
    }


def test_an_answer_is_new_if_it_differs_from_the_one_before(classroom: Engine) -> None:
    seen = 0
    for day in range(DAYS):
        as_of = FIRST + timedelta(days=day)
        with classroom.connect() as connection:
            found = list(given_answers(connection, 1, as_of, changes_only=True))
            every = list(given_answers(connection, 1, as_of, changes_only=False))
        expected = changes(classroom, as_of)
        assert {(one.learner_id, one.unit_id): one.before for one in found} == expected
        assert [one for one in every if one.changed] == found
        assert len(every) == 12
        seen += len(found)
    assert seen > 12  # more than the first answers


def test_a_new_version_is_compared_with_the_one_before_it_at_the_same_moment(
    classroom: Engine,
) -> None:
    with Session(classroom) as session, session.begin():
        old = session.get_one(Answer, ("learner-0000", "unit-0", NOW, 1))
        version = ModelVersion(
            model="sample", version=1795328171, run=None, pushed_at=None,
            classes=["not_mastered", "partial", "proficient"], metrics={}, report=None,
        )  # fmt: skip
        session.add(version)
        session.flush()
        scoring = Scoring(version_id=version.id, as_of=NOW, started_at=NOW, finished_at=NOW)
        session.add(scoring)
        session.flush()
        session.add(Answer(
            learner_id="learner-0000", unit_id="unit-0", as_of=NOW, version_id=version.id,
            scoring_id=scoring.id, predicted_class="another", probabilities=[0.1, 0.1, 0.8],
            prediction=None, need=0.1, basis="sequence", reasons=[], scored_at=NOW,
        ))  # fmt: skip
        before, version_id = old.predicted_class, version.id
    with classroom.connect() as connection:
        [one] = given_answers(connection, version_id, NOW, changes_only=True)
    assert one.before == before


def test_a_number_that_a_regression_predicts_is_compared_as_such(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add(ModelVersion(
            id=2, model="score", version=7, run=None, pushed_at=None, classes=[], metrics={},
            report=None,
        ))  # fmt: skip
        session.flush()
        for day, numbers in enumerate([(40.0, 50.0), (40.0, 61.5)]):
            as_of = FIRST + timedelta(days=day, hours=1)
            session.add(Scoring(id=100 + day, version_id=2, as_of=as_of, started_at=as_of,
                                finished_at=as_of))  # fmt: skip
            session.flush()
            session.add_all(
                Answer(learner_id=f"r{place}", unit_id="u", as_of=as_of, version_id=2,
                       scoring_id=100 + day, predicted_class=None, probabilities=[],
                       prediction=number, need=0.5, basis="sequence", reasons=[], scored_at=as_of)
                for place, number in enumerate(numbers)
            )  # fmt: skip
    with engine.connect() as connection:
        [one] = given_answers(connection, 2, FIRST + timedelta(days=1, hours=1), changes_only=True)
    assert (one.learner_id, one.before, one.prediction, one.probabilities) == ("r1", 50.0, 61.5, {})


def test_the_same_answers_make_the_same_messages(classroom: Engine) -> None:
    settings = settings_of(delivery={
        "xapi": {**HOME, "batch": 5, "changes_only": False},
        "cloud_events": {"w": {"url": "https://w.example", "types": [GIVEN, CHANGED]}},
    })  # fmt: skip
    assert deliver_answers(classroom, settings, 1, FIRST) == 3 + 12
    assert deliver_answers(classroom, settings, 1, FIRST) == 0
    with Session(classroom) as session:
        messages = session.scalars(select(Message)).all()
    batches = [one for one in messages if one.channel == "delivery.xapi"]
    assert [len(one.payload["statements"]) for one in batches] == [5, 5, 2]
    assert [len(one.payload["events"]) for one in messages if one not in batches] == [2] * 12
    assert batches[0].learner_ids == ["learner-0000", "learner-0001", "learner-0002"]
    assert set(receivers(settings)) == {"delivery.xapi", "delivery.cloud_events.w"}


def test_answers_that_a_later_scoring_of_the_moment_adds_make_messages_of_their_own(
    engine: Engine,
) -> None:
    settings = settings_of(delivery={"xapi": {**HOME, "batch": 5, "changes_only": False}})
    deliver_answers(engine, settings, 1, NOW)
    with Session(engine) as session, session.begin():
        session.add(Scoring(id=500, version_id=1, as_of=NOW, started_at=NOW, finished_at=NOW))
        session.flush()
        session.add(Answer(
            learner_id="a-learner-first-in-order", unit_id="unit-0", as_of=NOW, version_id=1,
            scoring_id=500, predicted_class="partial", probabilities=[0.1, 0.8, 0.1],
            prediction=None, need=0.5, basis="prior", reasons=[], scored_at=NOW,
        ))  # fmt: skip
    # 12 answers were two full batches and a rest; only the rest is another message now.
    assert deliver_answers(engine, settings, 1, NOW) == 1


def test_without_destinations_nothing_is_read(engine: Engine) -> None:
    said: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    assert deliver_answers(engine, settings_of(), 1, NOW) == 0
    assert said == []


def test_the_answer_before_is_found_by_an_index_within_one_statement(engine: Engine) -> None:
    said: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2:4]))
    with engine.connect() as connection:
        list(given_answers(connection, 1, NOW, changes_only=True))
        assert len(said) == 2  # the version, and all answers
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + said[1][0], said[1][1]).all()
    steps = [step[3] for step in plan]
    assert any(
        "answers_1 USING INDEX" in step and "(learner_id=? AND unit_id=? AND as_of<" in step
        for step in steps
    )
    assert not any(step.startswith("SCAN") for step in steps), steps


@pytest.mark.parametrize("mode", ["structured", "binary", "batch"])
def test_an_event_arrives_in_each_mode_with_the_same_id(engine: Engine, mode: str) -> None:
    with http_receiver() as service:
        settings = events(service.url, mode=mode, types=[GIVEN])
        deliver_answers(engine, settings, 1, FIRST)
        send(engine, settings, Clock())
    if mode == "batch":
        [request] = service.received
        assert request.headers["Content-Type"] == "application/cloudevents-batch+json"
        read = [
            JSONFormat().read(None, json.dumps(one)) for one in request.json
        ]  # fmt: skip
    else:
        parse = from_binary if mode == "binary" else from_structured
        read = [
            parse(HTTPMessage(dict(request.headers), request.body), JSONFormat())
            for request in service.received
        ]
    assert len(read) == 12
    assert len({one.get_id() for one in read}) == 12
    with engine.connect() as connection:
        given = list(given_answers(connection, 1, FIRST, changes_only=False))
    assert [one.get_id() for one in read] == [one.identifier(GIVEN) for one in given]
    first, said = read[0], given[0]
    assert (first.get_type(), first.get_source()) == (GIVEN, "mastery/models/sample")
    assert first.get_subject() == "learners/learner-0000/units/unit-0"
    assert first.get_time() == said.scored_at
    data = first.get_data()
    assert isinstance(data, dict)
    assert (data["class"], data["previous"]) == (said.predicted_class, None)
    assert data["probabilities"] == said.probabilities
    assert data["as_of"] == FIRST.astimezone(UTC).isoformat()


def test_events_of_changes_arrive_in_order_also_after_a_failure(engine: Engine) -> None:
    clock = Clock()
    with http_receiver(in_turn(answer(200), answer(500), answer(200))) as service:
        settings = events(service.url)
        for day in range(DAYS):
            deliver_answers(engine, settings, 1, FIRST + timedelta(days=day))
        send(engine, settings, clock)
        assert len(service.received) == 2
        clock.forward(30)
        send(engine, settings, clock)
    first, failed, again, *_ = [request.json["id"] for request in service.received]
    assert failed == again != first
    moments: dict[str, list[str]] = {}
    for request in service.received:
        moments.setdefault(request.json["subject"], []).append(request.json["data"]["as_of"])
        assert request.json["data"]["class"] != request.json["data"]["previous"]
        assert request.json["type"] == CHANGED
    assert any(len(of_one) > 2 for of_one in moments.values())
    assert all(of_one == sorted(of_one) for of_one in moments.values())


def test_two_events_of_one_answer_are_sent_on_from_where_they_stopped(engine: Engine) -> None:
    clock = Clock()
    with http_receiver(in_turn(answer(200), answer(503), answer(200))) as service:
        settings = events(service.url, types=[GIVEN, CHANGED])
        deliver_answers(engine, settings, 1, FIRST)
        send(engine, settings, clock)
        clock.forward(30)
        send(engine, settings, clock)
    ids = [request.json["id"] for request in service.received]
    assert len(ids) == 25
    assert ids[1] == ids[2]
    assert len(set(ids)) == 24


def test_messages_hold_how_sure_answers_are_and_what_they_decide(classroom: Engine) -> None:
    said = [{"feature": "correct", "direction": "low", "weight": 0.2, "text": {"en": "few right"}}]
    with Session(classroom) as session, session.begin():
        answer = session.get_one(Answer, ("learner-0000", "unit-0", NOW, 1))
        answer.prediction_set, answer.answer_text = ["partial"], "partial"
        answer.unfamiliar, answer.decisions, answer.reasons = "", ["call"], said
    with classroom.connect() as connection:
        one, *others = (
            given
            for given in given_answers(connection, 1, NOW, changes_only=False)
            if given.learner_id == "learner-0000"
        )
    data = cloud_events.event(one, CHANGED)["data"]
    assert (data["prediction_set"], data["answer"], data["decisions"]) == (
        ["partial"], "partial", ["call"],
    )  # fmt: skip
    assert (data["unfamiliar"], data["prediction_interval"], data["reasons"]) == ("", None, said)

    home = settings_of(delivery={"xapi": HOME}).delivery.xapi
    assert home is not None
    extensions = statement(one, home)["result"]["extensions"]
    assert extensions[f"{EXTENSIONS}decisions"] == ["call"]
    assert extensions[f"{EXTENSIONS}reasons"] == said
    older = statement(others[0], home)["result"]["extensions"]
    assert f"{EXTENSIONS}decisions" not in older
    assert cloud_events.event(others[0], CHANGED)["data"]["decisions"] is None
