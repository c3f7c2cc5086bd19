"""Lives through a year of a simulated platform with two changes of course, by Mastery's commands.

.venv/bin/python -m benchmarks.year [--weeks 52] [--learners 250] [--folder year] [--draw-only]

Each week one delivery of the log comes in. At its beginning the version in service scores the
learners (`mastery score`), rules tell teachers (`mastery alerts run`, `mastery answers send`); at
its end outcomes come in (`mastery answers outcomes`), the version is measured on them
(`mastery evaluate`) and a canary beside it (`mastery models compare`), which is then promoted or
stopped. `mastery drift` compares the week with what the version was trained on; if it calls for
it, or if outcomes say that the version is worse than its test split promised, `mastery retrain`
makes the next canary. In one week a broken export scrambles the labels: the
measured quality collapses, a model is trained on that week alone, and its gates refuse it; then the
week is delivered again.

What happened is in `benchmarks/year.json`, week by week, and drawn in `benchmarks/year.svg`. With
`--folder` everything is kept, and the same command goes on after the last week that was completed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from datetime import date
from functools import cache
from pathlib import Path

import polars as pl
import yaml
from sklearn.metrics import f1_score

from benchmarks.machine import describe_machine
from benchmarks.sample import CONFIG, MASTERY, REPOSITORY, latest_record, run_command
from benchmarks.year_chart import chart
from components.contracts.evaluation import Evaluation
from components.contracts.manifest import Manifest
from components.simulator.changes import (
    NEW_COMPONENTS,
    NEW_UNIT,
    kinds_in,
    read_changes,
    teaching_after,
)
from components.simulator.posterior import posterior
from components.simulator.sequences import draw
from components.simulator.weeks import monday_of

RESULT = Path(__file__).with_suffix(".json")
CHART = Path(__file__).with_suffix(".svg")

FIRST_DAY = date(2025, 1, 6)
YEAR = 52  # weeks
CHANGES = ("content:18", "relation:35")
SCRAMBLED = 27  # the week whose labels come to the wrong learners at first
WINDOW = 4  # weeks that a model is trained on
SEED = 1
POOR = 0.8  # macro F1 below which the newest week is trained on at once
RETRAIN = 3  # exit code of `mastery drift`: retraining is called for
GATE_FAILED = 1


@dataclass
class Week:
    """What happened in a week; fields stay None where nothing did.

    Attributes:
        week: the first is 1.
        monday: its first day.
        stable: the version that answered.
        answers: how many answers it gave about learners.
        told: about how many learners teachers were told.
        outcomes: that came in at the end.
        f1: its macro F1 on them, with the ends of its 95% interval in `low` and `high`.
        best: macro F1 of the best answers possible.
        canary: the version that was tried beside it; `canary_f1` is its macro F1.
        canary_is: better, worse, or not distinguishable.
        ending: of the canary: promoted or stopped.
        scrambled_f1: macro F1 on the labels that were delivered first, where they were wrong.
        drift: what `mastery drift` said of the columns that drifted.
        trained: why a model was trained: drift or quality.
        trained_seconds: how long that took.
        pushed: the version that came of it.
        gate: which gate refused it.
        seconds: that the week took.
    """

    week: int
    monday: str
    stable: int
    answers: int = 0
    told: int = 0
    outcomes: int = 0
    f1: float | None = None
    low: float | None = None
    high: float | None = None
    best: float | None = None
    canary: int | None = None
    canary_f1: float | None = None
    canary_is: str | None = None
    ending: str | None = None
    scrambled_f1: float | None = None
    drift: str | None = None
    trained: str | None = None
    trained_seconds: float | None = None
    pushed: int | None = None
    gate: str | None = None
    seconds: float = 0.0


class Platform:
    """A platform in a folder: its log, its models, its answers."""

    def __init__(self, folder: Path, learners: int) -> None:
        self.folder = folder
        self._whole = folder / "whole"
        self._config = folder / "year.yaml"
        self._answers = folder / "answers.yaml"
        self._database = f"sqlite:///{folder}/answers.db"
        self._place = ("--config", str(self._config), "--root", str(folder / "runs"))
        changes = [word for change in CHANGES for word in ("--change", change)]
        _mastery(
            "simulate", "--weeks", str(YEAR), "--learners", str(learners), "--seed", str(SEED),
            "--first-day", FIRST_DAY.isoformat(), *changes, "--out", str(self._whole),
        )  # fmt: skip
        _write_settings(folder)

    def train_first(self) -> None:
        """Delivers the first weeks, trains the first version and puts it into service."""
        for week in range(1, WINDOW + 1):
            self.deliver(week)
        self._run("run", "--span", f"last:{WINDOW}")
        self._models("promote", str(max(self._pushed())))

    def live_through(self, week: int) -> Week:
        """Lives through a week, from its delivery to what is tried in the next one."""
        start = time.monotonic()
        labelled = self._labelled()
        lived = Week(week, monday_of(week, FIRST_DAY).isoformat(), labelled["stable"])
        self.deliver(week, scramble=week == SCRAMBLED)
        self._answer(lived)

        if week == SCRAMBLED:
            lived.scrambled_f1, *_ = self._measure(lived)
            if lived.scrambled_f1 < POOR:
                self._train(lived, "quality", "run", "--span", "newest")
            self.deliver(week)
        _mastery(
            "answers", "outcomes", "--db", self._database, "--config", str(self._config),
            "--outcomes", self._table(week, "outcomes"),
        )  # fmt: skip
        lived.f1, lived.low, lived.high = self._measure(lived)
        lived.best = best_f1(week)

        if "canary" in labelled:
            self._judge_canary(lived, labelled["canary"])
        self._watch(lived)
        lived.seconds = round(time.monotonic() - start, 1)
        return lived

    def deliver(self, week: int, *, scramble: bool = False) -> None:
        """Puts the delivery of a week into the log, if asked with labels of other learners."""
        name = monday_of(week, FIRST_DAY).isoformat()
        target = self.folder / "log" / name
        shutil.copytree(self._whole / name, target, dirs_exist_ok=True)
        if scramble:
            path = target / "outcomes.parquet"
            outcomes = pl.read_parquet(path)
            mixed = outcomes["mastery"].sample(fraction=1, shuffle=True, seed=SEED)
            outcomes.with_columns(mixed).write_parquet(path)

    def _answer(self, lived: Week) -> None:
        """Scores the learners of the week at its beginning, and tells teachers."""
        events, outcomes = (self._table(lived.week, name) for name in ("events", "outcomes"))
        scored = _mastery(
            "score", *self._place, "--events", events, "--learners", outcomes,
            "--as-of", lived.monday, "--to", self._database, "--reasons", "none",
        )  # fmt: skip
        lived.answers = int(scored.partition(": ")[2].split()[0].replace(",", ""))
        rules = ("--db", self._database, "--answers", str(self._answers))
        told = _mastery("alerts", "run", *rules, "--as-of", f"{lived.monday}T06:00", "--json")
        lived.told = sum(len(rule["told"]) for rule in json.loads(told))
        _mastery("answers", "send", *rules)

    def _measure(self, lived: Week) -> tuple[float, float, float]:
        """Returns macro F1 of the version in service on a week's outcomes, with its interval."""
        model = self.folder / "runs" / "year" / "serving" / str(lived.stable)
        events, outcomes = (self._table(lived.week, name) for name in ("events", "outcomes"))
        tables = ("--events", events, "--outcomes", outcomes)
        found = json.loads(_mastery("evaluate", "--model", str(model), *tables, "--json"))
        lived.outcomes = found["overall"]["examples"]
        low, high = found["overall"]["intervals"]["f1_macro"]
        return found["overall"]["metrics"]["f1_macro"], low, high

    def _judge_canary(self, lived: Week, canary: int) -> None:
        """Compares the canary with the version in service; promotes it unless it is worse."""
        events, outcomes = (self._table(lived.week, name) for name in ("events", "outcomes"))
        tables = ("--events", events, "--outcomes", outcomes)
        compared = json.loads(self._models("compare", "stable", "canary", *tables, "--json"))
        [f1] = [row for row in compared["metrics"] if row["metric"] == "f1_macro"]
        lived.canary, lived.canary_f1 = canary, f1["b"]
        lived.canary_is = compared["verdict"]
        if compared["verdict"] == "worse":
            lived.ending = "stopped"
            self._models("canary", "--stop", "--reason", f"worse in the week of {lived.monday}")
        else:
            lived.ending = "promoted"
            reason = f"{compared['verdict']} in the week of {lived.monday}"
            self._models("promote", str(canary), "--reason", reason)

    def _watch(self, lived: Week) -> None:
        """Looks for drift, and for answers below what was promised; trains if there is either.

        Not while a version is on trial: it may be the remedy.
        """
        code, output = _command("drift", *self._place, "--span", "newest", "--json")
        if code not in (0, RETRAIN):
            sys.exit(f"mastery drift ended with {code}:\n{output}")
        drifted = [column for column in json.loads(output)["columns"] if column["drifted"]]
        lived.drift = "; ".join(column["words"] for column in drifted) or None
        if lived.pushed is not None or lived.canary is not None:
            return
        if lived.drift:
            self._train(lived, "drift", "retrain")
        elif lived.high < self._promised(lived.stable):
            self._train(lived, "quality", "retrain", "--set", "retrain.when=always")

    def _promised(self, version: int) -> float:
        """Returns macro F1 of a version on its own test split."""
        folder = self.folder / "runs" / "year" / "serving" / str(version)
        measured = (Manifest.read_file(folder / Manifest.FILE).metrics or {})["f1_macro"]
        assert measured is not None
        return measured

    def _train(self, lived: Week, why: str, *command: str) -> None:
        """Trains, and begins to try what was pushed."""
        start = time.monotonic()
        before = self._pushed()
        lived.gate = self._run(*command)
        lived.trained = why
        lived.trained_seconds = round(time.monotonic() - start, 1)
        for version in self._pushed() - before:
            lived.pushed = version
            self._models("canary", str(version), "--share", "10")

    def _run(self, *command: str) -> str | None:
        """Trains by `mastery run` or `retrain`; returns the gates that failed, if any did."""
        root = self.folder / "runs"
        run_command([*MASTERY, *command, *self._place], endings=(0, GATE_FAILED))
        record = latest_record(root)
        if record.state != "gates failed" or record.metrics is None:
            return None
        failed = Evaluation.read_file(Path(record.metrics)).failed_gates
        return "; ".join(gate.text for gate in failed)

    def _labelled(self) -> dict[str, int]:
        """Returns the version of each label."""
        listed = json.loads(self._models("list", "--json"))["versions"]
        return {label: item["version"] for item in listed for label in item["labels"]}

    def _pushed(self) -> set[int]:
        """Returns the versions that were pushed."""
        folders = (self.folder / "runs" / "year" / "serving").glob("[0-9]*")
        return {int(folder.name) for folder in folders}

    def _models(self, *words: str) -> str:
        return _mastery("models", *words, *self._place)

    def _table(self, week: int, name: str) -> str:
        return str(self.folder / "log" / monday_of(week, FIRST_DAY).isoformat() / f"{name}.parquet")


def best_f1(week: int) -> float:
    """Returns macro F1 of the exact answers in a week, on a larger number of learners."""
    return _best_f1(frozenset(kinds_in(read_changes(CHANGES, YEAR), week)))


@cache
def _best_f1(kinds: frozenset[str]) -> float:
    teaching = teaching_after(kinds)
    sequences = draw(SEED, 0, teaching, (9,))
    answers = posterior(sequences, teaching=teaching).argmax(axis=1)
    known = sequences.recorded
    return float(f1_score(sequences.label[known], answers[known], average="macro"))


def _write_settings(folder: Path) -> None:
    """Writes configuration, schema and rules: the sample's, on a log in weekly deliveries."""
    tables = ("events", "outcomes")
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for section in ("explain", "fairness", "ci", "reasons"):
        del config[section]
    pattern = f"{folder}/log/{{YYYY}}-{{MM}}-{{DD}}"
    config["data"] |= {name: f"{pattern}/{name}.parquet" for name in tables}
    config["data"] |= {"max_cold_start_share": 0.1, "min_class_examples": 2, "span": "newest"}
    config |= {
        "name": "year",
        "schema": str(folder / "year.pbtxt"),
        "model": {"lstm": [32], "dense": [32], "dropout": 0.2},
        "training": {"batch_size": 32, "learning_rate": 0.004, "epochs": 10, "patience": 3},
        "evaluation": {"slices": ["gender", "age_band", "region"]},
        "gates": [{"metric": "f1_macro", "min": 0.65, "confidence": 0.95}],
        "retrain": {"when": "drift", "window": f"last:{WINDOW}", "max_per_week": 1000},
    }
    (folder / "year.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    # The new unit's components are in the schema from the beginning: they are known when planned.
    schema = (REPOSITORY / "schemas" / "sample.pbtxt").read_text(encoding="utf-8")
    last = '  value: "sql-basics/windows"\n'
    added = "".join(f'  value: "{NEW_UNIT}/{name}"\n' for name in NEW_COMPONENTS)
    (folder / "year.pbtxt").write_text(schema.replace(last, last + added), encoding="utf-8")

    rule = {
        "name": "call", "when": "p(not_mastered) >= 0.7", "capacity": "20 per week",
        "cool_down": "14d", "to": ["teachers"],
    }  # fmt: skip
    channel = {"kind": "file", "form": "mbox", "path": str(folder / "teachers.mbox")}
    answers = {"channels": {"teachers": channel}, "alerts": {"language": "en", "rules": [rule]}}
    (folder / "answers.yaml").write_text(yaml.safe_dump(answers), encoding="utf-8")


def _mastery(*words: str) -> str:
    """Runs a command of Mastery and returns what it printed; an error ends this program."""
    code, output = _command(*words)
    if code:
        sys.exit(f"mastery {' '.join(words)}\nended with {code}:\n{output}")
    return output


def _command(*words: str) -> tuple[int, str]:
    """Runs a command in a process of its own, with libraries imported already.

    Returns:
        Its exit code and standard output; if it failed, standard error as well.
    """
    with tempfile.TemporaryDirectory(prefix="mastery-year-") as folder:
        paths = [Path(folder, name) for name in ("output", "errors")]
        process = _FORKS.Process(target=_in_process, args=(words, *map(str, paths)))
        process.start()
        process.join()
        output, errors = (path.read_text(encoding="utf-8") for path in paths)
    code = process.exitcode or 0
    return code, output if code in (0, RETRAIN) else output + errors


_FORKS = multiprocessing.get_context("forkserver")
_IMPORTED = [
    "components.evaluator.evaluate", "components.example_gen.examples", "pipeline.watch.drift",
    "serving.answers.scoring.run", "serving.answers.after_scoring", "serving.models.compare",
]  # fmt: skip


def _in_process(words: Sequence[str], output: str, errors: str) -> None:
    from pipeline.cli.main import main as command_line

    for descriptor, path in ((1, output), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
    sys.argv = ["mastery", *words]
    command_line()


def main() -> None:
    """Lives through the year, or what is left of it, and draws it."""
    options = _parse()
    if options.draw_only:
        CHART.write_text(chart(json.loads(RESULT.read_text())), encoding="utf-8")
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # of the process that imports, before `mastery` asks
    _FORKS.set_forkserver_preload(_IMPORTED)
    kept = options.folder
    with (
        tempfile.TemporaryDirectory(prefix="mastery-year-")
        if kept is None
        else nullcontext(kept) as place
    ):
        folder = Path(place).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        lived = live(folder, options)
    first, last = WINDOW + 1, lived[-1].week
    result = {
        "machine": describe_machine(), "learners": options.learners, "seed": SEED, "weeks": last,
        "changes": CHANGES, "scrambled": SCRAMBLED, "window": WINDOW, "first": first,
        "lived": [asdict(week) for week in lived],
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    CHART.write_text(chart(json.loads(RESULT.read_text())), encoding="utf-8")
    print(f"Written: {RESULT}, {CHART}")


def live(folder: Path, options: argparse.Namespace) -> list[Week]:
    """Lives through the weeks that are missing in a folder, and returns all of them."""
    record = folder / "weeks.json"
    names = {field.name for field in fields(Week)}
    lived = [Week(**item) for item in json.loads(record.read_text())] if record.exists() else []
    assert all(set(asdict(week)) == names for week in lived), "it was written by this program"

    platform = Platform(folder, options.learners)
    if not lived and not platform_is_open(folder):
        platform.train_first()
    for week in range(WINDOW + 1 + len(lived), options.weeks + 1):
        lived.append(platform.live_through(week))
        record.write_text(json.dumps([asdict(item) for item in lived], indent=1))
        print({key: value for key, value in asdict(lived[-1]).items() if value}, flush=True)
    return lived


def platform_is_open(folder: Path) -> bool:
    """Returns whether a first version is in service already."""
    return (folder / "runs" / "year" / "serving" / "models.config").exists()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weeks", type=int, default=YEAR)
    parser.add_argument("--learners", type=int, default=250, help="new ones per week")
    parser.add_argument("--folder", type=Path, help="keep everything in there, and go on from it")
    parser.add_argument("--draw-only", action="store_true", help="draw the last result again")
    return parser.parse_args()


if __name__ == "__main__":
    main()
