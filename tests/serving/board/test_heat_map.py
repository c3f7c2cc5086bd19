from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from serving.answers.tables import ComponentResult, CurrentAnswer, Learner
from serving.answers.words import in_words
from serving.board.links import learner_link
from serving.board.pages import heat_map_filters, heat_map_rows
from serving.board.pages.heat_map_filters import MapFilters
from serving.board.pages.heat_map_rows import HeatMap, natural
from serving.board.viewer import Visible
from tests.serving.answers.classroom import CLASSES
from tests.serving.board.pages_of import VIEWERS, pages_of, text_of

GROUPS = {"ada": ["group-0"], "max": ["group-0", "group-1"], "root": None}
UNITS = ["unit-0", "unit-2", "unit-1", "unit-3"]  # course-0, then course-1


def learners_of(engine: Engine, user: str) -> list[Learner]:
    groups = GROUPS[user]
    with Session(engine) as session:
        everybody = session.scalars(select(Learner)).all()
    return [learner for learner in everybody if groups is None or learner.group_id in groups]


def answers_of(engine: Engine) -> dict[tuple[str, str], CurrentAnswer]:
    with Session(engine) as session:
        found = session.scalars(select(CurrentAnswer)).all()
    return {(answer.learner_id, answer.unit_id): answer for answer in found}


def rows(page: Any) -> list[Any]:
    return [row for row in page.xpath("//tbody/tr") if row.xpath("th")]


def names(page: Any) -> list[str]:
    return [text_of(row.xpath("th/a")[0]) for row in rows(page)]


@pytest.mark.parametrize("user", GROUPS)
def test_map_shows_the_answers_about_the_viewers_learners(
    classroom_engine: Engine, user: str
) -> None:
    with pages_of(classroom_engine, user) as pages:
        page = pages.get("/map")
    answers = answers_of(classroom_engine)
    expected = {
        learner.name: [
            (
                learner_link(learner.learner_id, unit),
                in_words(answer.predicted_class or "", max(answer.probabilities), "en"),
            )
            for unit in UNITS
            for answer in [answers[learner.learner_id, unit]]
        ]
        for learner in learners_of(classroom_engine, user)
    }

    shown = {
        text_of(row.xpath("th/a")[0]): [
            (link.get("href"), text_of(link.xpath("span[@class='visually-hidden']")[0]))
            for link in row.xpath("td/a")
        ]
        for row in rows(page)
    }

    assert shown == expected
    assert [text_of(head) for head in page.xpath("//th[@class='column']")] == [
        "Unit 0", "Unit 2", "Unit 1", "Unit 3",
    ]  # fmt: skip


@pytest.mark.parametrize("user", GROUPS)
@pytest.mark.parametrize("group", ["", "group-0", "group-2"])
def test_sums_are_those_of_all_visible_learners(
    classroom_engine: Engine, user: str, group: str
) -> None:
    seen = {
        learner.learner_id
        for learner in learners_of(classroom_engine, user)
        if group in ("", learner.group_id)
    }
    by_unit: dict[str, list[CurrentAnswer]] = {}
    for (learner_id, unit), answer in answers_of(classroom_engine).items():
        if learner_id in seen:
            by_unit.setdefault(unit, []).append(answer)

    with Session(classroom_engine) as session:
        heat_map = HeatMap(session, Visible(VIEWERS[user]))
        columns = heat_map.columns(MapFilters(group=group), heat_map.units())

    for column in columns:
        expected = by_unit.get(column.key, [])
        assert column.learners == len(expected)
        assert sum(column.counts.values()) == len(expected)
        for class_, count in column.counts.items():
            assert count == sum(answer.predicted_class == class_ for answer in expected)
        if expected:
            mean = sum(answer.need for answer in expected) / len(expected)
            assert column.need == pytest.approx(mean)


def test_components_of_a_unit_with_right_answers_and_sums(classroom_engine: Engine) -> None:
    with pages_of(classroom_engine, "ada") as pages:
        page = pages.get("/map?by=component&unit=unit-1")
    seen = {learner.learner_id: learner.name for learner in learners_of(classroom_engine, "ada")}
    with Session(classroom_engine) as session:
        results = session.scalars(
            select(ComponentResult).where(ComponentResult.unit_id == "unit-1")
        ).all()
    mine = [result for result in results if result.learner_id in seen]

    assert [text_of(head) for head in page.xpath("//th[@class='column']")] == [
        "unit-1-a", "unit-1-b",
    ]  # fmt: skip
    for row in rows(page):
        cells = [text_of(link.xpath("span[2]")[0]) for link in row.xpath("td/a")]
        of_row = [r for r in mine if seen[r.learner_id] == text_of(row.xpath("th/a")[0])]
        ordered = sorted(of_row, key=lambda result: result.component)
        assert cells == [f"{result.correct}/{result.answered}" for result in ordered]
    assert len(rows(page)) == len(seen)
    for place, component in enumerate(("unit-1-a", "unit-1-b")):
        masteries = [result.mastery for result in mine if result.component == component]
        cell = page.xpath("//tr[@class='sums']/td")[2 + place]
        assert text_of(cell) == f"{sum(masteries) / len(masteries):.0%}"


def test_rows_are_ordered_as_the_heads_say(classroom_engine: Engine) -> None:
    answers = answers_of(classroom_engine)
    learners = learners_of(classroom_engine, "max")
    orders = {
        "sort=need": sorted(learners, key=lambda one: (-one.need, one.learner_id)),
        "sort=need&reverse=1": sorted(learners, key=lambda one: (one.need, one.learner_id)),
        "sort=name": sorted(learners, key=lambda one: one.name or ""),
        "sort=name&reverse=1": sorted(learners, key=lambda one: one.name or "", reverse=True),
        "sort=column&column=unit-3": sorted(
            learners, key=lambda one: (-answers[one.learner_id, "unit-3"].need, one.learner_id)
        ),
        "unit=unit-2&reverse=1": sorted(
            learners, key=lambda one: (answers[one.learner_id, "unit-2"].need, one.learner_id)
        ),
    }
    with pages_of(classroom_engine, "max") as pages:
        for query, expected in orders.items():
            page = pages.get(f"/map?{query}")
            assert names(page) == [learner.name for learner in expected], query
            direction = page.xpath("//th[@aria-sort]/@aria-sort")
            reverse = "reverse" in query
            assert direction == ["ascending" if ("name" in query) != reverse else "descending"]


def test_weakest_in_a_component_come_first(classroom_engine: Engine) -> None:
    with pages_of(classroom_engine, "root") as pages:
        page = pages.get("/map?by=component&unit=unit-0&sort=column&column=unit-0-b")
    with Session(classroom_engine) as session:
        ordered = session.scalars(
            select(Learner.name)
            .join(ComponentResult, ComponentResult.learner_id == Learner.learner_id)
            .where(ComponentResult.component == "unit-0-b")
            .order_by(ComponentResult.mastery, Learner.learner_id)
        ).all()

    assert names(page) == list(ordered)


def test_pages_together_show_everybody_once(
    classroom_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (heat_map_filters, heat_map_rows):
        monkeypatch.setattr(module, "PAGE_ROWS", 7)
    monkeypatch.setattr(heat_map_rows, "PAGE_COLUMNS", 3)
    shown: list[str] = []
    address = "/map?sort=column&column=unit-1"
    with pages_of(classroom_engine, "max") as pages:
        while address:
            page = pages.get(address)
            shown += names(page)
            further = page.xpath("//a[@rel='next']/@href")
            address = further[0] if further else ""
        columns = [
            text_of(head) for head in pages.get("/map?columns=2").xpath("//th[@class='column']")
        ]

    assert sorted(shown) == sorted(one.name or "" for one in learners_of(classroom_engine, "max"))
    assert columns == ["Unit 3"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=LEARNER-0003", ["Learner 3"]),
        ("search=earner+27", ["Learner 27"]),
        ("search=%25", []),
        ("search=_", []),
        ("search=Learner+1&sort=name", ["Learner 12", "Learner 15", "Learner 18"]),
        ("group=group-1", []),
        ("group=%00group-1", []),
    ],
)
def test_filters_leave_what_they_say(
    classroom_engine: Engine, query: str, found: list[str]
) -> None:
    with pages_of(classroom_engine, "ada") as pages:
        assert names(pages.get(f"/map?{query}")) == found


def test_a_course_leaves_its_columns_and_a_stray_column_is_forgotten(
    classroom_engine: Engine,
) -> None:
    with pages_of(classroom_engine, "ada") as pages:
        page = pages.get("/map?course=course-1&unit=unit-0&sort=column&column=unit-2")

    assert [text_of(head) for head in page.xpath("//th[@class='column']")] == ["Unit 1", "Unit 3"]
    assert len(rows(page)) == 10
    assert page.xpath("//th[@aria-sort]/a/text()")[0].strip() == "Need"


@pytest.mark.parametrize("query", ["", "by=component", "search=1&course=course-0&sort=name"])
def test_number_of_statements_does_not_grow(classroom_engine: Engine, query: str) -> None:
    counts = set()
    for user in GROUPS:
        with pages_of(classroom_engine, user) as pages:
            pages.get(f"/map?{query}")
            counts.add(len([one for one in pages.statements if one.startswith("SELECT")]))

    assert len(counts) == 1
    assert max(counts) <= 7


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (MapFilters(), "ix_learners_group_id_need"),
        (MapFilters(sort="column", column="unit-1"), "unit_id_need"),
        (
            MapFilters(by="component", unit="unit-1", sort="column", column="unit-1-a"),
            "ix_component_results_unit_id_component_mastery",
        ),
    ],
)
def test_indexes_serve_the_order_of_rows(
    classroom_engine: Engine, filters: MapFilters, index: str
) -> None:
    with Session(classroom_engine) as session:
        rows = HeatMap(session, Visible(VIEWERS["ada"]))._ordered(filters).limit(51)
        statement = str(rows.compile(classroom_engine, compile_kwargs={"literal_binds": True}))
        if classroom_engine.dialect.name == "sqlite":
            plan = session.execute(text(f"EXPLAIN QUERY PLAN {statement}")).all()
        else:  # a small table is read whole unless that is forbidden
            for setting in (
                "enable_seqscan",
                "enable_sort",
                "enable_bitmapscan",
                "enable_hashjoin",
            ):
                session.execute(text(f"SET LOCAL {setting} = off"))
            plan = session.execute(text(f"EXPLAIN {statement}")).all()

    assert index in str(plan), plan


def test_every_class_has_a_symbol_beside_its_colour(classroom_engine: Engine) -> None:
    with pages_of(classroom_engine, "root") as pages:
        page = pages.get("/map", "de")
    legend = [text_of(item) for item in page.xpath("//ul[@aria-label='Zeichen']/li")]
    answers = answers_of(classroom_engine)

    assert legend == ["▼ nicht beherrscht", "◆ teilweise beherrscht", "▲ sicher beherrscht"]
    symbols = {"▼": CLASSES[0], "◆": CLASSES[1], "▲": CLASSES[2]}
    for link in page.xpath("//tbody//td/a"):
        learner_id, unit = link.get("href").removeprefix("/learners/").split("/units/")
        symbol = text_of(link.xpath("span[1]")[0])
        assert symbols[symbol] == answers[learner_id, unit].predicted_class


def test_sums_are_few_rows_of_many(classroom_engine: Engine) -> None:
    with Session(classroom_engine) as session:
        for table in ("unit_sums", "component_sums"):
            counted = session.scalar(text(f"SELECT count(*) FROM {table}"))
            assert 0 < (counted or 0) <= 3 * 4 * 3
        total = session.scalar(text("SELECT sum(answers) FROM unit_sums"))
        assert total == session.scalar(select(func.count()).select_from(CurrentAnswer))


VALUES = st.dictionaries(
    st.sampled_from(
        ["by", "group", "course", "unit", "search", "sort", "column", "reverse", "page", "columns"]
    ),
    st.sampled_from(["unit", "component", "need", "name", "column", "1", "7", "999999", "-1", "²"])
    | st.text(st.characters(blacklist_categories=["Cs"])),
)


@given(VALUES)
def test_every_address_is_understood_and_said_again(values: dict[str, str]) -> None:
    filters = MapFilters.of(values)

    query = urlsplit(filters.link(page=filters.page)).query
    assert MapFilters.of(dict(parse_qsl(query))) == filters


@given(st.text(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_numbers_in_titles_count_as_numbers(name: str, one: int, other: int) -> None:
    first, second = natural(f"{name} {one}"), natural(f"{name} {other}")

    assert (first < second) == (one < other)
