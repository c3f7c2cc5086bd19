"""What a watch found as metrics for Prometheus, in the text form that node_exporter collects.

`configs/monitoring/grafana-dashboard.json` draws them; `docs/watching.md` lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from components.contracts.quality_report import Measurement, QualityGroup
    from components.contracts.watch_report import WatchReport

_KINDS = ("drift", "quality", "freshness", "versions")
_QUALITY_LABELS = ["model", "version", "measure", "class", "horizon"]

# Name, meaning, labels. A metric without a sample is written too, so that it is known.
GAUGES: dict[str, tuple[str, list[str]]] = {
    "mastery_watch_time_seconds": ("When the model was watched, Unix time.", ["model"]),
    "mastery_watch_findings": ("What calls for attention, by kind.", ["model", "kind"]),
    "mastery_log_newest_event_seconds": ("Time of the log's newest event, Unix time.", ["model"]),
    "mastery_log_max_age_seconds": ("How old the newest event may be.", ["model"]),
    "mastery_version_share": (
        "Percent of the requests that a version in service is to get; 0 if it was stopped.",
        ["model", "version", "label"],
    ),
    "mastery_drift_size": ("How far a column has moved.", ["model", "kind", "column", "distance"]),
    "mastery_drift_low": ("Lower end of its interval.", ["model", "kind", "column", "distance"]),
    "mastery_drift_high": ("Upper end of its interval.", ["model", "kind", "column", "distance"]),
    "mastery_drift_threshold": ("What is allowed.", ["model", "kind", "column", "distance"]),
    "mastery_drift_learners": ("New learners that were compared.", ["model"]),
    "mastery_quality_expected": ("What probabilities lead to expect.", _QUALITY_LABELS),
    "mastery_quality_expected_low": ("Lower end of its interval.", _QUALITY_LABELS),
    "mastery_quality_expected_high": ("Upper end of its interval.", _QUALITY_LABELS),
    "mastery_quality_realised": ("What outcomes show.", _QUALITY_LABELS),
    "mastery_quality_realised_low": ("Lower end of its interval.", _QUALITY_LABELS),
    "mastery_quality_realised_high": ("Upper end of its interval.", _QUALITY_LABELS),
    "mastery_quality_answers": ("Answers that were judged.", ["model", "version", "horizon"]),
    "mastery_quality_outcomes": ("Outcomes that came in.", ["model", "version", "horizon"]),
}

_Sample = tuple[str, list[str], float]


def as_metrics(report: WatchReport) -> str:
    """Returns a report in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Watched(report))
    return generate_latest(registry).decode()


class _Watched(Collector):
    """The metrics of one report."""

    def __init__(self, report: WatchReport) -> None:
        self._report = report

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yields each metric with its samples."""
        families = {
            name: GaugeMetricFamily(name, text, labels=labels)
            for name, (text, labels) in GAUGES.items()
        }
        for name, labels, value in _samples(self._report):
            families[name].add_metric(labels, value)
        yield from families.values()


def _samples(report: WatchReport) -> Iterator[_Sample]:
    model = report.name
    yield "mastery_watch_time_seconds", [model], _unix(report.as_of)
    for kind in _KINDS:
        count = sum(item.kind == kind for item in report.findings)
        yield "mastery_watch_findings", [model, kind], count

    if report.log.newest_event is not None:
        yield "mastery_log_newest_event_seconds", [model], _unix(report.log.newest_event)
    yield "mastery_log_max_age_seconds", [model], report.log.max_age_days * 86_400
    for item in report.versions:
        version = "all" if item.version is None else str(item.version)
        yield "mastery_version_share", [model, version, item.label], item.share or 0
    yield from _of_drift(report)
    yield from _of_quality(report)


def _of_drift(report: WatchReport) -> Iterator[_Sample]:
    if report.drift is None:
        return
    yield "mastery_drift_learners", [report.name], report.drift.learners
    for column in report.drift.columns:
        labels = [report.name, column.kind, column.column, column.distance]
        for name in ("size", "low", "high", "threshold"):
            value = getattr(column, name)
            if value is not None:
                yield f"mastery_drift_{name}", labels, value


def _of_quality(report: WatchReport) -> Iterator[_Sample]:
    """Yields all answers of a version, as horizon `all`, and those of each horizon.

    Weeks are left out: Prometheus keeps what was written before.
    """
    if report.quality is None:
        return
    for version in report.quality.versions:
        for group in (version.whole, *version.of("horizon")):
            own = [version.model, str(version.version)]
            horizon = group.value or "all"
            yield "mastery_quality_answers", [*own, horizon], group.answers
            yield "mastery_quality_outcomes", [*own, horizon], group.outcomes
            yield from _measures(group, own, horizon)


def _measures(group: QualityGroup, own: list[str], horizon: str) -> Iterator[_Sample]:
    kinds: dict[str, list[Measurement]] = {"expected": group.expected, "realised": group.realised}
    for kind, items in kinds.items():
        for item in items:
            labels = [*own, item.measure, item.class_ or "", horizon]
            for suffix, value in (("", item.value), ("_low", item.low), ("_high", item.high)):
                if value is not None:
                    yield f"mastery_quality_{kind}{suffix}", labels, value


def _unix(moment: str) -> float:
    found = datetime.fromisoformat(moment)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
