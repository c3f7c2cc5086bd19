from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session

from serving.answers.tables import Unit
from serving.board.links import learner_link
from tests.browser import HEIGHT, NARROW, WIDE, assert_fits, screenshots, tab_to, use_keyboard
from tests.serving.board.eventful import ODD_LEARNER, ODD_UNIT, add_life
from tests.serving.board.running import RunningBoard

PATH = learner_link("learner-0000", "unit-0")


@pytest.fixture
def ada(board: RunningBoard, board_url: Callable[[str], str]) -> str:
    """The board's address, once the teacher of group-0 is logged in."""
    add_life(board.engine)
    with Session(board.engine) as session, session.begin():
        session.get_one(
            Unit, "unit-3"
        ).title = "Percentages: from parts of a whole to rates of change"
    return board_url("ada")


def test_from_the_map_to_a_path_and_on_to_the_learner(ada: str, browser_page: Page) -> None:
    browser_page.goto(f"{ada}/map")
    browser_page.get_by_label("Learner", exact=True).fill("Learner 12")
    browser_page.keyboard.press("Enter")
    expect(browser_page.locator("tbody tr")).to_have_count(1)
    assert "search=Learner" in browser_page.url

    browser_page.locator("tbody td a").first.click()
    expect(browser_page.get_by_role("heading", level=1)).to_have_text("Unit 0")
    browser_page.locator(".back a").click()
    expect(browser_page.get_by_role("heading", level=1)).to_have_text("Learner 12")
    expect(browser_page.locator("table.units tbody tr")).to_have_count(4)


def test_choosing_a_group_changes_the_map_at_once(
    board_url: Callable[[str], str], browser_page: Page
) -> None:
    browser_page.goto(board_url("max") + "/map")
    expect(browser_page.locator("tbody tr")).to_have_count(20)

    browser_page.get_by_label("Group").select_option("group-1")

    expect(browser_page.locator("tbody tr")).to_have_count(10)
    expect(browser_page.locator("tbody small").first).to_have_text("Group 1")


def test_days_are_walked_with_the_arrow_keys(ada: str, browser_page: Page) -> None:
    browser_page.goto(ada + PATH)
    detail = browser_page.locator(".day:has(:checked) .detail")
    expect(detail).to_contain_text("Mar 2, 2026")
    browser_page.locator(".day input:checked").focus()

    browser_page.keyboard.press("ArrowLeft")
    expect(detail).to_contain_text("Mar 1, 2026")
    expect(detail).to_contain_text("outcome came in on Mar 1, 2026: proficient")
    for _ in range(6):
        browser_page.keyboard.press("ArrowLeft")

    expect(detail).to_contain_text("Feb 23, 2026")
    expect(detail).to_contain_text("as of 06:00 UTC it said: ")
    expect(detail).to_be_in_viewport()
    browser_page.keyboard.press("ArrowLeft")
    browser_page.keyboard.press("ArrowLeft")
    expect(detail).to_contain_text("Feb 21, 2026")
    expect(detail).to_contain_text("not scored on this day")


def test_pointing_at_a_day_shows_what_was_said(ada: str, browser_page: Page) -> None:
    browser_page.goto(ada + PATH)
    day = browser_page.locator(".day:has([value='2026-02-27'])")
    detail = day.locator(".detail")
    assert detail.bounding_box()["width"] <= 1  # type: ignore[index]

    day.hover(position={"x": 5, "y": 40})

    assert detail.bounding_box()["width"] > 200  # type: ignore[index]
    expect(detail).to_contain_text("called (Ada): left a message <b>")
    day.click(position={"x": 5, "y": 40})
    expect(day.locator("input")).to_be_checked()


def test_pages_by_keyboard_alone(ada: str, browser_page: Page) -> None:
    browser_page.goto(f"{ada}/map?search=Learner+12")
    use_keyboard(browser_page, "tbody td a")
    expect(browser_page.get_by_role("heading", level=1)).to_have_text("Unit 0")
    tab_to(browser_page, ".zoom a[aria-current]")
    tab_to(browser_page, ".day input")
    use_keyboard(browser_page, "summary:not(.viewer summary)")
    expect(browser_page.locator(".as-table table")).to_be_visible()
    browser_page.locator(".back a").press("Enter")
    expect(browser_page.get_by_role("heading", level=1)).to_have_text("Learner 12")


def test_odd_ids_work_in_a_browser(ada: str, browser_page: Page) -> None:
    browser_page.goto(f"{ada}/map")
    browser_page.get_by_role("link", name=ODD_LEARNER).click()
    expect(browser_page.get_by_role("heading", level=1)).to_have_text(ODD_LEARNER)
    browser_page.locator("table.units th a").click()
    expect(browser_page.get_by_role("heading", level=1)).to_have_text(ODD_UNIT)


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("map", "/map"),
        ("components", "/map?by=component&unit=unit-1"),
        ("learner", learner_link("learner-0000")),
        ("path", PATH),
        ("path-90", f"{PATH}?zoom=90"),
    ],
)
def test_pages_are_accessible_and_fit(
    ada: str,
    browser_page: Page,
    assert_accessible: Callable[[], None],
    width: int,
    scheme: str,
    name: str,
    address: str,
) -> None:
    browser_page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    browser_page.set_viewport_size({"width": width, "height": HEIGHT[width]})
    browser_page.goto(ada + address)

    assert_accessible()
    assert_fits(browser_page)
    if width == WIDE:
        screenshots(browser_page, f"{name}-{scheme}")


def test_names_stay_in_sight_when_the_map_is_scrolled(ada: str, browser_page: Page) -> None:
    browser_page.set_viewport_size({"width": NARROW, "height": HEIGHT[NARROW]})
    browser_page.goto(f"{ada}/map")
    name = browser_page.locator("tbody th").first
    before = name.bounding_box()

    browser_page.locator(".scroll").evaluate("one => one.scrollLeft = 150")

    assert browser_page.locator(".scroll").evaluate("one => one.scrollLeft") > 20
    after = name.bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] == pytest.approx(before["x"], abs=3)
