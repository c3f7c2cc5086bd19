"""The page of a watch: what was expected, what came true, what changed, and who may see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import lxml.html
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine

from components.contracts.drift_report import ColumnDrift, DriftReport
from components.contracts.watch_report import (
    Finding,
    LogFreshness,
    VersionInService,
    WatchReport,
)
from serving.answers.quality import measure_quality
from serving.answers.settings import AnswersSettings
from serving.board.access import DemoAccess
from serving.board.app import create_app
from tests.browser import HEIGHT, NARROW, WIDE, assert_fits, screenshots
from tests.serving.answers.classroom import NOW
from tests.serving.answers.test_quality import add_outcomes
from tests.serving.board.pages_of import VIEWERS, text_of
from tests.serving.board.running import RunningBoard, running_board, serving

OLD = "The newest event of the log is 18.9 days old; at most 7 are expected."


def watched(engine: Engine) -> WatchReport:
    """Returns a report about a classroom whose answers have outcomes, and whose videos drifted."""
    add_outcomes(engine)
    columns = [
        ColumnDrift(
            column="time_since_previous", kind="input", distance="jensen_shannon_divergence",
            size=0.012, low=0.004, high=0.02, threshold=0.1, words="much as before",
        ),
        ColumnDrift(
            column="event_type", kind="input", distance="infinity_norm", size=0.231, low=0.19,
            high=0.27, threshold=0.1, drifted=True, words="video rose from 20% to 43%",
        ),
        ColumnDrift(column="mastery", kind="label", distance="infinity_norm", size=None,
                    words="no outcomes came in"),
    ]  # fmt: skip
    drift = DriftReport.judged(
        name="sample", version=1795328170, reference_learners=900, learners=1234, outcomes=0,
        confidence=0.99, draws=1000, columns=columns,
    )  # fmt: skip
    return WatchReport(
        name="sample",
        as_of=NOW.isoformat(),
        findings=[Finding(kind="freshness", key="freshness", text=OLD),
                  Finding(kind="drift", key="drift", text=drift.headline)],
        log=LogFreshness(newest_event="2026-02-11T09:00:00+00:00", max_age_days=7),
        versions=[VersionInService(version=1795328170, label="stable", share=90),
                  VersionInService(version=1795331770, label="canary", share=10)],
        drift=drift,
        quality=measure_quality(engine, now=NOW),
    )  # fmt: skip


@contextmanager
def client_of(engine: Engine, user: str, watch: Path | None) -> Iterator[httpx.Client]:
    board = {"watch": str(watch) if watch else None}
    settings = AnswersSettings.model_validate({"board": board})
    app = create_app(engine, settings, DemoAccess(VIEWERS[user]), now=lambda: NOW)
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_numbers_are_those_of_the_report(database: Engine, tmp_path: Path) -> None:
    report = watched(database)
    path = report.write(tmp_path)
    assert report.quality is not None
    [quality] = report.quality.versions
    with client_of(database, "max", path) as client:
        page = lxml.html.fromstring(client.get("/watch").text)
        nav = lxml.html.fromstring(client.get("/groups").text)
    assert "Watch" in [text_of(link) for link in nav.xpath("//nav[@class='pages']/a")]

    rows = page.xpath("//figure//tbody/tr")
    assert len(rows) == len(quality.of("week"))
    newest = [text_of(cell) for cell in rows[0].xpath("th|td")]
    group = quality.of("week")[-1]
    expected = group.find("accuracy")
    assert expected is not None
    assert newest[1] == str(group.answers)
    assert newest[2].startswith(f"{expected.value:.0%} {expected.low:.0%} to {expected.high:.0%}")
    judged = next(item for item in quality.of("week") if item.outcomes)
    realised = judged.find("accuracy", realised=True)
    assert realised is not None
    [row] = [row for row in rows if text_of(row).startswith("Feb 23")]
    assert f"{realised.value:.0%}" in text_of(row.xpath("td")[3])

    # The mark of the week with outcomes stands at its share between the lines of the grid.
    [mark] = page.xpath("//div[@class='plot']/svg/line[@class='realised']")
    lines = [float(line) for line in page.xpath("//div[@class='plot']//line[@class='grid']/@y1")]
    shares = [
        float(text_of(tick).rstrip("%")) / 100 for tick in page.xpath("//ul[@class='ticks']/li")
    ]
    across = (shares[0] - realised.value) / (shares[0] - shares[-1])  # type: ignore[operator]
    assert float(mark.get("y1")) == pytest.approx(lines[-1] * across, abs=1.0)


def test_findings_and_drift_are_told(database: Engine, tmp_path: Path) -> None:
    path = watched(database).write(tmp_path)
    with client_of(database, "max", path) as client:
        page = lxml.html.fromstring(client.get("/watch").text)
    assert [text_of(item) for item in page.xpath("//ul[@class='findings']/li")] == [
        f"Age of the log {OLD}",
        "Drift Drift calls for retraining: video rose from 20% to 43%.",
    ]
    names = [text_of(row) for row in page.xpath("//section[@aria-labelledby='drift']//tbody//th")]
    assert names == ["event_typeinput, drifted", "time_since_previousinput", "masteryoutcome"]
    assert "cannot see a change of that" in text_of(page)
    facts = text_of(page.xpath("//dl")[0])
    assert "1795328170 90% of the requests" in facts
    assert "Feb 11, 2026" in facts


def test_nothing_found_and_nothing_measured_are_said(database: Engine, tmp_path: Path) -> None:
    report = watched(database).model_copy(update={"findings": [], "drift": None, "quality": None})
    path = report.write(tmp_path)
    with client_of(database, "max", path) as client:
        text = text_of(lxml.html.fromstring(client.get("/watch").text))
        for said in ("Nothing calls for attention.", "No quality was", "No drift was measured."):
            assert said in text
        path.unlink()
        assert "Nothing was watched yet" in client.get("/watch").text
        path.write_text("{", encoding="utf-8")
        assert client.get("/watch").status_code == 409
    with client_of(database, "max", None) as client:
        assert "it is not set" in client.get("/watch").text
        assert "/watch" not in client.get("/groups").text


def test_teachers_do_not_see_it(database: Engine, tmp_path: Path) -> None:
    path = watched(database).write(tmp_path)
    with client_of(database, "ada", path) as client:
        assert client.get("/watch").status_code == 403
        assert "/watch" not in client.get("/worklist").text


@pytest.fixture
def watched_board(classroom_database: Path, tmp_path: Path) -> Iterator[RunningBoard]:
    """A board whose settings name a report about its classroom."""
    settings = AnswersSettings.model_validate({"board": {"watch": f"{tmp_path}/watch.json"}})
    with running_board(classroom_database, tmp_path, settings=settings) as running:
        watched(running.engine).write(tmp_path)
        yield running


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_it_is_accessible_and_fits(
    watched_board: RunningBoard,
    browser_page: Page,
    assert_accessible: Callable[[], None],
    language: str,
) -> None:
    url = watched_board.url
    cookies = [{"name": "language", "value": language, "url": url}, watched_board.cookie("max")]
    browser_page.context.add_cookies(cookies)  # type: ignore[arg-type]
    for scheme in ("light", "dark") if language == "en" else ("light",):
        browser_page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in (WIDE, NARROW):
            browser_page.set_viewport_size({"width": width, "height": HEIGHT[width]})
            browser_page.goto(f"{url}/watch")
            expect(browser_page.locator("figure.watched")).to_have_count(1)
            browser_page.locator("summary", has_text="").nth(1).click()
            assert_fits(browser_page)
            assert_accessible()
        screenshots(browser_page, f"watch-{language}-{scheme}")
