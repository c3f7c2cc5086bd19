"""Gates say what they judged, and never pass what cannot be judged."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.gates import Gate
from components.contracts.evaluation import GateVerdict, ModelResults
from components.evaluator.judgement import gate_error, is_blessed, judge_gates

Json = dict[str, Any]

LOW = {"metric": "recall", "class": "low"}


def _result(examples: int = 100, f1: float | None = 0.861, recall: float | None = 0.871) -> Json:
    return {
        "examples": examples,
        "metrics": {"f1_macro": f1, "auc": None},
        "classes": {"low": {"recall": recall}},
    }


def _metrics(
    overall: Json, by_gender: dict[str, Json] | None = None, *others: Json
) -> ModelResults:
    slices = [{"slice": {"gender": value}, **result} for value, result in (by_gender or {}).items()]
    return ModelResults.model_validate({"overall": overall, "slices": [*slices, *others]})


def _judge(
    metrics: ModelResults, baseline: ModelResults | None = None, /, **gate: Any
) -> GateVerdict:
    [verdict] = judge_gates([Gate.model_validate(gate)], metrics, baseline)
    return verdict


BY_GENDER = {"f": _result(50, 0.9, 0.83), "m": _result(45, 0.8, 0.9), "": _result(5, 0.1, 0.2)}


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        ({**LOW, "min": 0.85}, "recall of low >= 0.85: 0.871 passed"),
        ({"metric": "f1_macro", "min": 0.88}, "f1_macro >= 0.88: 0.861 FAILED (0.019 below)"),
        ({"metric": "f1_macro", "max": 0.5}, "f1_macro <= 0.5: 0.861 FAILED (0.361 above)"),
        (
            {"metric": "f1_macro", "min": 0.861001},
            "f1_macro >= 0.861001: 0.861000 FAILED (1e-06 below)",
        ),
        (
            {**LOW, "slice": {"gender": "f"}, "min": 0.8},
            "recall of low in gender=f >= 0.8: 0.830 passed",
        ),
        (
            {**LOW, "slice": "gender", "min": 0.8},
            "recall of low in every gender >= 0.8: 0.830 at gender=f passed",
        ),
        (
            {**LOW, "slice": "gender", "max_gap": 0.05},
            "gap of recall of low between slices of gender <= 0.05: 0.070 FAILED (0.020 above)",
        ),
        ({"metric": "auc", "min": 0.5}, "auc >= 0.5: no value, FAILED"),
        (
            {"metric": "f1_macro", "slice": {"gender": ""}, "min_examples": 1, "min": 0.2},
            "f1_macro in gender=(missing) >= 0.2: 0.100 FAILED (0.100 below)",
        ),
    ],
)
def test_a_verdict_reads_as_one_line(gate: Json, text: str) -> None:
    verdict = _judge(_metrics(_result(), BY_GENDER), **gate)
    assert verdict.text == text
    assert verdict.passed is text.endswith("passed")


def test_every_bound_of_a_gate_has_a_verdict() -> None:
    gate = Gate.model_validate({"metric": "f1_macro", "min": 0.5, "max": 0.9, "min_change": -0.1})
    assert [verdict.bound for verdict in judge_gates([gate], _metrics(_result()), None)] == [
        "min",
        "max",
        "min_change",
    ]


def test_a_change_is_measured_against_the_blessed_model() -> None:
    before = _metrics(_result(f1=0.866))
    verdict = _judge(_metrics(_result(f1=0.861)), before, metric="f1_macro", min_change=-0.005)
    assert verdict.text == "change of f1_macro >= -0.005: -0.005 passed"
    assert (verdict.value, verdict.baseline) == (0.861, 0.866)
    assert not _judge(
        _metrics(_result(f1=0.86)), before, metric="f1_macro", min_change=-0.005
    ).passed
    assert not _judge(_metrics(_result(f1=0.9)), before, metric="f1_macro", max_change=0.01).passed


def test_a_change_passes_without_a_baseline_with_a_reason() -> None:
    verdict = _judge(_metrics(_result()), metric="f1_macro", min_change=0.1)
    assert verdict.passed
    assert verdict.text == "change of f1_macro >= +0.1: no baseline, passed"
    assert verdict.reason == "holds, because there is no blessed model to compare with yet"


def test_a_change_of_an_undefined_metric_fails_even_without_a_baseline() -> None:
    verdict = _judge(_metrics(_result()), metric="auc", min_change=-1)
    assert not verdict.passed
    assert verdict.reason == "auc is undefined, on 100 examples"


def test_a_change_from_an_undefined_metric_fails() -> None:
    verdict = _judge(
        _metrics(_result()), _metrics(_result(f1=None)), metric="f1_macro", min_change=-1
    )
    assert not verdict.passed
    assert verdict.reason == "the metric of the blessed model is undefined there"


def test_changes_in_slices_are_compared_slice_by_slice() -> None:
    now = _metrics(_result(), {"f": _result(f1=0.7), "m": _result(f1=0.9)})
    before = _metrics(_result(), {"m": _result(f1=0.8), "f": _result(f1=0.75)})
    verdict = _judge(now, before, metric="f1_macro", slice="gender", min_change=-0.02)
    assert (
        verdict.text
        == "change of f1_macro in every gender >= -0.02: -0.050 at gender=f FAILED (0.030 below)"
    )
    assert verdict.reason == "1 of 2 slices fail"


def test_small_slices_of_a_column_are_left_out_and_counted() -> None:
    verdict = _judge(_metrics(_result(), BY_GENDER), **LOW, slice="gender", min=0.5)
    assert verdict.passed
    assert verdict.reason == "1 slice with fewer than 30 examples left out"
    assert not _judge(
        _metrics(_result(), BY_GENDER), **LOW, slice="gender", min=0.5, min_examples=5
    ).passed


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ({"slice": {"gender": "x"}, "min": 0}, "no slice gender=x among those reported"),
        ({"slice": "region", "min": 0}, "no slice of region among those reported"),
        (
            {"slice": {"gender": ""}, "min": 0},
            "expected at least 30 examples (min_examples), found at most 5",
        ),
        (
            {"slice": "gender", "min": 0, "min_examples": 60},
            "expected at least 60 examples (min_examples), found at",
        ),
        (
            {"slice": "gender", "max_gap": 1, "min_examples": 46},
            "expected two slices or more with 46 examples, found",
        ),
        (
            {"slice": "region", "max_gap": 1},
            "expected two slices or more with 30 examples, found none",
        ),
    ],
)
def test_what_cannot_be_judged_fails_with_a_reason(gate: Json, reason: str) -> None:
    verdict = _judge(_metrics(_result(), BY_GENDER), **LOW, **gate)
    assert not verdict.passed
    assert (verdict.reason or "").startswith(reason)


def test_one_undefined_slice_fails_a_gate_on_all_of_them() -> None:
    metrics = _metrics(_result(), {"f": _result(recall=0.9), "m": _result(recall=None)})
    for bound in ("min", "max_gap"):
        verdict = _judge(metrics, **LOW, slice="gender", **{bound: 0.5})
        assert not verdict.passed
        assert "recall is undefined where gender=m, on 100 examples" in (verdict.reason or "")


def test_a_gap_names_the_best_and_worst_slice() -> None:
    verdict = _judge(_metrics(_result(), BY_GENDER), **LOW, slice="gender", max_gap=0.07)
    assert verdict.passed
    assert verdict.reason == (
        "from 0.830 at gender=f to 0.900 at gender=m; 1 slice with fewer than 30 examples left out"
    )


def test_a_slice_by_several_columns_is_one_place() -> None:
    where = {"gender": "f", "region": "south"}
    metrics = _metrics(_result(), BY_GENDER, {"slice": where, **_result(recall=0.5)})
    verdict = _judge(metrics, **LOW, slice={"region": "south", "gender": "f"}, min=0.6)
    assert verdict.value == 0.5
    assert verdict.text.startswith("recall of low in region=south, gender=f >= 0.6: 0.500 FAILED")
    assert _judge(metrics, **LOW, slice="gender", min=0.8).value == 0.83


def test_nothing_is_blessed_without_a_verdict() -> None:
    assert not is_blessed([])


def test_the_error_lists_failed_gates_with_threshold_and_value() -> None:
    gates = [
        {"metric": "f1_macro", "min": 0.88},
        {**LOW, "min": 0.85},
        {"metric": "auc", "min": 0.7},
    ]
    verdicts = judge_gates([Gate.model_validate(gate) for gate in gates], _metrics(_result()), None)
    assert str(gate_error(verdicts)).splitlines() == [
        "The model failed 2 gates; nothing was pushed:",
        "  - f1_macro >= 0.88: 0.861 FAILED (0.019 below)",
        "  - auc >= 0.7: no value, FAILED: auc is undefined, on 100 examples",
    ]


numbers = st.floats(-2, 2)
bounds = st.sampled_from(["min", "max", "min_change", "max_change", "max_gap"])


def _passes(bound: str, threshold: float, value: float | None, before: float = 0.5) -> bool:
    """Judges a value overall; for `max_gap`, the value of one slice while the other's is 0."""
    metrics = _metrics(_result(f1=value), {"f": _result(f1=value), "m": _result(f1=0.0)})
    where = {"slice": "gender"} if bound == "max_gap" else {}
    return _judge(
        metrics, _metrics(_result(f1=before)), metric="f1_macro", **where, **{bound: threshold}
    ).passed


@given(bounds, numbers, numbers, numbers)
def test_a_better_value_never_fails_where_a_worse_one_passes(
    bound: str, threshold: float, one: float, two: float
) -> None:
    if bound == "max_gap":
        one, two = abs(one), abs(two)
    worse, better = sorted((one, two), reverse=bound.startswith("max"))
    assert _passes(bound, threshold, worse) <= _passes(bound, threshold, better)


@given(bounds, st.integers(0, 1000), st.integers(0, 1000))
def test_the_threshold_itself_passes_and_beyond_it_fails(
    bound: str, threshold: int, before: int
) -> None:
    # decimals as people write them, most of them no binary fractions
    limit, start = threshold / 1000, before / 1000
    value = limit + start if bound.endswith("_change") else limit
    step = -1e-6 if bound.startswith("min") else 1e-6
    assert _passes(bound, limit, value, start)
    assert not _passes(bound, limit, value + step, start)


@given(bounds, numbers, st.sampled_from([None, math.nan, math.inf, -math.inf]))
def test_an_undefined_value_always_fails(bound: str, threshold: float, value: float | None) -> None:
    assert not _passes(bound, threshold, value)


@given(st.lists(st.tuples(bounds, numbers), min_size=1, max_size=5), st.tuples(bounds, numbers))
def test_one_more_gate_never_turns_a_failure_into_a_pass(
    some: list[tuple[str, float]], more: tuple[str, float]
) -> None:
    metrics = _metrics(_result(f1=0.7), {"f": _result(f1=0.6), "m": _result(f1=0.8)})
    gates = [
        Gate.model_validate(
            {"metric": "f1_macro", bound: limit}
            | ({"slice": "gender"} if bound == "max_gap" else {})
        )
        for bound, limit in [*some, more]
    ]
    before = _metrics(_result(f1=0.65))
    assert is_blessed(judge_gates(gates, metrics, before)) <= is_blessed(
        judge_gates(gates[:-1], metrics, before)
    )
