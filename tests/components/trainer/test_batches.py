from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from components.config import Label, Training
from components.errors import TrainingError
from components.trainer import batches as batches_module
from components.trainer.batches import (
    FEWEST_BATCHES,
    WINDOW_EXAMPLES,
    class_weights,
    evaluation_batches,
    fill_up,
    outcomes_of,
    read_windows,
    training_batches,
    window_size,
)

SPEC = {
    "num_steps": tf.io.FixedLenFeature([], tf.int64),
    "row": tf.io.FixedLenFeature([], tf.int64),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "step_x": tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64),
}
LENGTHS = np.random.default_rng(0).integers(0, 12, 90)


def write_examples(path: Path) -> None:
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row, length in enumerate(LENGTHS):
            example = tf.train.Example()
            example.features.feature["num_steps"].int64_list.value.append(length)
            example.features.feature["row"].int64_list.value.append(row)
            example.features.feature["label"].int64_list.value.append(row % 3)
            example.features.feature["step_x"].float_list.value.extend(range(1, length + 1))
            writer.write(example.SerializeToString())


def windows_of(folder: Path, stored: Path) -> tf.data.Dataset:
    return read_windows(
        [str(folder / "*.gz")], SPEC, size=40, min_steps=2, seed=5, stored=stored, steps=["step_x"]
    )


@pytest.fixture
def windows(tmp_path: Path) -> tf.data.Dataset:
    write_examples(tmp_path / "examples.gz")
    return windows_of(tmp_path, tmp_path / "stored")


def rows(batches: tf.data.Dataset) -> list[list[int]]:
    return [batch["row"].numpy().tolist() for batch in batches]


def test_every_example_with_events_occurs_once_per_epoch(windows: tf.data.Dataset) -> None:
    batches = training_batches(windows, outcomes_of(windows), 8, seed=5)
    for _ in range(2):
        assert (
            sorted(row for batch in rows(batches) for row in batch)
            == np.flatnonzero(LENGTHS >= 2).tolist()
        )


def test_epochs_differ_and_seeds_repeat(windows: tf.data.Dataset) -> None:
    batches = training_batches(windows, outcomes_of(windows), 8, seed=5)
    epochs = [rows(batches), rows(batches)]
    assert epochs[0] != epochs[1]
    again = training_batches(windows, outcomes_of(windows), 8, seed=5)
    assert [rows(again), rows(again)] == epochs
    assert rows(training_batches(windows, outcomes_of(windows), 8, seed=6)) != epochs[0]


def test_steps_are_right_padded_with_little_padding(windows: tf.data.Dataset) -> None:
    padded = 0
    for batch in training_batches(windows, outcomes_of(windows), 8, seed=5):
        lengths, steps = batch["num_steps"].numpy(), batch["step_x"].numpy()
        assert steps.shape[1] == lengths.max()
        for length, row in zip(lengths, steps, strict=True):
            assert row.tolist() == [*range(1, length + 1), *[0.0] * (steps.shape[1] - length)]
        padded += steps.size
    assert padded < 1.5 * LENGTHS[LENGTHS >= 2].sum()


def test_the_length_of_an_epoch_is_known(windows: tf.data.Dataset) -> None:
    labels = outcomes_of(windows)
    for batches in (
        training_batches(windows, labels, 8, seed=5),
        evaluation_batches(windows, labels, 8),
    ):
        assert len(batches) == len(rows(batches))


def test_evaluation_keeps_its_order(windows: tf.data.Dataset) -> None:
    batches = evaluation_batches(windows, outcomes_of(windows), 8)
    assert rows(batches) == rows(batches)


def test_no_example_with_events_is_an_error(windows: tf.data.Dataset) -> None:
    with pytest.raises(TrainingError, match=r"no example with events.*steps.min_steps"):
        outcomes_of(windows.take(0))


def test_replicas_get_equal_shares_and_filling_weighs_nothing() -> None:
    batch = (
        {"x": tf.constant([[1.0], [2.0], [3.0]])},
        tf.constant([0, 1, 2]),
        tf.constant([0.5, 1.0, 2.0]),
    )
    inputs, label, weight = fill_up(batch, replicas=2)
    assert inputs["x"].numpy()[:3].tolist() == [[1.0], [2.0], [3.0]]
    assert label.shape == weight.shape == [4]
    assert weight.numpy().tolist() == [0.5, 1.0, 2.0, 0.0]
    assert fill_up(batch, replicas=3)[2].numpy().tolist() == [0.5, 1.0, 2.0]


LABEL = Label(column="mastery", classes=["low", "mid", "high"])
IDS = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 2])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=IDS)
    assert class_weights(IDS, LABEL, Training()) == pytest.approx(expected)


def test_weights_can_be_given_or_left_out() -> None:
    given = Training(class_weights={"high": 3.0, "low": 1.0, "mid": 2.0})
    assert class_weights(IDS, LABEL, given).tolist() == [1.0, 2.0, 3.0]
    assert class_weights(IDS, LABEL, Training(class_weights="none")).tolist() == [
        1.0,
        1.0,
        1.0,
    ]


def test_a_regression_has_no_class_weights() -> None:
    label = Label(column="score", task="regression")
    assert class_weights(np.array([0.5, 0.1], np.float32), label, Training()) is None


def test_a_class_without_examples_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"label.column mastery: .* found none for mid"):
        class_weights(IDS[IDS != 1], LABEL, Training())


def rows_of_epochs(folder: Path, stored: Path) -> list[list[list[int]]]:
    """Returns the batches of two epochs."""
    windows = windows_of(folder, stored)
    batches = training_batches(windows, outcomes_of(windows), 8, seed=5)
    return [rows(batches), rows(batches)]


def test_large_splits_are_parsed_once_and_kept_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_examples(tmp_path / "examples.gz")
    in_memory = rows_of_epochs(tmp_path, tmp_path / "memory")
    assert not [*tmp_path.glob("memory*")]

    monkeypatch.setattr(batches_module, "MEMORY_BYTES", 0)
    windows = windows_of(tmp_path, tmp_path / "stored")
    labels = outcomes_of(windows)
    assert [*tmp_path.glob("stored*")]
    (tmp_path / "examples.gz").unlink()
    batches = training_batches(windows, labels, 8, seed=5)
    assert [rows(batches), rows(batches)] == in_memory


def test_features_of_different_lengths_are_an_error(tmp_path: Path) -> None:
    spec = {**SPEC, "step_y": tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64)}
    write_examples(tmp_path / "examples.gz")  # which have no step_y
    windows = read_windows(
        [str(tmp_path / "*.gz")],
        spec,
        40,
        2,
        seed=5,
        stored=tmp_path / "s",
        steps=["step_x", "step_y"],
    )
    with pytest.raises(tf.errors.InvalidArgumentError):
        outcomes_of(windows)


def test_windows_of_large_batches_are_bounded_and_those_of_usual_ones_as_ever() -> None:
    assert [window_size(size) for size in (1, 64, 128, 1310)] == [100, 6400, 12_800, 131_000]
    for size in (1311, 4096, 8192, 16_384):
        assert window_size(size) <= WINDOW_EXAMPLES
        assert window_size(size) % size == 0
    assert window_size(100_000) == FEWEST_BATCHES * 100_000
