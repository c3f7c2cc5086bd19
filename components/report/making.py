"""Rows and charts about how the model was made: training, data, nodes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from components.config.data import describe_spans
from components.contracts.names import AS_OF, SPLITS
from components.report.charts import Series, bar, line_chart, sparkline
from components.report.drift import Drift, measure_drift
from components.report.facts import DataFacts, FeatureFacts
from components.report.formats import NOTHING, category, count, deviations, percent, points, rough
from components.report.inputs import LogFacts, NodeFacts, TrainingFacts
from components.report.wording import metric_words

EVAL_PREFIX = "val_"
MOST_CURVES = 3
TOP_VALUES = 5
TRAIN = SPLITS[0]
TIMESTAMPS = "timestamp"


@dataclass(frozen=True)
class LearningCurve:
    """One measure over the epochs, on the train and the eval split."""

    name: str
    chart: Markup


def learning_curves(training: TrainingFacts) -> list[LearningCurve]:
    """Returns a chart for the loss and for the next few measures that both splits have."""
    epochs = training.epochs
    names = [
        name.removeprefix(EVAL_PREFIX)
        for name in (epochs[0] if epochs else {})
        if name.startswith(EVAL_PREFIX)
    ]
    names.sort(key=lambda name: name != "loss")
    xs = [float(epoch.get("epoch") or index + 1) for index, epoch in enumerate(epochs)]
    curves = []
    for name in names[:MOST_CURVES]:
        said = metric_words(name).name
        lines = [
            Series("train", xs, [epoch.get(name) for epoch in epochs], 2),
            Series("eval", xs, [epoch.get(EVAL_PREFIX + name) for epoch in epochs], 1),
        ]
        best = float(training.best_epoch) if training.best_epoch else None
        domain = (xs[0], xs[-1]) if len(xs) > 1 else (0.0, 2.0)
        title = f"{said} by epoch, on the train and the eval split"
        chart = line_chart(
            lines,
            title=title,
            x_label="epoch",
            y_label=said,
            x_domain=domain,
            mark=best,
            whole_x=True,
        )
        curves.append(LearningCurve(said, chart))
    return curves


@dataclass(frozen=True)
class SplitRow:
    """Examples of a split, by class: counts and shares."""

    name: str
    examples: int
    classes: list[tuple[int, float]]


def split_rows(log: LogFacts, classes: list[str]) -> list[SplitRow]:
    """Returns the splits in the order of the log's summary; `classes` are the columns, none for a regression."""
    rows = []
    for split, counts in log.splits.items():
        total = sum(counts.values())
        cells = [(counts.get(name, 0), counts.get(name, 0) / max(1, total)) for name in classes]
        rows.append(SplitRow(split, total, cells))
    return rows


@dataclass(frozen=True)
class FeatureRow:
    """A feature as text; `numbers` are mean, deviation, min, median and max, or nothing for a category."""

    name: str
    missing: float | None
    shape: Markup
    numbers: list[str]
    zeros: float | None
    top: list[tuple[str, float]]
    others: int
    drift: list[tuple[str, str, bool]]  # split, how far it is, whether that is worth a look


def feature_rows(data: DataFacts) -> list[FeatureRow]:
    """Returns the features of the train split, and how far the other splits lie from it."""
    others = {
        split: {feature.name: feature for feature in data.features[split]}
        for split in data.features
    }
    train = others.pop(TRAIN, {})
    rows = []
    for name, feature in train.items():
        drift = {
            split: measure_drift(feature, there[name])
            for split, there in others.items()
            if name in there
        }
        said = [(split, _say_drift(found), found.is_far) for split, found in drift.items()]
        rows.append(_feature_row(feature, said, data.log.clock == TIMESTAMPS and name == AS_OF))
    return rows


def _feature_row(
    feature: FeatureFacts, drift: list[tuple[str, str, bool]], is_moment: bool
) -> FeatureRow:
    bars, top = feature.histogram, [*feature.shares.items()][:TOP_VALUES]
    measures = (feature.mean, feature.deviation, feature.low, feature.median, feature.high)
    has_shape = bars is not None and bars.edges[-1] > bars.edges[0]
    return FeatureRow(
        name=feature.name,
        missing=feature.missing,
        shape=sparkline(bars, title=f"Histogram of {feature.name}")
        if bars and has_shape
        else Markup(""),
        numbers=_say_measures(measures, is_moment) if feature.kind == "number" else [],
        zeros=feature.zeros,
        top=[(category(value), share) for value, share in top],
        others=max(0, feature.different - len(top)),
        drift=drift,
    )


def _say_drift(drift: Drift) -> str:
    parts = [] if drift.mean is None else [deviations(drift.mean)]
    parts += [] if drift.share is None else [points(drift.share)]
    parts += [f"missing {points(drift.missing)}"] if drift.misses_differently else []
    return ", ".join(parts) or NOTHING


def _say_measures(measures: tuple[float | None, ...], is_moment: bool) -> list[str]:
    mean, deviation, *rest = measures
    if is_moment:
        days = None if deviation is None else deviation / 86_400e6
        return [_say_day(mean), f"{rough(days)} d", *map(_say_day, rest)]
    return [*map(rough, measures)]


def _say_day(microseconds: float | None) -> str:
    if microseconds is None:
        return NOTHING
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds):%Y-%m-%d}"


@dataclass(frozen=True)
class LogRow:
    """One thing that is said of the log."""

    name: str
    value: str
    note: str = ""


def log_rows(log: LogFacts) -> list[LogRow]:
    """Returns what is known of the log."""
    outcomes = log.outcomes or 0
    version = "" if log.version is None else f"version {log.version}"
    rows = [
        LogRow(
            "Spans" if len(log.spans) > 1 else "Span", describe_spans(log.spans) or NOTHING, version
        ),
        LogRow("Events", count(log.events), _say_range(log.first_event, log.last_event)),
        LogRow("Outcomes", count(log.outcomes), _say_range(log.first_outcome, log.last_outcome)),
        LogRow("Learners", count(log.learners)),
        LogRow("Units", count(log.units)),
        LogRow(
            "Events an outcome",
            count(log.steps.get("50%")),
            f"half have more; at most {count(log.steps.get('100%'))}",
        ),
        LogRow(
            "Cold starts",
            count(log.cold_starts),
            _say_share(log.cold_starts, outcomes, "no event before as_of"),
        ),
        LogRow(
            "Cut short",
            count(log.truncated),
            _say_share(log.truncated, outcomes, "more events than are kept"),
        ),
    ]
    return [row for row in rows if row.value != NOTHING]


def _say_range(first: str | None, last: str | None) -> str:
    return f"{_say_moment(first)} to {_say_moment(last)}" if first and last else ""


def _say_moment(moment: str) -> str:
    """Writes a timestamp as its day, `5 Jan 2026`; other clocks as they are."""
    if "T" not in moment:
        return moment
    day = datetime.fromisoformat(moment)
    return f"{day.day} {day:%b %Y}"


def _say_share(part: int | None, whole: int, what: str) -> str:
    return f"{percent(part / whole)} of outcomes: {what}" if part is not None and whole else what


@dataclass(frozen=True)
class NodeRow:
    """A node of the run, its seconds drawn against the longest."""

    node: NodeFacts
    bar: Markup


def node_rows(nodes: list[NodeFacts]) -> list[NodeRow]:
    """Returns the nodes in the order they ran."""
    longest = max((node.seconds or 0.0 for node in nodes), default=0.0)
    return [NodeRow(node, bar(node.seconds, domain=(0, longest or 1.0))) for node in nodes]
