"""Measures the models of further seeds: how much metrics owe to the chance of the fit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.config.beam import Beam
from components.config.metrics import Level, metrics_of
from components.contracts.evaluation import Result, SeedResults
from components.contracts.names import PREDICTIONS_FILE, SEEDS
from components.contracts.training_history import TrainingHistory
from components.evaluator.analysis import analyze, load_results
from components.evaluator.scoring import windows_of_split, write_predictions
from components.node.progress import report_progress

if TYPE_CHECKING:
    from components.evaluator.evaluator_settings import EvaluatorSettings

_MODEL = "seed"


def measure_seeds(
    model_run: Path | None, examples: Path, settings: EvaluatorSettings, candidate: Result
) -> SeedResults | None:
    """Returns the metrics of all models that the Trainer fitted; None if there is one only.

    Args:
        model_run: what the Trainer wrote beside the model; an earlier root may have none.
        examples: folder of the test split.
        settings: the Evaluator's part of the configuration.
        candidate: the metrics of the first seed's model, which is exported, on all examples.

    Raises:
        MasteryError: a model is missing or does not fit the examples.
    """
    if model_run is None or settings.evaluation.seeds < 2:
        return None
    seeds = TrainingHistory.read(model_run).seeds[: settings.evaluation.seeds]
    if len(seeds) < 2:
        return None

    results = [candidate]
    for seed in seeds[1:]:
        report_progress(f"scoring the model of seed {seed}")
        results.append(_measure(model_run / SEEDS / str(seed), examples, settings))

    metrics = {name: [result.value_of(name) for result in results] for name in candidate.metrics}
    classes = {
        class_: {
            name: [result.value_of(name, class_) for result in results]
            for name in metrics_of(Level.CLASS)
            # Models without prediction sets lack some, of all examples and so of classes.
            if name in candidate.metrics or name not in metrics_of(Level.OVERALL)
        }
        for class_ in candidate.classes
    }
    return SeedResults(seeds=seeds, metrics=metrics, classes=classes)


def _measure(model: Path, examples: Path, settings: EvaluatorSettings) -> Result:
    """Returns the metrics of a model on all examples; its predictions are not kept."""
    label, rules = settings.label, settings.evaluation.model_copy(update={"slices": []})
    with tempfile.TemporaryDirectory(prefix="mastery-seed-") as folder:
        predictions = {_MODEL: Path(folder, PREDICTIONS_FILE)}
        write_predictions(model, windows_of_split(examples), label, (), predictions[_MODEL])
        analyze(predictions, label, rules.slices, Path(folder), Beam())
        return load_results(Path(folder), [*predictions], label, rules)[_MODEL].overall
