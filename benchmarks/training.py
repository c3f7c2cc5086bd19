"""Measures how many examples a second the Trainer fits, beside `model.fit` of the plain script.

.venv/bin/python -m benchmarks.training [--learners 2000 20000] [--epochs 4] [--runs 3]

Both fit the network of `configs/sample.yaml` to one simulated log, in batches of equally many
examples, in turn, each fit in a new process. A fit of one epoch is taken off: what is left is the
pace once everything is traced, and what was taken off is the start. Prints a Markdown table.
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
from statistics import median

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import CONFIG, run_command, run_sample, simulate

Fit = Callable[[int], None]  # fits for so many epochs


@dataclass(frozen=True)
class Pace:
    """How fast a fit is.

    Attributes:
        examples: in the train split.
        first: seconds of a fit of one epoch, from untraced functions to evaluated weights.
        each: seconds of every epoch after it.
    """

    examples: int
    first: float
    each: float

    @property
    def per_second(self) -> float:
        """Examples a second after the first epoch."""
        return self.examples / self.each


def main() -> None:
    """Measures and prints; with `--fit`, fits once in this process and prints how long it took."""
    options = _parse()
    if options.fit:
        print(json.dumps(_time_fit(options)))
        return

    print(warn_if_busy(), end="", file=sys.stderr)
    print(f"{describe_machine()}; {options.runs} runs each, medians.\n")
    print("| learners | | first epoch, s | each epoch, s | examples a second |")
    print("|---:|---|---:|---:|---:|")
    for learners in options.learners:
        with tempfile.TemporaryDirectory(prefix="mastery-training-") as folder:
            _measure(learners, Path(folder), options)


def _measure(learners: int, folder: Path, options: argparse.Namespace) -> None:
    """Prints the rows of one size."""
    log, root = folder / "log", folder / "root"
    simulate(learners, log)
    run_sample(log, root, None, "--to", "Transform")

    sources = {"plain": log, "Trainer": root}
    paces: dict[str, list[Pace]] = {kind: [] for kind in sources}
    for _ in range(options.runs):
        for kind, source in sources.items():
            paces[kind].append(_pace(kind, source, options.epochs))

    for kind, of_kind in paces.items():
        first = median(pace.first for pace in of_kind)
        each = median(pace.each for pace in of_kind)
        rate = median(pace.per_second for pace in of_kind)
        print(f"| {learners:,} | {kind} | {first:.2f} | {each:.2f} | {rate:,.0f} |", flush=True)


def _pace(kind: str, source: Path, epochs: int) -> Pace:
    """Fits for one epoch, and for more, and returns what the difference says."""
    fit = [sys.executable, "-m", "benchmarks.training", "--fit", kind, "--source", str(source)]
    short = json.loads(run_command([*fit, "--epochs", "1"]).output)
    long = json.loads(run_command([*fit, "--epochs", str(1 + epochs)]).output)
    each = (long["seconds"] - short["seconds"]) / epochs
    return Pace(short["examples"], short["seconds"], each)


def _time_fit(options: argparse.Namespace) -> dict[str, float]:
    prepare = _prepare_plain if options.fit == "plain" else _prepare_trainer
    with tempfile.TemporaryDirectory() as folder:
        examples, fit = prepare(options.source, Path(folder))
        started = time.perf_counter()
        fit(options.epochs)
        return {"examples": examples, "seconds": time.perf_counter() - started}


def _prepare_plain(log: Path, out: Path) -> tuple[int, Fit]:
    """Returns the number of training examples, and the fit of the plain script."""
    import keras

    from benchmarks import plain

    keras.utils.set_random_seed(7)
    splits = {name: plain.dense(frame) for name, frame in plain.split(plain.join(log)).items()}
    preprocess, sizes = plain.learn(splits["train"][0])
    batches = plain.make_batches(splits, preprocess)
    network = plain.build(sizes)
    return len(splits["train"][1]), lambda epochs: plain.fit(network, batches, epochs, out)


def _prepare_trainer(root: Path, out: Path) -> tuple[int, Fit]:
    """Returns the number of training examples, and the fit of the Trainer, on Transform's output.

    The fit includes that of reading and parsing examples, which the first epoch does.
    """
    import tensorflow_transform as tft

    from components.config import load_config
    from components.contracts.log_summary import LogSummary
    from components.node.settings import TrainerSettings
    from components.trainer.batches import read_batches
    from components.trainer.fit import FitCallbacks, compile_network, fit_network, reproducible
    from components.trainer.lstm import parts_of
    from components.trainer.network import build_network, read_network_inputs

    settings = TrainerSettings.of(load_config(CONFIG, []))
    nodes = root / "sample" / "nodes"
    [graph] = nodes.glob("Transform/transform_graph/*")
    [examples] = nodes.glob("Transform/transformed_examples/*")
    [log] = nodes.glob("ExampleGen/examples/*")
    transform = tft.TFTransformOutput(str(graph))

    def fit(epochs: int) -> None:
        training = settings.training.model_copy(update={"epochs": epochs})
        inputs = read_network_inputs(settings, transform)
        spec = inputs.parse_spec(transform)
        files = ([str(examples / f"Split-{split}" / "*")] for split in ("train", "eval"))
        with reproducible(training.seed):
            train, evaluation = read_batches(*files, settings, inputs, spec, 1, out)
            parts = parts_of(training.batch_size)
            network = build_network(settings, inputs, lstm="fused", parts=parts)
            compile_network(network, settings.label, training)
            fit_network(network, train, evaluation, training, FitCallbacks(training, out / "logs"))

    return sum(LogSummary.read(log).splits["train"].values()), fit


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--learners", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--epochs", type=int, default=4, help="epochs after the first")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--fit", choices=["plain", "Trainer"], help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
