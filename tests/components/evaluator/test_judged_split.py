"""A sample of a large test split: whole learners, the same ones each time, for every model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.config import Config
from components.contracts.evaluation import Evaluation
from components.evaluator.evaluate import judge_model
from components.evaluator.evaluator_settings import EvaluatorSettings
from components.evaluator.judged_split import is_sampled, open_judged
from components.evaluator.scoring import windows_of_split

CLASSES = ["low", "high"]
OUTCOMES = 2  # of each learner


@pytest.fixture(scope="module")
def split(
    tmp_path_factory: pytest.TempPathFactory,
    make_example: Callable[..., bytes],
    write_split: Callable[..., Path],
) -> Path:
    """2,000 outcomes of 1,000 learners."""
    random = np.random.default_rng(3)
    examples = []
    for index in range(1000 * OUTCOMES):
        first = float(random.uniform())
        examples.append(
            make_example(
                learner_id=f"learner {index // OUTCOMES}",
                unit_id=f"unit {index % OUTCOMES}",
                as_of=0,
                mastery=CLASSES[int(random.uniform() > first)],
                num_steps=1,
                answer=np.array([first, 1 - first], np.float32),
            )
        )
    return write_split(tmp_path_factory.mktemp("judged") / "Split-test", examples)


def _read(folder: Path) -> list[bytes]:
    return [example for window in windows_of_split(folder) for example in window]


@pytest.mark.parametrize("most", [2000, 100_000])
def test_a_split_that_is_small_enough_is_judged_as_it_is(
    split: Path, most: int, tmp_path: Path
) -> None:
    with open_judged(split, most, tmp_path) as judged:
        assert judged.folder == split
        assert judged.sampled_from is None
    assert not any(tmp_path.iterdir())


def test_a_sample_has_all_outcomes_of_its_learners_in_their_order(
    split: Path, tmp_path: Path
) -> None:
    with open_judged(split, 500, tmp_path) as judged:
        found = _read(judged.folder)
        assert judged.sampled_from == 2000
    assert not any(tmp_path.iterdir())

    assert 400 < len(found) < 600
    places = {example: place for place, example in enumerate(_read(split))}
    order = [places[example] for example in found]
    assert order == sorted(order)
    assert {*Counter(place // OUTCOMES for place in order).values()} == {OUTCOMES}

    with open_judged(split, 500, tmp_path) as again:
        assert _read(again.folder) == found


def test_a_larger_sample_holds_the_smaller_one() -> None:
    learners = pl.Series([f"learner {place}" for place in range(10_000)])
    small, large = (is_sampled(learners, share) for share in (0.1, 0.3))
    assert not (small & ~large).any()
    assert small.mean() == pytest.approx(0.1, abs=0.01)
    assert large.mean() == pytest.approx(0.3, abs=0.02)


def test_all_models_are_judged_on_the_sample_with_its_own_intervals(
    split: Path, tmp_path: Path, save_model: Callable[..., Path]
) -> None:
    model = save_model(tmp_path / "model", CLASSES)
    whole, sample = (
        _judge(split, model, tmp_path / name, most)
        for name, most in [("whole", 2000), ("part", 200)]
    )
    rows = pl.read_parquet(tmp_path / "part" / "predictions.parquet")
    before = pl.read_parquet(tmp_path / "part" / "predictions_baseline.parquet")
    assert rows.select("learner_id", "unit_id").equals(before.select("learner_id", "unit_id"))

    assert whole.sampled_from is None
    assert whole.overall.examples == 2000
    assert sample.sampled_from == 2000
    assert sample.overall.examples == len(rows)
    assert sample.baseline is not None
    assert sample.baseline.overall.examples == len(rows)
    right = (rows["label"] == rows["predicted_class"]).mean()
    assert sample.overall.metrics["accuracy"] == pytest.approx(right)

    widths = [high - low for low, high in (_accuracy_of(item) for item in (whole, sample))]
    assert widths[1] > 2 * widths[0]  # a tenth of the learners: three times as wide
    low, high = _accuracy_of(sample)
    assert low <= (whole.overall.metrics["accuracy"] or 0) <= high
    assert Evaluation.read(tmp_path / "part") == sample


def _accuracy_of(evaluation: Evaluation) -> tuple[float, float]:
    interval = evaluation.overall.interval_of("accuracy")
    assert interval is not None
    return interval


def _judge(split: Path, model: Path, folder: Path, most: int) -> Evaluation:
    config = Config.model_validate(
        {
            "name": "small",
            "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
            "schema": "small.pbtxt",
            "label": {"column": "mastery", "classes": CLASSES},
            "steps": {"features": {"dwell": {"type": "numeric"}}},
            "evaluation": {"max_examples": most, "draws": 300},
            "gates": [{"metric": "accuracy", "min": 0.1}],
        }
    )
    folder.mkdir()
    return judge_model(split, model, model, EvaluatorSettings.of(config), folder)
