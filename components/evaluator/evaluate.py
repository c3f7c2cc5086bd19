"""From a model and examples to metrics and a judgement: the same for a run's gates and for any other log."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from components.config import Config
from components.contracts.names import BASIS, BASIS_PRIOR, BASIS_SEQUENCE, PROBABILITIES
from components.errors import MasteryError
from components.evaluator.analysis import analyze
from components.evaluator.answers import class_indices, probability_rows
from components.evaluator.comparison import why_not_comparable
from components.evaluator.curves import class_curves
from components.evaluator.gates import NO_BASELINE, is_blessed, judge
from components.evaluator.results import load_results
from components.evaluator.scoring import LABEL, in_windows, read_windows, score
from components.evaluator.settings import Settings
from components.files.atomic import write_text

Json = dict[str, Any]

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"
BASELINE_FILE = "predictions_baseline.parquet"
CANDIDATE = "candidate"
BASELINE = "baseline"


def evaluate_model(model: str | Path, examples: Iterable[bytes], config: Config) -> Json:
    """Scores a model on any examples, by the code that the gates go by.

    Args:
        model: a SavedModel with the signature `serving_default`.
        examples: serialized `tf.Example`s with labels, as ExampleGen makes them.
        config: label, slices and how Beam runs.

    Returns:
        `metrics.json` without gates and baseline: {"task", "classes", "basis", "overall", "slices"}.

    Raises:
        MasteryError: there are no examples, or model and examples do not fit each other.
    """
    settings = Settings.of(config)
    with tempfile.TemporaryDirectory(prefix="mastery-evaluate-") as folder:
        predictions = Path(folder, PREDICTIONS_FILE)
        score(
            Path(model), in_windows(examples), settings.label, settings.slice_columns, predictions
        )
        result = _analyze({CANDIDATE: predictions}, settings, Path(folder))[CANDIDATE]
        return {**_head(settings), "basis": _count_basis(predictions), **result}


def judge_model(
    examples: Path, model: Path, baseline: Path | None, settings: Settings, evaluation: Path
) -> Json:
    """Scores a model and the blessed one before it on the test split, and judges it by the gates.

    Args:
        examples: folder of the test split, TFRecord files of serialized `tf.Example`s.
        model: the candidate, a SavedModel.
        baseline: the blessed model, if there is one; if it does not fit these examples, the evaluation says so and
            goes on without it.
        settings: the evaluator's part of the configuration.
        evaluation: the folder to write predictions, TFMA's files and `metrics.json` to.

    Returns:
        The content of `metrics.json`.

    Raises:
        MasteryError: there are no examples, or model and examples do not fit each other.
    """
    predictions = {CANDIDATE: evaluation / PREDICTIONS_FILE}
    score(
        model,
        read_windows(examples),
        settings.label,
        settings.slice_columns,
        predictions[CANDIDATE],
    )
    no_baseline = _score_baseline(examples, baseline, settings, evaluation / BASELINE_FILE)
    if no_baseline is None:
        predictions[BASELINE] = evaluation / BASELINE_FILE
    results = _analyze(predictions, settings, evaluation)
    verdicts = judge(settings.gates, results[CANDIDATE], results.get(BASELINE), no_baseline or "")
    metrics = {
        **_head(settings),
        "blessed": is_blessed(verdicts),
        "gates": [verdict.as_json() for verdict in verdicts],
        "basis": _count_basis(predictions[CANDIDATE]),
        **results[CANDIDATE],
        "baseline": results.get(BASELINE),
        "baseline_note": no_baseline,
    }
    write_text(evaluation / METRICS_FILE, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return metrics


def _score_baseline(
    examples: Path, baseline: Path | None, settings: Settings, predictions: Path
) -> str | None:
    """Scores the blessed model; returns why there is no baseline, if so."""
    if baseline is None:
        return NO_BASELINE
    problem = why_not_comparable(baseline, settings)
    if problem is None:
        try:
            score(
                baseline,
                read_windows(examples),
                settings.label,
                settings.slice_columns,
                predictions,
            )
        except MasteryError as error:
            problem = f"the blessed model {baseline} cannot be scored: {error}"
    return problem


def _analyze(predictions: Mapping[str, Path], settings: Settings, folder: Path) -> dict[str, Json]:
    analyze(predictions, settings.label, settings.evaluation.slices, folder, settings.beam.options)
    results = load_results(folder, [*predictions], settings.label, settings.evaluation)
    for model, result in results.items():
        if settings.label.classes:
            result["overall"]["curves"] = _curves(predictions[model], settings.label.classes)
    return results


def _curves(predictions: Path, classes: list[str]) -> Json:
    table = pl.read_parquet(predictions, columns=[LABEL, PROBABILITIES])
    probabilities = probability_rows(table[PROBABILITIES], len(classes))
    return class_curves(class_indices(table[LABEL], classes), probabilities, classes)


def _head(settings: Settings) -> Json:
    return {"task": settings.label.task, "classes": settings.label.classes}


def _count_basis(predictions: Path) -> dict[str, int]:
    basis = pl.read_parquet(predictions, columns=[BASIS])[BASIS]
    return {name: int((basis == name).sum()) for name in (BASIS_SEQUENCE, BASIS_PRIOR)}
