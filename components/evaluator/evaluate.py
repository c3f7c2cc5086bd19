"""Measures a model on examples and judges it: for the gates of a run, and on any other log."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from components.config.beam import Beam
from components.config.fairness import Remedies
from components.contracts.evaluation import (
    ClassCurves,
    Evaluation,
    ModelResults,
    SimpleModelResults,
)
from components.contracts.fairness_results import RemedyCost
from components.contracts.names import (
    BASIS,
    BASIS_PRIOR,
    BASIS_SEQUENCE,
    BASIS_UNFAMILIAR,
    PREDICTIONS_FILE,
    PROBABILITIES,
    TEST,
    WITHOUT_REMEDIES,
)
from components.errors import MasteryError
from components.evaluator.analysis import analyze, load_results
from components.evaluator.decisions import decisions_of, describe_decisions
from components.evaluator.draws import BASELINE, CANDIDATE
from components.evaluator.early_warning import add_early_warning
from components.evaluator.evaluator_settings import EvaluatorSettings, why_not_comparable
from components.evaluator.fairness import compare_groups, fairness_results
from components.evaluator.fairness_gates import judge_gaps
from components.evaluator.gate_readings import NO_BASELINE
from components.evaluator.importance import measure_importance
from components.evaluator.intervals import MeasuredModels, add_intervals
from components.evaluator.judged_split import open_judged
from components.evaluator.judgement import is_blessed, judge_gates
from components.evaluator.measures import class_curves
from components.evaluator.scoring import (
    LABEL,
    class_indices,
    in_windows,
    probability_rows,
    windows_of_split,
    write_predictions,
)
from components.evaluator.seeds import measure_seeds
from components.evaluator.uncertainty import measure_uncertainty
from components.node.progress import report_progress

if TYPE_CHECKING:
    from components.config.root import Config
    from components.contracts.calibration import ChosenPoint
    from components.contracts.decision_results import DecisionResults

BASELINE_FILE = "predictions_baseline.parquet"
WITHOUT_FILE = "predictions_without_remedies.parquet"


def evaluate_model(model: str | Path, examples: Iterable[bytes], config: Config) -> Evaluation:
    """Scores a model on any examples, by the code that the gates use.

    Args:
        model: a SavedModel with the signature `serving_default`.
        examples: serialized `tf.Example`s with labels, as ExampleGen makes them.
        config: label and slices. Beam runs in this process: what it reads is in a folder of this
            machine, which workers elsewhere do not reach.

    Returns:
        An evaluation without gates and baseline.

    Raises:
        MasteryError: there are no examples, or model and examples do not fit each other.
    """
    settings = EvaluatorSettings.of(config).model_copy(update={"beam": Beam()})
    with tempfile.TemporaryDirectory(prefix="mastery-evaluate-") as folder:
        predictions = Path(folder, PREDICTIONS_FILE)
        windows = in_windows(examples)
        write_predictions(Path(model), windows, settings.label, settings.kept_columns, predictions)
        points = {CANDIDATE: decisions_of(Path(model), predictions, settings)}
        measured = _measure({CANDIDATE: predictions}, settings, Path(folder), points)
        results = measured.results[CANDIDATE]

        return Evaluation(
            task=settings.label.task,
            classes=settings.label.classes,
            basis=_count_basis(predictions),
            overall=results.overall,
            slices=results.slices,
            confidence=_confidence(settings),
            uncertainty=measure_uncertainty(
                Path(model), predictions, [item.slice for item in results.slices], settings
            ),
            decisions=_decisions(predictions, settings, points[CANDIDATE]),
        )


def judge_model(
    examples: Path,
    model: Path,
    baseline: Path | None,
    settings: EvaluatorSettings,
    folder: Path,
    *,
    fitted_to: Mapping[str, Path] | None = None,
    model_run: Path | None = None,
) -> Evaluation:
    """Scores a model and the blessed one before it on the test split, and judges it by the gates.

    Args:
        examples: folder of the test split, TFRecord files of serialized `tf.Example`s.
        model: the candidate, a SavedModel.
        baseline: the blessed model, if there is one; if it does not fit these examples, the
            evaluation has no baseline and a note says why.
        settings: the Evaluator's part of the configuration.
        folder: where predictions, TFMA's files and `metrics.json` are written.
        fitted_to: folders of the splits train and eval, for simple models, if any are configured.
        model_run: the Trainer's folder with the models of further seeds, if any were fitted.

    Returns:
        The evaluation, as `metrics.json` holds it.

    Raises:
        MasteryError: there are no examples, or model and examples do not fit each other.
    """
    with open_judged(examples, settings.evaluation.max_examples, folder) as judged:
        evaluation = _judge(
            judged.folder, model, baseline, settings, folder, fitted_to or {}, model_run
        )
    evaluation = evaluation.model_copy(update={"sampled_from": judged.sampled_from})
    evaluation.write(folder)
    return evaluation


def _judge(
    examples: Path,
    model: Path,
    baseline: Path | None,
    settings: EvaluatorSettings,
    folder: Path,
    fitted_to: Mapping[str, Path],
    model_run: Path | None,
) -> Evaluation:
    """Returns the evaluation on the examples of a folder; see `judge_model`."""
    predictions = {CANDIDATE: folder / PREDICTIONS_FILE}
    windows = windows_of_split(examples)
    write_predictions(model, windows, settings.label, settings.kept_columns, predictions[CANDIDATE])
    points = {CANDIDATE: decisions_of(model, predictions[CANDIDATE], settings)}

    no_baseline = _score_baseline(examples, baseline, settings, folder / BASELINE_FILE)
    if no_baseline is None and baseline is not None:
        predictions[BASELINE] = folder / BASELINE_FILE
        points[BASELINE] = decisions_of(baseline, predictions[BASELINE], settings)

    simple: dict[str, tuple[Path, str]] = {}
    if settings.evaluation.simple_models and fitted_to:
        # Imports scikit-learn, which other evaluations do without.
        from components.evaluator.comparison import write_simple_predictions

        splits = {**fitted_to, TEST: examples}
        simple = write_simple_predictions(splits, settings, predictions[CANDIDATE], folder)
        predictions |= {name: path for name, (path, _) in simple.items()}

    plain = _score_without_remedies(model_run, examples, settings, folder)
    if plain is not None:
        predictions[WITHOUT_REMEDIES] = plain

    measured = _measure(predictions, settings, folder, points)
    candidate, before = measured.results[CANDIDATE], measured.results.get(BASELINE)
    seeds = measure_seeds(model_run, examples, settings, candidate.overall)
    comparable = baseline if no_baseline is None else None
    importance = measure_importance(examples, model, comparable, predictions[CANDIDATE], settings)
    verdicts = judge_gates(
        settings.gates,
        candidate,
        before,
        no_baseline or "",
        simple_models={name: measured.results[name] for name in simple},
        seeds=seeds,
        drawn=measured.drawn,
    )

    report_progress("comparing groups of learners")
    gaps = {
        name: compare_groups(predictions[name], settings)
        for name in (CANDIDATE, BASELINE, WITHOUT_REMEDIES)
        if name in predictions
    }
    rules = settings.fairness
    verdicts += judge_gaps(rules.gates, gaps[CANDIDATE], rules.min_examples)

    return Evaluation(
        task=settings.label.task,
        classes=settings.label.classes,
        blessed=is_blessed(verdicts),
        gates=verdicts,
        basis=_count_basis(predictions[CANDIDATE]),
        overall=candidate.overall,
        slices=candidate.slices,
        baseline=before,
        baseline_note=no_baseline,
        confidence=_confidence(settings),
        simple_models=[
            _describe_simple_model(name, meaning, measured) for name, (_, meaning) in simple.items()
        ],
        seeds=seeds,
        uncertainty=measure_uncertainty(
            model, predictions[CANDIDATE], [item.slice for item in candidate.slices], settings
        ),
        fairness=fairness_results(
            gaps[CANDIDATE],
            settings,
            before=gaps.get(BASELINE, ()),
            without=gaps.get(WITHOUT_REMEDIES, ()),
            cost=_remedy_cost(measured, settings),
        ),
        decisions=_decisions(predictions[CANDIDATE], settings, points[CANDIDATE]),
        importance=importance,
    )


def _score_baseline(
    examples: Path, baseline: Path | None, settings: EvaluatorSettings, predictions: Path
) -> str | None:
    """Scores the blessed model; returns why there is no baseline, None if there is one."""
    if baseline is None:
        return NO_BASELINE
    try:
        problem = why_not_comparable(baseline, settings)
        if problem is None:
            windows = windows_of_split(examples)
            write_predictions(baseline, windows, settings.label, settings.kept_columns, predictions)
    except MasteryError as error:
        return f"the blessed model {baseline} cannot be scored: {error}"
    return problem


def _score_without_remedies(
    model_run: Path | None, examples: Path, settings: EvaluatorSettings, folder: Path
) -> Path | None:
    """Scores the model that shows what remedies change; None where none was fitted."""
    model = None if model_run is None else model_run / WITHOUT_REMEDIES
    if model is None or not Remedies.of(settings.fairness).described or not model.exists():
        return None
    predictions = folder / WITHOUT_FILE
    windows = windows_of_split(examples)
    write_predictions(model, windows, settings.label, settings.slice_columns, predictions)
    return predictions


def _remedy_cost(measured: MeasuredModels, settings: EvaluatorSettings) -> RemedyCost | None:
    """Returns what remedies change in the metrics; None where no model is without them."""
    plain = measured.results.get(WITHOUT_REMEDIES)
    if plain is None:
        return None
    gains, *_ = measured.gains[WITHOUT_REMEDIES]
    return RemedyCost(
        remedies=Remedies.of(settings.fairness).described,
        metrics=plain.overall.metrics,
        gains={name: gain.value for name, gain in gains.items()},
        intervals={name: gain.interval for name, gain in gains.items() if gain.interval},
    )


def _describe_simple_model(name: str, meaning: str, measured: MeasuredModels) -> SimpleModelResults:
    """Returns a simple model's metrics, with the candidate's gains over it."""
    results, (gains, *slice_gains) = measured.results[name], measured.gains[name]
    return SimpleModelResults(
        name=name,
        meaning=meaning,
        overall=results.overall,
        slices=results.slices,
        gains=gains,
        slice_gains=slice_gains,
    )


def _measure(
    predictions: Mapping[str, Path],
    settings: EvaluatorSettings,
    folder: Path,
    points: Mapping[str, Mapping[str, ChosenPoint | None]],
) -> MeasuredModels:
    """Returns the metrics of models, with intervals; `points` are those of their decisions."""
    label, rules = settings.label, settings.evaluation
    where = settings.beam.with_environment(os.environ)
    analyze(predictions, label, rules.slices, folder, where)
    results = load_results(folder, [*predictions], label, rules)
    if label.classes:
        results = {
            model: _with_curves(result, predictions[model], label.classes)
            for model, result in results.items()
        }

    report_progress("drawing learners for intervals")
    decided = {
        model: [decision for decision in settings.decisions if decision.name in of_model]
        for model, of_model in points.items()
    }
    return add_intervals(predictions, results, settings, decided)


def _decisions(
    predictions: Path, settings: EvaluatorSettings, points: Mapping[str, ChosenPoint | None]
) -> list[DecisionResults]:
    described = describe_decisions(predictions, settings, points)
    return add_early_warning(described, predictions, settings)


def _confidence(settings: EvaluatorSettings) -> float | None:
    return settings.evaluation.confidence if settings.evaluation.draws else None


def _with_curves(results: ModelResults, predictions: Path, classes: list[str]) -> ModelResults:
    table = pl.read_parquet(predictions, columns=[LABEL, PROBABILITIES])
    labels = class_indices(table[LABEL], classes)
    probabilities = probability_rows(table[PROBABILITIES], len(classes))

    curves = {
        name: ClassCurves.model_validate(curve)
        for name, curve in class_curves(labels, probabilities, classes).items()
    }
    overall = results.overall.model_copy(update={"curves": curves})
    return results.model_copy(update={"overall": overall})


def _count_basis(predictions: Path) -> dict[str, int]:
    basis = pl.read_parquet(predictions, columns=[BASIS])[BASIS]
    bases = (BASIS_SEQUENCE, BASIS_PRIOR, BASIS_UNFAMILIAR)
    return {name: int((basis == name).sum()) for name in bases}
