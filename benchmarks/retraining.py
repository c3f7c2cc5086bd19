"""Compares ways to keep a model up to date while a platform changes its course.

.venv/bin/python -m benchmarks.retraining [--change relation:6] [--learners 300] [--folder FOLDER]

Ten simulated weeks, each with new learners. A first model is trained on weeks 1 to 3. After each of
the weeks 4 to 9 it is trained again, on the newest three weeks, in several ways, or never. Every
model is asked about other learners, whom no model has seen: those of the week that follows, and
those of all weeks so far. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import polars as pl
import yaml

from benchmarks.machine import describe_machine, warn_if_busy
from benchmarks.sample import MASTERY, REPOSITORY, run_command
from components.command.console import PlainConsole
from components.config import Config, load_config
from components.contracts.names import AS_OF, PREDICTED_CLASS
from components.simulator.weeks import FIRST_MONDAY
from pipeline.retrain.causes import VersionInService
from pipeline.retrain.retrain import retraining_config
from pipeline.run.local import run_pipeline
from pipeline.run.record import read_records

WEEKS = 10
FIRST = 3  # weeks that the first model is trained on
WINDOW = 3
OTHERS = 1000  # learners a week whom models are asked about
NEVER = "never again"
METRICS = ("following", "before")

WAYS: dict[str, dict[str, Any] | None] = {
    "continued, with replay": {"warm_start": True, "replay": 0.2},
    "continued, without": {"warm_start": True, "replay": 0.0},
    "from scratch": {"warm_start": False, "replay": 0.0},
    NEVER: None,
}


@dataclass
class Course:
    """What became of a model in one way.

    Attributes:
        following: macro F1 on learners of the week after each training, by that week.
        before: macro F1 on learners of all weeks before it, by the same.
        seconds: of each training run.
    """

    following: dict[int, float] = field(default_factory=dict)
    before: dict[int, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Course:
        """Returns a course that was kept as JSON, whose keys are text."""
        by_week = ({int(week): f1 for week, f1 in kept[name].items()} for name in METRICS)
        return cls(*by_week, kept["seconds"])


def main() -> None:
    """Simulates, trains, asks and prints."""
    options = _parse()
    changed_in = int(options.change.partition(":")[2])
    print(warn_if_busy(), end="", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="mastery-retraining-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        for name, seed, learners in (("log", 1, options.learners), ("others", 2, OTHERS)):
            _simulate(folder / name, options.change, seed, learners)
        config = _configure(folder)
        others = _examples(config, folder)

        first = _first_model(config, folder / "first")
        courses = {}
        for name in options.way or WAYS:
            root = folder / name.replace(" ", "-")
            kept = root / "course.json"
            if not kept.exists():
                course = _follow(config, root, WAYS[name], first, others)
                kept.write_text(json.dumps(asdict(course)))
            courses[name] = Course.of(json.loads(kept.read_text()))
        print(f"{describe_machine()}; {options.learners} learners a week, {options.change}.\n")
        _print(courses, changed_in)


def _first_model(config: Config, root: Path) -> VersionInService:
    """Returns the model of the first weeks, which all ways begin with; trains it once."""
    known = sorted(root.glob("*/nodes/Trainer/model/*/Format-Serving"), key=_number_of)
    if known:
        return VersionInService(_number_of(known[-1]), known[-1])
    return _train(config, root, f"last:{FIRST} until {_week(FIRST)}", None)[0]


def _follow(
    config: Config,
    root: Path,
    rules: Mapping[str, Any] | None,
    first: VersionInService,
    others: list[bytes],
) -> Course:
    """Trains again after each week, and asks each model about other learners."""
    course, version = Course(), first
    for week in range(FIRST, WEEKS):
        if week > FIRST and rules is not None:
            given = {"window": f"last:{WINDOW}", **rules}
            way = config.model_copy(
                update={"retrain": config.retrain.model_validate(given)},
            )
            version, seconds = _train(way, root, f"last:{WINDOW} until {_week(week)}", version)
            course.seconds.append(seconds)
        found = _f1_by_week(version.folder, config, others, root)
        course.following[week + 1] = found[week + 1]
        course.before[week + 1] = mean(found[number] for number in range(1, week + 1))
        print(f"{root.name} {week} {found[week + 1]:.4f}", file=sys.stderr, flush=True)
    return course


def _train(
    config: Config, root: Path, span: str, version: VersionInService | None
) -> tuple[VersionInService, float]:
    """Trains on some weeks; returns the model, numbered by its execution, and the seconds."""
    config = config.model_copy(update={"data": config.data.model_copy(update={"span": span})})
    if version is not None:
        config = retraining_config(config, version)
    console = PlainConsole(stderr=True, quiet=True)
    record = run_pipeline(config, root, to_node="Trainer", console=console)
    assert record.state == "passed", record.error
    models = sorted(root.glob("*/nodes/Trainer/model/*/Format-Serving"), key=_number_of)
    known = dict.fromkeys(str(item.data) for item in read_records(root) if item.data)
    made = models[[*known].index(str(record.data))]
    # Of a run from the cache, the seconds are those of the run that made it.
    same = [item for item in read_records(root) if item.data == record.data]
    return VersionInService(_number_of(made), made), max(item.seconds or 0.0 for item in same)


def _number_of(model: Path) -> int:
    return int(model.parent.name)


def _f1_by_week(
    model: Path, config: Config, examples: list[bytes], scratch: Path
) -> dict[int, float]:
    """Returns the macro F1 of a model on the learners of every week."""
    from sklearn.metrics import f1_score

    from components.evaluator.scoring import in_windows, write_predictions

    scratch.mkdir(parents=True, exist_ok=True)
    file = scratch / "answers.parquet"
    write_predictions(model, in_windows(examples), config.label, (AS_OF,), file)
    answers = pl.read_parquet(file)
    days = answers[AS_OF].cast(pl.Datetime("us")).dt.date() - FIRST_MONDAY
    weeks = days.dt.total_days() // 7 + 1
    return {
        int(number): float(f1_score(rows["label"], rows[PREDICTED_CLASS], average="macro"))
        for (number,), rows in answers.with_columns(week=weeks).group_by("week")
    }


def _examples(config: Config, folder: Path) -> list[bytes]:
    from components.example_gen.examples import examples_from_log

    tables = {table: [f"{folder}/others/*/{table}.parquet"] for table in ("events", "outcomes")}
    data = config.data.model_copy(update={**tables, "span": "newest"})
    return list(examples_from_log(config.model_copy(update={"data": data})))


def _simulate(folder: Path, change: str, seed: int, learners: int) -> None:
    if not folder.exists():
        command = [*MASTERY, "simulate", "--weeks", str(WEEKS), "--seed", str(seed)]
        numbers = ["--learners", str(learners), "--change", change]
        run_command([*command, *numbers, "--out", str(folder)])


def _configure(folder: Path) -> Config:
    """Returns the shipped configuration for weeks, with a gate that every model passes."""
    text = (REPOSITORY / "configs" / "sample.yaml").read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(text)
    for name in ("fairness", "decisions", "ci"):
        del config[name]
    tables = ("events", "outcomes")
    config["data"] = {name: f"log/{{YYYY}}-{{MM}}-{{DD}}/{name}.parquet" for name in tables}
    config |= {
        "schema": str(REPOSITORY / "schemas" / "sample.pbtxt"),
        "explain": {"enabled": False},
        "evaluation": {**config["evaluation"], "draws": 0},
        "gates": [{"metric": "accuracy", "min": 0.0}],
    }
    file = folder / "weeks.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return load_config(file)


def _week(number: int) -> str:
    from components.simulator.weeks import monday_of

    return monday_of(number).isoformat()


def _print(courses: Mapping[str, Course], changed_in: int) -> None:
    weeks = range(FIRST + 1, WEEKS + 1)
    print("Macro F1 on other learners of the week that follows each training:\n")
    print("| | " + " | ".join(f"week {week}" for week in weeks) + " |")
    print("|---|" + "--:|" * len(weeks))
    for name, course in courses.items():
        cells = (f"{course.following[week]:.3f}" for week in weeks)
        print(f"| {name} | {' | '.join(cells)} |")

    print("\nMeans from the week after the change on, where models could know of it:\n")
    print("| | the week that follows | all weeks before | seconds per training |")
    print("|---|--:|--:|--:|")
    for name, course in courses.items():
        after = [week for week in weeks if week > changed_in]
        cells = [_mean(course.following, after), _mean(course.before, after)]
        seconds = f"{mean(course.seconds):.1f}" if course.seconds else "–"
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in cells)} | {seconds} |")


def _mean(values: Mapping[int, float], weeks: list[int]) -> float:
    return mean(values[week] for week in weeks)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--change", default="relation:6", help="as for mastery simulate")
    parser.add_argument("--learners", type=int, default=300, help="new ones each week")
    parser.add_argument("--folder", type=Path, help="keeps logs and runs, to go on from the cache")
    parser.add_argument("--way", action="append", choices=[*WAYS], help="only this one; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    main()
