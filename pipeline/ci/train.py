"""What `mastery ci` does: the small training, through the same DAG and runner as any run, and its results as files."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.command.console import PlainConsole
from components.config import Config
from components.contracts.run_record import RunRecord
from components.files.atomic import new_file, write_text
from pipeline.ci.junit import write_junit
from pipeline.ci.results import read_results
from pipeline.ci.small import small_config
from pipeline.ci.summary import render_summary
from pipeline.run.local import run_pipeline

JUNIT = "junit.xml"
SUMMARY = "summary.md"
METRICS = "metrics.json"


def train_small(
    config: Config,
    root: Path,
    out: Path,
    *,
    baseline: Path | None = None,
    push: bool = False,
    console: PlainConsole,
) -> RunRecord:
    """Trains small, judges, and writes what came of it into `out`.

    Args:
        config: what `mastery run` would run; its section `ci` says how small.
        root: where the run keeps everything. The model blessed last there is the baseline.
        out: the folder for `junit.xml`, `summary.md` and, where there are any, the Evaluator's `metrics.json`.
        baseline: a pushed version's folder to compare with instead.
        push: whether a model that passes goes to `push.directory`.
        console: where the run is shown.

    Raises:
        MasteryError: the run could not start; nothing was written.
    """
    small = small_config(config, baseline=baseline, push=push)
    for name in (
        JUNIT,
        SUMMARY,
        METRICS,
    ):  # a run that dies is not to be read by what the one before it left
        (out / name).unlink(missing_ok=True)
    record = run_pipeline(small, root, console=console)
    results = read_results(record, small)
    write_junit(results, out / JUNIT)
    write_text(out / SUMMARY, render_summary(results, root))
    if record.metrics:
        with new_file(out / METRICS) as beside:
            shutil.copyfile(record.metrics, beside)
    return record
