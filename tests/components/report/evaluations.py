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
from components.config.metrics import describe_metric
from components.contracts.evaluation import ModelResults
from components.evaluator.judgement import is_blessed, judge_gates
from components.evaluator.measures import calibration_error, reliability_curve

CLASSES = ("not_mastered", "partial", "proficient")
SIZE = 1834


def with_everything(content: dict[str, Any]) -> dict[str, Any]:
    """Adds to a `metrics.json` what chance and simple models say: made up, but of the right size.

    The model is better than the prior and the trees, not better than the regression.
    """
    regression = content["task"] == "regression"
    models = ("linear", "trees") if regression else ("logistic", "trees")
    content["confidence"] = 0.95
    for result in [content["overall"], *content["slices"]]:
        _add_intervals(result)

    worse = dict(zip(("prior", *models), (0.2, 0.01, 0.03), strict=True))
    content["simple_models"] = [
        {"name": name, "meaning": f"What {name} stands for.", **_worse(content, by)}
        for name, by in worse.items()
    ]
    metrics = content["overall"]["metrics"]
    content["seeds"] = {
        "seeds": [7, 8, 9],
        "metrics": {name: [value, value + 0.004, value - 0.003] for name, value in metrics.items()},
    }
    return content


def _add_intervals(result: dict[str, Any]) -> None:
    """Adds an interval of the size that the square root of the examples gives."""
    half = 0.6 / result["examples"] ** 0.5
    for part in [result["metrics"], *result["classes"].values()]:
        intervals = {
            name: [value - half, value + half]
            for name, value in part.items()
            if value is not None and name not in ("support", "intervals")
        }
        if part is result["metrics"]:
            result["intervals"] = intervals
        else:
            part["intervals"] = intervals


def _worse(content: dict[str, Any], by: float) -> dict[str, Any]:
    """Returns the results of a model that is worse in every metric, and the gains over it."""
    slices = [
        {"slice": item["slice"], "examples": item["examples"], "metrics": _lower(item, by)}
        for item in content["slices"]
    ]
    overall = content["overall"]
    return {
        "overall": {"examples": overall["examples"], "metrics": _lower(overall, by)},
        "slices": slices,
        "gains": _gains(overall, by),
        "slice_gains": [_gains(item, by) for item in content["slices"]],
    }


def _lower(result: dict[str, Any], by: float) -> dict[str, float | None]:
    return {
        name: None
        if value is None
        else value - by * (1 if describe_metric(name).more_is_better else -1)
        for name, value in result["metrics"].items()
    }


def _gains(result: dict[str, Any], by: float) -> dict[str, Any]:
    half = 0.6 / result["examples"] ** 0.5
    return {name: {"value": by, "interval": [by - half, by + half]} for name in result["metrics"]}


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
    errors, measures["ece"] = calibration_error(label, probabilities)
    return {
        "examples": len(label),
        "metrics": measures,
        "classes": {
            name: {key: float(each[i][index]) for i, key in enumerate(names)}
            | {"auc": aucs[index], "ece": errors[index], "support": int(each[3][index])}
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
            "calibration": reliability_curve(label == index, probabilities[:, index]),
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
