"""Gates say what they judged, and never pass what cannot be judged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.gates import Gate
from components.contracts.evaluation import GateVerdict, ModelResults, SeedResults
from components.evaluator.draws import DrawnMetrics
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


def _decided(recall: float, precision: float | None = 0.661, **others: Any) -> Json:
    counts = {"examples": 100, "of_class": 50, "named": 40, "right": 30}
    call = {**counts, "recall": recall, "precision": precision, "alarm_rate": 0.4, **others}
    return {**_result(), "decisions": {"call": call}}


CALL = {"decision": "call", "metric": "precision"}


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        ({**CALL, "min": 0.6}, "precision of decision call >= 0.6: 0.661 passed"),
        (
            {**CALL, "metric": "alarm_rate", "max": 0.25},
            "alarm_rate of decision call <= 0.25: 0.400 FAILED (0.150 above)",
        ),
        (
            {**CALL, "metric": "recall", "slice": "gender", "max_gap": 0.1},
            "gap of recall of decision call between slices of gender <= 0.1: 0.200 FAILED "
            "(0.100 above)",
        ),
        ({**CALL, "metric": "cost", "max": 1}, "cost of decision call <= 1: no value, FAILED"),
        (
            {**CALL, "min_change": -0.1},
            "change of precision of decision call >= -0.1: -0.039 passed",
        ),
    ],
)
def test_verdicts_on_decisions_read_well(gate: Json, text: str) -> None:
    now = _metrics(_decided(0.8), {"f": _decided(0.7), "m": _decided(0.9)})
    verdict = _judge(now, _metrics(_decided(0.8, 0.7)), **gate)
    assert verdict.text == text
    assert (verdict.decision, verdict.class_) == ("call", None)


def test_a_blessed_model_without_the_decision_is_no_baseline_for_it() -> None:
    now, before = _metrics(_decided(0.8)), _metrics(_result())
    verdict = _judge(now, before, **CALL, min_change=0.1)
    assert verdict.passed
    assert verdict.text == "change of precision of decision call >= +0.1: no baseline, passed"
    assert verdict.reason == "holds, because the blessed model does not take decision call"
    # Nothing to compare with is no excuse for a number that is undefined.
    undefined = _judge(_metrics(_decided(0.8, None)), before, **CALL, min_change=0.1)
    assert not undefined.passed
    assert undefined.reason == "precision of decision call is undefined, on 100 examples"


def test_a_gate_on_a_decision_with_confidence_reads_its_own_draws() -> None:
    ends = {("precision", "call"): 0.66 + 0.05 * ENDS, ("precision", 0): 0.2 + 0.1 * ENDS}
    drawn = DrawnMetrics(["low"], {frozenset(): 100}, {frozenset(): {"candidate": ends}})
    rules = Gate.model_validate({**CALL, "min": 0.6, "confidence": 0.95})
    [verdict] = judge_gates([rules], _metrics(_decided(0.8)), None, drawn=drawn)
    assert verdict.interval == pytest.approx((0.6125, 0.7075))
    assert verdict.passed


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


ENDS = np.linspace(-1, 1, 41)  # of its 95% interval: -0.95 and 0.95


def _drawn(
    *models: tuple[str, Json, float, float], learners: int = 100, metric: str = "f1_macro"
) -> DrawnMetrics:
    """Returns draws of models in slices: around a centre, to both sides by a reach."""
    places = {frozenset(where.items()): where for _, where, _, _ in models}
    draws = {
        place: {
            name: {(metric, None): centre + reach * ENDS}
            for name, at, centre, reach in models
            if at == where
        }
        for place, where in places.items()
    }
    return DrawnMetrics((), dict.fromkeys(places, learners), draws)


def _judge_drawn(drawn: DrawnMetrics, *models: Any, simple: Any = None, **gate: Any) -> GateVerdict:
    rules = {"metric": "f1_macro", "confidence": 0.95, **gate}
    baseline = models[1] if len(models) > 1 else None
    [verdict] = judge_gates(
        [Gate.model_validate(rules)], models[0], baseline, simple_models=simple, drawn=drawn
    )
    return verdict


def test_a_gate_with_confidence_holds_at_the_worse_end() -> None:
    drawn = _drawn(("candidate", {}, 0.874, 0.006 / 0.95))
    now = _metrics(_result(f1=0.874))
    verdict = _judge_drawn(drawn, now, min=0.87)
    assert verdict.text == (
        "f1_macro >= 0.87: 0.874, 95% interval 0.868 to 0.880 FAILED (the lower end is 0.002 below)"
    )
    assert verdict.interval == pytest.approx((0.868, 0.880))
    assert (verdict.confidence, verdict.value, verdict.passed) == (0.95, 0.874, False)

    verdict = _judge_drawn(drawn, now, min=0.867)
    assert verdict.text == "f1_macro >= 0.867: 0.874, 95% interval 0.868 to 0.880 passed"
    verdict = _judge_drawn(drawn, now, max=0.8799)
    assert verdict.text == (
        "f1_macro <= 0.8799: 0.8740, 95% interval 0.8680 to 0.8800 FAILED "
        "(the upper end is 0.0001 above)"
    )
    assert _judge_drawn(drawn, now, max=0.881).passed
    # What it claims is less than the metric, but surer.
    assert _judge_drawn(drawn, now, min=0.87, confidence=0.5).passed


def test_a_change_is_judged_by_the_interval_of_the_paired_difference() -> None:
    drawn = _drawn(("candidate", {}, 0.87, 0.1), ("baseline", {}, 0.86, 0.109))
    models = _metrics(_result(f1=0.87)), _metrics(_result(f1=0.86))
    verdict = _judge_drawn(drawn, *models, min_change=0)
    assert verdict.text == "change of f1_macro >= +0: +0.010, 95% interval +0.001 to +0.019 passed"
    assert (verdict.measured, verdict.over) == (pytest.approx(0.01), None)
    verdict = _judge_drawn(drawn, *models, max_change=0.015)
    assert verdict.text.endswith("FAILED (the upper end is 0.004 above)")
    assert _judge_drawn(drawn, models[0], min_change=0).text.endswith("no baseline, passed")


@pytest.mark.parametrize("metric", ["f1_macro", "auc", "log_loss"])
def test_a_gain_is_positive_where_the_model_is_better(metric: str) -> None:
    better, worse = (0.2, 0.3) if metric == "log_loss" else (0.874, 0.866)
    now, trees = (
        ModelResults.model_validate({"overall": {"examples": 9, "metrics": {metric: value}}})
        for value in (better, worse)
    )
    drawn = _drawn(("candidate", {}, better, 0.1), ("trees", {}, worse, 0.105), metric=metric)
    simple = {"trees": trees}
    verdict = _judge_drawn(drawn, now, simple=simple, metric=metric, min_gain_over="trees")
    assert verdict.passed
    gain = 0.1 if metric == "log_loss" else 0.008
    assert verdict.text == (
        f"{metric} over trees >= +0: {gain:+.3f}, "
        f"95% interval {gain - 0.00475:+.3f} to {gain + 0.00475:+.3f} passed"
    )
    assert (verdict.over, verdict.value, verdict.baseline) == ("trees", better, worse)
    assert verdict.measured == pytest.approx(gain)
    assert verdict.is_floor

    more = _judge_drawn(
        drawn, now, simple=simple, metric=metric, min_gain_over="trees", min_gain=gain
    )
    assert not more.passed
    assert more.threshold == gain
    assert "(the lower end is 0.005 below)" in more.text
    plain = {"metric": metric, "min_gain_over": "trees", "min_gain": gain}
    [certain] = judge_gates([Gate.model_validate(plain)], now, None, simple_models=simple)
    assert certain.passed
    [worst] = judge_gates([Gate.model_validate(plain)], trees, None, simple_models={"trees": now})
    assert worst.measured == pytest.approx(-gain)
    assert not worst.passed


def test_gains_are_judged_slice_by_slice() -> None:
    now = _metrics(_result(), {"f": _result(f1=0.8), "m": _result(f1=0.9)})
    trees = _metrics(_result(), {"f": _result(f1=0.7), "m": _result(f1=0.85)})
    verdict = _judge_drawn(
        DrawnMetrics(), now, simple={"trees": trees}, slice="gender", min_gain_over="trees",
        min_gain=0.06, confidence=None,
    )  # fmt: skip
    assert verdict.text == (
        "f1_macro over trees in every gender >= +0.06: +0.050 at gender=m FAILED (0.010 below)"
    )
    drawn = _drawn(
        ("candidate", {"gender": "f"}, 0.8, 0.2), ("trees", {"gender": "f"}, 0.7, 0.35),
        ("candidate", {"gender": "m"}, 0.9, 0.1), ("trees", {"gender": "m"}, 0.85, 0.1),
    )  # fmt: skip
    verdict = _judge_drawn(
        drawn, now, simple={"trees": trees}, slice="gender", min_gain_over="trees"
    )
    # The gain is larger there, but less sure.
    assert verdict.text.startswith("f1_macro over trees in every gender >= +0: +0.100 at gender=f,")
    assert not verdict.passed


def test_a_gap_has_the_interval_of_the_difference_between_the_two_slices() -> None:
    now = _metrics(_result(), {"f": _result(f1=0.83), "m": _result(f1=0.9)})
    drawn = _drawn(
        ("candidate", {"gender": "f"}, 0.83, 0.1), ("candidate", {"gender": "m"}, 0.9, 0.12)
    )
    verdict = _judge_drawn(drawn, now, slice="gender", max_gap=0.08)
    assert verdict.text == (
        "gap of f1_macro between slices of gender <= 0.08: 0.070, 95% interval 0.051 to 0.089 "
        "FAILED (the upper end is 0.009 above)"
    )
    assert _judge_drawn(drawn, now, slice="gender", max_gap=0.09).passed


@pytest.mark.parametrize(
    ("draws", "learners", "reason"),
    [
        (np.full(41, np.nan), 50, "no interval: undefined in more than 10% of the draws"),
        (None, 9, "no interval: expected 10 learners or more, found 9"),
    ],
)
def test_no_interval_where_there_should_be_one_fails(
    draws: np.ndarray | None, learners: int, reason: str
) -> None:
    metrics = {} if draws is None else {("f1_macro", None): draws}
    drawn = DrawnMetrics((), {frozenset(): learners}, {frozenset(): {"candidate": metrics}})
    verdict = _judge_drawn(drawn, _metrics(_result(f1=0.9)), min=0.5)
    assert verdict.text == "f1_macro >= 0.5: 0.900, no interval, FAILED"
    assert (verdict.reason or "").startswith(reason)
    assert (verdict.passed, verdict.value, verdict.interval) == (False, 0.9, None)


SEEDS = SeedResults(
    seeds=[1, 2, 3],
    metrics={"f1_macro": [0.861, 0.868, 0.859], "auc": [0.9, None, 0.9]},
    classes={"low": {"recall": [0.8, 0.8, 0.85]}},
)


@pytest.mark.parametrize(
    ("gate", "text", "reason"),
    [
        (
            {"metric": "f1_macro", "max_spread": 0.01},
            "spread of f1_macro over seeds <= 0.01: 0.009 passed",
            "from 0.8590 with seed 3 to 0.8680 with seed 2",
        ),
        (
            {**LOW, "max_spread": 0.04},
            "spread of recall of low over seeds <= 0.04: 0.050 FAILED (0.010 above)",
            "from 0.8000 with seed 1 to 0.8500 with seed 3",
        ),
        (
            {"metric": "auc", "max_spread": 0.1},
            "spread of auc over seeds <= 0.1: no value, FAILED",
            "auc is undefined with seed 2",
        ),
    ],
)
def test_a_spread_is_that_of_the_fits_with_several_seeds(
    gate: Json, text: str, reason: str
) -> None:
    [verdict] = judge_gates([Gate.model_validate(gate)], _metrics(_result()), None, seeds=SEEDS)
    assert (verdict.text, verdict.reason) == (text, reason)
    [alone] = judge_gates([Gate.model_validate(gate)], _metrics(_result()), None)
    assert not alone.passed
    assert alone.reason == "there are no fits with other seeds"


def test_each_bound_of_a_gate_with_confidence_has_its_own_interval() -> None:
    drawn = _drawn(("candidate", {}, 0.87, 0.1), ("trees", {}, 0.86, 0.11))
    gate = {
        "metric": "f1_macro", "min": 0.7, "min_gain_over": "trees", "max_spread": 0.1,
        "confidence": 0.95,
    }  # fmt: skip
    verdicts = judge_gates(
        [Gate.model_validate(gate)],
        _metrics(_result(f1=0.87)),
        None,
        simple_models={"trees": _metrics(_result(f1=0.86))},
        seeds=SEEDS,
        drawn=drawn,
    )
    assert [(v.bound, v.confidence, v.passed) for v in verdicts] == [
        ("min", 0.95, True),
        ("min_gain_over", 0.95, True),
        ("max_spread", None, True),  # a few seeds have no interval
    ]
    assert verdicts[2].interval is None
