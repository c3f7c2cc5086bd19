"""The report as a browser lays it out: it fits a phone, and no labels overlap."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.report.facts import Sources, load_facts
from components.report.render import render_report
from tests.chromium import Browser
from tests.components.report.evaluations import classification, regression, with_everything
from tests.components.report.test_decisions import decided

PROBE = """
<script>
const sticksOut = e => !e.closest('.scroll, pre, .hidden, thead')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
const overlaps = svg => {
  const labels = [...svg.querySelectorAll('text')].map(
    t => [t.textContent, t.getBoundingClientRect()]);
  return labels.flatMap(([a, p], i) => labels.slice(i + 1).filter(([b, q]) =>
    p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom
  ).map(([b]) => [a, b]));
};
parent.seen.push({
  window: innerWidth,
  page: document.documentElement.scrollWidth,
  out: [...document.querySelectorAll('body *')].filter(sticksOut).map(
    e => e.outerHTML.slice(0, 80)),
  overlaps: [...document.querySelectorAll('svg.chart')].flatMap(overlaps),
});
parent.document.title = JSON.stringify(parent.seen);
</script></body>"""
WIDTHS = (390, 800, 1280)


def look(browser: Browser, pages: list[str], folder: Path) -> list[dict[str, Any]]:
    """Returns what the probe saw of every page in a window of every width."""
    probed = [
        re.sub(r"<meta http-equiv[^>]+>", "", page).replace("</body>", PROBE) for page in pages
    ]
    frames = "".join(  # a headless window is never narrower than 500 pixels, a frame is
        f'<iframe srcdoc="{html.escape(page)}" style="width: {width}px; border: 0"></iframe>'
        for page in probed
        for width in WIDTHS
    )
    file = folder / "frames.html"
    file.write_text(
        f"<!DOCTYPE html><title></title><script>var seen = []</script>{frames}", encoding="utf-8"
    )
    shown = browser.dump(file, folder / "profile")
    title = re.search(r"<title>(.*?)</title>", shown, flags=re.DOTALL)
    assert title is not None
    seen: list[dict[str, Any]] = json.loads(html.unescape(title[1]))
    return seen


def test_nothing_overflows_and_no_labels_overlap(
    make_run: Callable[..., Sources], browser: Browser, tmp_path: Path
) -> None:
    long_names = (
        "has_not_mastered_the_unit_yet",
        "partial",
        "proficient_and_beyond_what_is_asked_for",
    )
    classes = classification(
        long_names, regions=("north", "the-south-of-the-country-and-the-islands", "overseas")
    )
    decided(with_everything(classes))
    classes["gates"][0] |= {"reason": "x" * 120, "interval": [0.87, 0.93], "confidence": 0.95}
    numbers, predictions = regression()
    with_everything(numbers)
    runs = [
        make_run(classes, surprise=True, run_id="r" * 90),
        make_run(numbers, predictions=predictions, bare=True),
    ]
    seen = look(browser, [render_report(load_facts(run)) for run in runs], tmp_path)
    fits = [{"window": width, "page": width, "out": [], "overlaps": []} for width in WIDTHS]
    assert sorted(seen, key=lambda frame: frame["window"]) == sorted(
        fits + fits, key=lambda frame: frame["window"]
    )
