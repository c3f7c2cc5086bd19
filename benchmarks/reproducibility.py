"""Repeats whole runs of one commit under load, and checks that their results are the same bytes.

.venv/bin/python benchmarks/reproducibility.py [--runs 20] [--at-once 3] [--learners 1000]

Every run has its own root and process and uses no cache; `--at-once` of them share the machine,
which changes the pace of each. Prints how many different examples, statistics, models and metrics
there are, and exits with 1 if there is more than one of any.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.contracts.model_card import WEIGHTS

REPOSITORY = Path(__file__).parents[1]
MASTERY = [sys.executable, "-m", "pipeline.cli.main"]

Hashes = dict[str, str]


def main() -> int:
    """Runs, compares and prints."""
    options = _parse()
    with tempfile.TemporaryDirectory(prefix="mastery-reproducibility-") as folder:
        log = Path(folder, "log")
        _mastery("simulate", "--learners", str(options.learners), "--seed", "1", "--out", str(log))
        started = time.monotonic()

        def run(number: int) -> Hashes:
            root = Path(folder, str(number))
            _run(log, root, options.epochs)
            print(f"run {number + 1} ended after {time.monotonic() - started:.0f} s", flush=True)
            return hash_run(root)

        with ThreadPoolExecutor(options.at_once) as pool:
            found = list(pool.map(run, range(options.runs)))

    differ = False
    for kind in found[0]:
        counts = Counter(hashes[kind] for hashes in found).most_common()
        differ |= len(counts) > 1
        shown = ", ".join(f"{value[:12]} x {count}" for value, count in counts[:4])
        print(f"{kind:<32} {len(counts):>2} different of {len(found)}: {shown}")
    return int(differ)


def hash_run(root: Path) -> Hashes:
    """Returns a digest of every kind of result of the one run in a root, by name."""
    nodes = root / "sample" / "nodes"
    [weights] = nodes.glob(f"Trainer/model/*/Format-Serving/{WEIGHTS}")
    return {
        "examples (bytes)": _digest(_files(nodes / "ExampleGen" / "examples", "*.gz")),
        "statistics (bytes)": _digest(_files(nodes / "StatisticsGen", "FeatureStats.pb")),
        "vocabularies (bytes)": _digest(
            _files(nodes / "Transform" / "transform_graph", "assets/*")
        ),
        "transformed examples (in order)": _digest(_transformed(nodes / "Transform")),
        "transformed examples (sorted)": _digest(sorted(_transformed(nodes / "Transform"))),
        "weights": _digest(_arrays(weights)),
        "predictions (bytes)": _digest(_files(nodes / "Evaluator", "predictions.parquet")),
        "metrics (bytes)": _digest(_files(nodes / "Evaluator", "metrics.json")),
    }


def _files(folder: Path, pattern: str) -> Iterator[bytes]:
    for file in sorted(folder.rglob(pattern)):
        yield file.name.encode()
        yield file.read_bytes()


def _transformed(folder: Path) -> Iterator[bytes]:
    """Yields the transformed examples, each with its features in order of their names."""
    for file in sorted(folder.rglob("transformed_examples-*.gz")):
        for record in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
            yield tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def _arrays(file: Path) -> Iterator[bytes]:
    with np.load(file) as arrays:
        for name in sorted(arrays):
            yield f"{name} {arrays[name].dtype} {arrays[name].shape}".encode()
            yield arrays[name].tobytes()


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    count = 0
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
        count += 1
    assert count, "expected files to compare, found none"
    return digest.hexdigest()


def _run(log: Path, root: Path, epochs: int) -> None:
    values = {
        "data.events": log / "events.parquet",
        "data.outcomes": log / "outcomes.parquet",
        "training.epochs": epochs,
        "gates": "[{metric: f1_macro, min: 0.1}]",
    }
    sets = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    config = str(REPOSITORY / "configs" / "sample.yaml")
    _mastery("run", "--config", config, "--root", str(root), "--no-cache", *sets)


def _mastery(*arguments: str) -> None:
    done = subprocess.run(
        [*MASTERY, *arguments], cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"mastery {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="whole runs")
    parser.add_argument("--at-once", type=int, default=3, help="runs that share the machine")
    parser.add_argument("--learners", type=int, default=1000, help="learners of the simulated log")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each training")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
