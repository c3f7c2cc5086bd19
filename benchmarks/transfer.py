"""Measures what starting from another model brings to a platform with few learners.

.venv/bin/python -m benchmarks.transfer DATA [--learners 300] [--seeds 3] [--folder FOLDER]

DATA is a folder with the logs that `configs/` reads: `assist2009`, `assist2015` and `epfl`. Models
of 300 learners of assist2009 start from fresh weights, from a model of assist2015, whose answers
are turned into the same question, and from a model of assist2009's other learners, which is the
most that a start can bring. All are measured on learners that no model has seen. Models of epfl
start from the model of assist2015, with which they have one column in common. Prints a table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import polars as pl
import yaml
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.schema_pb2 import Schema

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import MASTERY, PUSHED_OR_NOT, REPOSITORY, latest_record, run_command
from components.contracts.evaluation import Evaluation

METRICS = ("f1_macro", "auc", "log_loss")
CLASSES = ["not_mastered", "partial", "proficient"]
NEXT = 5  # answers whose number of correct ones is the label, as in assist2009
TEST_LEARNERS = 600
EPFL_FOLDS = 5


@dataclass(frozen=True)
class Log:
    """A log that models are fitted to.

    Attributes:
        config: the configuration's file.
        root: where its runs are kept.
    """

    config: Path
    root: Path


def main() -> None:
    """Fits, measures and prints."""
    options = _parse()
    print(warn_if_busy(), end="", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="mastery-transfer-") as temporary:
        folder = options.folder or Path(temporary)
        print(f"{describe_machine()}; {options.seeds} seeds, mean and standard deviation.\n")
        print("| log | started from | " + " | ".join(METRICS) + " |")
        print("|---|---|" + "--:|" * len(METRICS), flush=True)

        logs = _write_logs(options.data, options.learners, folder)
        foreign = _model(logs["foreign"])
        starts = {"fresh weights": None, "assist2015": foreign, "others": _model(logs["others"])}
        _compare(f"{options.learners} learners of assist2009", logs["few"], starts, options.seeds)
        del starts["others"]
        _compare("epfl, five folds", logs["epfl"], starts, options.seeds, folds=EPFL_FOLDS)


def _compare(
    name: str, log: Log, starts: Mapping[str, Path | None], seeds: int, folds: int = 1
) -> None:
    """Prints a row for each start, and one for the difference to fresh weights."""
    fresh: list[dict[str, float]] = []
    for start, model in starts.items():
        found: list[dict[str, float]] = []
        for fold in range(folds):
            found += _metrics(log, seeds, fold if folds > 1 else None, model)
        _print_row(name, start, found)

        fresh = fresh or found
        if model is not None:
            pairs = zip(found, fresh, strict=True)
            gains = [{key: now[key] - then[key] for key in METRICS} for now, then in pairs]
            _print_row("", "difference to fresh, fit by fit", gains)


def _print_row(name: str, start: str, found: list[dict[str, float]]) -> None:
    columns = ([fit[metric] for fit in found] for metric in METRICS)
    cells = (f"{mean(values):.4f} ± {stdev(values):.4f}" for values in columns)
    print(f"| {name} | {start} | {' | '.join(cells)} |", flush=True)


def _metrics(
    log: Log, seeds: int, fold: int | None, start: Path | None
) -> Iterator[dict[str, float]]:
    """Fits a model from each seed and yields their metrics on the test split."""
    settings: dict[str, object] = {"evaluation.seeds": seeds}
    if fold is not None:
        settings["data.splits.fold"] = fold
    if start is not None:
        settings["training.start_from"] = start
    _run(log, settings)

    path = latest_record(log.root).metrics
    assert path is not None
    measured = Evaluation.read_file(Path(path)).seeds
    assert measured is not None
    for place in range(seeds):
        yield {name: measured.metrics[name][place] or 0.0 for name in METRICS}


def _model(log: Log) -> Path:
    """Fits a model to start from and returns its folder."""
    _run(log, {}, "--to", "Trainer")
    return max(log.root.glob("*/nodes/Trainer/model/*/Format-Serving"))


def _run(log: Log, settings: Mapping[str, object], *options: str) -> None:
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    to = options or ("--to", "Evaluator")
    command = [*MASTERY, "run", "--config", str(log.config), "--root", str(log.root), *to, *sets]
    run_command(command, endings=PUSHED_OR_NOT)


def _write_logs(data: Path, learners: int, folder: Path) -> dict[str, Log]:
    """Writes the logs and their configurations; those of assist2009 share no learner."""
    events, outcomes = (
        pl.read_parquet(data / "assist2009" / f"{name}.parquet") for name in ("events", "outcomes")
    )
    shuffled = outcomes["learner_id"].unique().sort().sample(fraction=1.0, shuffle=True, seed=1)
    few, test = shuffled[:learners], shuffled[learners : learners + TEST_LEARNERS]
    others = shuffled[learners + TEST_LEARNERS :]

    held_out = outcomes.with_columns(fold=pl.col("learner_id").is_in(few.implode()).cast(pl.Int64))
    splits = {"folds": 2, "fold": 0, "column": "fold"}
    foreign = _turned(pl.read_parquet(data / "assist2015" / "events.parquet"))
    return {
        "few": _write(folder, "few", events, held_out, [*few, *test], {"splits": splits}),
        "others": _write(folder, "others", events, outcomes, [*others], {}),
        "foreign": _write(folder, "foreign", *foreign, None, {}),
        "epfl": _write_epfl(data / "epfl", folder),
    }


def _turned(answers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turns answers of assist2015 into events and outcomes as assist2009 has them.

    The clock counts a learner's answers on one skill. Skills are numbered in another way than in
    assist2009, so they get other names.
    """
    by_skill = ["learner_id", "unit_id"]
    events = answers.sort(*by_skill, "time").with_columns(
        time=pl.int_range(pl.len()).over(by_skill),
        unit_id="2015-" + pl.col("unit_id"),
        event_type=pl.lit("attempt"),
    )
    following = pl.sum_horizontal(
        pl.col("correct").shift(-place).over(by_skill) for place in range(NEXT)
    )
    left = pl.len().over(by_skill) - pl.col("time")
    outcomes = (
        events.with_columns(following=following, left=left)
        .filter(pl.col("time") > 0, pl.col("time") % NEXT == 0, pl.col("left") >= NEXT)
        .select(*by_skill, as_of="time", mastery=_mastery(pl.col("following")))
    )
    columns = [*by_skill, "time", "event_type", "correct"]
    return events.select(columns), outcomes


def _mastery(correct: pl.Expr) -> pl.Expr:
    """Returns the class of a number of correct answers, as assist2009 has it."""
    not_mastered, partial, proficient = map(pl.lit, CLASSES)
    return (
        pl.when(correct < 2)
        .then(not_mastered)
        .when(correct < 4)
        .then(partial)
        .otherwise(proficient)
    )


def _write(
    folder: Path,
    name: str,
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
    learners: list[str] | None,
    data: dict[str, Any],
) -> Log:
    """Writes a log of some learners, and the configuration of assist2009 for it."""
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in (("events", events), ("outcomes", outcomes)):
        kept = rows if learners is None else rows.filter(pl.col("learner_id").is_in(learners))
        kept.write_parquet(folder / f"{table}.parquet")

    config = _configuration("assist2009")
    gone = [column for column in config["steps"]["features"] if column in _absent(events)]
    for column in gone:
        del config["steps"]["features"][column]
    tables = {table: str(folder / f"{table}.parquet") for table in ("events", "outcomes")}
    config |= {"name": name, "data": {**tables, **data}, "schema": "schema.pbtxt"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    _write_schema("assist2009", gone, folder / "schema.pbtxt")
    return Log(folder / "config.yaml", folder / "root")


def _write_epfl(data: Path, folder: Path) -> Log:
    folder = folder / "epfl"
    folder.mkdir(parents=True, exist_ok=True)
    config = _configuration("epfl")
    tables = {table: str(data / f"{table}.parquet") for table in ("events", "outcomes")}
    config["data"] |= {**tables, "splits": {"folds": EPFL_FOLDS}}
    config["schema"] = str(REPOSITORY / "schemas" / "epfl.pbtxt")
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return Log(folder / "config.yaml", folder / "root")


def _configuration(name: str) -> dict[str, Any]:
    """Returns a shipped configuration with a gate that any model passes."""
    text = (REPOSITORY / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(text)
    return {**config, "gates": [{"metric": "accuracy", "min": 0.0}]}


def _absent(events: pl.DataFrame) -> Iterator[str]:
    return (name for name in ("attempts", "response_s") if name not in events.columns)


def _write_schema(name: str, gone: list[str], path: Path) -> None:
    """Writes a shipped schema without some columns."""
    text = (REPOSITORY / "schemas" / f"{name}.pbtxt").read_text(encoding="utf-8")
    schema = text_format.Parse(text, Schema())
    kept = [feature for feature in schema.feature if feature.name not in gone]
    del schema.feature[:]
    schema.feature.extend(kept)
    for group in schema.tensor_representation_group.values():
        for column in gone:
            group.tensor_representation.pop(column, None)
    path.write_text(text_format.MessageToString(schema), encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--learners", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3, help="two or more")
    parser.add_argument("--folder", type=Path, help="keeps logs and runs, to go on from the cache")
    return parser.parse_args()


if __name__ == "__main__":
    main()
