"""The worklist in a browser: what people click, hear and see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from serving.answers.tables import Action, CurrentAnswer, Learner
from serving.board.pages import worklist_filters, worklist_rows
from tests.browser import NARROW, assert_fits, screenshots, tab_to, use_keyboard
from tests.serving.board.running import RunningBoard

Url = Callable[[str], str]


def _give_reasons(board: RunningBoard) -> None:
    """Changes some rows of the classroom, so that a screenshot shows all that a row can say."""
    with Session(board.engine) as session, session.begin():
        learners = session.scalars(
            select(Learner).where(Learner.group_id == "group-0").order_by(Learner.need.desc())
        ).all()
        for learner, reasons, probabilities, basis in (
            (learners[0], ["few exercises after the videos", "long breaks"], None, "sequence"),
            (learners[1], [], [0.46, 0.42, 0.12], "sequence"),
            (learners[2], [], None, "prior"),
        ):
            answer = session.get_one(CurrentAnswer, (learner.learner_id, learner.unit_id))
            answer.reasons = [{"feature": "x", "text": {"en": text}} for text in reasons]
            answer.basis = basis
            answer.probabilities = probabilities or answer.probabilities


def test_a_call_is_stored_said_and_taken_back(
    board: RunningBoard, board_url: Url, browser_page: Page, assert_accessible: Callable[[], None]
) -> None:
    _give_reasons(board)
    browser_page.goto(board_url("ada") + "/worklist")
    assert_accessible()
    assert_fits(browser_page)

    first = browser_page.locator(".learner").first
    name = first.locator("h3").inner_text()
    first.locator("summary").click()
    first.locator("textarea").fill("at noon, calls back")
    first.get_by_role("button", name="Called").click()
    expect(first.locator(".last")).to_contain_text("called · Ada")
    expect(first.locator(".note")).to_have_text("at noon, calls back")
    expect(first.locator("h3")).to_have_text(name)
    expect(browser_page.locator("#capacity p")).to_have_text(
        "You can call 20 this week: 1 done, 19 left"
    )
    expect(browser_page.locator("#announcement")).to_have_text(f"Stored for {name}: called.")
    expect(first.get_by_role("button", name="Undo")).to_be_focused()
    browser_page.locator(".learner").nth(1).locator("summary").click()
    assert_accessible()
    screenshots(browser_page, "worklist")

    first.get_by_role("button", name="Undo").click()
    expect(first.locator(".last")).to_have_count(0)
    expect(browser_page.locator("#announcement")).to_have_text("Undone: the action is deleted.")
    expect(first.get_by_role("button", name="Called")).to_be_focused()
    with Session(board.engine) as session:
        assert session.scalars(select(Action)).all() == []


def test_filters_change_the_list_the_address_and_nothing_else(
    board_url: Url, browser_page: Page
) -> None:
    browser_page.goto(board_url("root") + "/worklist")
    rows = browser_page.locator(".learner")
    expect(rows).to_have_count(30)
    browser_page.get_by_label("Group").select_option("Group 1")
    expect(rows).to_have_count(10)
    assert "group=group-1" in browser_page.url

    search = browser_page.get_by_label("Name", exact=True)
    search.press_sequentially("ner 1")
    expect(rows).to_have_count(5)  # 1, 10, 13, 16, 19
    expect(search).to_be_focused()
    expect(browser_page.locator("#announcement")).to_have_text("Learners 1 to 5 of 5")

    browser_page.reload()
    expect(rows).to_have_count(5)
    browser_page.go_back()
    expect(browser_page.locator("form.filters")).to_be_visible()


def test_keyboard_alone_on_a_phone(
    board: RunningBoard, board_url: Url, browser_page: Page, assert_accessible: Callable[[], None]
) -> None:
    browser_page.set_viewport_size({"width": NARROW, "height": 844})
    browser_page.goto(board_url("ada") + "/worklist")
    assert_fits(browser_page)
    first = browser_page.locator(".learner").first
    said = first.locator(".badge").inner_text().lower()
    true = next(name for name in ("not_mastered", "partial", "proficient")
                if name.replace("_", " ") in said)  # fmt: skip

    use_keyboard(browser_page, ".learner:first-child summary", "Space")
    tab_to(browser_page, ".learner:first-child select")
    browser_page.locator(":focus").select_option(true)
    use_keyboard(browser_page, ".learner:first-child [value=wrong]")
    expect(first.locator(".error")).to_be_focused()
    expect(first.locator(".error")).to_contain_text("cannot be wrong")
    assert_accessible()
    assert_fits(browser_page)
    screenshots(browser_page, "worklist-refused")

    tab_to(browser_page, ".learner:first-child [name=until]")
    browser_page.keyboard.press("Enter")
    expect(first.locator(".error")).to_contain_text("choose what was done")
    use_keyboard(browser_page, ".learner:first-child [value=snooze]")
    expect(first.locator(".last")).to_contain_text("hidden until")
    with Session(board.engine) as session:
        assert [action.kind for action in session.scalars(select(Action))] == ["snooze"]


def test_the_next_page_is_read_from_its_beginning(
    board_url: Url, browser_page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (worklist_filters, worklist_rows):
        monkeypatch.setattr(module, "PAGE_ROWS", 12)
    browser_page.goto(board_url("root") + "/worklist")
    browser_page.locator("#next").press("Enter")
    expect(browser_page.locator("#list h2").first).to_have_text("13 to 24 of 30")
    expect(browser_page.locator("#list h2").first).to_be_focused()
    expect(browser_page.locator(".capacity-line")).to_be_visible()  # 20 of 30
    assert "page=2" in browser_page.url
    screenshots(browser_page, "worklist-capacity")


def test_without_scripts_everything_works_too(
    board: RunningBoard, board_url: Url, browser_page: Page
) -> None:
    url = board_url("ada")
    context = browser_page.context.browser.new_context(java_script_enabled=False)  # type: ignore[union-attr]
    context.add_cookies([board.cookie("ada")])
    page = context.new_page()
    page.goto(url + "/worklist")
    page.get_by_label("Order").select_option("name")
    page.get_by_role("button", name="Filter").click()
    assert "sort=name" in page.url
    first = page.locator(".learner").first
    name = first.locator("h3").inner_text()
    first.get_by_role("button", name="Helped").click()
    expect(page.locator(".flash")).to_contain_text(f"Stored for {name}: helped.")
    page.locator(".flash").get_by_role("button", name="Undo").click()
    expect(page.locator(".flash")).to_have_text("Undone: the action is deleted.")
    expect(page.locator(".learner").first.locator("h3")).to_have_text(name)
    context.close()
