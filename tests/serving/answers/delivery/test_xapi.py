"""Answers as xAPI statements, in a real learning record store and in one that is difficult."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, update
from sqlalchemy.orm import Session

from serving.answers.database import open_database
from serving.answers.delivery.deliver import deliver_answers
from serving.answers.delivery.xapi import ACTIVITY_TYPE, EXTENSIONS, VERB
from serving.answers.settings import AnswersSettings
from serving.answers.tables import Answer, Message
from tests.ralph import PASSWORD, USER, Ralph, validate
from tests.serving.answers.classroom import DAYS, NOW, fill
from tests.serving.answers.delivery.http_receiver import Answer as HttpAnswer
from tests.serving.answers.delivery.http_receiver import Request, answer, http_receiver
from tests.serving.answers.delivery.messages import Clock, row, send, settings_of

FIRST = NOW - timedelta(days=DAYS - 1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(f"sqlite:///{tmp_path}/answers.db")
    fill(opened, learners=4, units=3)
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def _login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRS_USER", USER)
    monkeypatch.setenv("LRS_PASSWORD", PASSWORD)


def store(url: str, **more: Any) -> AnswersSettings:
    login = {"user_env": "LRS_USER", "password_env": "LRS_PASSWORD"}
    xapi = {"url": url, "home_page": "https://school.example", **login, **more}
    return settings_of(delivery={"xapi": xapi})


def account(number: int, home_page: str) -> dict[str, Any]:
    return {"account": {"homePage": home_page, "name": f"learner-{number:04}"}}


def test_statements_are_read_back_from_a_record_store_and_a_repetition_adds_none(
    engine: Engine, ralph: Ralph
) -> None:
    home = "https://first.example"
    settings = store(ralph.url, batch=5, home_page=home)
    assert deliver_answers(engine, settings, 1, FIRST) == 3  # 12 first answers, 5 per request
    assert send(engine, settings, Clock()).sent == {"delivery.xapi": 3}
    found = [
        statement for number in range(4) for statement in ralph.statements(account(number, home))
    ]
    assert len(found) == 12
    assert validate(ralph.programs, found).returncode == 0

    with Session(engine) as session:
        given = session.get_one(Answer, ("learner-0001", "unit-2", FIRST, 1))
    [one] = [
        statement for statement in ralph.statements(account(1, home))
        if statement["object"]["id"] == f"{home}/units/unit-2"
    ]  # fmt: skip
    assert one["verb"]["id"] == VERB
    assert one["object"]["definition"] == {"type": ACTIVITY_TYPE, "name": {"und": "Unit 2"}}
    assert one["result"]["score"] == {"scaled": pytest.approx(1 - given.need)}
    result = one["result"]["extensions"]
    assert result[f"{EXTENSIONS}class"] == given.predicted_class
    assert [*result[f"{EXTENSIONS}probabilities"].values()] == given.probabilities
    assert one["context"]["extensions"] == {
        f"{EXTENSIONS}model": "sample",
        f"{EXTENSIONS}version": 1795328170,
        f"{EXTENSIONS}run": "20260201-060000-abc123",
        f"{EXTENSIONS}as_of": FIRST.isoformat(),
    }

    # As after a sender that was killed before it could mark what it had sent.
    with Session(engine) as session, session.begin():
        payloads = {"payload": {"statements": [_sent(statement) for statement in found]}}
        session.execute(update(Message).where(Message.id == 1).values(sent_at=None, **payloads))
    clock = Clock()
    clock.forward(600)
    assert send(engine, settings, clock).sent == {"delivery.xapi": 1}
    assert sum(len(ralph.statements(account(number, home))) for number in range(4)) == 12


def _sent(statement: dict[str, Any]) -> dict[str, Any]:
    """Returns a statement without what the store has added."""
    return {key: value for key, value in statement.items() if key not in ("stored", "authority")}


def test_a_statement_that_the_store_has_in_another_form_counts_as_sent(
    engine: Engine, ralph: Ralph
) -> None:
    home = "https://second.example"
    first, second = (store(ralph.url, home_page=home, units=f"{home}/{name}/") for name in "ab")
    assert deliver_answers(engine, first, 1, FIRST) == 1
    assert send(engine, first, Clock()).sent == {"delivery.xapi": 1}
    with Session(engine) as session, session.begin():
        session.execute(delete(Message))
    # The same ids, but other statements: the store answers 409.
    assert deliver_answers(engine, second, 1, FIRST) == 1
    assert send(engine, second, Clock()).sent == {"delivery.xapi": 1}
    found = ralph.statements(account(0, home))
    assert {one["object"]["id"] for one in found} == {f"{home}/a/unit-{unit}" for unit in range(3)}


def test_a_store_that_does_not_know_the_password_is_said(engine: Engine, ralph: Ralph) -> None:
    settings = store(ralph.url, password_env="LRS_USER")
    deliver_answers(engine, settings, 1, FIRST)
    [failure] = send(engine, settings, Clock()).given_up
    assert failure.error == "expected an answer 2xx, found 401 Unauthorized"


def test_a_request_names_the_version_and_logs_in(engine: Engine) -> None:
    with http_receiver() as lrs:
        settings = store(f"{lrs.url}/xapi/", version="2.0.0", units="https://u.example/?unit=")
        with Session(engine) as session, session.begin():
            session.execute(update(Answer).values(unit_id="a/b c").where(
                Answer.unit_id == "unit-2", Answer.learner_id == "learner-0001"
            ))  # fmt: skip
        deliver_answers(engine, settings, 1, FIRST)
        assert send(engine, settings, Clock()).sent == {"delivery.xapi": 1}
    [request] = lrs.received
    assert request.path == "/xapi/statements"
    assert request.headers["X-Experience-API-Version"] == "2.0.0"
    assert request.headers["Authorization"].startswith("Basic ")
    assert "https://u.example/?unit=a%2Fb%20c" in {one["object"]["id"] for one in request.json}


def test_one_statement_that_the_store_refuses_stops_no_other(engine: Engine) -> None:
    stored: list[str] = []

    def refuse_unit_1(request: Request) -> HttpAnswer:
        units = [one["object"]["id"].rpartition("/")[2] for one in request.json]
        if "unit-1" in units:
            return 400, {}
        stored.extend(one["id"] for one in request.json)
        return 200, {}

    with http_receiver(refuse_unit_1) as lrs:
        settings = store(lrs.url)
        deliver_answers(engine, settings, 1, FIRST)
        [failure] = send(engine, settings, Clock()).given_up
    assert len(stored) == len(set(stored)) == 8
    assert failure.error == (
        "the store refused 4 of 12 statements (expected an answer 2xx, found 400 Bad Request)"
    )
    left = row(engine, failure.key).payload["statements"]
    assert {one["object"]["id"].rpartition("/")[2] for one in left} == {"unit-1"}


def test_a_store_that_fails_in_the_middle_gets_the_rest_later(engine: Engine) -> None:
    stored: list[str] = []

    def fail_after_five(request: Request) -> HttpAnswer:
        if len(request.json) > 1:
            return 413, {}
        if len(stored) == 5:
            return 503, {}
        stored.append(request.json[0]["id"])
        return 200, {}

    clock = Clock()
    with http_receiver(fail_after_five) as lrs:
        settings = store(lrs.url)
        deliver_answers(engine, settings, 1, FIRST)
        [failure] = send(engine, settings, clock).failures
        assert failure.until is not None
        lrs.behave = answer(200)
        clock.forward(30)
        assert send(engine, settings, clock).sent == {"delivery.xapi": 1}
        last = lrs.received[-1].json
    assert len(stored) == 5
    assert len(last) == 7
    assert not {one["id"] for one in last} & set(stored)
