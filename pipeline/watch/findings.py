"""What calls for attention in what was measured of a model in service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.contracts.watch_report import Finding, LogFreshness, VersionInService

if TYPE_CHECKING:
    from components.config import Config
    from components.config.gates import Gate
    from components.contracts.drift_report import DriftReport
    from components.contracts.quality_report import Measurement, QualityReport, VersionQuality

_DAY = 86_400.0
_SHARES = ("accuracy", "f1_macro", "recall")  # metrics of gates that are expected, with intervals


def age_in_days(log: LogFreshness, now: datetime) -> float | None:
    """Returns how old the newest event of a log is; None if that is not known."""
    if log.newest_event is None:
        return None
    newest = datetime.fromisoformat(log.newest_event)
    newest = newest if newest.tzinfo else newest.replace(tzinfo=UTC)
    return (now - newest).total_seconds() / _DAY


def of_freshness(log: LogFreshness, now: datetime) -> Iterator[Finding]:
    """Yields a finding if no event came for longer than `watch.max_log_age_days`."""
    age = age_in_days(log, now)
    if age is not None and age > log.max_age_days:
        yield Finding(
            kind="freshness",
            key="freshness",
            text=f"The newest event of the log is {age:.1f} days old; at most "
            f"{log.max_age_days:g} are expected (watch.max_log_age_days). Does the platform still "
            "deliver?",
        )


def of_versions(versions: list[VersionInService]) -> Iterator[Finding]:
    """Yields a finding if nothing answers; a version that was stopped beside others is none."""
    if any(item.label in ("stable", "newest") for item in versions):
        return
    stopped = next((item.stopped for item in versions if item.stopped is not None), None)
    why = f"Nothing is in service: {stopped}" if stopped else "Nothing is in service"
    yield Finding(
        kind="versions",
        key="nothing in service",
        text=f"{why}. `mastery models resume` or `mastery models promote` brings a version back.",
    )


def of_drift(report: DriftReport) -> Iterator[Finding]:
    """Yields a finding if drift calls for retraining."""
    if report.calls_for_retraining:
        columns = ", ".join(sorted(f"{item.kind} {item.column}" for item in report.drifted))
        yield Finding(kind="drift", key=f"drift of {columns}", text=report.headline)


def of_quality(
    report: QualityReport, config: Config, versions: list[VersionInService]
) -> Iterator[Finding]:
    """Yields findings about versions in service: outcomes against them, and gates out of reach."""
    serving = {item.version for item in versions if item.stopped is None}
    for quality in report.versions:
        if quality.version in serving and quality.classes:
            yield from _contradictions(quality)
            for gate in config.gates:
                yield from _below_gate(quality, gate)


def _contradictions(quality: VersionQuality) -> Iterator[Finding]:
    for group in quality.contradictions:
        realised = group.find("accuracy", realised=True)
        expected = next(item for item in group.expected_there if item.measure == "accuracy")
        if realised is None or realised.value is None:
            continue
        where = f"in the week of {group.value}" if group.value else "in these weeks"
        yield Finding(
            kind="quality",
            key=f"outcomes against {quality.version} {group.value}",
            text=f"Version {quality.version}: {realised.value:.1%} of {group.outcomes:,} answers "
            f"{where} were right, {_in_words(expected)} were expected of them. Outcomes may relate "
            "to events in another way than when it was trained: retrain it on newer outcomes.",
        )


def _below_gate(quality: VersionQuality, gate: Gate) -> Iterator[Finding]:
    """Yields a finding if the measure to expect is below a gate's minimum, interval and all."""
    is_plain = gate.decision is None and not gate.slice
    if gate.min is None or gate.metric not in _SHARES or not is_plain:
        return
    expected = quality.whole.find(gate.metric, gate.class_)  # type: ignore[arg-type]
    if expected is None or expected.high is None or expected.high >= gate.min:
        return
    name = gate.metric if gate.class_ is None else f"{gate.metric} of {gate.class_}"
    yield Finding(
        kind="quality",
        key=f"{name} of {quality.version} below its gate",
        text=f"Version {quality.version}: {name} is expected to be {_in_words(expected)}, below "
        f"its gate of {gate.min:g}. Its answers are less sure than on test data; see what drifted.",
    )


def _in_words(item: Measurement) -> str:
    if item.value is None:
        return "nothing"
    if item.low is None or item.high is None:
        return f"{item.value:.1%}"
    return f"{item.value:.1%} ({item.low:.1%} to {item.high:.1%})"
