"""Which features a model's answers rest on, and whether its reasons hold.

Attributions of single answers are added up over test examples: their mean size says how much a
feature matters, and how size and direction go together says which way (Lundberg et al., From local
explanations to global understanding, 2020, do the same with other attributions).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import tensorflow as tf

from components.contracts.importance_results import FeatureImportance, ImportanceResults
from components.contracts.names import BASIS, LEARNER
from components.errors import MasteryError
from components.evaluator.draws import DrawnMeans, Floats
from components.evaluator.explained import (
    Chosen,
    Explanations,
    choose_examples,
    explain,
    open_explainer,
)
from components.evaluator.faithfulness import compare_with_simulator, measure_removal
from components.node.progress import report_progress

if TYPE_CHECKING:
    from components.evaluator.evaluator_settings import EvaluatorSettings
    from components.evaluator.loaded_signature import Predict


def measure_importance(
    split: Path,
    model: Path,
    baseline: Path | None,
    predictions: Path,
    settings: EvaluatorSettings,
) -> ImportanceResults | None:
    """Explains some test examples for every class; None for a model that explains nothing.

    Args:
        split: folder of the test split.
        model: the candidate, a SavedModel.
        baseline: the blessed model before it, if it is comparable.
        predictions: of the candidate, for the whole split.
        settings: the Evaluator's part of the configuration.
    """
    rules = settings.explain
    if not rules.examples:
        return None

    with open_explainer(model) as predict:
        if predict is None:
            return None
        report_progress("explaining test examples")
        table = pl.read_parquet(predictions, columns=[LEARNER, BASIS])
        chosen = choose_examples(split, table, rules.examples)
        if not chosen.examples:
            return None

        explained = _explain_classes(predict, chosen, settings)

    removal = measure_removal(model, chosen, explained, settings)
    drivers = None
    if rules.truth == "simulator":
        drivers = compare_with_simulator(chosen, explained, settings)
    before = _sizes_before(baseline, chosen, settings)
    drawn = settings.evaluation
    means = DrawnMeans(chosen.learners, draws=drawn.draws, confidence=drawn.confidence)
    return ImportanceResults(
        examples=len(chosen.examples),
        points=rules.steps,
        completeness=max(item.completeness for item in explained.values()),
        classes={
            name: _rank(item, means, before.get(name, {})) for name, item in explained.items()
        },
        removal=removal,
        drivers=drivers,
    )


def _explain_classes(
    predict: Predict, chosen: Chosen, settings: EvaluatorSettings
) -> dict[str, Explanations]:
    """Returns explanations of all chosen examples by class; by "" in a regression."""
    label = settings.label
    if not label.classes:
        return {"": explain(predict, chosen.examples, None)}
    return {name: explain(predict, chosen.examples, name) for name in label.classes}


def _sizes_before(
    baseline: Path | None, chosen: Chosen, settings: EvaluatorSettings
) -> dict[str, dict[str, float]]:
    """Returns the mean sizes of attributions of the model before, by class and feature.

    There are none for a model that explains nothing or cannot read the examples.
    """
    if baseline is None:
        return {}
    try:
        with open_explainer(baseline) as predict:
            if predict is None:
                return {}
            found = _explain_classes(predict, chosen, settings)
    except (MasteryError, OSError, TypeError, ValueError, tf.errors.OpError):
        return {}  # the candidate is judged; the comparison is an extra
    return {
        name: dict(zip(item.features, _sizes(item).mean(axis=0).tolist(), strict=True))
        for name, item in found.items()
    }


def _rank(
    explained: Explanations, means: DrawnMeans, before: dict[str, float]
) -> list[FeatureImportance]:
    """Returns all features, the most important one first."""
    sizes = _sizes(explained)
    signed = explained.attributions * np.sign(explained.directions)
    found = []
    for place, feature in enumerate(explained.features):
        size, has_direction = sizes[:, place], (explained.directions[:, place] != 0).any()
        total = float(size.sum())
        lean = float(signed[:, place].sum()) / total if has_direction and total > 0 else None
        found.append(
            FeatureImportance(
                feature=feature,
                size=float(size.mean()),
                interval=means.interval(size),
                lean=lean,
                before=before.get(feature),
            )
        )
    return sorted(found, key=lambda item: (-item.size, item.feature))


def _sizes(explained: Explanations) -> Floats:
    return np.abs(explained.attributions)
