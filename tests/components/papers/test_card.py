"""Whom a version serves badly, and its limits: derived from the figures of the run."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from components.config.metrics import describe_metric
from components.contracts.evaluation import Evaluation
from components.contracts.papers import Blank, VersionCard
from components.papers.card import LEAST_WEAKNESSES, MOST_WEAKNESSES, find_weaknesses, make_card
from tests.components.papers.conftest import MakeFacts
from tests.components.report.evaluations import classification, regression, with_everything


def _evaluation(*slices: dict[str, Any], overall: float = 0.9) -> Evaluation:
    content = {
        "task": "classification",
        "classes": ["low", "high"],
        "overall": {
            "examples": 1000,
            "metrics": {"f1_macro": overall},
            "classes": {"low": {"recall": overall, "support": 400}},
        },
        "slices": slices,
        "confidence": 0.95,
    }
    return Evaluation.model_validate(content)


def _slice(
    name: str, f1: float, *, examples: int = 200, half: float | None = 0.02, **classes: Any
) -> dict[str, Any]:
    interval = {} if half is None else {"f1_macro": [f1 - half, f1 + half]}
    return {
        "slice": {"region": name},
        "examples": examples,
        "metrics": {"f1_macro": f1},
        "intervals": interval,
        "classes": classes,
    }


def test_groups_that_are_worse_by_more_than_chance_come_first() -> None:
    recall = {"recall": 0.5, "support": 60, "intervals": {"recall": [0.4, 0.6]}}
    weaknesses = find_weaknesses(
        _evaluation(
            _slice("north", 0.95),
            _slice("south", 0.7),
            _slice("west", 0.85, half=0.2),
            _slice("east", 0.8),
            _slice("islands", 0.89, low=recall),
        )
    )
    assert [
        (item.slice["region"], item.metric, item.class_, item.beyond_chance) for item in weaknesses
    ] == [
        ("islands", "recall", "low", True),
        ("south", "f1_macro", None, True),
        ("east", "f1_macro", None, True),
    ]
    assert weaknesses[0].interval == (0.4, 0.6)
    assert weaknesses[0].overall == 0.9


def test_without_sure_ones_the_lowest_are_named_and_said_to_be_unsure() -> None:
    weaknesses = find_weaknesses(
        _evaluation(
            *(_slice(f"r{index}", 0.88 - index / 100, half=0.5) for index in range(5)),
            _slice("few", 0.1, examples=29),
        )
    )
    assert [item.slice["region"] for item in weaknesses] == ["r4", "r3", "r2"]
    assert not any(item.beyond_chance for item in weaknesses)


def test_no_group_is_called_worse_on_few_examples_or_without_intervals() -> None:
    few = {"recall": 0.1, "support": 29, "intervals": {"recall": [0.0, 0.2]}}
    weaknesses = find_weaknesses(_evaluation(_slice("a", 0.8, half=None, low=few)))
    assert [(item.metric, item.interval, item.beyond_chance) for item in weaknesses] == [
        ("f1_macro", None, False)
    ]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.3), st.integers(1, 400)), max_size=30),
    st.floats(0.1, 1),
)
def test_weaknesses_are_worse_than_all_and_in_order(
    groups: list[tuple[float, float, int]], overall: float
) -> None:
    evaluation = _evaluation(
        *(
            _slice(f"r{index}", value, examples=examples, half=half)
            for index, (value, half, examples) in enumerate(groups)
        ),
        overall=overall,
    )
    weaknesses = find_weaknesses(evaluation)
    worse = [value for value, _, examples in groups if value < overall and examples >= 30]
    assert all(item.value < item.overall and item.examples >= 30 for item in weaknesses)
    assert len(weaknesses) <= MOST_WEAKNESSES
    assert len(weaknesses) >= min(LEAST_WEAKNESSES, len(worse))
    flags = [item.beyond_chance for item in weaknesses]
    assert flags == sorted(flags, reverse=True)
    for item in weaknesses:
        assert item.interval is not None
        assert item.beyond_chance == (item.interval[1] < overall)


def test_in_a_regression_a_larger_error_is_worse(make_facts: MakeFacts) -> None:
    content, _ = regression()
    with_everything(content)
    weaknesses = make_card(make_facts(content)).weaknesses
    assert not describe_metric("rmse").more_is_better
    overall = content["overall"]["metrics"]["rmse"]
    assert weaknesses
    assert all(item.metric == "rmse" and item.value > overall for item in weaknesses)


def test_the_card_repeats_what_was_measured_and_written(make_facts: MakeFacts) -> None:
    content = with_everything(classification())
    facts = make_facts(content, papers={"purpose": " Help early. ", "limits": "None known."})
    card = make_card(facts)
    assert VersionCard.from_json(card.to_json()) == card

    written = json.loads(card.to_json())
    assert written["overall"]["metrics"] == content["overall"]["metrics"]
    assert [item["metrics"] for item in written["slices"]] == [
        item["metrics"] for item in content["slices"]
    ]
    assert written["gates"] == [gate | {} for gate in content["gates"]]
    assert (card.name, card.version) == ("campus", 1732251600)
    assert card.written == {"purpose": "Help early.", "limits": "None known."}
    assert Blank(key="contact", meaning="where a learner can contest an answer, and how") in (
        card.blanks
    )
    assert {blank.key for blank in card.blanks}.isdisjoint(card.written)


def test_gaps_that_are_more_than_chance_are_limits(make_facts: MakeFacts) -> None:
    content = classification()
    groups = [{"gender": "f"}, {"gender": "m"}]
    content["fairness"] = {
        "columns": [["gender"]],
        "measures": [
            {
                "columns": ["gender"], "metric": "recall", "class": "partial",
                "gaps": [{"between": groups, "size": 0.12, "interval": [0.03, 0.2]}],
            },
            {
                "columns": ["gender"], "metric": "abroca", "class": "partial",
                "gaps": [{"between": groups, "size": 0.01, "interval": [0.0, 0.03]}],
            },
        ],
    }  # fmt: skip
    card = make_card(make_facts(content))
    [limit] = [text for text in card.limits if "differ in" in text]
    assert limit.startswith("gender=f and gender=m differ in recall of partial by 0.120 (0.030 to")
    assert card.fairness is not None


def test_limits_name_cold_starts_small_groups_and_simpler_models(make_facts: MakeFacts) -> None:
    content = with_everything(classification())
    limits = " ".join(make_card(make_facts(content)).limits)
    assert "Without any event before" in limits
    assert "for 44 of the 1,834 outcomes" in limits
    assert "gender=(missing)" in limits  # 1% of the learners
    assert "Not better than logistic regression by more than chance" in limits
