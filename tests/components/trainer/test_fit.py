from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from components.config import Label, Training
from components.errors import TrainingError
from components.trainer.fit import class_weights

LABEL = Label(column="mastery", classes=["low", "mid", "high"])
IDS = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 2])


def windows(ids: np.ndarray) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices({"label": ids}).batch(4)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=IDS)
    assert class_weights(windows(IDS), LABEL, Training()) == pytest.approx(expected)


def test_weights_can_be_given_or_left_out() -> None:
    given = Training(class_weights={"high": 3.0, "low": 1.0, "mid": 2.0})
    assert class_weights(windows(IDS), LABEL, given).tolist() == [1.0, 2.0, 3.0]
    assert class_weights(windows(IDS), LABEL, Training(class_weights="none")).tolist() == [
        1.0,
        1.0,
        1.0,
    ]


def test_a_number_has_no_classes_to_weigh() -> None:
    label = Label(column="score", task="regression")
    assert class_weights(windows(np.array([0.5, 0.1], np.float32)), label, Training()) is None


def test_a_class_without_examples_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"label.column mastery: .* found none for mid"):
        class_weights(windows(IDS[IDS != 1]), LABEL, Training())
