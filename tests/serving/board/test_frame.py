from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser import NARROW, Problems, assert_fits, screenshots, tab_to, use_keyboard


def test_frame_shows_who_reads_and_which_page_it_is(
    board_url: Callable[[str], str], browser_page: Page, assert_accessible: Callable[[], None]
) -> None:
    browser_page.goto(board_url("max") + "/")

    assert browser_page.url.endswith("/groups")
    current = browser_page.locator(".pages a[aria-current=page]")
    expect(current).to_have_text("Groups")
    expect(browser_page.locator(".viewer summary")).to_have_text("Max Manager")
    assert_accessible()
    assert_fits(browser_page)
    screenshots(browser_page, "frame")


def test_log_out_by_keyboard_alone(
    board_url: Callable[[str], str], browser_page: Page, assert_accessible: Callable[[], None]
) -> None:
    browser_page.set_viewport_size({"width": NARROW, "height": 844})
    browser_page.goto(board_url("root") + "/people")
    tab_to(browser_page, ".skip")
    use_keyboard(browser_page, ".viewer summary", "Space")
    expect(browser_page.locator(".menu")).to_be_visible()
    assert_accessible()
    browser_page.keyboard.press("Escape")
    expect(browser_page.locator(".menu")).to_be_hidden()
    browser_page.keyboard.press("Space")
    use_keyboard(browser_page, ".menu button")

    expect(browser_page.get_by_role("heading", level=1)).to_have_text("Choose a user")
    use_keyboard(browser_page, ".choice[value=ada]")
    expect(browser_page.locator(".viewer summary")).to_have_text("Ada Teacher")


def test_the_focus_stays_where_a_part_was_replaced(
    board_url: Callable[[str], str], browser_page: Page
) -> None:
    browser_page.goto(board_url("ada") + "/worklist")
    for selector in ("#list summary", "#list a"):
        browser_page.locator(selector).first.focus()
        browser_page.evaluate("""() => {
            document.querySelector("#list > *").dataset.old = "";
            htmx.ajax("GET", "/worklist", {target: "#list", swap: "innerHTML"});
        }""")
        expect(browser_page.locator("#list [data-old]")).to_have_count(0)
        expect(browser_page.locator("#list:focus, #list :focus")).to_have_count(1)


def test_a_request_that_fails_is_said_in_words(
    board_url: Callable[[str], str], browser_page: Page, browser_problems: Problems
) -> None:
    browser_page.goto(board_url("ada") + "/worklist")
    failure = browser_page.locator("#failure")
    expect(failure).to_be_hidden()
    for path, words in (("/groups", "the login has ended"), ("/nothing", "Try again")):
        browser_page.evaluate(f"htmx.ajax('GET', '{path}', {{target: '#list'}})")
        expect(failure).to_contain_text(words)
        expect(browser_page.locator("#list")).to_contain_text("Learner")
        browser_problems.expect("Response Status Error Code")
        browser_problems.texts = [
            one for one in browser_problems.texts if "Failed to load resource" not in one
        ]
