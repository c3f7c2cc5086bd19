"""Measures what a remedy for gaps does on a simulated log with a planted bias, and what it costs.

Of every seed a log is simulated and a model fitted with and without the remedy, by one `mastery
run`. The gaps of both come from the same test split of that run.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.sample import latest_record, run_sample
from components.contracts.evaluation import Evaluation
from components.simulator.bias import BIASES, COLUMN
from components.simulator.simulate import simulate

MEASURES = ("recall", "precision", "alarm_rate", "calibration")
CLASS = "not_mastered"
REMEDY: dict[str, object] = {"fairness.reweigh": COLUMN}


@dataclass(frozen=True)
class Measured:
    """One seed: gaps between women and men without and with the remedy, and macro F1.

    Attributes:
        gaps: by measure, without and with.
        f1: without and with.
    """

    gaps: dict[str, tuple[float, float]]
    f1: tuple[float, float]


def measure(
    seed: int, bias: str, learners: int, settings: dict[str, object], folder: Path
) -> Measured:
    """Simulates a log, runs the pipeline on it with the remedy, and reads what came of it."""
    log, root = folder / f"log-{bias}-{seed}", folder / f"runs-{bias}-{seed}"
    simulate(learners, seed, log, bias=bias)
    fixed = {
        "fairness.columns": f"[{COLUMN}]",
        "fairness.gates": "[]",
        "explain.truth": "none",
        "gates": "[{metric: f1_macro, min: 0}]",
    }
    run_sample(log, root, {**fixed, **settings})

    metrics = latest_record(root).metrics
    assert metrics is not None
    evaluation = Evaluation.read_file(Path(metrics))
    fairness = evaluation.fairness
    assert fairness is not None
    assert fairness.cost is not None

    gaps = {}
    for item in fairness.measures:
        if item.class_ == CLASS and item.metric in MEASURES and item.widest and item.without:
            gaps[item.metric] = (item.without, item.widest.size)
    plain, with_remedy = fairness.cost.metrics["f1_macro"], evaluation.overall.metrics["f1_macro"]
    assert plain is not None
    assert with_remedy is not None
    return Measured(gaps, (plain, with_remedy))


def main() -> int:
    """Prints a row per measure: mean gaps without and with the remedy, and what macro F1 costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for logs and runs")
    parser.add_argument("--bias", choices=BIASES, default=BIASES[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--learners", type=int, default=4000)
    arguments = parser.parse_args()

    found = [
        measure(seed, arguments.bias, arguments.learners, REMEDY, arguments.folder)
        for seed in range(1, arguments.seeds + 1)
    ]
    print(f"{'':12} {'without':>8} {'with':>8} {'change':>8}")
    rows = {name: [item.gaps[name] for item in found if name in item.gaps] for name in MEASURES}
    rows["macro F1"] = [item.f1 for item in found]
    for name, pairs in rows.items():
        before, after = (fmean(side) for side in zip(*pairs, strict=True))
        print(f"{name:12} {before:8.3f} {after:8.3f} {after - before:+8.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
