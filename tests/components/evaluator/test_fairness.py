"""Groups compared from predictions on, and gates on their gaps: how often they fail, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from components.config import Config
from components.contracts.fairness_results import FairnessResults, MeasuredGaps
from components.evaluator.evaluator_settings import EvaluatorSettings
from components.evaluator.fairness import compare_groups, fairness_results
from components.evaluator.fairness_gates import judge_gaps

CLASSES = ["low", "mid", "high"]
GATE = {"metric": "recall", "class": "low", "max_gap": 0}


def _settings(*gates: dict[str, Any], draws: int = 1000, **sections: Any) -> EvaluatorSettings:
    values = {
        "name": "small",
        "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
        "schema": "small.pbtxt",
        "label": {"column": "mastery", "classes": CLASSES},
        "steps": {"features": {"dwell": {"type": "numeric"}}},
        "evaluation": {
            "slices": ["gender", "region", ["gender", "region"], "unit_id"],
            "draws": draws,
        },
        "fairness": {"gates": [*gates]},
        "gates": [{"metric": "auc", "min": 0.5}],
    }
    return EvaluatorSettings.of(Config.model_validate(values | sections))


def _table(seed: int, gap: float, size: int = 2000, found: float = 0.9) -> pl.DataFrame:
    """Returns predictions of a model that finds women by `gap` less often than men.

    Learners have one to three outcomes; one in fifty is of a third gender; gender has nothing to do
    with the region.
    """
    random = np.random.default_rng(seed)
    learner = np.sort(random.integers(0, int(size / 1.3), size))
    gender = random.choice(["f", "m", "x"], size, p=[0.49, 0.49, 0.02])[learner]
    region = random.choice(["africa", "americas", "asia", "europe"], size)[learner]
    label = random.choice(3, size, p=[0.4, 0.33, 0.27])

    share = found + gap / 2 * ((gender == "m").astype(float) - (gender == "f"))
    answer = np.where(random.random(size) < share, label, (label + random.integers(1, 3, size)) % 3)
    weights = random.random((size, 3))
    weights[np.arange(size), answer] += 1
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "learner_id": [f"learner {index}" for index in learner],
            "unit_id": "algebra",
            "label": [CLASSES[index] for index in label],
            "gender": gender,
            "region": region,
            "predicted_class": [CLASSES[index] for index in answer],
            "probabilities": probabilities.astype(np.float32).tolist(),
            "decision_call": probabilities[:, 0] > 0.3,
        },
        schema_overrides={"probabilities": pl.List(pl.Float32)},
    )


def _results(table: pl.DataFrame, folder: Path, settings: EvaluatorSettings) -> FairnessResults:
    table.write_parquet(folder / "predictions.parquet")
    results = fairness_results(compare_groups(folder / "predictions.parquet", settings), settings)
    assert results is not None
    return results


def _find(
    results: FairnessResults, metric: str, columns: list[str], of: str = "low"
) -> MeasuredGaps:
    [found] = [
        item
        for item in results.measures
        if item.metric == metric and item.columns == columns and of in (item.class_, item.decision)
    ]
    return found


def test_the_numbers_of_groups_are_scikit_learns(tmp_path: Path) -> None:
    table = _table(1, 0.1)
    decisions = [{"name": "call", "class": "low", "threshold": 0.3}]
    results = _results(table, tmp_path, _settings(decisions=decisions))

    # The protected ones of the slices, and no others; gender x is named, but too small.
    assert results.columns == [["gender"], ["region"], ["gender", "region"]]
    assert {"gender": "x"} in [small.group for small in results.too_small]

    for value in _find(results, "recall", ["gender"]).groups:
        rows = table.filter(pl.col("gender") == value.group["gender"])
        is_low, named = rows["label"] == "low", rows["predicted_class"] == "low"
        said = rows["probabilities"].list.get(0)
        by_hand = {
            "recall": sk.recall_score(is_low, named),
            "precision": sk.precision_score(is_low, named),
            "alarm_rate": named.mean(),
            "calibration": said.mean() - is_low.mean(),
        }
        for metric, expected in by_hand.items():
            groups = _find(results, metric, ["gender"]).groups
            [found] = [item.value for item in groups if item.group == value.group]
            assert found == pytest.approx(expected, abs=1e-6)

        called = _find(results, "recall", ["gender"], of="call").groups
        [found] = [item.value for item in called if item.group == value.group]
        assert found == pytest.approx(sk.recall_score(is_low, rows["decision_call"]))


def test_a_planted_gap_is_shown_where_it_is(tmp_path: Path) -> None:
    results = _results(_table(1, 0.15), tmp_path, _settings())
    gap = _find(results, "recall", ["gender"]).widest
    assert gap is not None
    assert gap.is_shown
    assert gap.between == [{"gender": "m"}, {"gender": "f"}]  # the higher one first
    assert gap.interval[0] < gap.size < gap.interval[1]

    # Between regions there is none, only more pairs.
    region = _find(results, "recall", ["region"])
    assert region.pairs == 6
    assert region.widest is not None
    assert not region.widest.is_shown


def test_a_gate_fails_where_a_gap_above_its_bound_is_shown(tmp_path: Path) -> None:
    gender = {**GATE, "columns": "gender"}
    gates = [gender, {**gender, "max_gap": 0.15}, {**GATE, "columns": ["region"]}]
    settings = _settings(*gates)
    _table(1, 0.15).write_parquet(tmp_path / "predictions.parquet")
    comparisons = compare_groups(tmp_path / "predictions.parquet", settings)
    none, wide, region = judge_gaps(settings.fairness.gates, comparisons, 50)

    assert not none.passed
    assert none.between == [{"gender": "m"}, {"gender": "f"}]
    assert none.interval is not None
    assert none.decisive == none.interval[0] > 0
    assert "between gender=m and gender=f" in none.text
    assert "FAILED (the lower end is" in none.text
    # A gap of about .15 is not shown to be above .15.
    assert wide.passed
    assert region.passed


def test_a_gate_without_two_groups_fails_and_says_so(tmp_path: Path) -> None:
    settings = _settings(GATE)
    table = _table(1, 0, size=100)
    table.write_parquet(tmp_path / "predictions.parquet")
    comparisons = compare_groups(tmp_path / "predictions.parquet", settings)
    [verdict] = judge_gaps(settings.fairness.gates, comparisons, settings.fairness.min_examples)
    assert not verdict.passed
    assert verdict.value is None
    assert "expected two groups with 50 examples of the class" in (verdict.reason or "")


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    table, settings = _table(3, 0.05), _settings(draws=200)
    straight = _results(table, tmp_path, settings)
    assert _results(table.reverse(), tmp_path, settings) == straight


def test_a_regression_is_compared_by_its_errors(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    gender = random.choice(["f", "m"], 600)
    table = pl.DataFrame(
        {
            "learner_id": np.arange(600).astype(str),
            "unit_id": "algebra",
            "label": random.random(600),
            "gender": gender,
            "region": "europe",
        }
    ).with_columns(
        (pl.col("label") - 0.2 * (pl.col("gender") == "f") + random.normal(0, 0.1, 600)).alias(
            "prediction"
        )
    )
    gate = {"metric": "mean_error", "max_gap": 0.1}
    label = {"column": "score", "task": "regression"}
    settings = _settings(gate, label=label, gates=[{"metric": "mae", "max": 1}])
    table.write_parquet(tmp_path / "predictions.parquet")
    comparisons = compare_groups(tmp_path / "predictions.parquet", settings)
    assert {item.measured.metric for item in comparisons} == {"mean_error", "mae"}
    [verdict] = judge_gaps(settings.fairness.gates, comparisons, 50)
    assert verdict.value == pytest.approx(0.2, abs=0.03)
    assert not verdict.passed


def _share_of_failures(tables: int, gap: float, folder: Path, *gates: dict[str, Any]) -> float:
    settings = _settings(*gates, draws=400)
    failed = []
    for seed in range(tables):
        _table(seed, gap).write_parquet(folder / "predictions.parquet")
        comparisons = compare_groups(folder / "predictions.parquet", settings)
        verdicts = judge_gaps(settings.fairness.gates, comparisons, 50)
        failed.append(not all(verdict.passed for verdict in verdicts))
    return float(np.mean(failed))


@pytest.mark.slow
def test_a_model_without_a_gap_fails_in_one_of_twenty_tables_at_most(tmp_path: Path) -> None:
    """Three gates at once, on gender, regions and their intersection: 35 pairs of groups each."""
    gates = [{**GATE, "metric": metric} for metric in ("recall", "precision", "alarm_rate")]
    assert _share_of_failures(200, 0.0, tmp_path, *gates) <= 0.05


@pytest.mark.slow
def test_a_gap_of_a_tenth_is_found_in_nineteen_of_twenty_tables(tmp_path: Path) -> None:
    """Of 2,000 examples, among 35 pairs of groups; about 390 of each gender are of the class."""
    assert _share_of_failures(200, 0.1, tmp_path, GATE) >= 0.95
