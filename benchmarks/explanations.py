"""Times explanations beside plain answers, and says how exactly they add up.

.venv/bin/python -m benchmarks.explanations [--learners 4000] [--repeat 3]

Runs the sample pipeline on a simulated log. Then both signatures of the model answer about the same
test examples in turn, in one session with one thread, as TensorFlow Serving would compute them.
Prints the CPU seconds of both as a ratio, and by how much attributions fail to add up.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import PUSHED_OR_NOT, run_sample, simulate
from components.contracts.model_card import ModelCard
from components.contracts.names import (
    ATTRIBUTIONS,
    EXAMPLES,
    EXPLAIN,
    EXPLAINED_CLASS,
    PROBABILITIES,
    SERVE,
    SERVING_DEFAULT,
    TYPICAL_ANSWER,
)
from components.serving_check.questions import ModelInputs, only_inputs

BATCHES = {1: 60, 64: 8}  # how many batches of each size are asked about in one repetition
PLAIN_CALLS = 5  # plain answers are quick, so each is asked for more often
TOLERANCE = 1e-3

Array = np.ndarray[Any, Any]
Ask = Callable[[Array], dict[str, Array]]


def main(learners: int, repeat: int) -> None:
    """Measures and prints."""
    print(warn_if_busy(), end="", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="mastery-explanations-") as name:
        log, root = Path(name, "log"), Path(name, "root")
        simulate(learners, log)
        run_sample(log, root, endings=PUSHED_OR_NOT)
        nodes = root / "sample" / "nodes"
        [model] = nodes.glob("Trainer/model/*/Format-Serving")
        examples = _test_examples(nodes, model)
        plain, explained = _signatures(model)

    print(f"\n{describe_machine()}.\n")
    print("| batch | plain, ms of CPU | explained | ratio |\n|---:|---:|---:|---:|")
    for batch, count in BATCHES.items():
        seconds = _cpu_seconds(plain, explained, examples, batch, count * repeat)
        print(f"| {batch} | {1e3 * seconds[0]:.2f} | {1e3 * seconds[1]:.1f} | ", end="")
        print(f"**{seconds[1] / seconds[0]:.1f}** |")

    off = np.concatenate(list(_errors(explained, examples)))
    p50, p90, p99 = np.percentile(off, [50, 90, 99])
    print(f"\nThe sums of {len(off)} test examples are off by at most {off.max():.1e}", end=" ")
    print(
        f"(p50 {p50:.1e}, p90 {p90:.1e}, p99 {p99:.1e}); {(off > TOLERANCE).sum()} by more than",
        end=" ",
    )
    print(f"{TOLERANCE:g}.")


def _test_examples(nodes: Path, model: Path) -> Array:
    [folder] = nodes.glob("ExampleGen/examples/*/Split-test")
    files = [str(file) for file in folder.iterdir()]
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    inputs = ModelInputs.of(ModelCard.read(model))
    return np.array(only_inputs(list(records), inputs), dtype=object)


def _signatures(model: Path) -> tuple[Ask, Ask]:
    """Returns functions that answer about serialized examples: plainly, and with reasons."""
    one = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=one)
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, [SERVE], str(model)).signature_def

    def ask(name: str, examples: Array) -> dict[str, Array]:
        given = {EXAMPLES: examples, EXPLAINED_CLASS: np.full(len(examples), b"", object)}
        feed = {item.name: given[key] for key, item in loaded[name].inputs.items()}
        wanted = {key: item.name for key, item in loaded[name].outputs.items()}
        found: dict[str, Array] = session.run(wanted, feed)
        return found

    return (lambda rows: ask(SERVING_DEFAULT, rows)), (lambda rows: ask(EXPLAIN, rows))


def _cpu_seconds(
    plain: Ask, explained: Ask, examples: Array, batch: int, count: int
) -> tuple[float, float]:
    """Returns CPU seconds of a call of each, asked about the same batches in turn."""
    draw = np.random.default_rng(0)
    batches = [examples[draw.choice(len(examples), batch)] for _ in range(count)]
    for rows in batches[:3]:
        plain(rows)
        explained(rows)

    totals = [0.0, 0.0]
    for rows in batches:
        started = time.process_time()
        for _ in range(PLAIN_CALLS):
            plain(rows)
        between = time.process_time()
        explained(rows)
        totals[0] += (between - started) / PLAIN_CALLS
        totals[1] += time.process_time() - between
    return totals[0] / count, totals[1] / count


def _errors(explained: Ask, examples: Array) -> Iterator[Array]:
    """Yields by how much the attributions of each example fail to add up."""
    for start in range(0, len(examples), 256):
        found = explained(examples[start : start + 256])
        added = found[ATTRIBUTIONS].sum(axis=1)
        yield np.abs(added - (found[PROBABILITIES].max(axis=1) - found[TYPICAL_ANSWER]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--learners", type=int, default=4000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    main(given.learners, given.repeat)
