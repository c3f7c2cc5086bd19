"""Fixtures of the board's pages: a board that runs, and a browser in front of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import Engine

from serving.answers.database import open_database
from tests import browser as browsers
from tests import chromium, npm
from tests.postgresql import PostgreSQL
from tests.serving.answers import classroom
from tests.serving.answers.conftest import new_database
from tests.serving.board.running import RunningBoard, running_board, template


@pytest.fixture(scope="session")
def classroom_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the classroom in it, to copy."""
    return template(tmp_path_factory.mktemp("classroom"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def classroom_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The classroom in a database of each kind in turn, for the tests of a file."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path_factory.mktemp('classroom')}/answers.db"
    else:
        address = new_database(request.getfixturevalue("postgresql"))
    engine = open_database(address)
    classroom.fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def classroom_on_postgresql(postgresql: PostgreSQL) -> str:
    """The name of a database with the classroom in it, to copy."""
    address = new_database(postgresql)
    engine = open_database(address)
    classroom.fill(engine)
    engine.dispose()
    return address.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, classroom_database: Path, tmp_path: Path
) -> Iterator[Engine]:
    """The classroom in a database of a test's own, of each kind in turn."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path}/answers.db"
        shutil.copy(classroom_database, tmp_path / "answers.db")
    else:
        template = request.getfixturevalue("classroom_on_postgresql")
        address = new_database(request.getfixturevalue("postgresql"), template)
    engine = open_database(address)
    yield engine
    engine.dispose()


@pytest.fixture
def board(classroom_database: Path, tmp_path: Path) -> Iterator[RunningBoard]:
    """A board of its own for a test: a real server on a copy of the classroom."""
    with running_board(classroom_database, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def chromium_browser(browser: chromium.Browser) -> Iterator[Browser]:
    """A browser for the tests of a file; each gets a window of its own.

    Not for longer: while Playwright runs, no other test of the process can start an event loop.
    """
    with browsers.launched(browser) as running:
        yield running


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The source of axe-core; skips, with the reason, where npm is missing."""
    why = "axe-core, which finds what people with disabilities cannot use, comes from it"
    modules = npm.installed(request.config.cache.mkdir("npm"), why=why)
    return (modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def browser_problems() -> Iterator[browsers.Problems]:
    """What scripts and the content security policy complained about: nothing, at the end."""
    problems = browsers.Problems()
    yield problems
    assert not problems.texts, problems.texts


@pytest.fixture
def browser_page(chromium_browser: Browser, browser_problems: browsers.Problems) -> Iterator[Page]:
    """An empty page of a window of its own, 1440 pixels wide, in English."""
    size = {"width": browsers.WIDE, "height": browsers.HEIGHT[browsers.WIDE]}
    context = chromium_browser.new_context(
        viewport=size, locale="en-US", reduced_motion="reduce", timezone_id="UTC"
    )
    context.set_default_timeout(20_000)
    page = context.new_page()
    browser_problems.watch(page)
    yield page
    context.close()


@pytest.fixture
def board_url(board: RunningBoard, browser_page: Page) -> Callable[[str], str]:
    """Logs `browser_page` in as a user of the classroom, and returns the board's address.

    `browser_page.goto(board_url("ada") + "/worklist")`
    """

    def log_in(user: str) -> str:
        browser_page.context.clear_cookies()
        browser_page.context.add_cookies([board.cookie(user)])
        return board.url

    return log_in


@pytest.fixture
def assert_accessible(axe: str, browser_page: Page) -> Callable[[], None]:
    """Fails if axe-core finds something serious on `browser_page` as it is now."""
    return lambda: browsers.assert_accessible(browser_page, axe)
