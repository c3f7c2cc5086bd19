"""Rows and charts about what the model was made from: training, log, splits, features, nodes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from markupsafe import Markup

from components.config.metrics import describe_metric
from components.config.spans import describe_spans
from components.contracts.names import AS_OF, TRAIN
from components.report.cell_charts import bar, sparkline
from components.report.charts import Series, line_chart
from components.report.formats import NOTHING, category, count, deviations, percent, points, rough
from components.report.split_statistics import Drift, FeatureFacts, measure_drift

if TYPE_CHECKING:
    from components.contracts.log_summary import LogSummary
    from components.contracts.run_record import NodeRecord
    from components.contracts.training_history import TrainingHistory
    from components.report.facts import DataFacts

EVAL_PREFIX = "val_"
MOST_CURVES = 3
TOP_VALUES = 5
TIMESTAMPS = "timestamp"
MICROSECONDS_PER_DAY = 86_400e6


@dataclass(frozen=True)
class LearningCurve:
    """One measure over the epochs, on the train and the eval split."""

    name: str
    chart: Markup


def learning_curves(training: TrainingHistory) -> list[LearningCurve]:
    """Returns a chart for the loss and for the next few measures that both splits have."""
    first = training.epochs[0] if training.epochs else {}
    names = [name.removeprefix(EVAL_PREFIX) for name in first if name.startswith(EVAL_PREFIX)]
    names.sort(key=lambda name: name != "loss")
    return [_learning_curve(training, name) for name in names[:MOST_CURVES]]


def _learning_curve(training: TrainingHistory, name: str) -> LearningCurve:
    epochs = training.epochs
    xs = [float(epoch.get("epoch") or index + 1) for index, epoch in enumerate(epochs)]
    lines = [
        Series("train", xs, [epoch.get(name) for epoch in epochs], 2),
        Series("eval", xs, [epoch.get(EVAL_PREFIX + name) for epoch in epochs], 1),
    ]

    words = describe_metric(name).short
    chart = line_chart(
        lines,
        title=f"{words} by epoch, on the train and the eval split",
        x_label="epoch",
        y_label=words,
        x_domain=(xs[0], xs[-1]) if len(xs) > 1 else (0.0, 2.0),
        mark=float(training.best_epoch) if training.best_epoch else None,
        whole_x=True,
    )
    return LearningCurve(words, chart)


def temperature_words(temperature: float | None) -> str:
    """Returns what a temperature did to the probabilities; nothing without one."""
    if temperature is None:
        return ""
    if temperature == 1:
        return "probabilities were left as they were"
    if temperature > 1:
        return "above 1: the network was too sure, and its probabilities were softened"
    return "below 1: the network was too cautious, and its probabilities were sharpened"


@dataclass(frozen=True)
class SplitRow:
    """Examples of a split, by class: counts and shares."""

    name: str
    examples: int
    classes: list[tuple[int, float]]


def split_rows(log: LogSummary, classes: list[str]) -> list[SplitRow]:
    """Returns the splits in the order of the log's summary.

    Args:
        log: the summary.
        classes: the columns of the table; none for a regression.
    """
    rows = []
    for split, counts in log.splits.items():
        total = sum(counts.values())
        cells = [(counts.get(name, 0), counts.get(name, 0) / max(1, total)) for name in classes]
        rows.append(SplitRow(split, total, cells))
    return rows


@dataclass(frozen=True)
class FeatureRow:
    """A feature as text.

    Attributes:
        name: its name.
        missing: the share that is missing.
        shape: a small histogram of numbers.
        numbers: mean, deviation, min, median and max; empty for a category.
        zeros: the share of zeros.
        top: the most frequent values of a category, and their shares.
        others: how many more values it has.
        drift: for each other split its name, its distance in words, and whether that is large.
    """

    name: str
    missing: float | None
    shape: Markup
    numbers: list[str]
    zeros: float | None
    top: list[tuple[str, float]]
    others: int
    drift: list[tuple[str, str, bool]]


def feature_rows(data: DataFacts) -> list[FeatureRow]:
    """Returns the features of the train split, and how far the other splits are from it."""
    others = {
        split: {feature.name: feature for feature in features}
        for split, features in data.features.items()
    }
    train = others.pop(TRAIN, {})
    has_timestamps = data.log is not None and data.log.clock == TIMESTAMPS

    rows = []
    for name, feature in train.items():
        drift = []
        for split, features in others.items():
            if name in features:
                found = measure_drift(feature, features[name])
                drift.append((split, _drift_words(found), found.is_far))

        rows.append(_feature_row(feature, drift, is_moment=has_timestamps and name == AS_OF))
    return rows


def _feature_row(
    feature: FeatureFacts, drift: list[tuple[str, str, bool]], *, is_moment: bool
) -> FeatureRow:
    shape = Markup("")
    bars = feature.histogram
    if bars is not None and bars.edges[-1] > bars.edges[0]:
        shape = sparkline(bars, title=f"Histogram of {feature.name}")

    numbers: list[str] = []
    if feature.kind == "number":
        numbers = _moments(feature) if is_moment else _numbers(feature)

    top = [*feature.shares.items()][:TOP_VALUES]
    return FeatureRow(
        name=feature.name,
        missing=feature.missing,
        shape=shape,
        numbers=numbers,
        zeros=feature.zeros,
        top=[(category(value), share) for value, share in top],
        others=max(0, feature.different - len(top)),
        drift=drift,
    )


def _drift_words(drift: Drift) -> str:
    parts = []
    if drift.mean is not None:
        parts.append(deviations(drift.mean))
    if drift.share is not None:
        parts.append(points(drift.share))
    if drift.misses_differently:
        parts.append(f"missing {points(drift.missing)}")
    return ", ".join(parts) or NOTHING


def _numbers(feature: FeatureFacts) -> list[str]:
    measures = (feature.mean, feature.deviation, feature.low, feature.median, feature.high)
    return [rough(value) for value in measures]


def _moments(feature: FeatureFacts) -> list[str]:
    """Returns `_numbers` for times in microseconds: dates, and the deviation in days."""
    days = None if feature.deviation is None else feature.deviation / MICROSECONDS_PER_DAY
    mean, *rest = map(_day, (feature.mean, feature.low, feature.median, feature.high))
    return [mean, f"{rough(days)} d", *rest]


def _day(microseconds: float | None) -> str:
    if microseconds is None:
        return NOTHING
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds):%Y-%m-%d}"


@dataclass(frozen=True)
class LogRow:
    """One figure of the log."""

    name: str
    value: str
    note: str = ""


def _replayed_rows(log: LogSummary) -> list[LogRow]:
    """Returns what of older spans is trained on, too; it is in no other figure of the log."""
    if log.replayed is None:
        return []
    outcomes, learners = count(log.replayed.outcomes), count(log.replayed.learners)
    what = f"outcomes of {learners} learners of {describe_spans(log.replayed.spans)}, to train on"
    return [LogRow("Replayed", outcomes, what)]


def log_rows(log: LogSummary) -> list[LogRow]:
    """Returns the figures of the log."""
    version = "" if log.version is None else f"version {log.version}"
    cold = _share_words(log.cold_starts, log.outcomes, "no event before as_of")
    cut = _share_words(log.truncated, log.outcomes, "more events than are kept")
    spans = "Spans" if len(log.spans) > 1 else "Span"
    half = count(log.steps.get("50%"))
    most = count(log.steps.get("100%"))

    rows = [
        LogRow(spans, describe_spans(log.spans) or NOTHING, version),
        *_replayed_rows(log),
        LogRow("Events", count(log.events), _range_words(log.first_event, log.last_event)),
        LogRow("Outcomes", count(log.outcomes), _range_words(log.first_outcome, log.last_outcome)),
        LogRow("Learners", count(log.learners)),
        LogRow("Units", count(log.units)),
        LogRow("Events per outcome", half, f"half have more; at most {most}"),
        LogRow("Cold starts", count(log.cold_starts), cold),
        LogRow("Cut short", count(log.truncated), cut),
    ]
    return [row for row in rows if row.value != NOTHING]


def _range_words(first: str, last: str) -> str:
    return f"{_moment_words(first)} to {_moment_words(last)}" if first and last else ""


def _moment_words(moment: str) -> str:
    """Returns a timestamp as its day, `5 Jan 2026`; a moment of another clock unchanged."""
    if "T" not in moment:
        return moment
    day = datetime.fromisoformat(moment)
    return f"{day.day} {day:%b %Y}"


def _share_words(part: int, whole: int, what: str) -> str:
    return f"{percent(part / whole)} of outcomes: {what}" if whole else what


@dataclass(frozen=True)
class NodeRow:
    """A node of the run, with a bar for its time; the longest time fills the bar."""

    node: NodeRecord
    bar: Markup


def node_rows(nodes: list[NodeRecord]) -> list[NodeRow]:
    """Returns the nodes in the order they ran."""
    longest = max((node.seconds or 0.0 for node in nodes), default=0.0)
    return [NodeRow(node, bar(node.seconds, domain=(0, longest or 1.0))) for node in nodes]
