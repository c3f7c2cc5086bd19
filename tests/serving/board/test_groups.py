"""Groups, regions and courses: the sums on the pages are those of the answers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.orm import Session

from serving.answers.tables import (
    Action,
    Answer,
    CurrentAnswer,
    DailyCount,
    Group,
    Learner,
    ModelVersion,
    Scoring,
)
from serving.board.pages.group_figures import ATTENTION
from serving.board.pages.groups import group_link
from tests.browser import NARROW, assert_fits, screenshots, tab_to, use_keyboard
from tests.serving.answers.classroom import CLASSES, NOW
from tests.serving.board.pages_of import Pages, pages_of, text_of


def rows(page: Any) -> dict[str, Any]:
    """Returns the rows of the page's first table by the first link or text in their heading."""
    found = page.xpath("//table[contains(@class, 'figures')][1]/tbody/tr")
    return {text_of((row.xpath("th/a") or row.xpath("th"))[0]): row for row in found}


def cell(row: Any, label: str) -> str:
    """Returns a cell of a row by its label."""
    return text_of(row.xpath(f"td[starts-with(@data-label, '{label}')]")[0])


def shares(engine: Engine, *where: Any, as_of: Any = NOW) -> list[float]:
    """Returns the share of each class among answers of a moment."""
    with Session(engine) as session:
        found = session.execute(
            select(Answer.predicted_class, func.count())
            .join(Learner, Learner.learner_id == Answer.learner_id)
            .where(Answer.as_of == as_of, *where)
            .group_by(Answer.predicted_class)
        )
        counts = {name: count for name, count in found}  # noqa: C416
    return [counts.get(name, 0) / sum(counts.values()) for name in CLASSES]


def table(pages: Pages, address: str) -> list[dict[str, str]]:
    """Returns the rows of a file to download."""
    response = pages.client.get(address)
    assert response.status_code == 200
    assert response.headers["content-disposition"].startswith('attachment; filename="')
    return [*csv.DictReader(io.StringIO(response.content.decode("utf-8-sig")))]


def test_groups_have_the_shares_of_their_answers(database: Engine) -> None:
    with pages_of(database, "root") as pages:
        found = rows(pages.get("/groups"))
        assert set(found) == {"Group 0", "Group 1", "Group 2"}
        for number in range(3):
            row = found[f"Group {number}"]
            expected = shares(database, Learner.group_id == f"group-{number}")
            assert cell(row, "Now") == " ".join(
                f"{share:.0%} {name.replace('_', ' ')}"
                for share, name in zip(expected, CLASSES, strict=True)
            )
            assert cell(row, "Learners") == "10"


def test_change_is_the_difference_to_four_weeks_before(database: Engine) -> None:
    """The classroom goes back 27 days, so its first day counts."""
    exported = {}
    with pages_of(database, "root") as pages:
        page = pages.get("/groups")
        assert "Changes are since Feb 3, 2026." in text_of(page)
        exported = {row["id"]: row for row in table(pages, "/groups?export=table")}
    for group, row in exported.items():
        in_group = Learner.group_id == group
        now = shares(database, in_group)
        before = shares(database, in_group, as_of=NOW - timedelta(days=27))
        for place, name in enumerate(CLASSES):
            assert float(row[f"share_{name}"]) == pytest.approx(now[place])
            assert float(row[f"share_{name}_before"]) == pytest.approx(before[place])


def test_attention_counts_learners_and_actions_those_of_four_weeks(database: Engine) -> None:
    action = {
        "learner_id": "learner-0001", "unit_id": "unit-0", "kind": "called", "user": "ada",
        "as_of": NOW, "version_id": 1, "predicted_class": "partial",
    }  # fmt: skip
    with database.begin() as connection:
        for days in (1, 27, 29):
            connection.execute(insert(Action).values(**action, at=NOW - timedelta(days=days)))
        needy = select(func.count()).where(Learner.group_id == "group-1", Learner.need >= ATTENTION)
        expected = connection.scalar(needy)
    with pages_of(database, "max") as pages:
        row = rows(pages.get("/groups"))["Group 1"]
        assert cell(row, "Need attention").split()[0] == str(expected)
        assert cell(row, "Actions") == "2"
        facts = text_of(pages.get(group_link("group-1")).xpath("//dl")[0])
    assert f"Need attention{expected} Actions in four weeks2" in facts


def test_regions_and_courses_add_up(database: Engine) -> None:
    with pages_of(database, "root") as pages:
        regions = {row["id"]: row for row in table(pages, "/groups?by=region&export=table")}
        courses = {row["id"]: row for row in table(pages, "/groups?by=course&export=table")}
    assert {name: row["learners"] for name, row in regions.items()} == {
        "north": "20",
        "south": "10",
    }
    assert {name: row["answers"] for name, row in courses.items()} == {
        "course-0": "60",
        "course-1": "60",
    }
    expected = shares(database, Answer.unit_id.in_(["unit-0", "unit-2"]))
    assert float(courses["course-0"]["share_partial"]) == pytest.approx(expected[1])


@pytest.mark.parametrize(
    ("sort", "column"),
    [("share", "share_not_mastered"), ("attention", "need_attention"), ("learners", "learners")],
)
def test_sorting_is_by_the_column(database: Engine, sort: str, column: str) -> None:
    with pages_of(database, "root") as pages:
        values = [float(row[column]) for row in table(pages, f"/groups?sort={sort}&export=table")]
    assert values == sorted(values, reverse=True)


def test_search_region_and_paging(database: Engine) -> None:
    with Session(database) as session, session.begin():
        for number in range(60):
            session.add(Group(group_id=f"more-{number:02}", name=f"100%_{number}", region="west"))
    with pages_of(database, "root") as pages:
        assert set(rows(pages.get("/groups?search=GROUP+1"))) == {"Group 1"}
        assert set(rows(pages.get("/groups?region=south"))) == {"Group 1"}
        second = pages.get("/groups?search=100%25_&sort=name&page=2")
        assert len(rows(second)) == 25
        assert "Page 2 of 3" in text_of(second)
        beyond = pages.get("/groups?search=100%25_&sort=name&page=99")
        assert len(rows(beyond)) == 25
        assert "No row fits." in text_of(pages.get("/groups?search=nobody"))


def test_learners_without_a_group_are_a_row_of_the_admins_alone(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(
            update(DailyCount).where(DailyCount.group_id == "group-1").values(group_id="")
        )
        connection.execute(
            update(Learner).where(Learner.group_id == "group-1").values(group_id=None)
        )
    with pages_of(database, "root") as pages:
        found = rows(pages.get("/groups"))
    assert cell(found["Without a group"], "Learners") == "10"
    assert "no answers" in cell(found["Group 1"], "Now")
    with pages_of(database, "max") as pages:
        assert set(rows(pages.get("/groups"))) == {"Group 0", "Group 1"}


def test_manager_sees_own_groups_and_teacher_none(database: Engine) -> None:
    with pages_of(database, "max") as pages:
        assert set(rows(pages.get("/groups"))) == {"Group 0", "Group 1"}
        assert {row["learners"] for row in table(pages, "/groups?by=region&export=table")} == {"10"}
        assert pages.status(group_link("group-2")) == 404
        assert pages.status(f"{group_link('group-2')}?export=learners") == 404
    with pages_of(database, "ada") as pages:
        assert pages.status("/groups") == 403
        assert pages.status(group_link("group-0")) == 403


def test_group_has_its_units_days_and_neediest_learners(database: Engine) -> None:
    with pages_of(database, "max") as pages:
        page = pages.get(group_link("group-0"))
        units = table(pages, f"{group_link('group-0')}?export=units")
        days = table(pages, f"{group_link('group-0')}?export=days")
        learners = table(pages, f"{group_link('group-0')}?export=learners")
        assert pages.status(f"{group_link('group-0')}?export=secrets") == 404
    for row in units:
        expected = shares(database, Learner.group_id == "group-0", Answer.unit_id == row["unit"])
        assert float(row["share_not_mastered"]) == pytest.approx(expected[0])
    assert len(days) == 28
    expected = shares(database, Learner.group_id == "group-0", as_of=NOW - timedelta(days=10))
    assert float(days[-11]["share_proficient"]) == pytest.approx(expected[2])

    with Session(database) as session:
        by_need = session.scalars(
            select(Learner).where(Learner.group_id == "group-0")
            .order_by(Learner.need.desc(), Learner.learner_id)
        ).all()  # fmt: skip
    assert [row["learner_id"] for row in learners] == [item.learner_id for item in by_need]
    links = [link.get("href") for link in page.xpath("//ol[@class='needy']/li/a")]
    assert links[0] == f"/learners/{by_need[0].learner_id}/units/{by_need[0].unit_id}"


def test_id_of_any_text_has_its_page(database: Engine) -> None:
    strange = "../a b?<é>"
    with Session(database) as session, session.begin():
        session.add(Group(group_id=strange, name="=1+1", region=None))
    with pages_of(database, "root") as pages:
        assert text_of(pages.get(group_link(strange)).xpath("//h1")[0]) == "=1+1"
        exported = table(pages, "/groups?sort=name&export=table")
    assert {row["name"] for row in exported if row["id"] == strange} == {"'=1+1"}


def test_newest_version_of_a_moment_counts(database: Engine) -> None:
    with Session(database) as session, session.begin():
        old = session.get_one(ModelVersion, 1)
        new = ModelVersion(
            model="sample", version=old.version + 1, run=None, pushed_at=NOW, classes=CLASSES,
            metrics={}, report=None, card=None,
        )  # fmt: skip
        session.add(new)
        session.flush()
        session.add(
            Scoring(version_id=new.id, as_of=NOW, started_at=NOW, finished_at=NOW, answers=7)
        )
        session.add(
            DailyCount(
                as_of=NOW, version_id=new.id, group_id="group-0", unit_id="unit-0",
                predicted_class="partial", answers=7, need=3.5,
            )
        )  # fmt: skip
    with pages_of(database, "root") as pages:
        found = rows(pages.get("/groups"))
        assert cell(found["Group 0"], "Now") == "0% not mastered 100% partial 0% proficient"
        assert cell(found["Group 1"], "Now") == "no answers"


def test_regression_shows_mean_need(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(update(ModelVersion).values(classes=[]))
        connection.execute(delete(DailyCount).where(DailyCount.predicted_class != CLASSES[0]))
        connection.execute(update(DailyCount).values(predicted_class="", answers=4, need=1.0))
        connection.execute(
            update(CurrentAnswer).values(predicted_class=None, probabilities=[], prediction=61.5)
        )
    with pages_of(database, "root") as pages:
        assert cell(rows(pages.get("/groups"))["Group 0"], "Mean need") == "25%"
        page = pages.get(group_link("group-0"))
    assert "Mean need: from 25% to 25%" in text_of(page)
    assert "61.5" in text_of(page.xpath("//ol[@class='needy']")[0])


def test_nothing_scored_yet(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(update(Scoring).values(finished_at=None))
    with pages_of(database, "root") as pages:
        assert "Nothing was scored yet." in text_of(pages.get("/groups"))
        assert "Nothing was scored yet." in text_of(pages.get(group_link("group-0")))


def test_statements_do_not_grow_with_the_rows(database: Engine) -> None:
    counts = []
    for user in ("max", "root"):
        with pages_of(database, user) as pages:
            pages.get("/groups")
            listed = len(pages.statements)
            pages.get(group_link("group-0"))
            counts.append((listed, len(pages.statements)))
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 9


@pytest.mark.parametrize("language", ["de", "zh"])
def test_pages_are_translated(database: Engine, language: str) -> None:
    with pages_of(database, "root") as pages:
        text = text_of(pages.get("/groups", language)) + text_of(
            pages.get(group_link("group-0"), language)
        )
    for english in ("Need attention", "Download", "Over time", "not mastered", "all regions"):
        assert english not in text


def test_groups_in_a_browser(
    board_url: Callable[[str], str], browser_page: Page, assert_accessible: Callable[[], None]
) -> None:
    page = browser_page
    page.goto(board_url("root") + "/groups")
    assert_accessible()
    assert_fits(page)
    screenshots(page, "groups")
    page.get_by_label("Search").fill("Group 1")
    page.keyboard.press("Enter")
    expect(page.locator("table.figures tbody tr")).to_have_count(1)
    assert "search=Group%201" in page.url

    page.set_viewport_size({"width": NARROW, "height": 844})
    tab_to(page, "table.figures tbody th a")
    use_keyboard(page, "table.figures tbody th a")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Group 1")
    assert_accessible()
    assert_fits(page)
    screenshots(page, "group")
