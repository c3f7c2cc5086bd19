"""Measures what shared sequences cost beside a plain Keras script that reads each sequence once.

.venv/bin/python -m benchmarks.shared_sequences [--log FOLDER] [--learners 500] [--epochs 3]

The log has one answer per event and asks for the next one, as in knowledge tracing: `FOLDER` holds
the `events.parquet` and `outcomes.parquet` of `configs/assist2015.yaml`; without it, answers of so
many learners are made up. Three things are measured, each in a new process: the plain script's fit,
the Trainer's fit on Transform's output, and a whole `mastery run`. A fit of one epoch is taken off
one of several: what is left is the pace once everything is traced. CPU seconds are those of all
cores. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import MASTERY, PUSHED_OR_NOT, REPOSITORY, Finished, run_command

CONFIG = REPOSITORY / "configs" / "assist2015.yaml"
TABLES = ("events", "outcomes")
CLASSES = ["wrong", "correct"]
# The network and the split of the plain script, and nothing that it does not do.
SETTINGS = (
    "data.splits={train: 8, eval: 1, test: 1}",
    "context.unit_id.embedding=32",
    "model={lstm: [64], dense: [64], dropout: 0.3, interaction: true}",
    "training={batch_size: 64, learning_rate: 0.004, class_weights: none}",
    "evaluation={draws: 0}",
    "gates=[{metric: auc, min: 0}]",
)
TRAIN = 8  # parts of ten that the plain script is fitted to; one more decides when to stop

Fit = Callable[[int], None]  # fits for so many epochs


@dataclass(frozen=True)
class Cost:
    """Seconds that something took.

    Attributes:
        wall: by the clock.
        cpu: of all cores.
    """

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        """Returns what was spent beside another."""
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


def main() -> None:
    """Measures and prints; with `--fit`, fits once in this process and prints what it cost."""
    options = _parse()
    if options.fit:
        print(json.dumps(_time_fit(options)))
        return

    print(warn_if_busy(), end="", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="mastery-shared-") as name:
        folder = Path(name)
        log = options.log or make_log(options.learners, folder / "log")
        _measure(log, folder, options.epochs)


def _measure(log: Path, folder: Path, epochs: int) -> None:
    """Prints the costs on one log."""
    # Up to Transform first, for the Trainer's fit, in a root of its own.
    run_mastery(log, folder / "prepared", 1 + epochs, "--to", "Transform")
    sources = {"plain": log, "Trainer": folder / "prepared"}
    whole, each = {}, {}
    for kind, source in sources.items():
        first, whole[kind] = (fit_cost(kind, source, count) for count in (1, 1 + epochs))
        rest = whole[kind] - first
        each[kind] = Cost(rest.wall / epochs, rest.cpu / epochs)
    ended = run_mastery(log, folder / "root", 1 + epochs)
    whole["mastery run"] = Cost(ended.seconds, ended.cpu)

    outcomes = pl.scan_parquet(log / "outcomes.parquet").select(pl.len()).collect().item()
    print(f"{describe_machine()}; {outcomes:,} outcomes, {1 + epochs} epochs.\n")
    print("| | CPU s | ratio | wall s | ratio | an epoch, CPU s | ratio | wall s | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for kind, cost in whole.items():
        cells = [kind, *_cells(cost, whole["plain"])]
        cells += _cells(each[kind], each["plain"]) if kind in each else [""] * 4
        print(f"| {' | '.join(cells)} |")


def _cells(cost: Cost, plain: Cost) -> list[str]:
    pairs = ((cost.cpu, plain.cpu), (cost.wall, plain.wall))
    return [text for ours, theirs in pairs for text in (f"{ours:.1f}", f"{ours / theirs:.2f}")]


def make_log(learners: int, folder: Path) -> Path:
    """Writes made-up answers of learners, some 35 each on up to 100 skills; returns the folder."""
    draw = np.random.default_rng(1)
    lengths = np.minimum(2 + draw.exponential(33, learners).astype(np.int64), 618)
    ids = np.repeat(np.arange(learners), lengths)
    places = np.concatenate([np.arange(1, length + 1) for length in lengths])
    skills = (draw.integers(0, 25, learners).repeat(lengths) + places // 8) % 100
    able = draw.normal(0.6, 1.0, learners).repeat(lengths) + draw.normal(0, 1, 100)[skills]
    right = draw.random(len(ids)) < 1 / (1 + np.exp(-able - 0.02 * places))

    keys = {"learner_id": [f"s{number}" for number in ids], "unit_id": [f"k{n}" for n in skills]}
    answer = np.where(right, "correct", "wrong")
    folder.mkdir(parents=True)
    events = pl.DataFrame({**keys, "time": places, "event_type": "answer", "correct": right * 1})
    events.write_parquet(folder / "events.parquet")
    outcomes = pl.DataFrame({**keys, "as_of": places, "answer": answer, "fold": ids % 5})
    outcomes.filter(pl.col("as_of") > 1).write_parquet(folder / "outcomes.parquet")
    return folder


def run_mastery(log: Path, root: Path, epochs: int, *options: str) -> Finished:
    """Runs the pipeline on a log, without early stopping, to its end or to a node."""
    values: dict[str, object] = {f"data.{table}": log / f"{table}.parquet" for table in TABLES}
    values |= {"training.epochs": epochs, "training.patience": epochs}
    changes = [*SETTINGS, *(f"{key}={value}" for key, value in values.items())]
    sets = [word for change in changes for word in ("--set", change)]
    command = [*MASTERY, "run", "--config", str(CONFIG), "--root", str(root), *options, *sets]
    return run_command(command, endings=PUSHED_OR_NOT)


def fit_cost(kind: str, source: Path, epochs: int) -> Cost:
    """Returns what a fit in a new process costs, from reading its inputs on."""
    fit = [sys.executable, "-m", "benchmarks.shared_sequences", "--fit", kind]
    ended = run_command([*fit, "--log", str(source), "--epochs", str(epochs)])
    return Cost(**json.loads(ended.output))


def _time_fit(options: argparse.Namespace) -> dict[str, float]:
    fit = fit_plain if options.fit == "plain" else fit_trainer
    import keras  # noqa: F401 - both need it; its import is not measured

    started, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fit(options.log, Path(folder), options.epochs)
    return {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def fit_plain(log: Path, out: Path, epochs: int) -> None:
    """Does the Trainer's work as one would write it once: padded sequences, masked loss, `fit`."""
    import keras

    from components.config import load_config

    config = load_config(CONFIG, SETTINGS)
    keras.utils.set_random_seed(config.training.seed)
    columns, units = read_sequences(log, config.steps.max_steps)
    part = columns.pop("part")
    network = plain_network(units, config.model.lstm[0])
    network.compile(
        keras.optimizers.Adam(config.training.learning_rate),
        "sparse_categorical_crossentropy",
        weighted_metrics=[],
        jit_compile=False,
    )
    train, evaluation = (
        padded_batches(columns, rows, config.training.batch_size)
        for rows in (part < TRAIN, part == TRAIN)
    )
    network.fit(
        train,
        validation_data=evaluation,
        epochs=epochs,
        callbacks=[keras.callbacks.TensorBoard(str(out), histogram_freq=1)],
        verbose=0,
    )


def read_sequences(log: Path, longest: int) -> tuple[dict[str, np.ndarray], int]:
    """Returns a padded sequence [longest] per learner, cut where it is longer, and the units.

    The answer at a place is that of the next question, and `asked` its unit.
    """
    order = ["learner_id", "time"]
    events = pl.read_parquet(log / "events.parquet").sort(order)
    outcomes = pl.read_parquet(log / "outcomes.parquet").sort("learner_id", "as_of")
    units = {name: place + 1 for place, name in enumerate(sorted(set(events["unit_id"])))}
    ids = pl.DataFrame({"unit_id": [*units], "unit": [*units.values()]})
    first = pl.int_range(pl.len()).over("learner_id")
    events = events.join(ids, on="unit_id", maintain_order="left").with_columns(place=first)
    asked = outcomes.join(ids, on="unit_id", maintain_order="left").join_asof(
        events.select("learner_id", "time", "place"),
        left_on="as_of",
        right_on="time",
        by="learner_id",
        allow_exact_matches=False,
        check_sortedness=False,  # both are sorted, by learner
    )
    asked = asked.drop_nulls("place")

    learners = pl.concat([events["learner_id"], outcomes["learner_id"]]).unique().sort()
    numbers = pl.DataFrame({"learner_id": learners}).with_row_index("learner")
    found = [
        frame.join(numbers, on="learner_id", maintain_order="left") for frame in (events, asked)
    ]
    rows = [
        (frame["learner"].cast(pl.Int64) * 1000 + frame["place"] // longest).to_numpy()
        for frame in found
    ]
    kept = np.unique(rows[0])
    shape = (len(kept), longest)
    at = [
        (np.searchsorted(kept, row), (frame["place"] % longest).to_numpy())
        for row, frame in zip(rows, found, strict=True)
    ]

    columns: dict[str, np.ndarray] = {name: np.zeros(shape, np.int32) for name in ("unit", "asked")}
    columns |= {name: np.zeros(shape, np.float32) for name in ("correct", "weight")}
    columns["label"] = np.zeros(shape, np.int32)
    columns["unit"][at[0]] = events["unit"].to_numpy()
    columns["correct"][at[0]] = events["correct"].to_numpy()
    columns["asked"][at[1]] = asked["unit"].to_numpy()
    columns["label"][at[1]] = (asked["answer"] == CLASSES[1]).to_numpy()
    columns["weight"][at[1]] = 1
    columns["part"] = kept // 1000 * 7919 % 10
    return columns, len(units)


def padded_batches(columns: dict[str, np.ndarray], rows: np.ndarray, size: int) -> Any:
    """Returns shuffled batches of (inputs, label, weight), each as long as its longest sequence."""
    import tensorflow as tf

    chosen = {name: values[rows] for name, values in columns.items()}

    def cut(batch: dict[str, Any]) -> Any:
        longest = tf.reduce_max(tf.math.count_nonzero(batch["unit"], axis=1))
        short = {name: values[:, :longest] for name, values in batch.items()}
        inputs = {name: short[name] for name in ("unit", "correct", "asked")}
        return inputs, short["label"], short["weight"]

    batches = tf.data.Dataset.from_tensor_slices(chosen).shuffle(len(chosen["label"]), seed=7)
    return batches.batch(size).map(cut, num_parallel_calls=2).prefetch(2)


def plain_network(units: int, width: int) -> Any:
    """Returns the network of the configuration, with Keras' own layers, for all places at once."""
    import keras

    inputs = {
        "unit": keras.Input((None,), dtype="int32", name="unit"),
        "correct": keras.Input((None,), name="correct"),
        "asked": keras.Input((None,), dtype="int32", name="asked"),
    }
    unit = keras.layers.Embedding(1 + units, 32)(inputs["unit"])
    correct = keras.ops.expand_dims(inputs["correct"], -1)
    state = keras.layers.Concatenate()([unit, correct])
    mask = keras.ops.not_equal(inputs["unit"], 0)
    state = keras.layers.LSTM(width, return_sequences=True)(state, mask=mask)

    asked = keras.layers.Embedding(1 + units, 32)(inputs["asked"])
    weights = keras.layers.Dense(width)(asked)
    state = keras.layers.Concatenate()([state, asked, keras.layers.Multiply()([state, weights])])
    state = keras.layers.Dropout(0.3)(keras.layers.Dense(64, activation="relu")(state))
    answer = keras.layers.Dense(len(CLASSES), activation="softmax")(state)
    return keras.Model(inputs, answer)


def fit_trainer(root: Path, out: Path, epochs: int) -> None:
    """Fits as the Trainer does, on Transform's output, and reads its examples."""
    import tensorflow_transform as tft

    from components.config import load_config
    from components.node.settings import TrainerSettings
    from components.trainer.batches import read_batches
    from components.trainer.fit import FitCallbacks, compile_network, fit_network, reproducible
    from components.trainer.lstm import parts_of
    from components.trainer.network import build_network, read_network_inputs

    settings = TrainerSettings.of(load_config(CONFIG, SETTINGS))
    training = settings.training.model_copy(update={"epochs": epochs, "patience": epochs})
    nodes = root / settings.name / "nodes"
    [graph] = nodes.glob("Transform/transform_graph/*")
    [examples] = nodes.glob("Transform/transformed_examples/*")
    transform = tft.TFTransformOutput(str(graph))

    inputs = read_network_inputs(settings, transform)
    spec = inputs.parse_spec(transform)
    train_files, eval_files = (
        [str(examples / f"Split-{split}" / "*")] for split in ("train", "eval")
    )
    with reproducible(training.seed):
        train, evaluation = read_batches(
            train_files, eval_files, settings, inputs, spec, 1, out / "examples"
        )
        parts = parts_of(training.batch_size)
        network = build_network(settings, inputs, parts=parts, shared=True)
        compile_network(network, settings.label, training)
        fit_network(network, train, evaluation, training, FitCallbacks(training, out / "logs"))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--log", type=Path, help="folder of a log; default: answers made up")
    parser.add_argument("--learners", type=int, default=2_000, help="who answer, if made up")
    parser.add_argument("--epochs", type=int, default=3, help="epochs after the first")
    parser.add_argument("--fit", choices=["plain", "Trainer"], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
