"""Times calls of the export with the LSTMs that it has, and with Keras' loop in their place.

.venv/bin/python -m benchmarks.export [--learners 500] [--repeat 3]

Runs the sample pipeline once on a small simulated log and exports the fitted network both ways.
Then both SavedModels are called in turn, in one process, about the same made-up learners: with 32
steps each, as many as the sample configuration reads, and with 100. Prints the median time of a
call as a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import PUSHED_OR_NOT, run_sample, simulate
from components.config.training import Categorical
from components.contracts.model_card import ModelCard
from components.contracts.names import EXAMPLES, NUM_STEPS, PREDICT_STEPS, SERVING_DEFAULT
from components.node.settings import TrainerSettings
from components.trainer.export import float32_copy
from components.trainer.network import (
    NetworkInputs,
    build_network,
    read_network_inputs,
)
from components.trainer.served import ServedModel
from components.trainer.start_from import read_start
from components.trainer.transform_graph import TransformGraph
from components.trainer.warm_start import warm_start

if TYPE_CHECKING:
    from components.trainer.states import LstmKernel

LENGTHS = (32, 100)
BATCHES = {1: 300, 8: 200, 64: 50, 1024: 5}  # how often each batch is sent in one repetition
WARM_UP = 5  # calls before the clock starts
KERNELS: tuple[LstmKernel, ...] = ("loop", "served")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Fitted:
    """What a run of the pipeline leaves: a fitted network and all that its export needs."""

    network: keras.Model
    inputs: NetworkInputs
    transform: tft.TFTransformOutput
    settings: TrainerSettings


def main(learners: int, repeat: int) -> None:
    """Measures and prints."""
    print(warn_if_busy(), end="", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="mastery-export-") as name:
        fitted = fit(Path(name), learners)
        rows = [row for steps in LENGTHS for row in measure(fitted, steps, repeat, Path(name))]

    print(f"\n{describe_machine()}; p50 of {repeat} repetitions, medians, in ms.\n")
    print("| signature | steps | batch | Keras' loop | as exported | ratio |")
    print("|---|---:|---:|---:|---:|---:|")
    print("\n".join(rows))


def fit(folder: Path, learners: int) -> Fitted:
    """Runs the sample pipeline for one epoch on a simulated log."""
    log, root = folder / "log", folder / "root"
    simulate(learners, log)
    run_sample(log, root, {"training.epochs": 1}, endings=PUSHED_OR_NOT)

    [model] = root.glob("sample/nodes/Trainer/model/*/Format-Serving")
    [graph] = root.glob("sample/nodes/Transform/transform_graph/*")
    settings = TrainerSettings.model_validate(ModelCard.read(model).config)
    transform = tft.TFTransformOutput(str(graph))
    inputs = read_network_inputs(settings, transform)
    network = build_network(settings, inputs)
    warm_start(network, inputs, settings, read_start(model))
    return Fitted(network, inputs, transform, settings)


def measure(fitted: Fitted, steps: int, repeat: int, folder: Path) -> Iterator[str]:
    """Yields a row of the table for each signature and batch."""
    models = {lstm: export(fitted, steps, lstm, folder) for lstm in KERNELS}
    for batch, calls in BATCHES.items():
        for signature, request in requests(fitted, steps, batch).items():
            times = [p50s(models, signature, request, calls) for _ in range(repeat)]
            loop, served = (statistics.median(part[lstm] for part in times) for lstm in KERNELS)
            yield (
                f"| `{signature}` | {steps} | {batch} | {loop:.2f} | **{served:.2f}** | "
                f"{loop / served:.1f} |"
            )


def export(fitted: Fitted, steps: int, lstm: LstmKernel, folder: Path) -> Any:
    """Returns an export that reads up to `steps` steps, as a server loads it."""
    read = fitted.settings.steps.model_copy(update={"max_steps": steps})
    settings = fitted.settings.model_copy(update={"steps": read})
    network = float32_copy(fitted.network, settings, fitted.inputs, lstm)
    served = ServedModel(network, fitted.inputs, TransformGraph(fitted.transform), settings)

    path = str(folder / f"{lstm}-{steps}")
    tf.saved_model.save(served, path, signatures=served.functions)
    return tf.saved_model.load(path)


def requests(fitted: Fitted, steps: int, batch: int) -> dict[str, dict[str, tf.Tensor]]:
    """Returns made-up learners with `steps` steps each, for both signatures."""
    dense = {**_made_up_steps(fitted, steps, batch), **_made_up_columns(fitted, batch)}
    examples = [
        _serialized({name: values[row : row + 1].ravel() for name, values in dense.items()})
        for row in range(batch)
    ]
    lengths = np.full(batch, steps, np.int64)
    return {
        SERVING_DEFAULT: {EXAMPLES: tf.constant(examples)},
        PREDICT_STEPS: {
            name: tf.constant(values) for name, values in {**dense, NUM_STEPS: lengths}.items()
        },
    }


def p50s(
    models: dict[LstmKernel, Any], signature: str, request: dict[str, tf.Tensor], calls: int
) -> dict[LstmKernel, float]:
    """Returns the median milliseconds of a call of each model, which are called in turn."""
    times: dict[LstmKernel, list[float]] = {lstm: [] for lstm in models}
    for call in range(WARM_UP + calls):
        for lstm, model in models.items():
            started = time.perf_counter()
            model.signatures[signature](**request)
            if call >= WARM_UP:
                times[lstm].append(1e3 * (time.perf_counter() - started))
    return {lstm: statistics.median(values) for lstm, values in times.items()}


def _made_up_steps(fitted: Fitted, steps: int, batch: int) -> dict[str, Array]:
    draw = np.random.default_rng(0)
    shape = (batch, steps)
    return {
        name: _words(draw, shape)
        if isinstance(feature, Categorical)
        else draw.exponential(size=shape).astype(np.float32)
        for name, feature in fitted.settings.steps.features.items()
    }


def _made_up_columns(fitted: Fitted, batch: int) -> dict[str, Array]:
    draw = np.random.default_rng(1)
    settings, spec = fitted.settings, fitted.transform.raw_feature_spec()
    names = dict.fromkeys([*settings.context, *settings.prior.group_by])
    return {
        name: _words(draw, (batch,))
        if spec[name].dtype == tf.string
        else np.ones(batch, spec[name].dtype.as_numpy_dtype)
        for name in names
    }


def _words(draw: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Returns words of which the vocabulary has some."""
    return draw.choice(np.array(["video", "quiz", "forum", "kc_1", "other"], dtype=object), shape)


def _serialized(columns: dict[str, Array]) -> bytes:
    example = tf.train.Example()
    for name, values in columns.items():
        feature = example.features.feature[name]
        if values.dtype == object:
            feature.bytes_list.value.extend(value.encode() for value in values)
        elif values.dtype == np.float32:
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return example.SerializeToString()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--learners", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    main(given.learners, given.repeat)
