"""What an expert would write once, for one machine, in place of the pipeline: our speed's measure.

.venv/bin/python benchmarks/plain.py LOG OUT [EPOCHS]

Does the job of `configs/sample.yaml` on a simulated log in Polars, tf.data, Keras and scikit-learn:
the join, the split, the scales, the same network, early stopping with curves for TensorBoard, the
metrics, and one SavedModel with its preprocessing inside. It validates nothing, judges nothing and
resumes nothing. Prints the seconds of each step after the imports.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
import tensorflow as tf
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

CLASSES = ["not_mastered", "partial", "proficient"]
WORDS = ["event_type", "knowledge_component"]
NUMBERS = [
    "dwell_seconds", "exercise_completed", "correct", "playback_speed", "since", "left",
]  # fmt: skip
LOGARITHMIC = {"dwell_seconds", "since", "left"}
LEVEL = "job_level"
STEPS = 32
BATCH = 64

Columns = dict[str, Any]
Split = tuple[Columns, np.ndarray]


class Clock:
    """Prints how long each step took."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def mark(self, step: str) -> None:
        """Ends a step."""
        now = time.perf_counter()
        print(f"{step:<10}{now - self._last:8.2f} s", flush=True)
        self._last = now


def main(log: Path, out: Path, epochs: int) -> None:
    """Trains, measures and exports."""
    keras.utils.set_random_seed(7)
    clock = Clock()

    frames = split(join(log))
    clock.mark("join")
    splits = {name: dense(frame) for name, frame in frames.items()}
    preprocess, sizes = learn(splits["train"][0])
    clock.mark("learn")

    batches = make_batches(splits, preprocess)
    network = build(sizes)
    clock.mark("build")
    fit(network, batches, epochs, out)
    clock.mark("fit")

    metrics = evaluate(network, batches["test"], splits["test"][1])
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics))
    clock.mark("evaluate")
    export(network, preprocess, out / "model")
    clock.mark("export")
    print(f"f1_macro {metrics['f1_macro']:.4f}, auc {metrics['auc']:.4f}")


def join(log: Path) -> pl.DataFrame:
    """Returns an outcome per row, with the last events before it as lists."""
    keys = ["learner_id", "unit_id"]
    events = pl.read_parquet(log / "events.parquet").sort(*keys, "time", maintain_order=True)
    since = pl.col("time").diff().over(keys).dt.total_milliseconds() / 1000
    outcomes = pl.read_parquet(log / "outcomes.parquet").with_row_index("row")

    seen = (
        outcomes.select("row", *keys, "as_of")
        .join(events.with_columns(since=since), on=keys)
        .filter(pl.col("time") < pl.col("as_of"))
        .with_columns(left=(pl.col("as_of") - pl.col("time")).dt.total_milliseconds() / 1000)
    )
    steps = [pl.col(name) for name in WORDS] + [pl.col(name).cast(pl.Float32) for name in NUMBERS]
    lists = seen.group_by("row", maintain_order=True).agg(step.tail(STEPS) for step in steps)
    return outcomes.join(lists, on="row")


def split(outcomes: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Splits by learner: eight parts of ten to train with, one to stop by, one to test with."""
    part = pl.col("learner_id").hash(1) % 10
    chosen = {"train": part < 8, "eval": part == 8, "test": part == 9}
    return {name: outcomes.filter(rows) for name, rows in chosen.items()}


def dense(frame: pl.DataFrame) -> Split:
    """Returns padded steps [B, STEPS], columns [B] and labels [B]."""
    length = frame[WORDS[0]].list.len().to_numpy()
    real = np.arange(STEPS) < length[:, None]
    columns: Columns = {"num_steps": length.astype(np.int64)}
    columns[LEVEL] = frame[LEVEL].fill_null("").to_numpy().astype(object)
    for name in WORDS:
        columns[name] = np.full(real.shape, "", object)
        columns[name][real] = frame[name].explode().fill_null("").to_numpy()
    for name in NUMBERS:
        columns[name] = np.full(real.shape, np.nan, np.float32)
        columns[name][real] = frame[name].explode().fill_null(np.nan).to_numpy()

    label = frame["mastery"].replace_strict(CLASSES, [0, 1, 2]).to_numpy()
    return columns, label.astype(np.int64)


def learn(train: Columns) -> tuple[Any, dict[str, int]]:
    """Returns the preprocessing of columns, and how many ids each word has."""
    lookups = {}
    for name in [*WORDS, LEVEL]:
        words = sorted(set(train[name].ravel()) - {""})
        lookups[name] = keras.layers.StringLookup(vocabulary=words, mask_token=None)

    moments = {}
    for name in NUMBERS:
        known = train[name][~np.isnan(train[name])]
        known = np.log1p(np.maximum(known, 0)) if name in LOGARITHMIC else known
        moments[name] = float(known.mean()), float(known.std() or 1)

    def preprocess(columns: Columns) -> Columns:
        inputs = {"mask": tf.sequence_mask(columns["num_steps"], STEPS)}
        inputs |= {name: lookup(columns[name]) for name, lookup in lookups.items()}
        for name, (mean, deviation) in moments.items():
            missing = tf.math.is_nan(columns[name])
            known = tf.where(missing, 0.0, columns[name])
            known = tf.math.log1p(tf.maximum(known, 0.0)) if name in LOGARITHMIC else known
            inputs[name] = tf.where(missing, 0.0, (known - mean) / deviation)
            inputs[f"{name}_missing"] = tf.cast(missing, tf.float32)
        return inputs

    preprocess.tracked = list(lookups.values())  # type: ignore[attr-defined]  # for the SavedModel
    return preprocess, {name: lookup.vocabulary_size() for name, lookup in lookups.items()}


def make_batches(splits: dict[str, Split], preprocess: Any) -> dict[str, tf.data.Dataset]:
    """Preprocesses each split at once, and cuts it into batches; balances the classes' weights."""
    labels = splits["train"][1]
    weights = tf.constant(len(labels) / (3 * np.bincount(labels, minlength=3)), tf.float32)

    made = {}
    for name, (columns, label) in splits.items():
        tensors = {
            key: tf.constant(value.tolist() if value.dtype == object else value)
            for key, value in columns.items()
        }
        rows = (preprocess(tensors), tf.constant(label), tf.gather(weights, label))
        indices = tf.data.Dataset.range(len(label))
        is_train = name == "train"
        indices = (
            indices.shuffle(len(label), seed=7).batch(BATCH) if is_train else indices.batch(1024)
        )

        def pick(places: tf.Tensor, rows: Any = rows, is_train: bool = is_train) -> Any:
            picked = tf.nest.map_structure(lambda values: tf.gather(values, places), rows)
            return picked if is_train else picked[:2]

        made[name] = indices.map(pick, num_parallel_calls=2).prefetch(2)
    return made


def build(sizes: dict[str, int]) -> keras.Model:
    """Returns the network of `configs/sample.yaml`, compiled."""
    numbers = [name + suffix for name in NUMBERS for suffix in ("", "_missing")]
    inputs = {name: keras.Input((STEPS,), dtype="int64", name=name) for name in WORDS}
    inputs |= {name: keras.Input((STEPS,), name=name) for name in numbers}
    inputs["mask"] = keras.Input((STEPS,), dtype="bool", name="mask")
    inputs[LEVEL] = keras.Input((), dtype="int64", name=LEVEL)

    steps = [keras.layers.Embedding(sizes[name], 8)(inputs[name]) for name in WORDS]
    steps += [keras.ops.expand_dims(inputs[name], -1) for name in numbers]
    state = keras.layers.Concatenate()(steps)
    state = keras.layers.LSTM(64, return_sequences=True, use_cudnn=False)(
        state, mask=inputs["mask"]
    )
    state = keras.layers.LSTM(32, use_cudnn=False)(state, mask=inputs["mask"])

    level = keras.layers.Embedding(sizes[LEVEL], 2)(inputs[LEVEL])
    state = keras.layers.Dense(64, activation="relu")(keras.layers.Concatenate()([state, level]))
    answer = keras.layers.Dense(3, activation="softmax")(keras.layers.Dropout(0.5)(state))
    network = keras.Model(inputs, answer)
    network.compile(
        keras.optimizers.Adam(0.002),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=[],
        jit_compile=False,
    )
    return network


def fit(network: keras.Model, batches: dict[str, tf.data.Dataset], epochs: int, out: Path) -> None:
    """Fits the network, and leaves the best epoch's weights in it."""
    callbacks = [
        keras.callbacks.EarlyStopping(patience=30, restore_best_weights=True),
        keras.callbacks.TensorBoard(str(out / "logs"), histogram_freq=1),
    ]
    network.fit(
        batches["train"],
        validation_data=batches["eval"],
        epochs=epochs,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )


def evaluate(network: keras.Model, test: tf.data.Dataset, label: np.ndarray) -> dict[str, Any]:
    """Returns the metrics on the test split."""
    probabilities = network.predict(test, verbose=0)
    predicted = probabilities.argmax(axis=1)
    per_class = precision_recall_fscore_support(label, predicted)
    return {
        "f1_macro": f1_score(label, predicted, average="macro"),
        "auc": roc_auc_score(label, probabilities, multi_class="ovr"),
        "log_loss": log_loss(label, probabilities),
        "confusion": confusion_matrix(label, predicted).tolist(),
        "per_class": [values.tolist() for values in per_class],
    }


def export(network: keras.Model, preprocess: Any, folder: Path) -> None:
    """Writes a SavedModel that takes columns as the log has them."""

    class Served(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.lookups = preprocess.tracked

        @tf.function
        def predict(self, columns: Columns) -> Columns:
            return {"probabilities": self.network(preprocess(columns), training=False)}

    spec = {name: tf.TensorSpec([None, STEPS], tf.string, name) for name in WORDS}
    spec |= {name: tf.TensorSpec([None, STEPS], tf.float32, name) for name in NUMBERS}
    spec[LEVEL] = tf.TensorSpec([None], tf.string, LEVEL)
    spec["num_steps"] = tf.TensorSpec([None], tf.int64, "num_steps")

    served = Served()
    signature = served.predict.get_concrete_function(spec)
    tf.saved_model.save(served, str(folder), signatures={"serving_default": signature})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 5)
