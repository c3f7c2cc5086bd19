"""The worklist's rows, filters, actions and files, on SQLite and on PostgreSQL."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import lxml.html
import polars as pl
import pytest
from babel.messages.extract import extract
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event, func, select, update
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from serving.answers import feedback
from serving.answers.database import open_database
from serving.answers.settings import AnswersSettings
from serving.answers.tables import Action, CurrentAnswer, Learner, User
from serving.answers.words import translations
from serving.board.access import DemoAccess
from serving.board.app import create_app
from serving.board.links import learner_link
from serving.board.pages.worklist_filters import Filters, Show, Sort, week_start
from serving.board.pages.worklist_rows import Point, Trend
from serving.board.rendering import FOLDER
from serving.board.viewer import Viewer
from tests.serving.answers.classroom import NOW, fill
from tests.serving.answers.conftest import new_database

ADA = Viewer("ada", "Ada", "teacher", frozenset({"group-0"}), capacity=3, csrf="token")
ROOT = Viewer("root", "Root", "admin", None, capacity=20, csrf="token")
LEARNERS, GROUPS = 24, 3  # so Ada has eight
HTMX = {"HX-Request": "true"}


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """The classroom, on each kind of database in turn."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/answers.db"
    else:
        url = new_database(request.getfixturevalue("postgresql"))
    engine = open_database(url)
    fill(engine, learners=LEARNERS, units=2, groups=GROUPS)
    yield engine
    engine.dispose()


def client(engine: Engine, viewer: Viewer = ADA, now: datetime = NOW, **board: Any) -> TestClient:
    settings = AnswersSettings.model_validate({"board": board})
    app = create_app(engine, settings, DemoAccess(viewer), now=lambda: now)
    return TestClient(app, headers={"X-CSRF-Token": "token"}, follow_redirects=False)


def page(client: TestClient, address: str = "/worklist", **headers: str) -> Any:
    answer = client.get(address, headers=headers)
    assert answer.status_code == 200, answer.text
    return lxml.html.fromstring(answer.text)


_CONDITION = re.compile(r"\.([\w-]+)|#([\w-]+)|\[([\w-]+)(?:=([\w-]+))?\]")


def find(html: Any, selector: str) -> list[Any]:
    """Returns the elements of a selector, as in CSS: descendants, classes, ids and attributes."""
    path = "."
    for step in selector.split():
        path += f"//{re.match(r'[a-z0-9]*', step)[0] or '*'}"  # type: ignore[index]
        for name, id_, attribute, value in _CONDITION.findall(step):
            if name:
                path += f"[contains(concat(' ', normalize-space(@class), ' '), ' {name} ')]"
            elif id_:
                path += f"[@id='{id_}']"
            else:
                path += f"[@{attribute}='{value}']" if value else f"[@{attribute}]"
    found: list[Any] = html.xpath(path)
    return found


def names(html: Any) -> list[str]:
    return [link.text_content() for link in find(html, "h3 a")]


def text(html: Any, selector: str) -> str:
    return " ".join(" ".join(one.text_content().split()) for one in find(html, selector))


def row(html: Any, name: str) -> Any:
    return next(one for one in find(html, "li.learner") if names(one) == [name])


def form_of(html: Any, name: str) -> dict[str, str]:
    """Returns what the form of a learner's row sends, besides the button."""
    form = find(row(html, name), "form.actions")[0]
    return {key: value for key, value in form.form_values() if key != "csrf"}


def act(client: TestClient, name: str, kind: str, address: str = "/worklist", **said: str) -> Any:
    html = page(client, address)
    form = find(row(html, name), "form.actions")[0]
    data = form_of(html, name) | {"kind": kind} | said
    return client.post(form.action, data=data)


def by_need(engine: Engine, group: str = "group-0") -> list[str]:
    with Session(engine) as session:
        order = select(Learner.name).where(Learner.group_id == group)
        return [*session.scalars(order.order_by(Learner.need.desc(), Learner.learner_id))]  # type: ignore[list-item]


def test_the_list_is_ordered_by_expected_benefit_and_ends_where_the_week_does(
    engine: Engine,
) -> None:
    expected = by_need(engine)
    html = page(client(engine))
    assert names(html) == expected
    assert text(html, "#capacity p") == "You can call 3 this week: 0 done, 3 left"
    before, after = find(html, "ol.learners")
    assert names(before) == expected[:3]
    assert names(after) == expected[3:]
    assert after.get("start") == "4"

    first = act(client(engine), expected[0], "called")
    assert first.status_code == 303
    act(client(engine, replace(ADA, user="max")), expected[1], "helped")  # a colleague
    html = page(client(engine))
    assert text(html, "#capacity p") == "You can call 3 this week: 1 done, 2 left"
    assert names(html) == expected[2:]
    assert [len(names(part)) for part in find(html, "ol.learners")] == [2, 4]
    assert names(page(client(engine), "/worklist?show=done")) == expected[:2]

    next_week = client(engine, now=NOW + timedelta(days=7))
    assert names(page(next_week)) == expected
    assert text(page(next_week), "#capacity p").endswith("0 done, 3 left")


def test_a_row_says_what_is_known(engine: Engine) -> None:
    name = by_need(engine)[0]
    with Session(engine) as session, session.begin():
        learner = session.scalars(select(Learner).where(Learner.name == name)).one()
        answer = session.get_one(CurrentAnswer, (learner.learner_id, learner.unit_id))
        answer.predicted_class, answer.probabilities = "not_mastered", [0.91, 0.06, 0.03]
        answer.since, answer.previous_class = NOW - timedelta(days=3), "partial"
        answer.last_event_at = NOW - timedelta(days=9)
        answer.reasons = [
            {"feature": "dwell", "direction": "low", "weight": 0.4,
             "text": {"en": "read little", "de": "wenig gelesen"}}
        ]  # fmt: skip
    shown = row(page(client(engine)), name)
    assert "very likely not mastered, 91%" in text(shown, ".answer")
    assert "the model is sure" in text(shown, ".answer")
    assert "since Feb 27, 2026, before: partial" in text(shown, ".answer")
    assert text(shown, ".why h4") == "The model's reasons From the log"
    assert "read little" in text(shown, ".why")
    assert "last visit to the unit 9 days ago" in text(shown, ".why")
    assert re.search(r"weakest in unit-\d-[ab]: \d+ of \d+ right", text(shown, ".why"))
    assert "1 more unit" in text(shown, ".who")

    german = row(page(client(engine), **{"Accept-Language": "de"}), name)
    assert "sehr wahrscheinlich nicht beherrscht, 91" in text(german, ".answer")
    assert "wenig gelesen" in text(german, ".why")
    assert "letzter Besuch der Einheit vor 9 Tagen" in text(german, ".why")


@pytest.mark.parametrize(
    ("probabilities", "basis", "said"),
    [
        ([0.8, 0.15, 0.05], "sequence", "the model is sure"),
        ([0.6, 0.3, 0.1], "sequence", "the model is fairly sure"),
        ([0.45, 0.4, 0.15], "sequence", "the model is unsure: partial is nearly as likely"),
        ([0.8, 0.15, 0.05], "prior", "few events so far: answered from similar learners"),
    ],
)
def test_how_sure_follows_from_probabilities_and_basis(
    tmp_path: Path, probabilities: list[float], basis: str, said: str
) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    fill(engine, learners=1, units=1, groups=2)
    with Session(engine) as session, session.begin():
        change = {"probabilities": probabilities, "predicted_class": "not_mastered", "basis": basis}
        session.execute(update(CurrentAnswer).values(change))
    assert said in text(page(client(engine)), ".answer")
    engine.dispose()


def test_a_number_instead_of_a_class_is_shown_as_one(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    fill(engine, learners=1, units=1, groups=2)
    with Session(engine) as session, session.begin():
        session.execute(
            update(CurrentAnswer).values(predicted_class=None, probabilities=[], prediction=62.5)
        )
    assert "predicted: 62.5" in text(page(client(engine)), ".answer")
    assert client(engine).get("/worklist.csv").status_code == 200
    engine.dispose()


def test_trends_say_where_they_come_from_and_go_to() -> None:
    points = [Point(NOW + timedelta(days=day), 0.4 + day / 25) for day in range(11)]
    rising = Trend(tuple(points))
    assert (rising.direction, rising.days) == ("rising", 10)
    assert rising.line(100, 20).split()[::10] == ["0.0,12.0", "100.0,4.0"]
    falling = Trend((points[0], replace(points[1], value=0.1)))
    assert falling.direction == "falling"
    assert Trend((points[0], replace(points[1], value=0.36))).direction == "steady"


def test_filters_limit_the_rows(engine: Engine) -> None:
    root = client(engine, ROOT)
    with Session(engine) as session:
        in_unit = session.execute(
            select(Learner.name, CurrentAnswer.predicted_class)
            .join(CurrentAnswer, CurrentAnswer.learner_id == Learner.learner_id)
            .where(CurrentAnswer.unit_id == "unit-1")
            .order_by(CurrentAnswer.need.desc(), Learner.learner_id)
        ).all()
    assert names(page(root, "/worklist?group=group-1")) == by_need(engine, "group-1")
    assert names(page(root, "/worklist?unit=unit-1")) == [name for name, _ in in_unit]
    assert names(page(root, "/worklist?unit=unit-1&class=partial")) == [
        name for name, answered in in_unit if answered == "partial"
    ]
    assert names(page(root, "/worklist?search=earner+1&sort=name")) == sorted(
        f"Learner {number}" for number in (1, *range(10, 20))
    )
    assert names(page(root, "/worklist?search=LEARNER-0007")) == ["Learner 7"]
    assert names(page(root, "/worklist?search=100%25")) == []
    assert names(page(root, "/worklist?sort=visit"))[0] == f"Learner {LEARNERS - 1}"
    assert "Nobody is on this list" in text(page(root, "/worklist?search=nobody"), "#list")


def test_what_others_look_after_cannot_be_seen_or_acted_upon(engine: Engine) -> None:
    ada, root = client(engine), client(engine, ROOT)
    theirs = by_need(engine, "group-1")[0]
    assert names(page(ada, "/worklist?group=group-1")) == []
    html = page(root)
    form = find(row(html, theirs), "form.actions")[0]
    data = form_of(html, theirs) | {"kind": "called"}
    assert ada.post(form.action, data=data).status_code == 404
    assert ada.post(f"{form.action}/undo", data={"action": "1"}).status_code == 404
    assert ada.post("/learners/~FF/actions", data=data).status_code == 404
    assert root.post(form.action, data=data, headers={"X-CSRF-Token": "x"}).status_code == 403
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Action)) == 0


def test_an_action_without_scripts_leads_back_and_can_be_undone(engine: Engine) -> None:
    ada, name = client(engine), by_need(engine)[1]
    answer = act(ada, name, "helped", "/worklist?unit=unit-1", note="<b>at home</b>\r\n")
    assert answer.status_code == 303
    back = answer.headers["location"]
    assert back.startswith("/worklist?unit=unit-1&acted=")
    html = page(ada, back)
    assert text(html, ".flash p") == f"Stored for {name}: helped."
    undo = find(html, ".flash form")[0]

    done = row(page(ada, "/worklist?show=done"), name)
    assert "helped · ada · Mar 2, 2026" in text(done, ".last").replace("Ada", "ada")
    assert text(done, ".note") == "<b>at home</b>"

    again = ada.post(undo.action, data=dict(undo.form_values()))
    assert again.headers["location"] == "/worklist?unit=unit-1&undone=yes"
    assert name in names(page(ada))
    twice = ada.post(undo.action, data=dict(undo.form_values()))
    assert "no longer be undone" in text(page(ada, twice.headers["location"]), ".flash")


def test_htmx_gets_the_row_the_capacity_and_an_announcement(engine: Engine) -> None:
    ada, name = client(engine), by_need(engine)[0]
    html = page(ada)
    form = find(row(html, name), "form.actions")[0]
    data = form_of(html, name) | {"kind": "called"}
    for _ in range(2):  # a double click
        answer = ada.post(form.action, data=data, headers=HTMX)
        assert answer.status_code == 200
        part = lxml.html.fragment_fromstring(answer.text, create_parent=True)
        assert names(part) == [name]
        assert "settled" in find(part, ".learner")[0].classes
        assert text(part, "#capacity[hx-swap-oob] p").endswith("1 done, 2 left")
        assert text(part, "#announcement[hx-swap-oob]") == f"Stored for {name}: called."
        assert len(find(part, "button[autofocus]")) == 1
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Action)) == 1

    undo = find(part, ".last form")[0]
    answer = ada.post(undo.action, data=dict(undo.form_values()), headers=HTMX)
    part = lxml.html.fragment_fromstring(answer.text, create_parent=True)
    assert "settled" not in find(part, ".learner")[0].classes
    assert text(part, "#announcement").startswith("Undone")


def test_a_snoozed_learner_comes_back_on_the_day(engine: Engine) -> None:
    zone = {"time_zone": "Asia/Shanghai"}
    ada, name = client(engine, **zone), by_need(engine)[0]
    assert form_of(page(ada), name)["until"] == "2026-03-09"
    act(ada, name, "snooze", until="2026-03-04")
    with Session(engine) as session:
        until = session.scalar(select(Learner.snoozed_until).where(Learner.name == name))
    assert until == datetime(2026, 3, 4, tzinfo=ZoneInfo("Asia/Shanghai"))
    assert name not in names(page(ada))
    assert "hidden until Mar 4, 2026" in text(page(ada, "/worklist?show=snoozed"), ".last")
    assert name in names(page(client(engine, now=until)))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"kind": "snooze", "until": "2026-03-01"}, "from tomorrow to one year ahead"),
        ({"kind": "called", "note": "x" * 501}, "too long"),
        ({"kind": "called", "label": "genius"}, "none that the model knows"),
        ({"kind": "called", "as_of": "2026-01-01T00:00:00+00:00"}, "no longer there"),
    ],
)
def test_what_cannot_be_stored_is_said(tmp_path: Path, said: dict[str, str], message: str) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    fill(engine, learners=1, units=1, groups=2)
    ada = client(engine)
    html = page(ada)
    form = find(row(html, "Learner 0"), "form.actions")[0]
    data = form_of(html, "Learner 0") | {"note": "a long call"} | said
    plain = ada.post(form.action, data=data)
    assert plain.status_code == 422
    assert message in text(lxml.html.fromstring(plain.text), "[role=alert]")

    part = lxml.html.fragment_fromstring(
        ada.post(form.action, data=data, headers=HTMX).text, create_parent=True
    )
    assert message in text(part, ".error")
    assert find(part, "textarea")[0].value == data["note"]  # nothing has to be typed again
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Action)) == 0
    engine.dispose()


@pytest.mark.parametrize(
    "spoilt",
    [{"as_of": "x"}, {"as_of": "2026-03-02"}, {"version": "x"}, {"version": "9" * 30},
     {"note": "\0"}, {"kind": "snooze", "until": "tomorrow"}, {"kind": "snooze", "until": ""},
     {"kind": "snooze", "until": "9999-12-31"}],
)  # fmt: skip
def test_a_form_that_no_page_sent_is_refused(tmp_path: Path, spoilt: dict[str, str]) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    fill(engine, learners=1, units=1, groups=2)
    ada = client(engine)
    data = form_of(page(ada), "Learner 0") | {"kind": "called"} | spoilt
    assert ada.post("/learners/learner-0000/actions", data=data).status_code in (400, 422)
    engine.dispose()


def test_ids_with_anything_in_them_can_be_acted_upon(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    fill(engine, learners=1, units=1, groups=2)
    odd = "../a b?c=1&d#e/actions/\"'<b>"
    with engine.begin() as connection:
        for table in ("learners", "current_answers", "answers"):
            connection.exec_driver_sql(f"UPDATE {table} SET learner_id = ?", (odd,))
        connection.exec_driver_sql("UPDATE learners SET name = NULL")
    ada = client(engine)
    assert names(page(ada)) == [odd]
    assert act(ada, odd, "called").status_code == 303
    assert names(page(ada, "/worklist?show=done")) == [odd]
    assert learner_link(odd) in client(engine).get("/worklist?show=done").text
    engine.dispose()


def test_the_csv_has_the_rows_of_the_page(engine: Engine) -> None:
    ada, expected = client(engine), by_need(engine)
    act(ada, expected[0], "wrong", note="=cmd", label="")
    answer = ada.get("/worklist.csv?show=all")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    table = pl.read_csv(io.BytesIO(answer.content))
    assert table["name"].to_list() == expected
    assert table["place"].to_list() == [*range(1, len(expected) + 1)]
    assert table.select("action", "by", "note").row(0) == ("wrong", "Ada", "'=cmd")
    assert table["action"].null_count() == len(expected) - 1
    assert table["probability"].is_between(0.33, 1).all()
    assert pl.read_csv(io.BytesIO(ada.get("/worklist.csv").content)).height == len(expected) - 1
    assert pl.read_csv(io.BytesIO(ada.get("/worklist.csv?search=zz").content)).height == 0


def test_precision_in_use_stands_below_the_list(engine: Engine) -> None:
    ada, expected = client(engine), by_need(engine)
    for name, kind in zip(expected, ("called", "helped", "called", "wrong"), strict=False):
        act(ada, name, kind)
    said = text(page(ada), ".precision")
    assert "version 1795328170: 75% of the 4 answers" in said
    assert "(95% interval 30% to 95%)" in said


def test_the_number_of_queries_does_not_grow_with_the_rows(engine: Engine) -> None:
    queries: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: queries.append(given[2]))
    ada, expected = client(engine), by_need(engine)
    act(ada, expected[0], "called")

    def count(address: str, viewer: Viewer = ADA) -> int:
        queries.clear()
        assert client(engine, viewer).get(address).status_code == 200
        return len(queries)

    few, many = count("/worklist?search=Learner+1"), count("/worklist?show=all", ROOT)
    assert few <= many <= 14
    assert count("/worklist.csv?show=all", ROOT) <= 4


def test_pages_have_fifty_rows(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    fill(engine, learners=122, units=1, groups=2)
    ada = client(engine, replace(ADA, capacity=55))
    html = page(ada)
    assert len(names(html)) == 50
    assert len(find(html, "ol.learners")) == 1
    link = find(html, "#next")[0]
    part = page(ada, link.get("hx-get"), **HTMX, **{"HX-Trigger": "next"})
    assert names(part) == by_need(engine)[50:]
    assert [len(names(rows)) for rows in find(part, "ol.learners")] == [5, 6]
    assert find(part, "h2[autofocus]")
    assert text(part, "#announcement") == "Learners 51 to 61 of 61"
    assert names(page(ada, "/worklist?page=99999")) == []
    whole = page(ada, **HTMX, **{"HX-History-Restore-Request": "true"})
    assert find(whole, "form.filters")  # the browser's "back" needs all of the page
    engine.dispose()


@given(
    st.builds(
        Filters,
        group=st.text(max_size=5), unit=st.text(max_size=5), answered=st.text(max_size=5),
        show=st.sampled_from(Show.__args__), sort=st.sampled_from(Sort.__args__),
        search=st.text(st.characters(exclude_characters="\0"), max_size=9).map(str.strip),
        page=st.integers(1, 20),
    )
)  # fmt: skip
def test_an_address_brings_the_filters_back(filters: Filters) -> None:
    from starlette.datastructures import QueryParams

    assert Filters.of(QueryParams(filters.query())) == filters


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001
def test_a_week_begins_on_monday_at_midnight(naive: datetime) -> None:
    zone = ZoneInfo("Europe/Berlin")
    now = naive.replace(tzinfo=ZoneInfo("UTC"))
    begin = week_start(now, "Europe/Berlin")
    local = begin.astimezone(zone)
    assert (local.weekday(), local.hour, local.minute) == (0, 0, 0)
    assert begin <= now
    assert local.date() + timedelta(days=7) > now.astimezone(zone).date()


@pytest.mark.parametrize("language", ["de", "zh"])
def test_every_text_is_translated(language: str) -> None:
    options = {"newstyle_gettext": "true", "trim_blocks": "true", "lstrip_blocks": "true"}
    texts = translations(language)
    missing = []
    for path in sorted((FOLDER / "templates").glob("worklist*.j2")):
        with path.open("rb") as file:
            for _, message, *_ in extract("jinja2.ext:babel_extract", file, options=options):
                found = (
                    texts.ngettext(*message, 1)
                    if isinstance(message, tuple)
                    else texts.gettext(message)
                )
                if found in (message, message[0]) and message != "Name":
                    missing.append(message)
    source = Path(feedback.__file__).read_text(encoding="utf-8")
    errors = re.findall(r'FeedbackError\("(.+?)"\)', source)
    assert len(errors) >= 6
    kinds = [kind.replace("_", " ") for kind in feedback.KINDS]
    missing += [text for text in (*errors, *kinds) if texts.gettext(text) == text]
    assert not missing


def test_who_did_it_is_called_by_name(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.execute(update(User).where(User.user == "ada").values(name="Ada Lovelace"))
    name = by_need(engine)[0]
    act(client(engine), name, "called")
    assert "Ada Lovelace" in text(page(client(engine), "/worklist?show=done"), ".last")
