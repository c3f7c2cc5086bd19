"""The section on fairness: what is shown, what is within chance, and who is too few to say."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

from components.contracts.evaluation import Evaluation
from components.report import fairness
from components.report.facts import Sources, load_facts
from components.report.fairness import fairness_facts
from components.report.render import render_report
from tests.components.report.evaluations import classification

WOMEN, MEN = {"gender": "f"}, {"gender": "m"}


def _measure(metric: str, interval: list[float], **values: Any) -> dict[str, Any]:
    return {
        "columns": ["gender"],
        "metric": metric,
        "class": "partial",
        "pairs": 1,
        "groups": [
            {"group": WOMEN, "examples": 300, "value": 0.8, "interval": [0.75, 0.85]},
            {"group": MEN, "examples": 310, "value": 0.9, "interval": [0.86, 0.94]},
        ],
        "gaps": [{"between": [MEN, WOMEN], "size": 0.1, "interval": interval}],
        **values,
    }


def _content() -> dict[str, Any]:
    return classification() | {
        "fairness": {
            "columns": [["gender"]],
            "min_examples": 50,
            "confidence": 0.95,
            "measures": [
                _measure("recall", [0.02, 0.18], before=0.12, without=0.21),
                _measure("precision", [0.0, 0.2]),
                _measure("abroca", [], gaps=[], groups=[], pairs=0),
            ],
            "too_small": [{"group": {"gender": "<x>"}, "examples": 7}],
            "cost": {
                "remedies": ["reweigh: gender"],
                "metrics": {"f1_macro": 0.912},
                "gains": {"f1_macro": -0.007},
                "intervals": {"f1_macro": [-0.015, 0.001]},
            },
        }
    }


def test_gaps_are_shown_or_within_chance() -> None:
    facts = fairness_facts(Evaluation.model_validate(_content()))
    assert facts is not None
    assert facts.shown == [
        "Recall of partial differs by 0.100 between m (0.900) and f (0.800); by 0.020 at least."
    ]
    [column] = facts.columns
    assert [(row.name, row.is_shown) for row in column.rows] == [
        ("recall of partial", True),
        ("precision of partial", False),
    ]
    assert column.not_compared == ["ABROCA of partial"]
    assert facts.too_small == ["<x> (7)"]
    assert facts.costs[0].gain == -0.007


def test_the_page_says_who_is_too_few_and_what_the_remedy_costs(
    make_run: Callable[..., Sources],
) -> None:
    page = render_report(load_facts(make_run(_content())))
    assert 'id="fairness"' in page
    assert "&lt;x&gt; (7)" in page
    assert "<code>reweigh: gender</code>" in page
    assert "−0.007" in page


def test_without_groups_there_is_no_section(make_run: Callable[..., Sources]) -> None:
    assert fairness_facts(Evaluation.model_validate(classification())) is None
    assert 'id="fairness"' not in render_report(load_facts(make_run(classification())))


def test_the_examples_are_right() -> None:
    results = doctest.testmod(fairness)
    assert results.attempted
    assert not results.failed
