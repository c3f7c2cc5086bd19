"""What the report says about how sure answers are."""

from __future__ import annotations

import doctest
from typing import Any

from components.contracts.evaluation import Evaluation
from components.contracts.uncertainty_results import MeasuredCoverage
from components.report import uncertainty as module
from components.report.page import page_environment
from components.report.render import describe_quality
from components.report.uncertainty import uncertainty
from tests.components.report.evaluations import classification

WHOLE = {"kind": "all", "examples": 1834, "set_size": 1.1, "not_sure": 0.03}


def evaluation(*measured: dict[str, Any], **changed: Any) -> Evaluation:
    content = classification()
    lines = [
        {**WHOLE, "coverage": 0.93, "interval": (0.92, 0.94)},
        *({"kind": "slice", "examples": 100, **item} for item in measured),
    ]
    found = {"promised": 0.9, "measured": lines, "sizes": [1700, 80, 54], **changed}
    return Evaluation.model_validate({**content, "confidence": 0.95, "uncertainty": found})


def claims(found: Evaluation) -> list[tuple[str, str]]:
    facts = uncertainty(found)
    assert facts is not None
    return facts.claims


def test_the_examples_are_right() -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def test_an_older_model_has_no_section() -> None:
    content = Evaluation.model_validate(classification())
    assert uncertainty(content) is None
    page = page_environment().get_template("uncertainty.html")
    assert page.render(**describe_quality(content, held_out="learner")).strip() == ""


def test_coverage_is_compared_with_the_promise() -> None:
    (text, verdict), *_ = claims(evaluation())
    assert verdict == "better"
    assert text == (
        "The set holds the true class for 93.0% of outcomes (95% interval 92.0% to 94.0%); "
        "promised were 90.0%: more often than promised."
    )

    lower = evaluation().uncertainty
    assert lower is not None
    broken = MeasuredCoverage(**{**WHOLE, "coverage": 0.8, "interval": (0.78, 0.82)})
    results = lower.model_copy(update={"measured": [broken]})
    (text, verdict), *_ = claims(evaluation().model_copy(update={"uncertainty": results}))
    assert verdict == "worse"
    assert text.endswith("less often than promised.")


def test_places_below_the_promise_are_named_beside_what_chance_does() -> None:
    below = {
        "where": {"region": "africa"},
        "class_": "low",
        "coverage": 0.7,
        "interval": (0.6, 0.8),
    }
    usual = {"where": {"region": "europe"}, "coverage": 0.9, "interval": (0.85, 0.95)}

    found = claims(evaluation(below, *[usual] * 20))
    assert found[1] == (
        "Of 22 classes, slices and horizons, the interval is below the promise for 1, by chance "
        "alone for about 0.55: low where region africa (70.0%).",
        "worse",
    )
    assert claims(evaluation(below, *[usual] * 60))[1][1] == "open"
    assert claims(evaluation(usual))[1][1] == "better"


def test_the_section_shows_every_row_and_what_is_unfamiliar() -> None:
    made = evaluation(
        {"where": {"region": "<b>"}, "coverage": 0.9, "interval": (0.85, 0.95)},
        {"kind": "horizon", "where": {"days": "7"}, "coverage": 0.91},
        {"kind": "basis", "where": {"basis": "prior"}, "coverage": 1.0},
        unfamiliar={"dwell": 3},
        unfamiliar_examples=3,
    )
    page = page_environment().get_template("uncertainty.html")
    html = page.render(**describe_quality(made, held_out="learner"))

    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    for words in ("By region", "By days that were seen", "prior of the group", "dwell", "1,700"):
        assert words in html
    assert "3 of 1,834 outcomes (0.2%) are of learners unlike any" in html
