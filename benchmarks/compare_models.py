"""Compares kinds of networks on one log: what each reaches over folds, and what it costs.

Every kind is cross-validated by `mastery cross-validate` on the same folds, so differences to the
first kind are paired.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.sample import MASTERY, run_command
from components.config.metrics import describe_metric, foremost_metrics
from components.contracts.contract import ContractError
from components.contracts.cross_validation import CrossValidation, Spread
from components.contracts.run_record import RunRecord
from components.contracts.training_history import TrainingHistory

# What is set in a configuration, by the name of the kind; the first one is compared with.
KINDS: dict[str, dict[str, object]] = {
    "LSTM": {},
    "LSTM, summaries": {"model.summaries": True},
    "LSTM, interaction": {"model.interaction": True},
    "LSTM, attention pooling": {"model.pooling": "attention"},
    "transformer": {"model.kind": "transformer"},
}
PLAIN = {
    "model.summaries": False,
    "model.interaction": False,
    "model.pooling": "last",
    "model.kind": "lstm",
    "evaluation.draws": 0,  # folds show the spread
}


@dataclass(frozen=True)
class Compared:
    """A kind of network after cross-validation.

    Attributes:
        name: of the kind.
        result: its metrics over folds.
        parameters: how many weights the network has.
        seconds: of the Trainer, mean over folds.
    """

    name: str
    result: CrossValidation
    parameters: int
    seconds: float


def compare(config: Path, root: Path, kinds: Sequence[str], options: Sequence[str]) -> None:
    """Cross-validates every kind and prints the table."""
    done = [_cross_validate(name, config, root, options) for name in kinds]
    metrics = foremost_metrics(done[0].result.task)
    print(f"\n{done[0].result.name}: {len(done[0].result.folds)} folds by {done[0].result.by}\n")
    heads = [describe_metric(name).short for name in metrics]
    print("| network | " + " | ".join(heads) + " | weights | fitted in, s |")
    print("|---|" + "---:|" * (len(metrics) + 2))
    for one in done:
        cells = [_cell(one, done[0], name) for name in metrics]
        numbers = f"{one.parameters:,} | {one.seconds:.0f}"
        print(f"| {one.name} | {' | '.join(cells)} | {numbers} |")

    for name, meaning in done[0].result.simple_models.items():
        found = [done[0].result.overall.metrics[metric].simple_models[name] for metric in metrics]
        cells = [_number(comparison.value.mean) for comparison in found]
        print(f"| {meaning} | {' | '.join(cells)} | | |")


def _cross_validate(name: str, config: Path, root: Path, options: Sequence[str]) -> Compared:
    folder = root / name.replace(", ", "-").replace(" ", "-")
    settings = {**PLAIN, **KINDS[name]}
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [*MASTERY, "cross-validate", "--config", str(config), "--root", str(folder)]
    print(f"{name} ...", file=sys.stderr, flush=True)
    run_command([*command, *sets, *options])

    [table] = folder.glob(f"*/cross-validation/{CrossValidation.FILE}")
    result = CrossValidation.read(table.parent)
    histories = [_history(path) for path in folder.glob(f"**/{TrainingHistory.FILE}")]
    records = [RunRecord.read_file(path) for path in folder.glob(f"**/{RunRecord.FILE}")]
    trained = [node.seconds for record in records for node in record.nodes if node.id == "Trainer"]
    longest = sorted((value for value in trained if value is not None), reverse=True)
    return Compared(
        name,
        result,
        histories[0].parameters or 0,
        fmean(longest[: len(result.folds)]),  # without those from the cache
    )


def _history(path: Path) -> TrainingHistory:
    try:
        return TrainingHistory.read(path.parent)
    except ContractError as error:
        sys.exit(str(error))


def _cell(one: Compared, first: Compared, metric: str) -> str:
    """Returns the mean of a metric, and its paired difference to the first kind."""
    value = one.result.overall.metrics[metric].value
    text = _number(value.mean)
    if one is first:
        return text if value.error is None else f"{text} ± {value.error:.4f}"

    before = first.result.overall.metrics[metric].value
    pairs = zip(value.folds, before.folds, strict=True)
    change = Spread.over([a - b for a, b in pairs if a is not None and b is not None])
    if change.mean is None:
        return text
    error = change.error if change.error is not None else math.nan
    return f"{text} ({change.mean:+.4f} ± {error:.4f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="a configuration, such as configs/epfl.yaml")
    parser.add_argument("--root", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS], default=[*KINDS])
    arguments, options = parser.parse_known_args()
    compare(arguments.config, arguments.root, arguments.kinds, options)


if __name__ == "__main__":
    main()
