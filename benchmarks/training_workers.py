"""Measures how long an epoch takes with one, two and three workers that share each batch.

.venv/bin/python -m benchmarks.training_workers [--learners 20000] [--batch-size 1024] [--epochs 4]

Fits the network of `configs/sample.yaml` to one simulated log, in batches of the same size, on this
machine. A fit of one epoch is taken off: what is left is the pace once everything is traced. Prints
a Markdown table, with the bytes that each worker sends in a step, as they are on paper.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import CONFIG, run_command, run_sample, simulate

if TYPE_CHECKING:
    from components.node.settings import TrainerSettings

BYTES = 4  # of a number in float32


def main() -> None:
    """Measures and prints; with `--root`, fits once and prints how long it took."""
    options = _parse()
    if options.root:
        print(json.dumps(_time_fit(options)))
        return

    print(warn_if_busy(), end="", file=sys.stderr)
    print(
        f"{describe_machine()}; {options.learners:,} learners, batches of {options.batch_size:,}, "
        f"medians of {options.runs}.\n"
    )
    print("| workers | first epoch, s | each epoch, s | to one worker | KB sent in a step |")
    print("|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="mastery-workers-") as name:
        log, root = Path(name, "log"), Path(name, "root")
        simulate(options.learners, log)
        run_sample(log, root, None, "--to", "Transform")
        one = None
        for workers in options.workers:
            runs = [_pace(root, workers, options) for _ in range(options.runs)]
            first, each = (
                median(values) for values in zip(*(run[:2] for run in runs), strict=True)
            )
            one = one or each
            sent = 2 * (workers - 1) / workers * runs[0][2] / 1000
            print(f"| {workers} | {first:.1f} | {each:.2f} | {each / one:.2f} | {sent:,.0f} |")


def _pace(root: Path, workers: int, options: argparse.Namespace) -> tuple[float, float, int]:
    """Returns seconds of a fit of one epoch, of every other epoch, and the bytes added up."""

    def fit(epochs: int) -> dict[str, float]:
        output = run_command([
            sys.executable, "-m", "benchmarks.training_workers",
            "--root", str(root), "--workers", str(workers), "--epochs", str(epochs),
            "--batch-size", str(options.batch_size),
        ]).output  # fmt: skip
        found: dict[str, float] = json.loads(output.splitlines()[-1])
        return found

    short, long = fit(1), fit(1 + options.epochs)
    each = (long["seconds"] - short["seconds"]) / options.epochs
    return short["seconds"], each, int(short["bytes"])


def _time_fit(options: argparse.Namespace) -> dict[str, float]:
    """Fits once, as the Trainer does, without calibration and export."""
    import tensorflow_transform as tft

    from components.config import load_config
    from components.node.settings import TrainerSettings
    from components.trainer.distributed.order import Order
    from components.trainer.distributed.processes import ThisMachine
    from components.trainer.distributed.supervisor import fit_on_workers
    from components.trainer.fit import FitCallbacks, fit_network, reproducible
    from components.trainer.network import embedding_name, read_network_inputs
    from components.trainer.preparation import batches_of, network_of

    [workers] = options.workers
    values = {
        "epochs": options.epochs,
        "patience": options.epochs,
        "batch_size": options.batch_size,
        "workers": workers,
        "device": "cpu",
    }
    overrides = [f"training.{name}={value}" for name, value in values.items()]
    settings: TrainerSettings = TrainerSettings.of(load_config(CONFIG, overrides))
    nodes = options.root / "sample" / "nodes"
    [graph] = nodes.glob("Transform/transform_graph/*")
    [examples] = nodes.glob("Transform/transformed_examples/*")
    train, evaluation = ([str(examples / f"Split-{name}" / "*")] for name in ("train", "eval"))

    with tempfile.TemporaryDirectory(prefix="mastery-fit-") as name, reproducible(7):
        transform = tft.TFTransformOutput(str(graph))
        inputs = read_network_inputs(settings, transform)
        folder = Path(name)
        started = time.perf_counter()
        if workers == 1:
            network = network_of(settings, inputs, "fused")
            batches = batches_of(train, evaluation, settings, inputs, transform, 1, folder)
            callbacks = FitCallbacks(settings.training, folder / "logs")
            fit_network(network, *batches, settings.training, callbacks)
        else:
            order = Order(
                settings=settings,
                train_files=train,
                eval_files=evaluation,
                transform_graph=str(graph),
                workers=workers,
                folder=name,
                logs=str(folder / "logs"),
            )
            fit_on_workers(order, ThisMachine([], os.cpu_count() or 1))
        seconds = time.perf_counter() - started

        network = network_of(settings, inputs, "fused")
        embeddings = {embedding_name(key) for key in (*inputs.steps, *inputs.context)}
        twice = sum(layer.count_params() for layer in network.layers if layer.name in embeddings)
        return {"seconds": seconds, "bytes": BYTES * (network.count_params() + twice)}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--learners", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=4, help="epochs after the first")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
