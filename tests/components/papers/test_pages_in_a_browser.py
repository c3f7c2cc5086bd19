"""The papers as a browser lays them out: they fit a phone, and their colours can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.contracts.papers import PAGES
from components.papers.release import write_papers
from components.papers.render import paper_styles
from tests.chromium import Browser
from tests.components.papers.conftest import MakeFacts
from tests.components.report.evaluations import classification, with_everything
from tests.components.report.test_browser import WIDTHS, look

TEXTS = ("ink", "soft", "accent", "good", "bad", "warn")  # colours of text
GROUNDS = ("paper", "wash")
LEAST = 4.5  # WCAG 2.2, level AA, for text of any size


def test_the_papers_fit_a_phone(make_facts: MakeFacts, browser: Browser, tmp_path: Path) -> None:
    long_names = ("has_not_mastered_the_unit_yet", "proficient_and_beyond_what_is_asked_for")
    content = with_everything(
        classification(long_names, regions=("north", "the-south-of-the-country-and-the-islands"))
    )
    papers = {"purpose": "x" * 120 + " and more", "contact": "https://school.example/" + "y" * 90}
    pages = write_papers(make_facts(content, papers=papers))
    seen = look(browser, [pages[path].decode() for path in PAGES], tmp_path)
    # Frames answer in the order in which they are laid out, which is any.
    found = [(frame["window"], frame["page"], frame["out"]) for frame in seen]
    assert sorted(found) == sorted((width, width, []) for _ in PAGES for width in WIDTHS)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_has_enough_contrast(theme: str) -> None:
    palettes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", str(paper_styles()), flags=re.DOTALL)
    ]
    light, dark, printed = palettes
    colours = light | {"light": {}, "dark": dark, "print": printed}[theme]
    for text in TEXTS:
        for ground in GROUNDS:
            assert _contrast(colours[text], colours[ground]) >= LEAST, (text, ground)


def test_contrast_is_that_of_the_guideline() -> None:
    assert _contrast("#000", "#fff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """Returns the relative luminance of a colour in sRGB, as WCAG defines it."""
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    channels = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
