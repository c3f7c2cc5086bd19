"""`mastery ci`: trains on few learners, with the DAG of any run, and writes the results."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config import Config, Gate
from components.config.metrics import METRICS
from components.contracts.evaluation import Evaluation
from components.errors import MasteryError
from components.files.atomic import new_file, write_text
from components.model_version.folders import SAVED_MODEL
from pipeline.ci.results import read_results, render_summary, write_junit
from pipeline.run.local import run_pipeline

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.contracts.run_record import RunRecord

JUNIT = "junit.xml"
SUMMARY = "summary.md"


def train_small(
    config: Config,
    root: Path,
    out: Path,
    *,
    baseline: Path | None = None,
    push: bool = False,
    console: PlainConsole,
) -> RunRecord:
    """Trains on few learners, judges the model, and writes the results to `out`.

    Args:
        config: what `mastery run` would run; its section `ci` says how many learners to take.
        root: where the run keeps everything. The model blessed last there is the baseline.
        out: the folder for `junit.xml`, `summary.md` and, if there are any, the Evaluator's
            `metrics.json`.
        baseline: a pushed version's folder to compare with instead.
        push: whether a model that passes goes to `push.directory`.
        console: where the run is shown.

    Raises:
        MasteryError: the run could not start; nothing was written.
    """
    small = small_config(config, baseline=baseline, push=push)
    # If this run dies, the files of an earlier one must not be mistaken for its own.
    for name in (JUNIT, SUMMARY, Evaluation.FILE):
        (out / name).unlink(missing_ok=True)

    record = run_pipeline(small, root, console=console)

    results = read_results(record, small)
    write_junit(results, out / JUNIT)
    write_text(out / SUMMARY, render_summary(results, root))
    if record.metrics:
        with new_file(out / Evaluation.FILE) as beside:
            shutil.copyfile(record.metrics, beside)
    return record


def small_config(config: Config, *, baseline: Path | None = None, push: bool = False) -> Config:
    """Returns the configuration that `mastery ci` runs.

    It has fewer learners and epochs, no warm start (which depends on what was trained before), and
    the gates of `ci` plus one: the main metric must not be worse than the baseline's. The Evaluator
    judges that gate as any other. Gates of `ci` replace those of `fairness`, too. Metadata stays in
    the run's root: a configured server is for the models that are served.

    Args:
        config: what `mastery run` would run.
        baseline: a pushed version's folder to compare with, instead of the model blessed last in
            the run's root.
        push: whether a model that passes goes to `push.directory`; if not, it goes below the run's
            root.

    Raises:
        MasteryError: `baseline` holds no model.
    """
    values: dict[str, Any] = config.model_dump(mode="json", by_alias=True)
    ci, data, training = config.ci, config.data, config.training
    values["data"]["sample_learners"] = min(ci.learners, data.sample_learners or ci.learners)
    values["training"] |= {"epochs": min(ci.epochs, training.epochs), "warm_start": False}

    gates = [*(ci.gates or config.gates), no_worse_gate(config)]
    values["gates"] = [gate.model_dump(mode="json", by_alias=True) for gate in gates]
    values["fairness"]["measure_cost"] = False
    if ci.gates:
        values["fairness"]["gates"] = []
    if baseline is not None:
        values["evaluation"]["baseline"] = str(_require_version(baseline))
    if not push:
        values["push"]["directory"] = None

    del values["ci"]
    # No dump holds `metadata`, so it gets its default: SQLite in the run's root.
    return Config.model_validate(values)


def no_worse_gate(config: Config) -> Gate:
    """Returns the gate on the change of the main metric over all examples.

    The main metric is `ci.metric`, or that of the first gate.
    """
    ci = config.ci
    first = (ci.gates or config.gates)[0]
    metric = ci.metric or first.metric
    of = {} if ci.metric else {"class": first.class_, "decision": first.decision}

    if METRICS[metric].more_is_better:
        bound = {"min_change": 0.0 - ci.tolerance}
    else:
        bound = {"max_change": ci.tolerance}
    return Gate.model_validate({"metric": metric, **of, **bound})


def _require_version(folder: Path) -> Path:
    """Checks the baseline before anything is trained; the Evaluator checks again."""
    if not (folder / SAVED_MODEL).is_file():
        raise MasteryError(
            f"--baseline {folder}: expected a pushed version such as "
            f"runs/NAME/serving/1234567890, found no {SAVED_MODEL} in it."
        )
    return folder.resolve()
