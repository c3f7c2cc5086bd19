"""The networks that are timed, ours and the same layers in plain Keras, and made-up batches.

Needs TensorFlow, Keras and NumPy, and of our modules those that import nothing else of size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.contracts.names import NUM_STEPS, context_feature, step_feature, step_is_missing
from components.node.settings import TrainerSettings
from components.trainer.network import Embedded, NetworkInputs

CLASSES = ["not_mastered", "partial", "proficient"]
WORDS = {"event_type": 7, "knowledge_component": 42}  # ids, those for missing and unknown included
LEVELS = 6
NUMBERS = (
    "dwell_seconds", "exercise_completed", "correct", "playback_speed", "time_since_previous",
    "time_to_as_of",
)  # fmt: skip
EMBEDDING = 8
MASK = "mask"
LABEL_FROM = step_feature("correct")

Columns = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Shape:
    """The size of a network.

    Attributes:
        name: for tables.
        lstm: units of each LSTM.
        dense: units of the dense layer.
        steps: the longest sequence.
    """

    name: str
    lstm: tuple[int, ...]
    dense: int
    steps: int

    @property
    def described(self) -> str:
        """The sizes, for people."""
        return f"{self.name}: LSTM {list(self.lstm)}, {self.steps} steps"


SAMPLE = Shape("sample", (64, 32), 64, 32)  # as in configs/sample.yaml
LARGE = Shape("large", (256, 128), 128, 100)
TINY = Shape("tiny", (8, 4), 8, 6)


def settings_of(shape: Shape, **training: object) -> TrainerSettings:
    """Returns settings like those of `configs/sample.yaml`, with the sizes of a shape."""
    words = {
        name: {"type": "categorical", "vocabulary": size, "embedding": EMBEDDING}
        for name, size in WORDS.items()
    }
    numbers = {name: {"type": "numeric"} for name in NUMBERS}
    return TrainerSettings.model_validate(
        {
            "name": shape.name,
            "label": {"column": "mastery", "classes": CLASSES},
            "steps": {"features": {**words, **numbers}, "max_steps": shape.steps},
            "context": {"job_level": {"type": "categorical", "embedding": 2}},
            "prior": {"group_by": ["job_level"]},
            "model": {"lstm": list(shape.lstm), "dense": [shape.dense], "dropout": 0.5},
            "training": {"learning_rate": 0.002, **training},
        }
    )


def network_inputs() -> NetworkInputs:
    """Returns what the network reads, as Transform would have learned it from the sample's log."""
    steps: dict[str, Embedded | None] = {
        step_feature(name): Embedded(size, EMBEDDING) for name, size in WORDS.items()
    }
    for name in NUMBERS:
        steps |= {step_feature(name): None, step_is_missing(name): None}
    return NetworkInputs(steps, {context_feature("job_level"): Embedded(LEVELS, 2)})


def plain_network(shape: Shape, *, precision: str, cudnn: bool) -> keras.Model:
    """Returns the same layers as somebody would write them in Keras, compiled.

    It reads the same columns as ours, and the mask of real steps in place of their number. XLA is
    off, as Keras has it by itself for layers that use cuDNN.
    """
    inputs = network_inputs()
    read = {
        name: keras.Input((None,), name=name, dtype="int64" if item else "float32")
        for name, item in inputs.steps.items()
    }
    mask = keras.Input((None,), name=MASK, dtype="bool")
    [(context, embedded)] = inputs.context.items()
    level = keras.Input((), name=context, dtype="int64")
    assert embedded is not None

    dtype = keras.DTypePolicy(precision)
    steps = [
        keras.layers.Embedding(item.size, item.width, dtype=dtype)(read[name])
        if item
        else keras.ops.expand_dims(read[name], -1)
        for name, item in inputs.steps.items()
    ]
    state = keras.layers.Concatenate(dtype=dtype)(steps)
    for place, units in enumerate(shape.lstm):
        state = keras.layers.LSTM(
            units,
            return_sequences=place < len(shape.lstm) - 1,
            use_cudnn="auto" if cudnn else False,
            dtype=dtype,
        )(state, mask=mask)

    known = keras.layers.Embedding(embedded.size, embedded.width, dtype=dtype)(level)
    state = keras.layers.Concatenate(dtype=dtype)([state, known])
    state = keras.layers.Dense(shape.dense, activation="relu", dtype=dtype)(state)
    state = keras.layers.Dropout(0.5, dtype=dtype)(state)
    answer = keras.layers.Dense(len(CLASSES), activation="softmax", dtype="float32")(state)

    network = keras.Model({**read, context: level, MASK: mask}, answer)
    network.compile(
        keras.optimizers.Adam(0.002),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=[],
        jit_compile=False,
    )
    return network


def made_up(shape: Shape, rows: int, *, seed: int = 0) -> tuple[Columns, np.ndarray[Any, Any]]:
    """Returns columns for our network, and labels that depend on one of them.

    Steps [rows, steps] are padded with zeros on the right; lengths are from 1 to all steps, and one
    row has all, so that every batch is computed to its end.
    """
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, shape.steps + 1, rows)
    lengths[0] = shape.steps
    real = np.arange(shape.steps) < lengths[:, np.newaxis]

    inputs = network_inputs()
    columns: Columns = {}
    for name, item in inputs.steps.items():
        if item:
            columns[name] = np.where(real, draw.integers(1, item.size, real.shape), 0)
        else:
            numbers = draw.normal(size=real.shape).astype(np.float32)
            columns[name] = np.where(real, numbers, np.float32(0))
    for name, item in inputs.context.items():
        assert item is not None
        columns[name] = draw.integers(0, item.size, rows)
    columns[NUM_STEPS] = lengths.astype(np.int64)

    means = columns[LABEL_FROM].sum(axis=1) / lengths
    labels = np.digitize(means, np.quantile(means, [1 / 3, 2 / 3]))
    return columns, labels.astype(np.int64)


def repeated(
    columns: Columns, labels: np.ndarray[Any, Any], *, plain: bool = False
) -> tf.data.Dataset:
    """Returns one batch again and again, with weights of one, for our network or the plain one."""
    given = dict(columns)
    lengths = given.pop(NUM_STEPS) if plain else None
    if lengths is not None:
        steps = given[LABEL_FROM].shape[1]
        given[MASK] = np.arange(steps) < lengths[:, np.newaxis]
    weights = np.ones(len(labels), np.float32)
    return tf.data.Dataset.from_tensors((given, labels, weights)).repeat().prefetch(2)
