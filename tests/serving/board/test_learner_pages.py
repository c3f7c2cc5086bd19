from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from serving.answers.next_step import Standing, next_steps
from serving.answers.tables import Answer, CurrentAnswer, DailyActivity, Unit
from serving.answers.words import in_words
from serving.board.links import learner_link
from serving.board.pages.path_days import PathReader, day_of, window
from serving.board.viewer import Visible
from tests.serving.answers.classroom import CLASSES, NOW
from tests.serving.board.eventful import ODD_LEARNER, ODD_UNIT, UNSCORED, add_life
from tests.serving.board.pages_of import VIEWERS, Pages, pages_of, text_of

PATH = learner_link("learner-0000", "unit-0")


@pytest.fixture(scope="module")
def lively(classroom_engine: Engine) -> Engine:
    """The classroom with more of a life."""
    add_life(classroom_engine)
    return classroom_engine


@pytest.fixture
def ada(lively: Engine) -> Iterator[Pages]:
    """The pages as the teacher of group-0 sees them."""
    with pages_of(lively, "ada") as pages:
        yield pages


def table_of(page: Any) -> dict[str, list[str]]:
    """The path's table, by day."""
    rows = page.xpath("//details[@class='as-table']//tbody/tr[th]")
    return {
        text_of(row.xpath("th")[0]): [text_of(cell) for cell in row.xpath("td")] for row in rows
    }


# One learner


def test_units_show_the_current_answers(ada: Pages, lively: Engine) -> None:
    page = ada.get(learner_link("learner-0003"))
    with Session(lively) as session:
        answers = session.scalars(
            select(CurrentAnswer)
            .where(CurrentAnswer.learner_id == "learner-0003")
            .order_by(CurrentAnswer.unit_id)
        ).all()
    expected = {
        answer.unit_id.replace("unit-", "Unit "): (
            in_words(answer.predicted_class or "", max(answer.probabilities), "en"),
            str(round(100 * answer.need)),
        )
        for answer in answers
    }

    shown = {
        text_of(row.xpath("th/a")[0]): (
            text_of(row.xpath("td[1]/span")[0]).partition(" ")[2], text_of(row.xpath("td[3]")[0]),
        )
        for row in page.xpath("//table//tbody/tr")
    }  # fmt: skip

    assert shown == expected
    assert text_of(page.xpath("//h1")[0]) == "Learner 3"
    facts = [text_of(fact) for fact in page.xpath("//ul[@class='facts']/li")]
    assert facts == ["learner-0003", "Group 0", "last visit 4 hours ago"]


def test_trend_has_a_bar_for_each_scored_day_and_none_between(ada: Pages) -> None:
    page = ada.get(learner_link("learner-0000"))
    row = page.xpath("//table//tbody/tr[th/a='Unit 0']")[0]
    places = [int(bar.get("x")) // 4 for bar in row.xpath(".//rect")]

    gaps = {27 - (NOW - as_of).days for as_of in UNSCORED}
    assert places == [place for place in range(28) if place not in gaps]


@pytest.mark.parametrize("number", range(0, 30, 3))
def test_steps_are_those_of_the_function_with_their_facts(
    ada: Pages, lively: Engine, number: int
) -> None:
    page = ada.get(learner_link(f"learner-{number:04}"))
    with Session(lively) as session:
        answers = session.scalars(
            select(CurrentAnswer).where(CurrentAnswer.learner_id == f"learner-{number:04}")
        ).all()
        before = {unit.unit_id: unit.prerequisites for unit in session.scalars(select(Unit))}
    steps = next_steps(
        Standing(
            answer.unit_id, answer.need, mastered=answer.predicted_class == CLASSES[-1],
            prerequisites=tuple(before[answer.unit_id]),
        )
        for answer in answers
    )  # fmt: skip

    cards = page.xpath("//article")
    titles = [text_of(card.xpath(".//h3/a")[0]) for card in cards]
    assert titles == [step.unit_id.replace("unit-", "Unit ") for step in steps]
    for card, step in zip(cards, steps, strict=True):
        facts = text_of(card)
        answer = next(one for one in answers if one.unit_id == step.unit_id)
        assert in_words(answer.predicted_class or "", max(answer.probabilities), "en") in facts
        assert f"full mastery would add {round(100 * (step.gain or 0))} of 100" in facts
        assert ("not mastered yet: better after it" in facts) == bool(step.after)
        assert ("prerequisite of" in facts) == bool(step.opens)


def test_actions_are_listed_with_who_and_what(ada: Pages) -> None:
    page = ada.get(learner_link("learner-0000"))

    assert [text_of(item) for item in page.xpath("//ul[@class='actions']/li")] == [
        "called · Unit 0 · Ada · Feb 27, 2026left a message <b>"
    ]


def test_invisible_learners_are_like_those_who_do_not_exist(ada: Pages) -> None:
    pages = {}
    for learner in ("learner-0001", "nobody", "~00", "~FF"):
        for address in (f"/learners/{learner}", f"/learners/{learner}/units/unit-0"):
            response = ada.client.get(address)
            assert response.status_code == 404
            pages[address] = response.text.replace(address, "").replace("%2F", "/")

    bodies = {body.replace(address, "") for address, body in pages.items()}
    assert len(bodies) == 1


def test_unknown_units_are_no_pages_and_known_ones_without_events_are_empty(ada: Pages) -> None:
    assert ada.status(learner_link("learner-0000", "no unit")) == 404
    assert ada.status("/learners/learner-0000/units/~00") == 404
    page = ada.get(learner_link(ODD_LEARNER, "unit-0"))
    assert "Nothing has happened in this unit yet." in text_of(page)


def test_odd_ids_are_reached_by_links_alone(ada: Pages) -> None:
    heat_map = ada.get("/map")
    row = next(row for row in heat_map.xpath("//tbody/tr") if ODD_LEARNER in text_of(row))
    learner = ada.get(row.xpath("th/a/@href")[0])
    path = ada.get(row.xpath("td/a/@href")[0])

    assert text_of(learner.xpath("//h1")[0]) == " ".join(ODD_LEARNER.split())
    assert learner.xpath("//table//th/a/@href") == [learner_link(ODD_LEARNER, ODD_UNIT)]
    assert "few events so far" in text_of(learner.xpath("//article")[0])
    assert text_of(path.xpath("//h1")[0]) == ODD_UNIT
    assert "<video> 3" in text_of(path)


# The path


def test_path_says_what_was_said_on_each_day(ada: Pages, lively: Engine) -> None:
    page = ada.get(learner_link("learner-0003", "unit-2"))
    with Session(lively) as session:
        answers = session.scalars(
            select(Answer)
            .where(Answer.learner_id == "learner-0003", Answer.unit_id == "unit-2")
            .order_by(Answer.as_of)
        ).all()
        activity = session.scalars(
            select(DailyActivity)
            .where(DailyActivity.learner_id == "learner-0003", DailyActivity.unit_id == "unit-2")
            .order_by(DailyActivity.event_type)
        ).all()

    days = page.xpath("//label[@class='day']")
    assert len(days) == 28
    before = None
    for label, answer in zip(days, answers, strict=True):
        day = day_of(answer.as_of)
        said = in_words(answer.predicted_class or "", max(answer.probabilities), "en")
        words = text_of(label.xpath("span[@class='detail']")[0])
        assert label.xpath("input/@value") == [day.isoformat()]
        assert f"as of 06:00 UTC it said: {said}" in words
        assert ("; before: " in words) == (before not in (None, answer.predicted_class))
        for row in activity:
            if row.day == day:
                assert f"{row.event_type} {row.events}" in words
        if not any(row.day == day for row in activity):
            assert "no events" in words
        before = answer.predicted_class


def test_a_day_without_a_scoring_is_shown_without_an_answer(ada: Pages) -> None:
    page = ada.get(PATH)

    for as_of in UNSCORED:
        label = page.xpath(f"//label[input/@value='{as_of.date()}']")[0]
        place = page.xpath("//label[@class='day']").index(label)
        assert "not scored on this day" in text_of(label)
        boxes = page.xpath("//*[contains(@class, 'lane')]//rect")
        assert boxes
        assert all(float(box.get("x")) != 10 * place + 1 for box in boxes)


def test_versions_have_lanes_of_their_own(ada: Pages) -> None:
    page = ada.get(PATH)

    titles = [text_of(title) for title in page.xpath("//p[@class='lane-title']")]
    assert titles[:2] == ["Answers of version 1795400000", "Answers of version 1795328170"]
    today = table_of(page)["Mar 2, 2026"][0]
    assert "partial, 60% (version 1795400000); before: not mastered" in today
    assert "(version 1795328170)" in today
    first_day = table_of(page)["Feb 26, 2026"][0]
    assert "not mastered, 80% (version 1795400000)" in first_day
    assert "(version 1795400000); before" not in first_day
    assert "long pauses between visits" in text_of(page.xpath("//label[input/@checked]")[0])


def test_a_change_at_the_edge_of_the_window_is_seen(lively: Engine) -> None:
    """The class before the first day shown comes from a day that is not."""
    with Session(lively) as session:
        answers = session.scalars(
            select(Answer).where(Answer.learner_id == "learner-0006").order_by(Answer.as_of)
        ).all()
        by_unit: dict[str, list[Answer]] = {}
        for answer in answers:
            by_unit.setdefault(answer.unit_id, []).append(answer)
        changes = 0
        for unit, path in by_unit.items():
            reader = PathReader(session, Visible(VIEWERS["ada"]), "learner-0006", unit)
            for before, answer in pairwise(path):
                day = day_of(answer.as_of)
                shown = window(day, day, "all", None)
                [said] = reader.days(shown)[0].said
                changed = before.predicted_class != answer.predicted_class
                assert said.changed_from == (before.predicted_class if changed else None)
                changes += changed
    assert changes


def test_people_and_outcomes_stand_on_their_days(ada: Pages) -> None:
    rows = table_of(ada.get(PATH))

    assert rows["Feb 27, 2026"][3] == "called (Ada): left a message <b>"
    assert rows["Mar 1, 2026"][3] == "outcome came in on Mar 1, 2026: proficient"


def days_of(page: Any) -> list[date]:
    """The days of a path's time line."""
    return [date.fromisoformat(day) for day in page.xpath("//input[@name='day']/@value")]


@pytest.mark.parametrize(
    ("query", "days", "last", "opened"),
    [
        ("zoom=14", 14, "2026-03-02", "2026-03-02"),
        ("zoom=90&day=2026-02-12", 90, "2026-03-02", "2026-02-12"),
        ("zoom=x&until=2026-02-20", 28, "2026-02-20", "2026-02-20"),
        ("until=9999-99-99", 28, "2026-03-02", "2026-03-02"),
        ("until=2999-01-01", 28, "2026-03-02", "2026-03-02"),
        ("zoom=14&day=1999-01-01", 14, "2026-03-02", "2026-03-02"),
    ],
)
def test_zoom_chooses_days_and_the_address_a_day(
    ada: Pages, query: str, days: int, last: str, opened: str
) -> None:
    page = ada.get(f"{learner_link('learner-0009', 'unit-1')}?{query}")

    shown = days_of(page)
    assert len(shown) == days
    assert shown[-1] == date.fromisoformat(last)
    assert page.xpath("//input[@name='day'][@checked]/@value") == [opened]


def test_all_days_begin_with_the_first_one(ada: Pages, lively: Engine) -> None:
    shown = days_of(ada.get(f"{learner_link('learner-0009', 'unit-1')}?zoom=all"))
    with Session(lively) as session:
        active = session.scalars(
            select(DailyActivity.day).where(
                DailyActivity.learner_id == "learner-0009", DailyActivity.unit_id == "unit-1"
            )
        ).all()

    assert shown[0] == min([date(2026, 2, 3), *active])
    assert shown[-1] == date(2026, 3, 2)


def test_earlier_and_later_days_are_linked(ada: Pages) -> None:
    page = ada.get(f"{PATH}?zoom=14")
    assert not page.xpath("//nav[@class='zoom']/a[@rel='next']")

    earlier = ada.get(page.xpath("//nav[@class='zoom']/a[@rel='prev']/@href")[0])
    later = ada.get(earlier.xpath("//nav[@class='zoom']/a[@rel='next']/@href")[0])

    assert days_of(later) == days_of(page)
    assert days_of(earlier)[-1] == days_of(page)[0] - timedelta(days=1)


# What it costs


def test_number_of_statements_is_constant(ada: Pages) -> None:
    def count(address: str) -> int:
        ada.get(address)
        return len([one for one in ada.statements if one.startswith(("SELECT", "WITH"))])

    # Once more where somebody did something, whose name is read.
    assert count(learner_link("learner-0000")) == count(learner_link("learner-0003")) + 1 == 8
    assert count(learner_link(ODD_LEARNER)) == count(learner_link("learner-0003"))
    assert count(PATH) == count(f"{PATH}?zoom=all") == count(f"{PATH}?zoom=90") <= 16


def test_indexes_serve_the_path(lively: Engine) -> None:
    visible = Visible(VIEWERS["ada"])
    table = visible.answers
    wanted = select(table).where(
        table.learner_id == "learner-0000", table.unit_id == "unit-0",
        table.as_of > NOW - timedelta(days=28),
    )  # fmt: skip
    with Session(lively) as session:
        statement = str(wanted.compile(lively, compile_kwargs={"literal_binds": True}))
        if lively.dialect.name == "sqlite":
            plan = str(session.execute(text(f"EXPLAIN QUERY PLAN {statement}")).all())
            assert "SEARCH answers USING INDEX sqlite_autoindex_answers_1" in plan
        else:
            plan = str(session.execute(text(f"EXPLAIN {statement}")).all())
            assert "pk_answers" in plan


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("de", ["Könnte sich als Nächstes lohnen", "Alle Einheiten", "Was getan wurde"]),
        ("zh", ["接下来可以考虑", "所有单元", "已采取的行动"]),
    ],
)
def test_pages_speak_the_readers_language(ada: Pages, language: str, texts: list[str]) -> None:
    page = ada.get(learner_link("learner-0000"), language)

    assert [text_of(head) for head in page.xpath("//h2")] == texts
