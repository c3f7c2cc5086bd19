"""`metrics.json` as its readers see it."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest

from components.contracts import evaluation
from components.contracts.contract import ContractError
from components.contracts.evaluation import (
    Evaluation,
    GateVerdict,
    ModelResults,
    ReportMetrics,
    Result,
    describe_slice,
)

OVERALL = {
    "examples": 40,
    "metrics": {"f1_macro": 0.9, "auc": None},
    "classes": {"low": {"recall": 0.8, "support": 9}},
    "confusion": [[8, 1], [2, 29]],
}
WHERE = {"gender": "f", "region": ""}


def test_values_are_found_by_metric_and_class() -> None:
    result = Result.model_validate(OVERALL)
    assert (result.value_of("f1_macro"), result.value_of("auc")) == (0.9, None)
    assert (result.value_of("recall", "low"), result.value_of("auc", "low")) == (0.8, None)
    assert (result.value_of("rmse"), result.value_of("recall", "high")) == (None, None)


def test_results_are_found_by_slice() -> None:
    results = ModelResults.model_validate(
        {"overall": OVERALL, "slices": [{"slice": WHERE, **OVERALL, "examples": 7}]}
    )
    assert results.at({}) is results.overall
    found = results.at(dict(reversed(WHERE.items())))
    assert found is not None
    assert found.examples == 7
    assert results.at({"gender": "m"}) is None
    assert describe_slice(WHERE) == "gender=f, region=(missing)"


@pytest.mark.parametrize(
    ("bound", "value", "baseline", "measured"),
    [
        ("min", 0.9, None, 0.9),
        ("max_gap", 0.1, None, 0.1),
        ("min_change", 0.5, 0.25, 0.25),
        ("max_change", 0.5, None, None),
        ("max_change", None, 0.5, None),
    ],
)
def test_what_is_compared_with_the_threshold(
    bound: str, value: float | None, baseline: float | None, measured: float | None
) -> None:
    gate = GateVerdict.model_validate(
        {
            "metric": "auc",
            "bound": bound,
            "threshold": 0,
            "value": value,
            "baseline": baseline,
            "passed": True,
        }
    )
    assert gate.measured == measured
    assert gate.is_floor is bound.startswith("min")


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    gate = {"metric": "recall", "class": "low", "bound": "min", "threshold": 0.9, "passed": False}
    bins = {"probability": [0.2, 0.7], "share": [0.25, 0.6], "examples": [4, 5]}
    roc = {"fpr": [0], "tpr": [1], "threshold": [0.5]}
    curves = {"low": {"roc": roc, "pr": None, "calibration": bins}}
    evaluation = Evaluation.model_validate(
        {
            "task": "classification",
            "classes": ["low", "high"],
            "blessed": False,
            "gates": [gate],
            "overall": OVERALL | {"curves": curves},
            "slices": [{"slice": WHERE, **OVERALL}],
        }
    )
    path = evaluation.write(tmp_path)
    assert Evaluation.read(tmp_path) == evaluation
    assert [failed.class_ for failed in evaluation.failed_gates] == ["low"]

    content = json.loads(path.read_text())
    assert content["overall"]["curves"] == curves
    assert "curves" not in content["slices"][0]
    assert content["gates"][0]["class"] == "low"


def test_the_metrics_beside_a_report_are_an_evaluation_too() -> None:
    content = {"task": "regression", "overall": {"examples": 1, "metrics": {"rmse": 2.0}}}
    metrics = ReportMetrics.model_validate(content | {"run_id": "r1", "pushed_version": "7"})
    assert Evaluation.from_json(metrics.to_json()).overall.value_of("rmse") == 2.0


def test_a_newer_format_is_refused() -> None:
    content = {"format": 2, "task": "regression", "overall": {"examples": 1, "metrics": {}}}
    with pytest.raises(ContractError, match="expected format 1 or earlier, found 2"):
        Evaluation.from_json(json.dumps(content))


def test_the_examples_are_right() -> None:
    results = doctest.testmod(evaluation)
    assert results.attempted
    assert not results.failed
