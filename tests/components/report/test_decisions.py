"""The section about decisions and early warning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from components.contracts.decision_results import DecisionResults
from components.contracts.evaluation import Evaluation
from components.report.decisions import decision_facts, point_sentence
from components.report.facts import Sources
from tests.components.report.evaluations import CLASSES, classification
from tests.components.report.test_render import _page, _rows, _text

MEASURED = {
    "examples": 900, "of_class": 300, "named": 320, "right": 240, "recall": 0.8,
    "precision": 0.75, "alarm_rate": 0.355, "cost": 0.422, "cost_of_all": 0.667,
    "cost_of_none": 1.667, "intervals": {"recall": [0.76, 0.84], "precision": [0.7, 0.8],
                                         "alarm_rate": [0.33, 0.38], "cost": [0.38, 0.47]},
}  # fmt: skip


def day(number: float, found: int, ahead: float | None) -> dict[str, Any]:
    return {
        "day": number, "learners": 450, "of_class": 150, "named": found + 20, "right": found,
        "recall": found / 150, "precision": found / (found + 20), "lead_days": ahead,
        "intervals": {"recall": [found / 150 - 0.06, found / 150 + 0.06]},
        "on_day": {"examples": 450, "of_class": 150, "named": found, "right": found},
        "sentence": f"By day {number:g} it finds {found} of them.",
    }  # fmt: skip


def decided(content: dict[str, Any], *, costs: bool = True, lead: bool = True) -> dict[str, Any]:
    """Adds a decision to a `metrics.json`."""
    measured = dict(MEASURED)
    if not costs:
        del measured["cost"]
    for result in [content["overall"], *content["slices"]]:
        result["decisions"] = {"call": measured}
    ahead = (23.0, 21.4) if lead else (None, None)
    content["decisions"] = [
        {
            "name": "call",
            "class": CLASSES[0],
            "who": "those who fall behind",
            "threshold": 0.1634,
            **(
                {"purpose": "cost", "cost": {"miss": 5, "false_alarm": 1}}
                if costs
                else {"purpose": "recall", "aim": 0.8}
            ),
            "promised": {**MEASURED, "recall": 0.9, "precision": 0.6, "intervals": {}},
            "note": None,
            "curve": {
                "threshold": [0.9, 0.5, 0.1],
                "recall": [0.2, 0.7, 1.0],
                "precision": [1.0, 0.8, 0.3],
                "cost": [1.4, 0.5, 0.6] if costs else [],
            },
            "early_warning": {
                "by": "horizon_days",
                "days": [day(7, 90, ahead[0]), day(14, 120, ahead[1])],
                "has_lead": lead,
                "headline": "By day 7 it finds 90 of them.",
                "notes": ["3 of 900 answers are left out: their day is not known."],
            },
        }
    ]
    return content


MakeRun = Callable[..., Sources]


def test_numbers_stand_beside_what_was_promised(make_run: MakeRun) -> None:
    _, tree = _page(make_run(decided(classification())))
    rows = _rows(tree, "Decision call on the test split and on the eval split")
    assert rows == [
        ["Recall", "0.800 0.760 to 0.840", "0.900", "lower than promised"],
        ["Precision", "0.750 0.700 to 0.800", "0.600", "higher than promised"],
        ["Rate of alarms", "0.355 0.330 to 0.380", "0.355", "within chance"],
        [
            "Cost per outcomenaming everybody costs 0.667, naming nobody 1.667",
            "0.422 0.380 to 0.470",
            "0.422",
            "within chance",
        ],
    ]
    section = tree.get_element_by_id("decisions")
    assert [item.text_content() for item in section.find_class("bad")] == ["lower than promised"]
    assert [item.text_content() for item in section.find_class("good")] == ["higher than promised"]
    titles = [chart.get("aria-label") for chart in section.find_class("chart")]
    assert titles == [
        "Precision against recall of decision call",
        "Cost of decision call at every threshold",
        "What is found by each day, and how many alarms are right",
    ]
    # The chosen point: on both splits in the first chart, once in the second one.
    dots = [len(chart.find_class("dot")) for chart in section.find_class("chart")[:2]]
    assert dots == [2, 1]


def test_early_warning_is_a_sentence_a_table_and_a_curve(make_run: MakeRun) -> None:
    _, tree = _page(make_run(decided(classification())))
    text = _text(tree.get_element_by_id("decisions"))
    assert "By day 7 it finds 90 of them." in text
    assert "3 of 900 answers are left out: their day is not known." in text
    assert _rows(tree, "What decision call has found by each day") == [
        ["Day 7", "450", "60.0% 54.0% to 66.0%90 of 150", "81.8% 90 of 110", "23"],
        ["Day 14", "450", "80.0% 74.0% to 86.0%120 of 150", "85.7% 120 of 140", "21.4"],
    ]
    assert len(tree.get_element_by_id("decisions").find_class("reach")) == 2


def test_without_costs_and_lead_times_nothing_is_said_of_them(make_run: MakeRun) -> None:
    _, tree = _page(make_run(decided(classification(), costs=False, lead=False)))
    section = tree.get_element_by_id("decisions")
    assert len(_rows(tree, "Decision call on the test split and on the eval split")) == 3
    assert "Recall and precision at every threshold" in _text(section)
    assert "outcome_day does not say when outcomes are known" in _text(section)
    assert "Days ahead" not in _text(section)


def test_a_model_without_decisions_has_no_section(make_run: MakeRun) -> None:
    page, _ = _page(make_run(classification()))
    assert 'id="decisions"' not in page
    assert decision_facts(Evaluation.model_validate(classification())) == []


def test_a_point_that_is_not_what_was_aimed_at_is_told(make_run: MakeRun) -> None:
    content = decided(classification())
    content["decisions"][0]["note"] = "no point has a precision of 0.9"
    _, tree = _page(make_run(content))
    assert "Not as aimed at: no point has a precision of 0.9." in _text(tree)


@pytest.mark.parametrize(
    ("purpose", "why"),
    [
        ({"purpose": "recall", "aim": 0.07}, "the highest threshold that finds 7% of the class on"),
        (
            {"purpose": "precision", "aim": 0.6},
            "the threshold that finds most while 60% of the named are right on the eval split.",
        ),
        (
            {"purpose": "capacity", "aim": 20},
            "the lowest threshold that names no more than 20% of all on the eval split.",
        ),
        ({"purpose": "threshold", "aim": 0.25}, "a probability that the configuration gives."),
        (
            {"purpose": "cost", "cost": {"miss": 5, "false_alarm": 1}},
            "the threshold of least cost on the eval split, where a miss costs 5 and a false "
            "alarm 1.",
        ),
    ],
)
def test_a_point_is_explained_by_its_purpose(purpose: dict[str, Any], why: str) -> None:
    point = {"name": "call", "class": "low", "who": "the low", "threshold": 0.25}
    sentence = point_sentence(DecisionResults.model_validate(point | purpose))
    assert sentence.startswith(
        "The decision is taken where the probability of low is at least 0.250: "
    )
    assert why in sentence
