"""The signature of a model is the one that TensorFlow has written."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from components.errors import MasteryError
from pipeline.tracking.model_signature import read_signature
from tests.pipeline.tracking.saved_model import write_signature


class Doubling(tf.Module):  # type: ignore[misc]
    """Doubles numbers, and writes them as texts."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="numbers")])
    def __call__(self, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns both."""
        return {"probabilities": 2 * numbers, "text": tf.as_string(numbers)}


def test_inputs_and_outputs_are_read_without_tensorflow(tmp_path: Path) -> None:
    tf.saved_model.save(Doubling(), str(tmp_path / "model"))
    inputs, outputs = read_signature(tmp_path / "model")
    assert [(item.name, item.kind, item.shape) for item in inputs] == [
        ("numbers", "float32", (-1, 2))
    ]
    assert [(item.name, item.kind, item.shape) for item in outputs] == [
        ("probabilities", "float32", (-1, 2)),
        ("text", "object", (-1, 2)),
    ]
    write_signature(tmp_path / "least")
    assert read_signature(tmp_path / "least") == (inputs, outputs)


def test_a_file_that_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(MasteryError, match="expected a SavedModel, found"):
        read_signature(tmp_path)
