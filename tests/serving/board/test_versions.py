"""What versions got right: numbers on the page, documents of the run, and who may see them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.orm import Session

from components.config.data import Label
from serving.answers.outcomes import store_outcomes
from serving.answers.tables import Action, Answer, Learner, ModelVersion, Outcome
from serving.board.pages.versions import DOCUMENT_POLICY
from tests.browser import NARROW, assert_fits, screenshots, tab_to, use_keyboard
from tests.serving.answers.classroom import CLASSES, NOW
from tests.serving.board.pages_of import pages_of, text_of
from tests.serving.board.running import RunningBoard


def add_outcomes(engine: Engine) -> None:
    """Adds one outcome per learner and unit, of which about two in three are as answered."""
    with Session(engine) as session:
        keys = session.execute(
            select(Answer.learner_id, Answer.unit_id, Answer.predicted_class)
            .where(Answer.as_of == NOW - timedelta(days=5))
            .order_by(Answer.learner_id, Answer.unit_id)
        ).all()
    rows = [
        {
            "learner_id": learner,
            "unit_id": unit,
            "as_of": NOW - timedelta(days=4 if place % 2 else 1, hours=1),
            "mastery": answered if place % 3 else CLASSES[(CLASSES.index(answered) + 1) % 3],
        }
        for place, (learner, unit, answered) in enumerate(keys)
    ]
    label = Label(column="mastery", classes=CLASSES)
    store_outcomes(engine, pl.DataFrame(rows), label, now=NOW)


def outcomes_of(engine: Engine, groups: list[str] | None = None) -> list[Outcome]:
    """Returns the outcomes of some groups."""
    with Session(engine) as session:
        found = session.scalars(select(Outcome)).all()
    return [row for row in found if groups is None or row.group_id in groups]


def percent(counted: list[bool]) -> str:
    """Returns the share of what is true."""
    return f"{sum(counted) / len(counted):.0%}"


def cells(page: Any, heading: str) -> list[str]:
    """Returns the cells of the row of the page's first table that has a heading."""
    for row in page.xpath("//table[1]/tbody/tr"):
        if text_of(row.xpath("th")[0]).startswith(heading):
            return [text_of(cell) for cell in row.xpath("td")]
    raise AssertionError(heading)


@pytest.mark.parametrize(("user", "groups"), [("root", None), ("max", ["group-0", "group-1"])])
def test_numbers_are_those_of_the_visible_outcomes(
    database: Engine, user: str, groups: list[str] | None
) -> None:
    add_outcomes(database)
    rows = outcomes_of(database, groups)
    low = [row for row in rows if row.label == CLASSES[0]]
    told = [row for row in rows if row.predicted_class == CLASSES[0]]
    with pages_of(database, user) as pages:
        listed = cells(pages.get("/versions"), "sample 1795328170")
        page = pages.get("/versions/1")
    assert listed[0] == str(len(rows))

    recall = percent([row.predicted_class == CLASSES[0] for row in low])
    assert listed[2].startswith(recall)
    version, rule, *_ = cells(page, "Recall of not mastered")
    assert version.startswith(recall)
    assert rule.startswith(percent([bool(row.rule_warned) for row in low]))
    assert cells(page, "Precision of")[0].startswith(percent([r.label == CLASSES[0] for r in told]))
    accuracy = [row.label == row.predicted_class for row in rows]
    assert cells(page, "Accuracy")[0].startswith(percent(accuracy))

    confusion = page.xpath("//table[@class='confusion']/tbody/tr[1]/td/strong")
    counts = [sum(row.predicted_class == name for row in low) for name in CLASSES]
    assert [text_of(cell) for cell in confusion] == list(map(str, counts))


def test_months_are_those_of_the_outcomes(database: Engine) -> None:
    add_outcomes(database)
    by_month: dict[str, list[bool]] = {}
    for row in outcomes_of(database):
        right = row.label == row.predicted_class
        by_month.setdefault(f"{row.as_of:%Y-%m}", []).append(right)
    with pages_of(database, "root") as pages:
        page = pages.get("/versions/1")
        response = pages.client.get("/versions/1?export=months")
    shown = page.xpath("//section[@aria-labelledby='months']//tbody/tr/th")
    assert [text_of(month) for month in shown] == sorted(by_month, reverse=True)
    exported = [*csv.DictReader(io.StringIO(response.content.decode("utf-8-sig")))]
    assert [row["month"] for row in exported] == ["all", *sorted(by_month)]
    for row in exported[1:]:
        rights = by_month[row["month"]]
        assert float(row["accuracy"]) == pytest.approx(sum(rights) / len(rights))
        assert float(row["accuracy_low"]) < float(row["accuracy"]) < float(row["accuracy_high"])


def test_precision_in_use_is_that_of_actions(database: Engine) -> None:
    said = {"learner_id": "learner-0000", "user": "ada", "at": NOW, "as_of": NOW, "version_id": 1}
    with database.begin() as connection:
        for unit, kind in enumerate(("helped", "called", "helped", "wrong")):
            values = {"unit_id": f"unit-{unit}", "kind": kind, "predicted_class": CLASSES[0]}
            connection.execute(insert(Action).values(**said, **values))
    with pages_of(database, "max") as pages:
        assert cells(pages.get("/versions"), "sample")[-1] == "75% of 4 acted upon"
        facts = text_of(pages.get("/versions/1").xpath("//dl")[0])
    assert "75% of 4 acted upon; 30% to 95%" in facts


def test_no_outcome_yet(database: Engine) -> None:
    with pages_of(database, "root") as pages:
        assert "No outcome came in yet." in text_of(pages.get("/versions"))
        page = pages.get("/versions/1")
        assert "mastery answers outcomes" in text_of(page)
        assert "f1_macro" in text_of(page)
        assert pages.status("/versions/2") == 404
        assert pages.status(f"/versions/{2**70}") == 404


def test_regression_has_errors_instead_of_classes(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(update(ModelVersion).values(classes=[], metrics={"mae": 3.25}))
        connection.execute(
            update(Answer).values(predicted_class=None, probabilities=[], prediction=60.0)
        )
    with Session(database) as session:
        learners = session.scalars(select(Learner.learner_id)).all()
    rows = pl.DataFrame({"learner_id": learners, "unit_id": "unit-0", "as_of": NOW})
    rows = rows.with_columns(points=pl.Series([55.0, 67.0] * 15))
    store_outcomes(database, rows, Label(column="points", task="regression"), now=NOW)
    with pages_of(database, "root") as pages:
        assert "Mean absolute error 6 5.636 to 6.364" in text_of(pages.get("/versions"))
        page = text_of(pages.get("/versions/1"))
    assert "Bias: predictions are higher by-1" in page
    assert "mae on the test split3.25" in page


def record_documents(engine: Engine, **paths: str) -> None:
    """Writes where the documents of the version are."""
    with engine.begin() as connection:
        connection.execute(update(ModelVersion).values(**paths))


def test_report_comes_with_a_policy_of_its_own(database: Engine, tmp_path: Path) -> None:
    report, card = tmp_path / "report.html", tmp_path / "mastery.json"
    report.write_text("<style>p { color: red }</style><p>Ää</p>", encoding="utf-8")
    card.write_text('{"name": "sample"}', encoding="utf-8")
    record_documents(database, report=str(report), card=str(card))
    with pages_of(database, "max") as pages:
        links = [link.get("href") for link in pages.get("/versions/1").xpath("//dd//a")]
        assert links == ["/versions/1/report", "/versions/1/card"]
        response = pages.client.get("/versions/1/report")
        assert response.text == report.read_text(encoding="utf-8")
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["content-security-policy"] == DOCUMENT_POLICY
        assert response.headers["x-content-type-options"] == "nosniff"
        card_response = pages.client.get("/versions/1/card")
        assert card_response.json() == {"name": "sample"}
        assert card_response.headers["content-security-policy"] == DOCUMENT_POLICY


def test_papers_are_beside_the_card_and_nothing_else_is(database: Engine, tmp_path: Path) -> None:
    for name in ("model-card.html", "technical-file.html", "secret.html"):
        (tmp_path / name).write_text(f"<p>{name}</p>", encoding="utf-8")
    record_documents(database, card=str(tmp_path / "model-card.html"))
    with pages_of(database, "max") as pages:
        for address, name in (
            ("/versions/1/card", "model-card.html"),
            ("/versions/1/model-card.html", "model-card.html"),
            ("/versions/1/technical-file.html", "technical-file.html"),
        ):
            response = pages.client.get(address)
            assert response.text == f"<p>{name}</p>"
            assert response.headers["content-type"] == "text/html; charset=utf-8"
            assert response.headers["content-security-policy"] == DOCUMENT_POLICY
        assert pages.status("/versions/1/secret.html") == 404
        missing = pages.client.get("/versions/1/data-statement.html")
        assert missing.status_code == 404
        assert str(tmp_path) not in missing.text
    record_documents(database, card=str(tmp_path / "mastery.json"))
    with pages_of(database, "max") as pages:  # a version of before, which has no papers
        assert pages.status("/versions/1/technical-file.html") == 404
    with pages_of(database, "ada") as pages:
        assert pages.status("/versions/1/technical-file.html") == 403


@pytest.mark.parametrize(
    "address",
    ["/versions/1/metrics", "/versions/1/../../etc/passwd", "/versions/1/report.html",
     "/versions/1/%2e%2e%2fsecret.html", "/versions/1/report/../secret.html"],
)  # fmt: skip
def test_no_path_of_the_request_is_opened(database: Engine, tmp_path: Path, address: str) -> None:
    (tmp_path / "secret.html").write_text("secret", encoding="utf-8")
    (tmp_path / "report.html").write_text("open", encoding="utf-8")
    record_documents(database, report=str(tmp_path / "report.html"))
    with pages_of(database, "root") as pages:
        assert pages.status(address) == 404


def test_other_kinds_of_files_are_not_sent(database: Engine, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    record_documents(database, report=str(tmp_path / "secret.txt"), card=None)
    with pages_of(database, "root") as pages:
        assert pages.status("/versions/1/report") == 404
        assert pages.status("/versions/1/card") == 404


def test_missing_report_says_so(database: Engine, tmp_path: Path) -> None:
    record_documents(database, report=str(tmp_path / "gone.html"))
    with pages_of(database, "root") as pages:
        response = pages.client.get("/versions/1/report")
    assert response.status_code == 404
    assert "no longer where the run had left it" in response.text
    assert str(tmp_path) not in response.text


def test_report_on_another_server_is_a_link(database: Engine) -> None:
    record_documents(database, report="https://reports.example/1.html")
    with pages_of(database, "root") as pages:
        links = [link.get("href") for link in pages.get("/versions/1").xpath("//dd//a")]
        assert "https://reports.example/1.html" in links
        assert pages.status("/versions/1/report") == 404


def test_teachers_have_none_of_it(database: Engine, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("open", encoding="utf-8")
    record_documents(database, report=str(tmp_path / "report.html"))
    with pages_of(database, "ada") as pages:
        for address in ("/versions", "/versions/1", "/versions/1/report", "/versions/1/card"):
            assert pages.status(address) == 403


def test_statements_do_not_grow_with_the_versions(database: Engine) -> None:
    add_outcomes(database)
    with Session(database) as session, session.begin():
        for number in range(30):
            session.add(
                ModelVersion(
                    model="sample", version=number, run=None, pushed_at=NOW, classes=CLASSES,
                    metrics={}, report=None, card=None,
                )
            )  # fmt: skip
    with pages_of(database, "root") as pages:
        page = pages.get("/versions")
        assert len(page.xpath("//tbody/tr")) == 20
        assert "Page 1 of 2" in text_of(page)
        assert len(pages.statements) == 4
        assert len(pages.get("/versions?page=2").xpath("//tbody/tr")) == 11
        pages.get("/versions/1")
        assert len(pages.statements) == 3


@pytest.mark.parametrize("language", ["de", "zh"])
def test_pages_are_translated(database: Engine, language: str) -> None:
    add_outcomes(database)
    with pages_of(database, "root") as pages:
        text = text_of(pages.get("/versions", language))
        text += text_of(pages.get("/versions/1", language))
    for english in ("Outcomes", "Recall", "Accuracy", "came true", "not mastered", "acted upon"):
        assert english not in text


def test_versions_in_a_browser(
    board: RunningBoard,
    board_url: Callable[[str], str],
    browser_page: Page,
    assert_accessible: Callable[[], None],
    tmp_path: Path,
) -> None:
    add_outcomes(board.engine)
    report = tmp_path / "report.html"
    report.write_text("<title>r</title><style>p { color: rgb(1, 2, 3) }</style><p>Hello</p>")
    record_documents(board.engine, report=str(report))
    page = browser_page
    page.goto(board_url("max") + "/versions")
    assert_accessible()
    assert_fits(page)
    screenshots(page, "versions")

    page.set_viewport_size({"width": NARROW, "height": 844})
    tab_to(page, "tbody th a")
    use_keyboard(page, "tbody th a")
    expect(page.get_by_role("heading", level=1)).to_contain_text("sample")
    assert_accessible()
    assert_fits(page)
    screenshots(page, "version")

    page.get_by_role("link", name="Report").click()
    expect(page.locator("p")).to_have_css("color", "rgb(1, 2, 3)")  # its own styles hold
