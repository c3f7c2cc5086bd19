"""Who is held out is on no list, and managers read what that showed; teachers do not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page
from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from serving.answers.settings import AnswersSettings
from serving.answers.tables import Action, Assignment, Learner, Outcome
from tests.browser import assert_fits, screenshots
from tests.serving.answers.classroom import CLASSES, NOW
from tests.serving.board.pages_of import Pages, text_of
from tests.serving.board.running import RunningBoard, running_board

HOLD_OUT = AnswersSettings.model_validate(
    {"effect": {"hold_out": 0.2, "who": "need > 0.1", "cost_per_action": {"called": 12}}}
)
HELD_OUT = "learner-0000"  # of group-0, whom ada looks after


def draw(engine: Engine, *, released: bool = False, days: int = 1) -> None:
    """Holds one learner out, and names the others, some days ago."""
    with Session(engine) as session, session.begin():
        for learner in session.scalars(select(Learner)).all():
            is_held_out = learner.learner_id == HELD_OUT
            session.add(a_lot(learner, is_held_out, days=days, released=released))


def a_lot(learner: Learner, is_held_out: bool, *, days: int, released: bool = False) -> Assignment:
    at = NOW - timedelta(days=days)
    return Assignment(
        learner_id=learner.learner_id, at=at, unit_id=learner.unit_id or "unit-0",
        group_id=learner.group_id, as_of=at, version_id=1, rule="", stratum="unit-0 0.6-0.8",
        place=0, probability=0.7, share=0.2, held_out=is_held_out, until=at + timedelta(days=28),
        released_at=at if released and is_held_out else None,
    )  # fmt: skip


def add_trial(engine: Engine) -> None:
    """Gives every learner ten lots long ago, with better outcomes where they were named."""
    chance = random.Random(3)
    with Session(engine) as session, session.begin():
        for place, learner in enumerate(session.scalars(select(Learner)).all()):
            for number in range(10):
                is_held_out = (place + number) % 4 == 0
                lot = a_lot(learner, is_held_out, days=400 + 30 * number)
                session.add(lot)
                session.flush()
                is_good = chance.random() < (0.2 if is_held_out else 0.6)
                session.execute(insert(Outcome).values(
                    learner_id=learner.learner_id, unit_id=lot.unit_id, received_at=NOW,
                    as_of=lot.at + timedelta(days=9), label=CLASSES[2 if is_good else 0],
                    group_id=learner.group_id,
                ))  # fmt: skip
                if not is_held_out and number % 3:
                    session.add(Action(
                        learner_id=learner.learner_id, unit_id=lot.unit_id, user="ada",
                        kind="called" if number % 2 else "helped", at=lot.at + timedelta(days=1),
                        as_of=lot.as_of, version_id=1, predicted_class=None,
                    ))  # fmt: skip


@contextmanager
def pages(engine: Engine, user: str, settings: AnswersSettings = HOLD_OUT) -> Iterator[Pages]:
    """Opens the board's pages on a database, with a hold-out in the settings."""
    import httpx

    from serving.board.access import DemoAccess
    from serving.board.app import create_app
    from tests.serving.board.pages_of import VIEWERS
    from tests.serving.board.running import serving

    app = create_app(engine, settings, DemoAccess(VIEWERS[user]), now=lambda: NOW)
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield Pages(client)


def test_who_is_held_out_is_on_no_list_but_has_a_page(database: Engine) -> None:
    draw(database)
    with pages(database, "ada") as opened:
        for address in ("/worklist", "/worklist?show=all", "/worklist?unit=unit-1",
                        "/worklist?search=learner", "/worklist.csv"):  # fmt: skip
            text = opened.client.get(address).text
            assert "Learner 3" in text, address
            assert f"{HELD_OUT}," not in text, address
            assert f"/learners/{HELD_OUT}" not in text, address
        note = text_of(opened.get("/worklist").xpath("//p[contains(@class, 'hold-out')]")[0])
        assert "about 20% of those who would stand here are left out" in note
        own = opened.client.get(f"/learners/{HELD_OUT}").text
        assert "Learner 0" in own
        assert "held out" not in own
        assert HELD_OUT in opened.client.get("/map").text
        assert opened.status("/effect") == 403
    with pages(database, "max") as opened:
        needy = opened.get("/groups/group-0").xpath("//ol[@class='needy']")[0]
        assert HELD_OUT not in str(needy.xpath(".//a/@href"))


@pytest.mark.parametrize("ended", ["released", "over", "off"])
def test_who_is_not_held_out_any_more_is_named_again(database: Engine, ended: str) -> None:
    draw(database, released=ended == "released", days=28 if ended == "over" else 1)
    settings = AnswersSettings() if ended == "off" else HOLD_OUT
    with pages(database, "ada", settings) as opened:
        page = opened.get("/worklist")
        assert f"/learners/{HELD_OUT}" in str(page.xpath("//a/@href"))
        assert bool(page.xpath("//p[contains(@class, 'hold-out')]")) is (ended != "off")


def test_an_action_about_somebody_held_out_is_shown(database: Engine) -> None:
    """A list that was loaded before the lot still has the learner's forms."""
    draw(database)
    with pages(database, "ada") as opened:
        answer = opened.client.post(
            f"/learners/{HELD_OUT}/actions",
            data={"kind": "called", "unit": "unit-0", "as_of": NOW.isoformat(), "version": "1",
                  "form": "f"},
            headers={"HX-Request": "true", "X-CSRF-Token": "token"},
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        assert "Learner 0" in answer.text
        assert f"/learners/{HELD_OUT}" in opened.client.get("/worklist?show=done").text


def test_managers_read_the_effect_of_their_groups(database: Engine) -> None:
    add_trial(database)
    with pages(database, "root") as opened:
        page = opened.get("/effect")
        text = text_of(page.xpath("//main")[0])
        assert "A hold-out runs: about 20%" in text
        assert "Naming learners helps" in text
        table = page.xpath("//section[@aria-labelledby='answer']//tbody/tr")
        rows = [[text_of(cell) for cell in row.xpath("th|td")] for row in table]
        assert [row[0] for row in rows] == ["named", "held out"]
        assert int(rows[0][2]) + int(rows[1][2]) == 300
        assert "Cost of one more good outcome" in text
        assert "These are no effects" in text
        groups = page.xpath("//section[@aria-labelledby='by-group']//tbody/tr/th")
        assert [text_of(name) for name in groups] == ["Group 0", "Group 1", "Group 2"]
        assert "learner-0" not in text
    with pages(database, "max") as opened:
        text = text_of(opened.get("/effect").xpath("//main")[0])
        assert "Group 2" not in text
        assert "Group 1" in text


def test_without_a_hold_out_the_page_says_that_it_cannot_know(database: Engine) -> None:
    with pages(database, "max", AnswersSettings()) as opened:
        text = text_of(opened.get("/effect").xpath("//main")[0])
    assert "No hold-out runs: everybody who fits is named." in text
    assert "cannot be known from these data" in text
    assert "would mislead" in text


@pytest.fixture
def board_with_a_trial(classroom_database: Path, tmp_path: Path) -> Iterator[RunningBoard]:
    """A board on which a hold-out has run for a year."""
    with running_board(classroom_database, tmp_path, settings=HOLD_OUT) as running:
        add_trial(running.engine)
        draw(running.engine)
        yield running


def test_the_page_fits_every_width(board_with_a_trial: RunningBoard, browser_page: Page) -> None:
    browser_page.context.add_cookies([board_with_a_trial.cookie("max")])
    for path, name in (("/effect", "effect"), ("/worklist", "worklist-hold-out")):
        browser_page.goto(board_with_a_trial.url + path)
        assert_fits(browser_page)
        screenshots(browser_page, name)
