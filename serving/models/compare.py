"""Compares two versions on the same log, metric by metric: is the second one better?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field

from components.config.metrics import METRICS, main_metric_of
from components.contracts.contract import Part
from components.contracts.names import (
    AS_OF,
    LEARNER,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
    UNIT,
    decision_output,
)
from components.errors import MasteryError
from components.evaluator.decisions import DecisionAnswers
from components.evaluator.measures import (
    averages,
    class_metrics,
    count_confusion,
    log_loss,
    one_vs_rest_auc,
)
from components.evaluator.measures import regression_metrics as number_metrics
from components.evaluator.resampling import AllAnswers, Answers, ClassAnswers, NumberAnswers
from components.evaluator.scoring import (
    LABEL,
    class_indices,
    in_windows,
    probability_rows,
    write_predictions,
)
from components.example_gen.examples import examples_from_log
from components.model_version.pushed_version import config_for_log
from serving.models.bootstrap import (
    CONFIDENCE,
    Interval,
    MetricOfClass,
    Verdict,
    difference_intervals,
    judge,
)
from serving.models.listing import format_number

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.config.data import Label
    from components.config.decisions import Decision
    from components.config.root import Config
    from serving.models.storage import Storage

Values = dict[str, float]
Array = np.ndarray[Any, Any]

KEYS = [LEARNER, UNIT, AS_OF]
STYLES: dict[Verdict, str] = {"better": "green", "worse": "bold red"}


class ComparedMetric(Part):
    """One metric of both versions; undefined values are None.

    Attributes:
        metric: its name.
        class_: the class it is taken for, if it is taken for one.
        decision: the decision it is taken for, each version at its own point.
        a: of version A.
        b: of version B.
        difference: B minus A.
        low: lower end of the interval of the difference.
        high: its upper end.
        verdict: whether B is better.
    """

    metric: str
    class_: str | None = Field(None, alias="class")
    decision: str | None = None
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    verdict: Verdict


class Unpaired(Part):
    """How many outcomes of each version the other one has no answer for."""

    a: int
    b: int


class Comparison(Part):
    """Two versions on the same outcomes.

    Attributes:
        a: number of the version to compare with.
        b: number of the version that may be better.
        examples: outcomes that both have answered.
        learners: learners whose outcomes these are.
        unpaired: outcomes that only one has answered.
        confidence: of the intervals.
        draws: of the bootstrap.
        seed: of the bootstrap.
        metric: the metric that decides.
        verdict: whether B is better by that metric.
        metrics: all metrics.
    """

    a: int
    b: int
    examples: int
    learners: int
    unpaired: Unpaired
    confidence: float
    draws: int
    seed: int
    metric: str
    verdict: Verdict
    metrics: list[ComparedMetric]


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
) -> Comparison:
    """Scores two versions on a log, each as its own configuration says, and compares them.

    Args:
        storage: the serving folder.
        a: the version to compare with.
        b: the version that may be better.
        events: files, folders or patterns of the log.
        outcomes: the same for its outcomes, with labels.
        metric: the metric that decides; default: f1_macro, or rmse for a regression.
        draws: of the bootstrap.
        seed: same seed, same intervals.

    Raises:
        MasteryError: a version was not pushed by Mastery, the versions predict different labels, or
            there is no such metric.
        VersionError: the files of a version are not those that were pushed.
        LogError: the log cannot be used.
    """
    numbers = (a, b)
    with ExitStack() as stack:
        folders = [stack.enter_context(storage.local_copy(number)) for number in numbers]
        configs = [
            config_for_log(folder, events, outcomes, name=f"version {number}")
            for folder, number in zip(folders, numbers, strict=True)
        ]
        label = _common_label(configs, numbers)
        deciding = metric or main_metric_of(label.task)
        tables = [
            _predict(folder, config, label) for folder, config in zip(folders, configs, strict=True)
        ]

    first, second = _pair(*tables)
    decisions = _common_decisions(configs, (first, second))
    values = [_values(table, label, decisions) for table in (first, second)]
    if deciding not in values[0]:
        raise MasteryError(f"--metric {deciding}: expected one of {', '.join(values[0])}.")

    codes, learners = _learner_codes(first[LEARNER])
    measures = [
        _answers(table, label, decisions).measure(codes, learners) for table in (first, second)
    ]
    intervals = difference_intervals(*measures, learners=learners, draws=draws, seed=seed)
    rows = {name: _compare_metric(name, label, values, intervals) for name in values[0]}
    return Comparison(
        a=a,
        b=b,
        examples=first.height,
        learners=learners,
        unpaired=Unpaired(a=tables[0].height - first.height, b=tables[1].height - second.height),
        confidence=CONFIDENCE,
        draws=draws,
        seed=seed,
        metric=deciding,
        verdict=rows[deciding].verdict,
        metrics=list(rows.values()),
    )


def print_comparison(compared: Comparison, console: PlainConsole) -> None:
    """Prints one line per metric, and the verdict of the metric that decides."""
    from rich.table import Table
    from rich.text import Text

    outcomes = f"{compared.examples:,} outcomes of {compared.learners:,} learners"
    console.print(f"A is {compared.a}, B is {compared.b}: {outcomes}")
    gone = compared.unpaired
    if gone.a or gone.b:
        console.print(
            f"Left out, because the other version has no answer: {gone.a} of A, {gone.b} of B"
        )

    columns = ("Metric", "A", "B", "B − A", "95% interval", "B is")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for row in compared.metrics:
        of = f"of {row.decision}" if row.decision else row.class_ or ""
        name = f"{row.metric} {of}".rstrip()
        difference = "–" if row.difference is None else f"{row.difference:+.4f}"
        interval = "–" if row.low is None else f"{row.low:+.4f} to {row.high:+.4f}"
        is_known = row.verdict in STYLES
        found = Text(row.verdict, STYLES[row.verdict]) if is_known else Text("–")
        table.add_row(name, format_number(row.a), format_number(row.b), difference, interval, found)
    console.print(table)

    link = "than" if compared.verdict in STYLES else "from"
    line = f"By {compared.metric}, {compared.b} is {compared.verdict} {link} {compared.a}."
    console.print(line, style="bold", soft_wrap=True)


def _common_label(configs: list[Config], versions: tuple[int, int]) -> Label:
    first, second = (config.label for config in configs)
    described = [(label.column, label.task, sorted(label.classes)) for label in (first, second)]
    if described[0] != described[1]:
        raise MasteryError(
            f"expected versions that predict the same, found {described[0]} in {versions[0]} and "
            f"{described[1]} in {versions[1]}."
        )
    return first


def _common_decisions(configs: Sequence[Config], tables: Sequence[pl.DataFrame]) -> list[Decision]:
    """Returns the decisions that both versions take about the same class, with B's costs."""
    first, second = (
        {(item.name, item.class_): item for item in config.decisions} for config in configs
    )
    return [
        decision
        for key, decision in second.items()
        if key in first and all(decision_output(decision.name) in table for table in tables)
    ]


def _predict(model: Path, config: Config, label: Label) -> pl.DataFrame:
    with tempfile.TemporaryDirectory(prefix="mastery-compare-") as folder:
        predictions = Path(folder, "predictions.parquet")
        write_predictions(model, in_windows(examples_from_log(config)), label, (), predictions)
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
            f"expected one outcome per {', '.join(KEYS)}, found several; remove the duplicates."
        ) from None
    if both.is_empty():
        raise MasteryError("expected outcomes that both versions can answer, found none.")

    original_names = [pl.col(f"b.{name}").alias(name) for name in columns]
    return both.select(a.columns), both.select(*KEYS, *original_names)


def _learner_codes(learners: pl.Series) -> tuple[Array, int]:
    """Returns an index of every row's learner, and how many learners there are.

    Indices follow the order of the ids, so that a seed always draws the same learners.
    """
    codes = learners.rank("dense").to_numpy().astype(np.int64) - 1
    return codes, int(codes.max()) + 1


def _values(table: pl.DataFrame, label: Label, decisions: Sequence[Decision]) -> Values:
    """Returns the metrics of all rows, by the functions that the gates use."""
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
        **_decided_values(table, true, label, decisions),
    }


def _decided_values(
    table: pl.DataFrame, true: Array, label: Label, decisions: Sequence[Decision]
) -> Values:
    """Returns the metrics of decisions, by `metric@decision`; undefined ones are NaN."""
    if not decisions:
        return {}
    found = DecisionAnswers.of(table, true, decisions, label.classes).count()
    return {
        f"{metric}@{decision.name}": np.nan if value is None else value
        for decision in decisions
        for metric in ("recall", "precision", *(["cost"] if decision.cost else []))
        for value in [getattr(found[decision.name], metric)]
    }


def _answers(table: pl.DataFrame, label: Label, decisions: Sequence[Decision]) -> Answers:
    if not label.classes:
        return NumberAnswers(table[LABEL].to_numpy(), table[PREDICTION].to_numpy())
    true, predicted, probabilities = _outputs(table, label)
    classes = ClassAnswers(true, predicted, probabilities)
    if not decisions:
        return classes
    return AllAnswers((classes, DecisionAnswers.of(table, true, decisions, label.classes)))


def _outputs(table: pl.DataFrame, label: Label) -> tuple[Array, Array, Array]:
    """Returns indices of true and of answered classes, both [n], and probabilities, [n, C]."""
    names = label.classes
    true = class_indices(table[LABEL], names)
    predicted = class_indices(table[PREDICTED_CLASS], names)
    return true, predicted, probability_rows(table[PROBABILITIES], len(names))


def _compare_metric(
    name: str,
    label: Label,
    values: list[Values],
    intervals: Mapping[MetricOfClass, Interval | None],
) -> ComparedMetric:
    of_class, _, decision = name.partition("@")
    metric, _, index = of_class.partition("/")
    first, second = (_defined(value[name]) for value in values)
    interval = intervals[metric, decision or (int(index) if index else None)]

    return ComparedMetric(
        metric=metric,
        class_=label.classes[int(index)] if index else None,
        decision=decision or None,
        a=first,
        b=second,
        difference=None if first is None or second is None else second - first,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        verdict=judge(interval, more_is_better=METRICS[metric].more_is_better),
    )


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
