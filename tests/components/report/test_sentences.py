from __future__ import annotations

import doctest
from typing import Any

import pytest

from components.contracts.evaluation import Evaluation, GateVerdict
from components.contracts.push_result import PushResult
from components.report import sentences
from components.report.sentences import (
    claim_against,
    claim_metric,
    gate_words,
    headline,
    interval_sentence,
    seeds_sentence,
)
from tests.components.report.evaluations import classification, with_everything


def _gate(bound: str, threshold: float, **values: Any) -> GateVerdict:
    return GateVerdict.model_validate(
        {"metric": "recall", "bound": bound, "threshold": threshold, "passed": True} | values
    )


@pytest.mark.parametrize(
    ("gate", "asks"),
    [
        (_gate("min", 0.88), "Recall is at least 0.88"),
        (_gate("max", 12_000, metric="mse"), "MSE is at most 12,000"),
        (
            _gate("min", 0.8, **{"class": "low"}, slice="gender"),
            "Recall of low is at least 0.8 in every slice of gender",
        ),
        (
            _gate("min", 0.8, slice={"a": "x", "b": ""}),
            "Recall is at least 0.8 where a=x, b=(missing)",
        ),
        (
            _gate("max_gap", 0.05, slice="age"),
            "Recall differs by at most 0.05 between slices of age",
        ),
        (_gate("min_change", -0.005), "Recall is at most 0.005 below the blessed model's"),
        (_gate("min_change", 0.01), "Recall is at least 0.01 above the blessed model's"),
        (_gate("min_change", 0), "Recall is not below the blessed model's"),
        (_gate("max_change", 0.01), "Recall is at most 0.01 above the blessed model's"),
        (_gate("max_change", -0.01), "Recall is at least 0.01 below the blessed model's"),
        (_gate("max_change", 0, metric="log_loss"), "Log loss is not above the blessed model's"),
        (
            _gate("min", 0.87, confidence=0.95),
            "Recall is at least 0.87, with 95% confidence",
        ),
        (
            _gate("max_gap", 0.05, slice="age", confidence=0.9),
            "Recall differs by at most 0.05 between slices of age, with 90% confidence",
        ),
        (_gate("max_spread", 0.01), "Recall differs by at most 0.01 between seeds"),
        (
            _gate("min_gain_over", 0, metric="auc", over="trees"),
            "AUC is not below that of boosted trees",
        ),
        (
            _gate("min_gain_over", 0.01, metric="auc", over="prior", slice="age"),
            "AUC is at least 0.01 above that of the prior in every slice of age",
        ),
        (
            _gate("min_gain_over", 0.01, metric="log_loss", over="logistic", confidence=0.995),
            "Log loss is at least 0.01 below that of logistic regression, with 99.5% confidence",
        ),
        (
            _gate("min_gain_over", -0.01, metric="rmse", over="linear"),
            "RMSE is at most 0.01 above that of linear regression",
        ),
    ],
)
def test_a_gate_is_described_in_plain_words(gate: GateVerdict, asks: str) -> None:
    assert gate_words(gate).asks == asks


@pytest.mark.parametrize(
    ("gate", "shown"),
    [
        (_gate("min", 0.88, value=0.8796, passed=False), ("≥ 0.88", "0.8796", "−0.0004")),
        (_gate("min", 0.88, value=0.91), ("≥ 0.88", "0.910", "+0.030")),
        (_gate("max", 0.5, value=0.4, metric="log_loss"), ("≤ 0.5", "0.400", "+0.100")),
        (_gate("max_gap", 0.05, value=0.07, passed=False), ("≤ 0.05", "0.070", "−0.020")),
        (
            _gate("min_change", -0.005, value=0.865, baseline=0.87),
            ("≥ −0.005", "−0.005 (0.865 against 0.870)", "±0"),
        ),
        (
            _gate("max_change", 0.1, value=0.5, baseline=0.45),
            ("≤ +0.1", "+0.050 (0.500 against 0.450)", "+0.050"),
        ),
        (_gate("min_change", -0.005, value=0.9), ("≥ −0.005", "0.900", "–")),
        (_gate("min", 0.5, passed=False), ("≥ 0.5", "–", "–")),
        (
            _gate("min", 0.88, value=0.89, interval=(0.87, 0.91), confidence=0.95, passed=False),
            ("≥ 0.88", "0.890", "−0.010"),
        ),
        (
            _gate("max_gap", 0.05, value=0.02, interval=(0.01, 0.04), confidence=0.95),
            ("≤ 0.05", "0.020", "+0.010"),
        ),
        (
            _gate("min", 0.88, value=0.89, interval=(0.87, 0.91)),
            ("≥ 0.88", "0.890", "+0.010"),
        ),
        (
            _gate(
                "min_gain_over",
                0.005,
                metric="log_loss",
                over="trees",
                value=0.40,
                baseline=0.42,
                interval=(0.006, 0.03),
                confidence=0.95,
            ),
            ("≥ +0.005", "+0.020 (0.400 against 0.420)", "+0.001"),
        ),
    ],
)
def test_distance_is_measured_to_the_threshold(
    gate: GateVerdict, shown: tuple[str, str, str]
) -> None:
    words = gate_words(gate)
    assert (words.threshold, words.value, words.distance) == shown


def _against_trees(gain: dict[str, Any], **changes: Any) -> Evaluation:
    """Returns an evaluation whose candidate gains that much over boosted trees in AUC."""
    result = {"examples": 900, "metrics": {"f1_macro": 0.8, "auc": 0.768}}
    gate = {"metric": "auc", "bound": "min_gain_over", "over": "trees", "threshold": 0}
    trees = {"name": "trees", "meaning": "many trees", "overall": result, "gains": {"auc": gain}}
    content = {
        "task": "classification",
        "blessed": True,
        "confidence": 0.95,
        "gates": [{**gate, "passed": True}],
        "overall": result,
        "simple_models": [trees],
    }
    return Evaluation.model_validate(content | changes)


@pytest.mark.parametrize(
    ("gain", "verdict", "text"),
    [
        (
            {"value": 0.008, "interval": (0.003, 0.013)},
            "better",
            "Better than boosted trees by 0.008 in AUC (95% interval 0.003 to 0.013).",
        ),
        (
            {"value": -0.008, "interval": (-0.013, -0.003)},
            "worse",
            "Worse than boosted trees by 0.008 in AUC (95% interval 0.003 to 0.013).",
        ),
        (
            {"value": 0.002, "interval": (-0.003, 0.007)},
            "open",
            "Not better than boosted trees by more than chance: +0.002 in AUC, 95% interval "
            "−0.003 to 0.007, which includes 0.",
        ),
        (
            {"value": 0.002, "interval": (0.0, 0.007)},
            "open",
            "Not better than boosted trees by more than chance: +0.002 in AUC, 95% interval "
            "0.000 to 0.007, which includes 0.",
        ),
        (
            {"value": 0.002},
            "open",
            "Not known to be better than boosted trees: +0.002 in AUC, without an interval.",
        ),
        ({}, "open", "Not compared with boosted trees: AUC is undefined."),
    ],
)
def test_a_claim_is_made_where_the_interval_leaves_out_zero(
    gain: dict[str, Any], verdict: str, text: str
) -> None:
    evaluation = _against_trees(gain)
    claim = claim_against(evaluation.simple_models[0], evaluation)
    assert (claim.verdict, claim.text) == (verdict, text)


def test_the_headline_claims_against_the_simple_model_that_comes_closest() -> None:
    evaluation = with_everything(classification())
    found = headline(Evaluation.model_validate(evaluation), PushResult(pushed=True))
    assert found.explanation[2].startswith("Not better than logistic regression by more than")


def test_without_a_gate_on_a_gain_claims_are_by_the_main_metric() -> None:
    assert claim_metric(_against_trees({})) == "auc"
    assert claim_metric(_against_trees({}, gates=[])) == "f1_macro"


def test_a_gate_on_the_gain_of_one_class_does_not_choose_the_metric_of_claims() -> None:
    gate = _gate("min_gain_over", 0.0, metric="recall", over="trees").model_copy(
        update={"class_": "low"}
    )
    assert claim_metric(_against_trees({}, gates=[gate])) == "f1_macro"


def test_seeds_are_a_sentence() -> None:
    seeds = {"seeds": [7, 8, 9], "metrics": {"f1_macro": [0.8, None, 0.8124]}}
    assert seeds_sentence(_against_trees({}, seeds=seeds)) == (
        "Fitted 3 times, with the seeds 7, 8 and 9, the model reaches 0.800 to 0.812 in macro F1: "
        "a spread of 0.012."
    )
    assert seeds_sentence(_against_trees({})) == ""


def test_intervals_are_explained_where_there_are_any() -> None:
    assert "a 95% interval: how far chance reaches" in interval_sentence(_against_trees({}))
    assert interval_sentence(_against_trees({}, confidence=None)) == ""


def test_a_gate_on_every_slice_names_the_one_that_decided() -> None:
    gate = _gate(
        "min",
        0.8,
        metric="f1_macro",
        slice="gender",
        value=0.7,
        at={"gender": "f"},
        passed=False,
        reason="1 of 2 slices fail",
    )
    assert gate_words(gate).reason == "decided by gender=f; 1 of 2 slices fail"


@pytest.mark.parametrize(
    ("floor", "push", "text"),
    [
        (0.8, PushResult(pushed=True, version=12), "Pushed as version 12"),
        (0.8, PushResult(pushed=False), "Not pushed"),
        (0.95, PushResult(pushed=False), "Not pushed: 1 of 4 gates failed"),
    ],
)
def test_headline(floor: float, push: PushResult, text: str) -> None:
    found = headline(Evaluation.model_validate(classification(floor=floor)), push)
    assert found.text == text
    assert found.good is push.pushed


def test_the_verdict_compares_with_the_blessed_model_in_the_metric_s_own_direction() -> None:
    def say(task: str, metric: str, value: float, before: float) -> str:
        result = {"examples": 10, "metrics": {metric: value}}
        baseline = {"overall": {"examples": 10, "metrics": {metric: before}}}
        content = {"task": task, "blessed": True, "overall": result, "baseline": baseline}
        return headline(Evaluation.model_validate(content), PushResult(pushed=True)).explanation[1]

    assert "0.910: 0.010 better than" in say("classification", "f1_macro", 0.91, 0.90)
    assert "0.910: 0.010 worse than" in say("regression", "rmse", 0.91, 0.90)
    assert "the same as the blessed model" in say("classification", "f1_macro", 0.9, 0.9)


def test_a_single_gate_is_not_counted() -> None:
    one = {"metric": "f1_macro", "bound": "min", "threshold": 0.5, "passed": False}
    result = {"examples": 10, "metrics": {"f1_macro": None}}
    content = {"task": "classification", "blessed": False, "overall": result, "gates": [one]}
    found = headline(Evaluation.model_validate(content), PushResult(pushed=False))
    assert found.text == "Not pushed: the gate failed"
    assert found.explanation[1].endswith("its macro F1 is –.")


def test_an_evaluation_without_gates_blesses_nothing() -> None:
    result = {"examples": 10, "metrics": {"rmse": 0.5}}
    content = {"task": "regression", "blessed": False, "overall": result}
    found = headline(Evaluation.model_validate(content), PushResult(pushed=False))
    assert found.text == "Not pushed: the model was not blessed"
    assert found.explanation[0].startswith("The evaluation did not bless the model;")


def test_the_examples_are_right() -> None:
    results = doctest.testmod(sentences)
    assert results.attempted
    assert not results.failed
