"""A year of a simulated platform: how deliveries are scrambled, and what the picture shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from benchmarks import year
from benchmarks.year import Platform, Week, best_f1
from benchmarks.year_chart import LANES, chart
from components.simulator.weeks import monday_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    changed = pytest.MonkeyPatch()
    with changed.context() as patch:
        patch.setattr(year, "YEAR", 3)
        patch.setattr(year, "CHANGES", ("content:2",))
        return Platform(tmp_path_factory.mktemp("year"), learners=40)


def outcomes(folder: Path, week: int) -> pl.DataFrame:
    return pl.read_parquet(
        folder / monday_of(week, year.FIRST_DAY).isoformat() / "outcomes.parquet"
    )


def test_a_scrambled_delivery_has_the_same_labels_in_other_places(platform: Platform) -> None:
    whole, log = platform.folder / "whole", platform.folder / "log"
    platform.deliver(1, scramble=True)
    scrambled = outcomes(log, 1)
    assert Counter(scrambled["mastery"]) == Counter(outcomes(whole, 1)["mastery"])
    assert (scrambled["mastery"] != outcomes(whole, 1)["mastery"]).mean() > 0.3  # type: ignore[operator]
    assert scrambled.drop("mastery").equals(outcomes(whole, 1).drop("mastery"))

    platform.deliver(1)
    assert outcomes(log, 1).equals(outcomes(whole, 1))


def test_the_configuration_and_rules_can_be_read(platform: Platform) -> None:
    from components.config import load_config
    from serving.answers.settings import load_settings

    config = load_config(platform.folder / "year.yaml")
    assert config.retrain.window == f"last:{year.WINDOW}"
    assert "data-stories/charts" in Path(config.schema_).read_text()
    assert load_settings(platform.folder / "answers.yaml").alerts.rules


def test_the_best_possible_falls_when_answers_are_shared() -> None:
    before, after = best_f1(34), best_f1(35)
    assert best_f1(1) == pytest.approx(before, abs=0.01)
    assert before - 0.1 < after < before - 0.02


def test_the_picture_has_a_mark_for_everything_that_happened() -> None:
    weeks = [
        Week(week, "2025-02-03", 1, f1=0.9, low=0.85, high=0.94, best=0.95) for week in (5, 6, 7)
    ]
    weeks[0].drift, weeks[0].trained, weeks[0].pushed = "units never seen", "drift", 2
    weeks[1].canary, weeks[1].ending = 2, "promoted"
    weeks[2].trained, weeks[2].gate, weeks[2].scrambled_f1 = "quality", "f1_macro < 0.65", 0.33
    result = {
        "first": 5, "weeks": 7, "changes": ["content:6", "relation:9"],
        "lived": [asdict(week) for week in weeks],
    }  # fmt: skip
    drawn = ET.fromstring(chart(result))
    marks = Counter(circle.get("class") for circle in drawn.iter(f"{SVG}circle"))
    assert marks == {"drift": 1, "trained": 2, "failed": 1, "canary": 1, "promoted": 1, "wrong": 1}
    texts = {text.text for text in drawn.iter(f"{SVG}text")}
    assert {*LANES, "a unit is replaced", "labels scrambled"} <= texts
    assert "answers are shared" not in texts  # it comes later
