"""Small SavedModels and examples that keep to the contract of the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SaveModel = Callable[..., Path]
MakeExample = Callable[..., bytes]
WriteSplit = Callable[[Path, list[bytes]], Path]


@pytest.fixture(scope="session")
def save_model() -> SaveModel:
    """Writes a model whose answer for an example is the example's feature `answer`."""
    import tensorflow as tf  # 7 seconds that the tests of plain functions do without

    class LookupModel(tf.Module):  # type: ignore[misc]
        def __init__(self, classes: list[str], decisions: dict[str, float]) -> None:
            super().__init__()
            self.classes = tf.constant(classes)
            self.decisions = decisions  # from which probability of the first class on, by name

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def classify(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            features = {
                "answer": tf.io.FixedLenFeature([len(self.classes)], tf.float32),
                "num_steps": tf.io.FixedLenFeature([], tf.int64),
            }
            parsed = tf.io.parse_example(examples, features)
            return {
                "classes": tf.broadcast_to(self.classes, tf.shape(parsed["answer"])),
                "probabilities": parsed["answer"],
                "predicted_class": tf.gather(self.classes, tf.argmax(parsed["answer"], axis=1)),
                "basis": tf.where(parsed["num_steps"] > 0, "sequence", "prior"),
                **{
                    f"decision_{name}": parsed["answer"][:, 0] >= threshold
                    for name, threshold in self.decisions.items()
                },
            }

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def regress(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            parsed = tf.io.parse_example(
                examples, {"answer": tf.io.FixedLenFeature([1], tf.float32)}
            )
            return {
                "prediction": parsed["answer"][:, 0],
                "basis": tf.fill(tf.shape(examples), "sequence"),
            }

    def save(
        folder: Path,
        classes: list[str],
        card: dict[str, Any] | None = None,
        decisions: dict[str, float] | None = None,
    ) -> Path:
        model = LookupModel(classes or ["none"], decisions or {})
        tf.saved_model.save(
            model,
            str(folder),
            signatures={"serving_default": model.classify if classes else model.regress},
        )
        if card is not None:
            (folder / "assets.extra").mkdir()
            (folder / "assets.extra" / "mastery.json").write_text(json.dumps(card))
        return folder

    return save


@pytest.fixture(scope="session")
def make_example() -> MakeExample:
    """Makes a serialized `tf.Example` of text, integers and (lists of) floats; None is left out."""
    import tensorflow as tf

    def make(**features: Any) -> bytes:
        example = tf.train.Example()
        for name, value in features.items():
            if isinstance(value, str):
                example.features.feature[name].bytes_list.value.append(value.encode())
            elif isinstance(value, int):
                example.features.feature[name].int64_list.value.append(value)
            elif value is not None:
                example.features.feature[name].float_list.value.extend(
                    np.atleast_1d(value).tolist()
                )
        content: bytes = example.SerializeToString()
        return content

    return make


@pytest.fixture(scope="session")
def write_split() -> WriteSplit:
    """Writes serialized examples as ExampleGen does."""
    import tensorflow as tf

    def write(folder: Path, examples: list[bytes]) -> Path:
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(
            str(folder / "data_tfrecord-00000-of-00001.gz"), "GZIP"
        ) as writer:
            for example in examples:
                writer.write(example)
        return folder

    return write
