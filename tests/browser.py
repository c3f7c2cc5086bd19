"""A browser with a page in it, for tests of what people see, click and hear.

`conftest.py` of the board's tests makes fixtures of it. A test gets a page (Playwright's) and asks:
is it accessible (`assert_accessible`), does it fit (`assert_fits`), can it be used by keyboard
(`tab_to`), what does it look like (`screenshots`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests import chromium

SCREENSHOTS = "MASTERY_SCREENSHOTS"  # the environment variable with a folder for them
WIDE, NARROW = 1440, 390  # pixels: a desk's screen, a phone's
HEIGHT = {WIDE: 900, NARROW: 844}
SERIOUS = ("serious", "critical")


@contextmanager
def launched(found: chromium.Browser) -> Iterator[Browser]:
    """Runs a browser until the block ends."""
    environment: dict[str, str | float | bool] = dict(os.environ)
    if found.libraries:
        environment["LD_LIBRARY_PATH"] = found.libraries
    options = [option for option in chromium.OPTIONS if option != "--headless"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.program, args=options, env=environment
        )
        yield browser
        browser.close()


@dataclass
class Problems:
    """What a page's scripts and its content security policy complained about.

    A test that provokes some says so with `expect`.
    """

    texts: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Collects the problems of a page from now on."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.texts.append(f"{page.url}: {error}"))

    def expect(self, text: str) -> None:
        """Takes away the problems with a text in them; there has to be one."""
        others = [problem for problem in self.texts if text not in problem]
        assert len(others) < len(self.texts), f"no problem with {text!r} in {self.texts}"
        self.texts = others

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        where = message.location["url"]
        is_the_page = message.page is not None and where == message.page.url
        if message.text.startswith("Failed to load resource") and is_the_page:
            return  # a page of an error, which is what a test asked for
        self.texts.append(f"{where}: {message.text}")


def assert_accessible(page: Page, axe: str, *, without: tuple[str, ...] = ()) -> None:
    """Fails if axe-core finds something serious or critical on a page as it is now.

    Args:
        page: a page.
        axe: the source of axe-core.
        without: rules that a test leaves out; it says why.
    """
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(axe)  # by the debugger, which no content security policy binds
    rules = {name: {"enabled": False} for name in without}
    options = {"resultTypes": ["violations"], "rules": rules}
    found = page.evaluate("options => axe.run(document, options)", options)
    serious = [_described(item) for item in found["violations"] if item["impact"] in SERIOUS]
    assert not serious, f"{page.url} at {page.viewport_size}:\n" + "\n".join(serious)


def _described(violation: dict[str, Any]) -> str:
    nodes = [
        f"    {node['html']}\n      {node['failureSummary']}" for node in violation["nodes"][:5]
    ]
    return "\n".join([f"{violation['impact']}: {violation['id']}, {violation['help']}", *nodes])


def assert_fits(page: Page) -> None:
    """Fails if a page is wider than the window, and names what sticks out."""
    width = page.evaluate("document.documentElement.clientWidth")
    needed = page.evaluate("document.documentElement.scrollWidth")
    if needed <= width:
        return
    wide = page.evaluate(
        """width => [...document.querySelectorAll('body *')]
            .filter(one => one.getBoundingClientRect().right > width + 1)
            .slice(0, 8).map(one => one.outerHTML.slice(0, 160))""",
        width,
    )
    raise AssertionError(f"{page.url} needs {needed} of {width} pixels:\n" + "\n".join(wide))


def screenshots(page: Page, name: str) -> None:
    """Writes `name-1440.png` and `name-390.png` of a page as it is now, if somebody wants them.

    `$MASTERY_SCREENSHOTS` names the folder; without it, nothing is written.
    """
    folder = os.environ.get(SCREENSHOTS)
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    before = page.viewport_size
    for width in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": HEIGHT[width]})
        page.screenshot(path=Path(folder, f"{name}-{width}.png"), full_page=True)
    if before is not None:
        page.set_viewport_size(before)


def tab_to(page: Page, selector: str, *, most: int = 60) -> None:
    """Presses Tab until an element has the focus, and fails if the focus cannot be seen there.

    Args:
        page: a page.
        selector: of the element, as in CSS.
        most: presses, after which the element counts as out of reach.
    """
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            break
    else:
        raise AssertionError(f"{page.url}: {most} times Tab, and {selector} has not the focus")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", f"{page.url}: nothing shows that {selector} has the focus"


def use_keyboard(page: Page, selector: str, key: str = "Enter") -> None:
    """Reaches an element with Tab and presses a key on it."""
    tab_to(page, selector)
    page.keyboard.press(key)
