"""Two versions on the same log, metric by metric, and whether the second one is better."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.config import Config
from components.config.data import Label
from components.contracts.names import (
    AS_OF,
    LEARNER,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
    UNIT,
)
from components.errors import MasteryError
from components.evaluator.answers import class_indices, probability_rows
from components.evaluator.measures import (
    averages,
    class_metrics,
    count_confusion,
    log_loss,
    one_vs_rest_auc,
)
from components.evaluator.measures import regression_metrics as number_metrics
from components.evaluator.scoring import LABEL, in_windows, score
from components.example_gen.examples import examples_from_log
from components.model_version.pushed_version import config_for_log
from serving.models.bootstrap import (
    CONFIDENCE,
    Measure,
    difference_intervals,
    measure_classes,
    measure_numbers,
    verdict,
)
from serving.models.storage import Storage

Json = dict[str, Any]
Values = dict[str, float]

KEYS = [LEARNER, UNIT, AS_OF]
LOWER_IS_BETTER = {"log_loss", "rmse", "mae", "mse"}
DECIDING = {"classification": "f1_macro", "regression": "rmse"}


def compare_versions(
    storage: Storage,
    a: int,
    b: int,
    events: list[str],
    outcomes: list[str],
    *,
    metric: str | None = None,
    draws: int = 1000,
    seed: int = 1,
) -> Json:
    """Scores two versions on all outcomes of a log, each as its own configuration says, and compares them.

    Args:
        storage: the serving folder.
        a: the version to compare with.
        b: the version that may be better.
        events: files, folders or patterns of the log.
        outcomes: the same for its outcomes, with labels.
        metric: the one that decides; default: f1_macro, or rmse for a regression.
        draws: of the bootstrap.
        seed: same seed, same intervals.

    Returns:
        {"a", "b", "examples", "learners", "unpaired", "confidence", "draws", "seed", "metric", "verdict", "metrics":
        [{"metric", "class", "a", "b", "difference", "low", "high", "verdict"}]}; verdicts are B's: better, worse, or
        not distinguishable. What is not defined is None.

    Raises:
        MasteryError: a version is none of ours, they predict different things, or there is no such metric.
        LogError: the log cannot be used.
    """
    with ExitStack() as stack:
        folders = [stack.enter_context(storage.local_copy(number)) for number in (a, b)]
        configs = [
            config_for_log(folder, events, outcomes, name=f"version {number}")
            for folder, number in zip(folders, (a, b), strict=True)
        ]
        label = _common_label(configs, (a, b))
        deciding = metric or DECIDING[label.task]
        tables = [
            _predict(folder, config, label) for folder, config in zip(folders, configs, strict=True)
        ]
    first, second = _pair(*tables)
    codes, learners = _codes(first[LEARNER])
    values = [_values(table, label) for table in (first, second)]
    if deciding not in values[0]:
        raise MasteryError(f"--metric {deciding}: expected one of {', '.join(values[0])}.")
    measures = _measure(first, label, codes), _measure(second, label, codes)
    intervals = difference_intervals(*measures, learners, draws, seed)
    rows = [_row(name, label, values, intervals) for name in values[0]]
    return {
        "a": a, "b": b, "examples": first.height, "learners": learners,
        "unpaired": {"a": tables[0].height - first.height, "b": tables[1].height - second.height},
        "confidence": CONFIDENCE, "draws": draws, "seed": seed, "metric": deciding,
        "verdict": next(row["verdict"] for row, name in zip(rows, values[0], strict=True) if name == deciding),
        "metrics": rows,
    }  # fmt: skip


def _common_label(configs: list[Config], versions: tuple[int, int]) -> Label:
    first, second = (config.label for config in configs)
    described = [(label.column, label.task, sorted(label.classes)) for label in (first, second)]
    if described[0] != described[1]:
        raise MasteryError(
            f"expected versions that predict the same, found {described[0]} in {versions[0]} and {described[1]} in "
            f"{versions[1]}."
        )
    return first


def _predict(model: Path, config: Config, label: Label) -> pl.DataFrame:
    with tempfile.TemporaryDirectory(prefix="mastery-compare-") as folder:
        predictions = Path(folder, "predictions.parquet")
        score(model, in_windows(examples_from_log(config)), label, (), predictions)
        return pl.read_parquet(predictions, memory_map=False)


def _pair(a: pl.DataFrame, b: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the rows of the outcomes that both models have answered, in the same order."""
    if a.select(KEYS).equals(b.select(KEYS)):
        return a, b
    columns = [name for name in b.columns if name not in KEYS]
    renamed = b.rename({name: f"b.{name}" for name in columns})
    try:
        both = a.join(renamed, on=KEYS, how="inner", validate="1:1", maintain_order="left")
    except pl.exceptions.ComputeError:
        raise MasteryError(
            f"expected one outcome for each {', '.join(KEYS)}, found several; remove the others."
        ) from None
    if both.is_empty():
        raise MasteryError("expected outcomes that both versions can be asked about, found none.")
    return both.select(a.columns), both.select(
        *KEYS, *(pl.col(f"b.{name}").alias(name) for name in columns)
    )


def _codes(learners: pl.Series) -> tuple[np.ndarray[Any, Any], int]:
    """Returns an index of every row's learner, in the order of their ids so that a seed means the same, and a count."""
    codes = learners.rank("dense").to_numpy().astype(np.int64) - 1
    return codes, int(codes.max()) + 1


def _values(table: pl.DataFrame, label: Label) -> Values:
    """Returns the metrics of all rows, by the functions that the gates go by."""
    if not label.classes:
        return number_metrics(table[LABEL].to_numpy(), table[PREDICTION].to_numpy())
    true, predicted, probabilities = _outputs(table, label)
    confusion = count_confusion(true, predicted, len(label.classes))
    overall = averages(confusion)
    recalls = class_metrics(confusion)["recall"]
    return {
        "accuracy": overall["accuracy"],
        "f1_macro": overall["f1_macro"],
        "auc": one_vs_rest_auc(true, probabilities)[1],
        "log_loss": log_loss(true, probabilities),
        **{f"recall/{index}": float(recall) for index, recall in enumerate(recalls)},
    }


def _measure(table: pl.DataFrame, label: Label, learners: np.ndarray[Any, Any]) -> Measure:
    if not label.classes:
        return measure_numbers(learners, table[LABEL].to_numpy(), table[PREDICTION].to_numpy())
    return measure_classes(learners, *_outputs(table, label))


def _outputs(table: pl.DataFrame, label: Label) -> tuple[np.ndarray[Any, Any], ...]:
    names = label.classes
    rows = probability_rows(table[PROBABILITIES], len(names))
    return class_indices(table[LABEL], names), class_indices(table[PREDICTED_CLASS], names), rows


def _row(name: str, label: Label, values: list[Values], intervals: Mapping[str, Any]) -> Json:
    metric, _, index = name.partition("/")
    first, second = (_known(value[name]) for value in values)
    interval = intervals[name]
    return {
        "metric": metric,
        "class": label.classes[int(index)] if index else None,
        "a": first,
        "b": second,
        "difference": None if first is None or second is None else second - first,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "verdict": verdict(interval, lower_is_better=metric in LOWER_IS_BETTER),
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
