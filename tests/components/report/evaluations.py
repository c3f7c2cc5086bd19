"""What an Evaluator leaves, drawn with fixed seeds: scikit-learn's metrics, the real gates."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn import metrics as sk

from components.config.gates import Gate
from components.contracts.evaluation import ModelResults
from components.evaluator.judgement import is_blessed, judge_gates

CLASSES = ("not_mastered", "partial", "proficient")
SIZE = 1834


def classification(
    classes: tuple[str, ...] = CLASSES,
    *,
    baseline: bool = True,
    floor: float = 0.88,
    regions: tuple[str, ...] = ("north", "south", "overseas"),
) -> dict[str, Any]:
    """Returns the `metrics.json` of a classification.

    The first gate asks for a macro F1 of `floor`; it is 0.905.
    """
    return copy.deepcopy(_classification(classes, regions, baseline=baseline, floor=floor))


@functools.cache
def _classification(
    classes: tuple[str, ...], regions: tuple[str, ...], *, baseline: bool, floor: float
) -> dict[str, Any]:
    random = np.random.default_rng(3)
    weights = np.arange(1, len(classes) + 1)
    label = random.choice(len(classes), SIZE, p=weights / weights.sum())
    columns = {
        "gender": random.choice(["f", "m", ""], SIZE, p=[0.55, 0.44, 0.01]),
        "region": random.choice(regions, SIZE),
    }

    def measure(sharpness: float) -> dict[str, Any]:
        logits = np.eye(len(classes))[label] * sharpness + random.normal(size=(SIZE, len(classes)))
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        slices = [
            {
                "slice": {name: value},
                **_result(label[column == value], probabilities[column == value], classes),
            }
            for name, column in columns.items()
            for value in np.unique(column).tolist()
        ]
        overall = _result(label, probabilities, classes)
        return {
            "overall": overall | {"curves": _curves(label, probabilities, classes)},
            "slices": slices,
        }

    candidate, blessed = measure(2.3), measure(2.2) if baseline else None
    lowest: dict[str, Any] = {"metric": "recall", "class": classes[0], "slice": "gender"}
    gates = [
        {"metric": "f1_macro", "min": floor},
        lowest | {"min": 0.8},
        lowest | {"max_gap": 0.06},
    ]
    gates.append({"metric": "f1_macro", "min_change": -0.005})
    verdicts = judge_gates(
        [Gate.model_validate(gate) for gate in gates],
        ModelResults.model_validate(candidate),
        ModelResults.model_validate(blessed) if blessed else None,
    )
    return {
        "task": "classification",
        "classes": [*classes],
        "blessed": is_blessed(verdicts),
        "gates": [verdict.model_dump(by_alias=True) for verdict in verdicts],
        "basis": {"sequence": SIZE - 44, "prior": 44},
        **candidate,
        "baseline": blessed,
    }


def _result(label: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Returns a RESULT; `label` holds indices of classes [N], `probabilities` are [N, C]."""
    predicted, indices = probabilities.argmax(1), range(len(classes))
    measures: dict[str, float | None] = {"accuracy": float(sk.accuracy_score(label, predicted))}
    names = ("precision", "recall", "f1")
    for average in ("macro", "weighted"):
        scores = sk.precision_recall_fscore_support(
            label, predicted, average=average, zero_division=0
        )
        measures |= {
            f"{name}_{average}": float(score) for name, score in zip(names, scores, strict=False)
        }
    each = sk.precision_recall_fscore_support(label, predicted, labels=indices, zero_division=0)
    aucs = [_auc(label == index, probabilities[:, index]) for index in indices]
    measures["auc"] = None if None in aucs else float(np.mean(aucs))
    measures["log_loss"] = float(sk.log_loss(label, probabilities, labels=indices))
    return {
        "examples": len(label),
        "metrics": measures,
        "classes": {
            name: {key: float(each[i][index]) for i, key in enumerate(names)}
            | {"auc": aucs[index], "support": int(each[3][index])}
            for index, name in enumerate(classes)
        },
        "confusion": sk.confusion_matrix(label, predicted, labels=indices).tolist(),
    }


def _auc(true: np.ndarray, score: np.ndarray) -> float | None:
    return float(sk.roc_auc_score(true, score)) if 0 < true.sum() < len(true) else None


def _curves(label: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    curves = {}
    for index, name in enumerate(classes):
        fpr, tpr, _ = sk.roc_curve(label == index, probabilities[:, index])
        precision, recall, _ = sk.precision_recall_curve(label == index, probabilities[:, index])
        roc, pr = (
            np.unique(np.linspace(0, len(points) - 1, 200).astype(int)) for points in (fpr, recall)
        )
        curves[name] = {
            "roc": {"fpr": fpr[roc].tolist(), "tpr": tpr[roc].tolist()},
            "pr": {"recall": recall[pr].tolist(), "precision": precision[pr].tolist()},
        }
    return curves


def regression() -> tuple[dict[str, Any], pl.DataFrame]:
    """Returns `metrics.json` and `predictions.parquet` of a regression on a grade from 1 to 6."""
    random = np.random.default_rng(5)
    actual = random.uniform(1, 6, 900)
    predicted = 0.7 * actual + 1 + random.normal(0, 0.6, 900)
    frame = pl.DataFrame({"label": actual, "prediction": predicted.astype(np.float32)})
    halves = [
        {"slice": {"year": "2017"}} | _errors(frame[:500]),
        {"slice": {"year": "2018"}} | _errors(frame[500:]),
    ]
    candidate = {"overall": _errors(frame), "slices": halves}
    verdicts = judge_gates(
        [Gate(metric="rmse", max=0.9)], ModelResults.model_validate(candidate), None
    )
    rest = {
        "task": "regression",
        "classes": [],
        "blessed": True,
        "basis": {"sequence": 880, "prior": 20},
    }
    return rest | candidate | {
        "gates": [verdict.model_dump(by_alias=True) for verdict in verdicts],
        "baseline": None,
    }, frame


def _errors(frame: pl.DataFrame) -> dict[str, Any]:
    actual, predicted = frame["label"].to_numpy(), frame["prediction"].to_numpy()
    mse = float(sk.mean_squared_error(actual, predicted))
    mae, r2 = (
        float(sk.mean_absolute_error(actual, predicted)),
        float(sk.r2_score(actual, predicted)),
    )
    measures = {"mse": mse, "mae": mae, "rmse": mse**0.5, "r2": r2}
    return {"examples": len(frame), "metrics": measures, "classes": {}, "confusion": []}
