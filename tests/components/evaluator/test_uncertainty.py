"""Coverage on the test split: the numbers, where they are measured, and gates on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.gates import Gate
from components.contracts.calibration import Calibration, ConformalThresholds
from components.contracts.uncertainty_results import UncertaintyResults
from components.evaluator.analysis import analyze, load_results
from components.evaluator.draws import CANDIDATE
from components.evaluator.evaluator_settings import EvaluatorSettings
from components.evaluator.intervals import add_intervals
from components.evaluator.judgement import judge_gates
from components.evaluator.measures import interval_metrics, set_metrics
from components.evaluator.uncertainty import SureAnswers, measure_uncertainty
from tests.components.evaluator.test_evaluate import CLASSES, _config

ROWS = 300
SLICES = ["gender", "week"]


def table(**changed: Any) -> pl.DataFrame:
    """Returns predictions of 100 learners, whose sets hold four in five of their classes."""
    random = np.random.default_rng(5)
    labels = random.integers(3, size=ROWS)
    probabilities = random.dirichlet([1, 1, 1], ROWS).astype(np.float32)
    sets = random.random((ROWS, 3)) < 0.4
    sets[np.arange(ROWS), labels] = random.random(ROWS) < 0.8
    columns = {
        "learner_id": [f"learner {row // 3}" for row in range(ROWS)],
        "unit_id": ["u"] * ROWS,
        "as_of": [*range(ROWS)],
        "label": [CLASSES[label] for label in labels],
        "gender": [["", "f", "m"][row % 3] for row in range(ROWS)],
        "week": [str(1 + row % 2) for row in range(ROWS)],
        "_days_seen": [float(row % 9) for row in range(ROWS)],
        "probabilities": probabilities.tolist(),
        "predicted_class": [CLASSES[place] for place in probabilities.argmax(axis=1)],
        "basis": [["sequence", "prior", "unfamiliar"][row % 3] for row in range(ROWS)],
        "unfamiliar": [["", "", "dwell, sequence", "dwell"][row % 4] for row in range(ROWS)],
        "prediction_set": sets.tolist(),
    }
    return pl.DataFrame({**columns, **changed}).with_columns(
        pl.col("probabilities").cast(pl.List(pl.Float32))
    )


def some_settings(**sections: Any) -> EvaluatorSettings:
    evaluation = {"slices": SLICES, "draws": 200}
    return EvaluatorSettings.of(_config(evaluation=evaluation, **sections))


def results_of(folder: Path, predictions: pl.DataFrame, **sections: Any) -> UncertaintyResults:
    predictions.write_parquet(folder / "predictions.parquet")
    slices = [{"gender": "f"}, {"week": "2"}]
    found = measure_uncertainty(
        folder, folder / "predictions.parquet", slices, some_settings(**sections)
    )
    assert found is not None
    return found


def test_coverage_is_counted_by_class_slice_horizon_and_basis(tmp_path: Path) -> None:
    made = table()
    found = results_of(tmp_path, made)

    sets = made["prediction_set"].list.to_array(3).to_numpy()
    labels = np.array([CLASSES.index(name) for name in made["label"]])
    covered = sets[np.arange(ROWS), labels]
    masks = {
        ("all", ""): np.ones(ROWS, bool),
        ("slice", "f"): (made["gender"] == "f").to_numpy(),
        ("slice", "2"): (made["week"] == "2").to_numpy(),
        ("horizon", "3"): (made["_days_seen"] <= 3).to_numpy(),
        ("horizon", "7"): made["_days_seen"].is_between(4, 7).to_numpy(),
        ("horizon", "14"): (made["_days_seen"] > 7).to_numpy(),
        ("basis", "sequence"): (made["basis"] == "sequence").to_numpy(),
        ("basis", "prior"): (made["basis"] == "prior").to_numpy(),
        ("basis", "unfamiliar"): (made["basis"] == "unfamiliar").to_numpy(),
    }
    assert {(item.kind, "".join(item.where.values())) for item in found.measured} == {*masks}
    for item in found.measured:
        mask = masks[item.kind, "".join(item.where.values())].copy()
        if item.class_ is not None:
            mask &= labels == CLASSES.index(item.class_)
        assert item.examples == mask.sum()
        assert item.coverage == pytest.approx(covered[mask].mean())
        assert item.set_size == pytest.approx(sets[mask].sum(axis=1).mean())
        assert item.not_sure == pytest.approx((sets[mask].sum(axis=1) == 3).mean())
        assert item.interval is not None
        assert item.interval[0] <= item.coverage <= item.interval[1]

    assert found.sizes == [int((sets.sum(axis=1) == size).sum()) for size in (1, 2, 3)]
    assert found.unfamiliar == {"dwell": ROWS // 2, "sequence": ROWS // 4}
    assert found.unfamiliar_examples == ROWS // 2


def test_what_the_model_promises_is_read_from_its_record(tmp_path: Path) -> None:
    assert results_of(tmp_path, table()).promised == 0.9  # configured
    thresholds = ConformalThresholds(coverage=0.8)
    Calibration(examples=10, conformal=thresholds).write(tmp_path)
    assert results_of(tmp_path, table()).promised == 0.8


def test_a_model_that_does_not_say_has_no_results(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    table().drop("prediction_set", "unfamiliar").write_parquet(path)
    assert measure_uncertainty(tmp_path, path, [], some_settings()) is None
    with_sets = table().drop("unfamiliar")
    assert results_of(tmp_path, with_sets).unfamiliar is None


def test_intervals_of_a_regression_are_counted(tmp_path: Path) -> None:
    made = table(label=np.linspace(0, 1, ROWS), prediction=np.full(ROWS, 0.5, np.float32))
    ends = [[0.25, 0.75]] * ROWS
    made = made.drop("probabilities", "predicted_class", "prediction_set").with_columns(
        pl.Series("prediction_interval", ends, pl.List(pl.Float32))
    )
    label = {"column": "score", "task": "regression"}
    gates = [{"metric": "coverage", "min": 0.4}]

    found = results_of(tmp_path, made, label=label, gates=gates)

    whole = found.of("all")
    assert len(whole) == 1
    assert whole[0].coverage == pytest.approx(0.5)
    assert whole[0].interval_width == pytest.approx(0.5)
    assert found.sizes == []


@given(st.integers(0, 10**6), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_a_draw_has_the_coverage_of_its_rows(seed: int, learners: int) -> None:
    random = np.random.default_rng(seed)
    owners = np.concatenate([np.arange(learners), random.integers(learners, size=2 * learners)])
    labels = random.integers(3, size=len(owners))
    sets = random.random((len(owners), 3)) < 0.5
    made = pl.DataFrame({"label": [CLASSES[label] for label in labels]}).with_columns(
        pl.Series("prediction_set", sets.tolist())
    )
    answers = SureAnswers.of(made, _config().label)
    assert answers is not None
    times = random.integers(0, 3, learners)
    times[0] += 1

    found = answers.measure(owners, learners)(times[:, np.newaxis].astype(float))

    rows = np.repeat(np.arange(len(owners)), times[owners])
    wanted = set_metrics(labels[rows], np.concatenate([sets[rows], np.zeros((0, 3), bool)]))
    assert len(found) == answers.metrics
    for (name, index), drawn in found.items():
        assert drawn[0] == pytest.approx(wanted[name][-1 if index is None else index], nan_ok=True)


def test_an_interval_without_an_end_leaves_the_width_undefined() -> None:
    most = float(np.finfo(np.float32).max)
    ends = np.array([[0, 1], [-most, most]], np.float32)
    found = interval_metrics(np.array([0.5, 7.0]), ends)
    assert found["coverage"] == 1
    assert np.isnan(found["interval_width"])


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        ({"metric": "coverage", "min": 0.7}, True),
        ({"metric": "coverage", "min": 0.7, "confidence": 0.95}, True),
        ({"metric": "coverage", "min": 0.95}, False),
        ({"metric": "coverage", "class": "mid", "slice": "gender", "min": 0.5}, True),
        ({"metric": "not_sure", "max": 0.5}, True),
        ({"metric": "set_size", "max": 1.0}, False),
    ],
)
def test_gates_on_coverage(tmp_path: Path, gate: dict[str, Any], passed: bool) -> None:
    path = tmp_path / "predictions.parquet"
    table().write_parquet(path)
    asked = some_settings(gates=[gate])
    analyze({CANDIDATE: path}, asked.label, asked.evaluation.slices, tmp_path, asked.beam)
    results = load_results(tmp_path, [CANDIDATE], asked.label, asked.evaluation)
    measured = add_intervals({CANDIDATE: path}, results, asked, {})

    verdicts = judge_gates(
        [Gate.model_validate(gate)], measured.results[CANDIDATE], None, drawn=measured.drawn
    )

    assert {verdict.passed for verdict in verdicts} == {passed}
    assert all(verdict.value is not None for verdict in verdicts)


def test_a_gate_on_coverage_fails_for_a_model_without_sets(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    table().drop("prediction_set").write_parquet(path)
    asked = some_settings(gates=[{"metric": "coverage", "min": 0.1}])
    analyze({CANDIDATE: path}, asked.label, asked.evaluation.slices, tmp_path, asked.beam)
    results = load_results(tmp_path, [CANDIDATE], asked.label, asked.evaluation)[CANDIDATE]

    [verdict] = judge_gates(asked.gates, results, None)

    assert not verdict.passed
    assert verdict.reason == "coverage is undefined, on 300 examples"
