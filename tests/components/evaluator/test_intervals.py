"""Intervals of predictions: of all models, in every slice, and of the gains between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.config import Config
from components.config.beam import Beam
from components.evaluator.analysis import analyze, load_results
from components.evaluator.draws import BASELINE, CANDIDATE, interval_of
from components.evaluator.evaluator_settings import EvaluatorSettings
from components.evaluator.intervals import MeasuredModels, add_intervals

CLASSES = ["no", "yes"]
ROWS, LEARNERS = 600, 120


GATE = {"confidence": 0.9}


def _settings(gate: dict[str, float] = GATE, **evaluation: Any) -> EvaluatorSettings:
    return EvaluatorSettings.of(
        Config.model_validate(
            {
                "name": "small",
                "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
                "schema": "small.pbtxt",
                "label": {"column": "mastery", "classes": CLASSES},
                "steps": {"features": {"dwell": {"type": "numeric"}}},
                "evaluation": {"slices": ["gender"], "draws": 200, **evaluation},
                "gates": [{"metric": "auc", "min": 0.5, **gate}],
            }
        )
    )


def _predictions(noise: float, seed: int) -> pl.DataFrame:
    """Returns predictions of a model; gender x has nine learners, all of one class."""
    shared, own = np.random.default_rng(1), np.random.default_rng(seed)
    learner = np.arange(ROWS) % LEARNERS
    gender = np.where(learner < 9, "x", np.where(learner % 2 == 0, "f", "m"))
    kind = shared.random(LEARNERS) < 0.5
    true = np.where(learner < 9, 0, kind[learner] ^ (shared.random(ROWS) < 0.2)).astype(int)
    logit = 3 * (true - 0.5) + own.normal(0, noise, ROWS)
    positive = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return pl.DataFrame(
        {
            "learner_id": [f"learner {index:03}" for index in learner],
            "label": [CLASSES[index] for index in true],
            "gender": gender.tolist(),
            "probabilities": np.column_stack([1 - positive, positive]).tolist(),
            "predicted_class": [CLASSES[index] for index in (positive > 0.5).astype(int)],
        },
        schema_overrides={"probabilities": pl.List(pl.Float32)},
    )


MODELS = {CANDIDATE: (1.5, 2), BASELINE: (1.6, 3), "trees": (2.5, 4), "prior": (9.0, 5)}


def _measure(
    folder: Path, settings: EvaluatorSettings, order: np.ndarray | None = None
) -> MeasuredModels:
    folder.mkdir(exist_ok=True)
    paths = {}
    for name, (noise, seed) in MODELS.items():
        table = _predictions(noise, seed)
        paths[name] = folder / f"{name}.parquet"
        (table if order is None else table[order]).write_parquet(paths[name])
    rules = settings.evaluation
    analyze(paths, settings.label, rules.slices, folder, Beam())
    return add_intervals(paths, load_results(folder, [*paths], settings.label, rules), settings)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> MeasuredModels:
    return _measure(tmp_path_factory.mktemp("intervals"), _settings())


def test_every_model_has_intervals_that_hold_its_metrics(measured: MeasuredModels) -> None:
    assert {*measured.results} == {*MODELS}
    for model in measured.results.values():
        for result in (model.overall, *model.slices[:2]):
            assert {*result.intervals} == {*result.metrics}
            for name in ("accuracy", "f1_macro", "auc", "log_loss"):
                low, high = result.intervals[name]
                assert low < (result.metrics[name] or 0) < high
            for metrics in result.classes.values():
                assert {*metrics.intervals} == {"precision", "recall", "f1", "auc", "ece"}
                low, high = metrics.intervals["recall"]
                assert low < (metrics.recall or 0) < high
    assert [result.slice["gender"] for result in measured.results["trees"].slices] == [
        "f",
        "m",
        "x",
    ]


def test_a_slice_of_nine_learners_has_no_intervals_and_the_reason_is_known(
    measured: MeasuredModels,
) -> None:
    few = measured.results[CANDIDATE].slices[2]
    assert few.intervals == {}
    assert all(metrics.intervals == {} for metrics in few.classes.values())
    reason = measured.drawn.why_no_interval([few.slice])
    assert reason == "no interval: expected 10 learners or more, found 9"


def test_gains_are_paired_and_positive_where_the_candidate_is_better(
    measured: MeasuredModels,
) -> None:
    assert {*measured.gains} == {"trees", "prior"}
    candidate, trees = measured.results[CANDIDATE], measured.results["trees"]
    assert len(measured.gains["trees"]) == 4
    for place, gains in enumerate(measured.gains["trees"]):
        own = candidate.slices[place - 1] if place else candidate.overall
        other = trees.slices[place - 1] if place else trees.overall
        for name, gain in gains.items():
            value, than = own.metrics[name], other.metrics[name]
            if value is None or than is None:
                assert gain.value is None
                continue
            sign = -1 if name in ("log_loss", "ece") else 1
            assert gain.value == pytest.approx(sign * (value - than))
            assert (gain.interval is None) == (place == 3)

    gain = measured.gains["trees"][0]["auc"]
    own, other = (model.overall.intervals["auc"] for model in (candidate, trees))
    assert gain.interval[0] < gain.value < gain.interval[1]
    # Models on the same draws rise and fall together.
    assert gain.interval[1] - gain.interval[0] < own[1] - own[0] + other[1] - other[0]


def test_gates_are_given_the_draws_that_they_ask_for(measured: MeasuredModels) -> None:
    settings = _settings()
    [gate] = settings.gates
    for name, model in measured.results.items():
        draws = measured.drawn.of(name, {}, gate)
        assert draws is not None
        assert draws.shape == (200,)
        assert interval_of(draws, 0.95) == model.overall.intervals["auc"]
    other = gate.model_copy(update={"metric": "accuracy"})
    assert measured.drawn.of(CANDIDATE, {}, other) is None
    assert measured.drawn.of(CANDIDATE, {"gender": "x"}, gate) is None


def test_the_order_of_rows_changes_nothing(measured: MeasuredModels, tmp_path: Path) -> None:
    order = np.random.default_rng(9).permutation(ROWS)
    shuffled = _measure(tmp_path, _settings(), order)
    assert shuffled.results == measured.results
    assert shuffled.gains == measured.gains


def test_without_draws_there_are_gains_but_no_intervals(
    measured: MeasuredModels, tmp_path: Path
) -> None:
    plain = _measure(tmp_path, _settings(gate={}, draws=0))
    result = plain.results[CANDIDATE].overall
    assert result.metrics == measured.results[CANDIDATE].overall.metrics
    assert result.intervals == {}
    gain = plain.gains["trees"][0]["auc"]
    assert gain.value == measured.gains["trees"][0]["auc"].value
    assert gain.interval is None


def test_a_higher_confidence_reaches_further(measured: MeasuredModels, tmp_path: Path) -> None:
    wide = _measure(tmp_path, _settings(confidence=0.99)).results[CANDIDATE].overall.intervals
    for name, (low, high) in measured.results[CANDIDATE].overall.intervals.items():
        assert wide[name][0] < low < high < wide[name][1]
