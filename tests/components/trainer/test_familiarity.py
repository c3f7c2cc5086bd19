"""What is unlike the eval split is named; hardly anything else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.contracts.calibration import Calibration
from tests.components.trainer.test_served import Answer, by_example, with_horizon
from tests.components.trainer.tiny_log import SETTINGS, fit, tiny_log, write_inputs
from tests.components.transform.analysis import Columns

FEATURES: dict[str, Any] = {
    "event_type": {"type": "categorical", "vocabulary": 3, "embedding": 3},
    "correct": {"type": "numeric"},
    "mean_dwell": {"type": "numeric", "log": True},
    "time_to_as_of": {"type": "numeric", "log": True},
}
SOME: dict[str, Any] = {
    **SETTINGS,
    "steps": {"features": FEATURES, "max_steps": 12, "min_steps": 2},
    "training": {**SETTINGS["training"], "epochs": 1},
}


def log(rows: int, seed: int) -> Columns:
    """Returns a tiny log with longer sequences and time, in which slow answers are right."""
    random = np.random.default_rng(seed)
    made = tiny_log(rows, seed)
    lengths = [int(length) for length in random.integers(0, 13, rows)]
    correct = [(random.random(length) < 0.6).astype(float).tolist() for length in lengths]
    return {
        **made,
        "num_steps": [[length] for length in lengths],
        "event_type": [random.choice(["quiz", "video", "forum"], n).tolist() for n in lengths],
        "correct": correct,
        "mean_dwell": [
            (np.exp(random.normal(size=len(row))) * (5 + 55 * np.array(row))).tolist()
            for row in correct
        ],
        "time_to_as_of": [np.sort(random.exponential(1e5, n))[::-1].tolist() for n in lengths],
    }


@pytest.fixture(scope="module")
def fitted_to_some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model fitted to 300 examples, with bounds from 500 others."""
    folder = tmp_path_factory.mktemp("familiar")
    inputs = write_inputs(folder / "inputs", SOME, log(300, 1), log(500, 2))
    return fit(inputs, folder, SOME)


@pytest.fixture(scope="module")
def familiar(fitted_to_some: Path) -> Any:
    """It, as TensorFlow loads it."""
    return tf.saved_model.load(str(fitted_to_some / "model"))


@pytest.fixture(scope="module")
def usual() -> Columns:
    """Sequences of six events and more that no bound was fitted to."""
    whole = with_horizon(log(900, 3))
    rows = [row for row, length in enumerate(whole["num_steps"]) if length[0] >= 6]
    return {name: [values[row] for row in rows] for name, values in whole.items()}


def named(answer: Answer) -> list[str]:
    return [text.decode() for text in answer["unfamiliar"]]


def changed(columns: Columns, name: str, change: Any) -> Columns:
    return {**columns, name: [change(row) for row in columns[name]]}


def test_hardly_any_ordinary_example_is_called_unfamiliar(familiar: Any) -> None:
    answer = by_example(familiar, with_horizon(log(2000, 4)))
    assert np.mean([name != "" for name in named(answer)]) <= 0.01
    unfamiliar = answer["basis"] == b"unfamiliar"
    is_warm = answer["basis"] != b"prior"
    assert unfamiliar[is_warm].tolist() == [
        name != "" for name, warm in zip(named(answer), is_warm, strict=True) if warm
    ]


def test_a_shifted_feature_is_named(familiar: Any, usual: Columns) -> None:
    shifted = changed(usual, "mean_dwell", lambda row: [1000 * value for value in row])
    answer = by_example(familiar, shifted)
    assert np.mean(["mean_dwell" in name for name in named(answer)]) > 0.95
    assert set(answer["basis"]) == {b"unfamiliar"}


def test_a_feature_that_is_gone_is_named(familiar: Any, usual: Columns) -> None:
    gone = changed(usual, "correct", lambda row: [float("nan")] * len(row))
    assert all("correct" in name for name in named(by_example(familiar, gone)))


def test_words_that_the_vocabulary_does_not_know_are_named(familiar: Any, usual: Columns) -> None:
    answer = by_example(familiar, changed(usual, "event_type", lambda row: ["game"] * len(row)))
    assert all("event_type" in name for name in named(answer))


def test_an_unknown_unit_is_named_for_a_cold_start_too(familiar: Any) -> None:
    made = changed(with_horizon(log(60, 5)), "unit_id", lambda _: ["astrology"])
    answer = by_example(familiar, made)
    assert all("unit_id" in name.split(", ") for name in named(answer))
    assert set(answer["basis"]) == {b"unfamiliar", b"prior"}


def test_events_in_reverse_are_an_unfamiliar_sequence(familiar: Any, usual: Columns) -> None:
    turned = changed(usual, "time_to_as_of", lambda row: row[::-1])
    names = named(by_example(familiar, turned))
    assert np.mean([name == "sequence" for name in names]) > 0.8


def test_behaviour_turned_around_is_an_unfamiliar_sequence(familiar: Any, usual: Columns) -> None:
    """Each column alone is as it was, but now quick answers are the right ones."""
    swapped = changed(usual, "correct", lambda row: [1 - value for value in row])
    names = named(by_example(familiar, swapped))
    assert np.mean([name == "sequence" for name in names]) > 0.8


def test_too_few_examples_tell_nothing(fitted: Path) -> None:
    assert Calibration.read(fitted / "model").familiar is None


def test_the_record_names_what_is_checked(fitted_to_some: Path) -> None:
    record = Calibration.read(fitted_to_some / "model").familiar
    assert record is not None
    assert {*record.checked} == {*FEATURES, "unit_id", "horizon", "sequence"}
    assert record.examples == 500
    assert max(record.called.values()) <= 0.002
