"""Every page in a browser: accessible, wide and narrow, light and dark, in each language."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import (
    HEIGHT,
    NARROW,
    WIDE,
    Problems,
    assert_accessible,
    assert_fits,
    screenshots,
)
from tests.serving.board.crawl import Crawl, route_of
from tests.serving.board.running import RunningBoard, running_board

Shown = Callable[[str], str]


@pytest.fixture(scope="module")
def paths(classroom_database: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """One page of each route as it is, and one with filters; one that is missing."""
    with (
        running_board(classroom_database, tmp_path_factory.mktemp("crawl")) as board,
        board.client("root") as client,
    ):
        crawl = Crawl(client, board.app, of_a_kind=1).run()
    found: dict[tuple[str, bool], str] = {}
    for path, response in crawl.pages.items():
        kind = response.headers.get("content-type", "")
        if response.status_code == 200 and kind.startswith("text/html"):
            has_filters = bool(urlsplit(path).query)
            found.setdefault((route_of(board.app, "GET", path), has_filters), path)
    assert len(found) >= 8
    return [*found.values(), "/nothing"]


def name_of(path: str) -> str:
    """Returns a name for the screenshots of a page."""
    parts = urlsplit(path)
    plain = parts.path.strip("/").replace("/", "-") or "first"
    return f"{plain}-filtered" if parts.query else plain


# Loading and checking a dozen pages takes as long as it takes.
@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_every_page_is_accessible_and_fits(
    board_url: Shown, browser_page: Page, axe: str, paths: list[str], language: str
) -> None:
    url = board_url("root")
    browser_page.context.add_cookies([{"name": "language", "value": language, "url": url}])
    for path in paths:
        browser_page.set_viewport_size({"width": WIDE, "height": HEIGHT[WIDE]})
        browser_page.goto(url + path)
        assert browser_page.locator("html").get_attribute("lang") == language
        assert browser_page.locator("h1").count() == 1
        assert_fits(browser_page)
        assert_accessible(browser_page, axe)
        browser_page.set_viewport_size({"width": NARROW, "height": HEIGHT[NARROW]})
        assert_fits(browser_page)
        assert_accessible(browser_page, axe)
        screenshots(browser_page, f"{name_of(path)}-{language}")


def test_every_page_is_readable_in_the_dark(
    board_url: Shown, browser_page: Page, axe: str, paths: list[str]
) -> None:
    url = board_url("root")
    browser_page.emulate_media(color_scheme="dark")
    for path in paths:
        browser_page.goto(url + path)
        assert_accessible(browser_page, axe)
        screenshots(browser_page, f"{name_of(path)}-dark")


def test_every_page_works_without_scripts(
    board: RunningBoard, chromium_browser: Browser, browser_problems: Problems, paths: list[str]
) -> None:
    context = chromium_browser.new_context(java_script_enabled=False, locale="en-US")
    page = context.new_page()
    browser_problems.watch(page)
    page.goto(f"{board.url}/login")
    page.get_by_role("button", name="Root").click()
    assert urlsplit(page.url).path == "/groups"
    for path in paths:
        page.goto(board.url + path)
        assert page.locator("main").inner_text().strip()
        for form in page.locator("main form[method=get]").all():
            # Without a script, only a button that can be seen sends a form.
            assert form.locator("button:visible, input[type=submit]:visible").count(), path
    page.locator(".viewer summary").click()
    page.get_by_role("button", name="Log out", exact=True).click()
    assert urlsplit(page.url).path == "/login"
    context.close()


def test_choosing_a_user_is_accessible(board: RunningBoard, browser_page: Page, axe: str) -> None:
    browser_page.goto(board.url)
    for width in (WIDE, NARROW):
        browser_page.set_viewport_size({"width": width, "height": HEIGHT[width]})
        assert_fits(browser_page)
        assert_accessible(browser_page, axe)
    screenshots(browser_page, "choose")
