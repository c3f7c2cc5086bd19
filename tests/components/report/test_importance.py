"""What a report says about reasons."""

from __future__ import annotations

from typing import Any

import pytest

from components.contracts.evaluation import Evaluation
from components.contracts.importance_results import (
    FeatureImportance,
    ImportanceResults,
    Removal,
    TrueDrivers,
)
from components.report.importance import MOST_FEATURES, importance
from components.report.page import page_environment
from tests.components.report.evaluations import classification

HOSTILE = "<b>correct</b>"


def evaluation(**update: Any) -> Evaluation:
    found = ImportanceResults(
        examples=200,
        points=16,
        completeness=0.0004,
        classes={
            "partial": [
                FeatureImportance(
                    feature=HOSTILE, size=0.21, interval=(0.19, 0.24), lean=0.9, before=0.2
                ),
                FeatureImportance(feature="unit_id", size=0.05),
                FeatureImportance(feature="idle", size=8.8e-6, interval=(4e-6, 1e-5)),
                *(FeatureImportance(feature=f"more_{place}", size=1e-6) for place in range(19)),
            ]
        },
    )
    content = Evaluation.model_validate(classification())
    return content.model_copy(update={"importance": found.model_copy(update=update)})


def render(evaluation: Evaluation) -> str:
    template = page_environment().get_template("importance.html")
    return " ".join(template.render(importance=importance(evaluation)).split())


def test_features_are_shown_with_what_speaks_for_the_class() -> None:
    page = render(evaluation())

    assert HOSTILE not in page
    assert "&lt;b&gt;correct&lt;/<wbr>b&gt;" in page
    assert "high values" in page
    assert "which word it is" in page
    assert f"The {MOST_FEATURES} most important; 10 more are in metrics.json." in page
    assert "over 16 points" in page
    assert "to within 0.0004" in page
    assert "below 0.001" in page
    assert "e−06" not in page
    assert "Model before" in page


@pytest.mark.parametrize(
    ("gain", "interval", "verdict", "claim"),
    [
        (0.2, (0.1, 0.3), "better", "The events that reasons name matter:"),
        (0.02, (-0.1, 0.1), "open", "is within chance: without the 20% of the events"),
        (-0.2, (-0.3, -0.1), "worse", "matter less than others"),
    ],
)
def test_whether_named_events_matter_is_said_with_its_interval(
    gain: float, interval: tuple[float, float], verdict: str, claim: str
) -> None:
    removal = Removal(
        examples=150, share=0.2, named=gain + 0.05, random=0.05, gain=gain, interval=interval
    )

    facts = importance(evaluation(removal=removal))

    assert facts is not None
    [(sentence, found)] = facts.claims
    assert found == verdict
    assert claim in sentence


def test_true_drivers_are_compared_with_chance() -> None:
    drivers = TrueDrivers(examples=150, top=3, shared=0.71, interval=(0.66, 0.75), by_chance=1 / 3)

    facts = importance(evaluation(drivers=drivers))

    assert facts is not None
    assert facts.claims == [
        (
            "Of the three features that drove an answer, as the simulator knows, reasons name "
            "71% (0.66 to 0.75) among their first 3; names at random would reach 33%.",
            "better",
        )
    ]


def test_a_model_without_reasons_has_no_section() -> None:
    assert importance(Evaluation.model_validate(classification())) is None
    assert render(Evaluation.model_validate(classification())) == ""
