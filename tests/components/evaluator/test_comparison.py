"""Simple models, fitted to examples as ExampleGen writes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.config import Config
from components.errors import ConfigError
from components.evaluator import comparison, outcome_rows
from components.evaluator.comparison import write_simple_predictions
from components.evaluator.evaluate import judge_model
from components.evaluator.evaluator_settings import EvaluatorSettings

Row = dict[str, Any]
Write = Callable[..., dict[str, Path]]

CLASSES = ["low", "high"]
LOSSES = ("log_loss", "ece")
SIZES = {"train": 1200, "eval": 300, "test": 300}


def _settings(**evaluation: Any) -> EvaluatorSettings:
    config = Config.model_validate(
        {
            "name": "small",
            "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
            "schema": "small.pbtxt",
            "label": {"column": "mastery", "classes": CLASSES},
            "steps": {
                "features": {
                    "kind": {"type": "categorical", "vocabulary": 5},
                    "correct": {"type": "numeric"},
                }
            },
            "context": {
                "unit_id": {"type": "categorical"},
                "week": {"type": "numeric"},
            },
            "prior": {"group_by": ["unit_id"], "smoothing": 4},
            "gates": evaluation.pop("gates", [{"metric": "auc", "min": 0.5}]),
            "evaluation": evaluation,
        }
    )
    return EvaluatorSettings.of(config)


def _outcomes(split: str) -> list[Row]:
    """Returns outcomes whose label is mostly whether more than half of the answers are correct."""
    random = np.random.default_rng(len(split) + SIZES[split])
    rows = []
    for index in range(SIZES[split]):
        count = int(random.integers(0, 9))
        correct = (random.random(count) < random.random()).astype(np.float32)
        is_high = correct.mean() > 0.5 if count else index % 5 == 0
        if random.random() < 0.1:
            is_high = not is_high
        rows.append(
            {
                "learner_id": f"{split} {index // 3}",
                "unit_id": ["algebra", "logic", ""][index % 3] or None,
                "as_of": index,
                "num_steps": count,
                "mastery": CLASSES[int(is_high)],
                "week": float(index % 4) if index % 7 else None,
                "kind": ["video" if random.random() < 0.5 else "quiz" for _ in range(count)],
                "correct": correct,
            }
        )
    return rows


@pytest.fixture(scope="session")
def encode() -> Callable[[Row], bytes]:
    """Encodes a row as ExampleGen does: a missing value is an absent feature."""
    import tensorflow as tf

    def encoded(row: Row) -> bytes:
        example = tf.train.Example()
        for name, value in row.items():
            values = [] if value is None else np.atleast_1d(np.array(value)).tolist()
            if not values:
                continue
            feature = example.features.feature[name]
            if isinstance(values[0], str):
                feature.bytes_list.value.extend(item.encode() for item in values)
            elif isinstance(values[0], int):
                feature.int64_list.value.extend(values)
            else:
                feature.float_list.value.extend(values)
        content: bytes = example.SerializeToString()
        return content

    return encoded


@pytest.fixture
def write(
    tmp_path: Path, write_split: Callable[..., Path], encode: Callable[[Row], bytes]
) -> Write:
    """Writes splits, and the keys of the test split as the candidate's predictions have them."""

    def written(name: str, splits: dict[str, list[Row]]) -> dict[str, Path]:
        return {
            split: write_split(tmp_path / name / split, [encode(row) for row in rows])
            for split, rows in splits.items()
        }

    return written


def _answers(
    folder: Path, splits: dict[str, Path], settings: EvaluatorSettings
) -> dict[str, tuple[pl.DataFrame, str]]:
    folder.mkdir(exist_ok=True)
    like = folder / "predictions.parquet"
    pl.DataFrame(
        {
            "learner_id": [f"test {index // 3}" for index in range(SIZES["test"])],
            "probabilities": [[0.5, 0.5]] * SIZES["test"],
            "predicted_class": ["low"] * SIZES["test"],
        }
    ).write_parquet(like)
    written = write_simple_predictions(splits, settings, like, folder)
    return {name: (pl.read_parquet(path), meaning) for name, (path, meaning) in written.items()}


ALL = {
    "simple_models": ["prior", "rule", "logistic", "trees"],
    "rule": {"summary": "correct.mean", "above": 0.5, "class": "high", "otherwise": "low"},
}


@pytest.fixture
def logs() -> dict[str, list[Row]]:
    return {split: _outcomes(split) for split in SIZES}


def _share_of_hits(answers: pl.DataFrame, rows: list[Row]) -> float:
    return float(np.mean([a == row["mastery"] for a, row in zip(answers, rows, strict=True)]))


def test_simple_models_find_what_decides(
    tmp_path: Path, write: Write, logs: dict[str, list[Row]]
) -> None:
    found = _answers(tmp_path / "found", write("log", logs), _settings(**ALL))
    assert [*found] == ALL["simple_models"]
    for name, (answers, meaning) in found.items():
        assert meaning.endswith("."), meaning
        probabilities = np.array(answers["probabilities"].to_list())
        assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
        hits = _share_of_hits(answers["predicted_class"], logs["test"])
        # One label in ten is wrong on purpose.
        assert hits < 0.75 if name == "prior" else hits > 0.85, (name, hits)


def test_a_rule_answers_as_it_says(
    tmp_path: Path, write: Write, logs: dict[str, list[Row]]
) -> None:
    [(answers, meaning)] = _answers(
        tmp_path / "found", write("log", logs), _settings(**ALL | {"simple_models": ["rule"]})
    ).values()
    assert "high where correct.mean is above 0.5, otherwise low" in meaning
    for answer, row in zip(answers["predicted_class"], logs["test"], strict=True):
        is_above = row["num_steps"] and row["correct"].mean() > 0.5
        assert answer == ("high" if is_above else "low")


def test_the_prior_is_smoothed_level_by_level(
    tmp_path: Path, write: Write, logs: dict[str, list[Row]]
) -> None:
    logs["test"][0] |= {"unit_id": "unseen", "num_steps": 3}
    [(answers, _)] = _answers(
        tmp_path / "found", write("log", logs), _settings(simple_models=["prior"])
    ).values()

    def smoothed(rows: list[Row], wider: float) -> float:
        return (sum(row["mastery"] == "high" for row in rows) + 4 * wider) / (len(rows) + 4)

    train = logs["train"]
    share = float(np.mean([row["mastery"] == "high" for row in train]))
    for row, answer in zip(logs["test"], answers["probabilities"].to_list(), strict=True):
        group, mean = train, share
        if row["unit_id"] != "unseen":
            group = [other for other in train if other["unit_id"] == row["unit_id"]]
            mean = smoothed(group, share)
        alike = [other for other in group if (other["num_steps"] < 1) == (row["num_steps"] < 1)]
        assert answer[1] == pytest.approx(smoothed(alike, mean), abs=1e-6)


def _equal(found: dict[str, Any], others: dict[str, Any]) -> None:
    for name, (answers, meaning) in found.items():
        assert answers.equals(others[name][0]), name
        assert meaning == others[name][1]


def test_the_order_of_rows_changes_no_bit(
    tmp_path: Path, write: Write, logs: dict[str, list[Row]]
) -> None:
    settings = _settings(**ALL)
    found = _answers(tmp_path / "found", write("log", logs), settings)
    random = np.random.default_rng(1)
    for split in ("train", "eval"):
        random.shuffle(logs[split])  # type: ignore[arg-type]
    _equal(found, _answers(tmp_path / "other", write("shuffled", logs), settings))


def test_shared_examples_give_what_one_per_outcome_gives(
    tmp_path: Path, write: Write, logs: dict[str, list[Row]]
) -> None:
    settings = _settings(**ALL)
    for split in ("train", "eval"):
        for start in range(0, len(logs[split]), 3):  # a learner's outcomes along one sequence
            group = logs[split][start : start + 3]
            longest = max(group, key=lambda row: row["num_steps"])
            for row in group:
                for name in ("kind", "correct"):
                    row[name] = longest[name][: row["num_steps"]]
    found = _answers(tmp_path / "found", write("log", logs), settings)

    shared: dict[str, list[Row]] = {"test": logs["test"]}
    for split in ("train", "eval"):
        shared[split] = []
        for start in range(0, len(logs[split]), 3):
            group = logs[split][start : start + 3]
            longest = max(group, key=lambda row: row["num_steps"])
            outcomes: Row = {
                name: [row[name] for row in group] for name in ("as_of", "num_steps", "mastery")
            }
            outcomes["unit_id"] = [row["unit_id"] or "" for row in group]
            outcomes["week"] = [math.nan if row["week"] is None else row["week"] for row in group]
            shared[split].append(longest | outcomes)
    others = _answers(
        tmp_path / "other",
        write("shared", shared),
        settings.model_copy(update={"steps": settings.steps.model_copy(update={"shared": True})}),
    )
    _equal(found, others)


def test_a_regression_gets_ridge_and_trees(
    tmp_path: Path, write: Write, logs: dict[str, list[Row]]
) -> None:
    for rows in logs.values():
        for row in rows:
            row["mastery"] = float(np.sum(row["correct"]) + row["num_steps"] / 2)
    settings = _settings(simple_models=[])
    rules = settings.evaluation.model_copy(update={"simple_models": ["prior", "linear", "trees"]})
    label = settings.label.model_copy(update={"task": "regression", "classes": []})
    settings = settings.model_copy(update={"evaluation": rules, "label": label})

    found = _answers(tmp_path / "found", write("log", logs), settings)
    true = np.array([row["mastery"] for row in logs["test"]])
    errors = {
        name: float(np.sqrt(np.mean((answers["prediction"].to_numpy() - true) ** 2)))
        for name, (answers, _) in found.items()
    }
    assert errors["linear"] < 0.25 * errors["prior"]
    assert errors["trees"] < 0.25 * errors["prior"]


def test_a_word_that_never_occurs_is_an_error_before_anything_is_fitted(
    tmp_path: Path, write: Write, logs: dict[str, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"summary": "kind.vidoe.count", "above": 2, "class": "high", "otherwise": "low"}
    monkeypatch.setattr(comparison, "_fit_one", lambda *_: pytest.fail("fitted"))
    with pytest.raises(ConfigError, match=r"rule\.summary.*did you mean kind\.video\.count"):
        _answers(tmp_path / "found", write("log", logs), _settings(**ALL | {"rule": rule}))


def test_more_outcomes_than_fit_are_those_of_a_sample_of_learners(
    tmp_path: Path, write: Write, logs: dict[str, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_rows, "MOST_ROWS", 600)
    settings = _settings(simple_models=["logistic"])
    splits = write("log", logs)
    vocabulary = outcome_rows.learn_vocabulary(splits["train"], settings)
    reader = outcome_rows.OutcomeReader(settings, vocabulary)
    keys = reader.read_all(splits["train"], share=vocabulary.share).keys
    assert 450 < len(keys) < 750
    assert (keys["learner_id"].value_counts()["count"] == 3).all()
    [(_, meaning)] = _answers(tmp_path / "found", splits, settings).values()
    assert "sample" in meaning


def test_an_evaluation_compares_the_model_with_them(
    tmp_path: Path, write: Write, logs: dict[str, list[Row]], save_model: Callable[..., Path]
) -> None:
    for row in logs["test"]:  # what the candidate answers
        share = 0.9 if row["mastery"] == "high" else 0.1
        row["answer"] = np.array([1 - share, share], np.float32)
    splits = write("log", logs)
    gates = [
        {"metric": "auc", "min_gain_over": "trees", "min_gain": 0.01, "confidence": 0.95},
        {"metric": "accuracy", "min_gain_over": "rule", "min_gain": 0.9},
    ]
    settings = _settings(**ALL, slices=["unit_id"], draws=200, gates=gates)
    folder = tmp_path / "evaluation"
    folder.mkdir()
    evaluation = judge_model(
        splits["test"], save_model(tmp_path / "model", CLASSES), None, settings, folder,
        fitted_to={split: splits[split] for split in ("train", "eval")},
    )  # fmt: skip

    assert [model.name for model in evaluation.simple_models] == ALL["simple_models"]
    for model in evaluation.simple_models:
        for name, gain in model.gains.items():
            own, other = evaluation.overall.metrics[name], model.overall.metrics[name]
            assert own is not None
            assert other is not None
            assert gain.value == pytest.approx((own - other) * (-1 if name in LOSSES else 1))
        assert model.gains["auc"].interval is not None
        assert [result.slice for result in model.slices] == [
            {"unit_id": name} for name in ("", "algebra", "logic")
        ]
        assert len(model.slice_gains) == 3
    assert [gate.passed for gate in evaluation.gates] == [True, False]
