"""The data statement: what a version learned from, who is in it, and who is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.contracts.names import TRAIN
from components.contracts.papers import DataStatement, FeatureStatement, SplitStatement
from components.contracts.provenance import DataProvenance
from components.report.formats import category, count, percent

if TYPE_CHECKING:
    from components.papers.facts import VersionFacts
    from components.report.split_statistics import FeatureFacts

MOST_VALUES = 12  # of a category whose shares are listed


def make_statement(facts: VersionFacts) -> DataStatement | None:
    """Returns the data statement of a version; None without a summary of its log."""
    log = facts.log
    if log is None:
        return None
    return DataStatement(
        data=facts.manifest.data or DataProvenance(),
        events=log.events,
        outcomes=log.outcomes,
        learners=log.learners,
        units=log.units,
        first_event=log.first_event,
        last_event=log.last_event,
        first_outcome=log.first_outcome,
        last_outcome=log.last_outcome,
        cold_starts=log.cold_starts,
        truncated=log.truncated,
        files=log.files,
        splits=[
            _split(name, counts, facts.features.get(name, []))
            for name, counts in log.splits.items()
        ],
        included=list(_included(facts)),
        excluded=list(_excluded(facts)),
        warnings=log.warnings,
    )


def _split(name: str, counts: dict[str, int], features: list[FeatureFacts]) -> SplitStatement:
    total = sum(counts.values())
    return SplitStatement(
        name=name,
        outcomes=total,
        classes=counts,
        shares={class_: number / total for class_, number in counts.items()} if total else {},
        features=[_feature(feature) for feature in features],
    )


def _feature(feature: FeatureFacts) -> FeatureStatement:
    return FeatureStatement(
        name=feature.name,
        kind=feature.kind,
        missing=feature.missing,
        mean=feature.mean,
        deviation=feature.deviation,
        low=feature.low,
        high=feature.high,
        different=feature.different,
        shares=dict([*feature.shares.items()][:MOST_VALUES]),
    )


def _included(facts: VersionFacts) -> Iterator[str]:
    """Yields who is in the data: how many, and how the groups that are compared are mixed."""
    log = facts.log
    assert log is not None  # a statement is made of a summary
    yield (
        f"{count(log.learners)} learners with at least one outcome, in {count(log.units)} units: "
        f"{count(log.outcomes)} outcomes and {count(log.events)} events."
    )

    train = {feature.name: feature for feature in facts.features.get(TRAIN, [])}
    columns = [name for names in facts.config.evaluation.slices for name in names]
    for name in dict.fromkeys(columns):
        feature = train.get(name)
        if feature is None or not feature.shares:
            continue
        shares = [
            f"{category(value)} {percent(share)}"
            for value, share in [*feature.shares.items()][:MOST_VALUES]
        ]
        yield (
            f"By {name}, in the train split: {', '.join(shares)}; without a value "
            f"{percent(feature.missing)}."
        )


def _excluded(facts: VersionFacts) -> Iterator[str]:
    """Yields who is not in the data."""
    data, log = facts.config.data, facts.log
    assert log is not None
    yield "Learners without an outcome: who left before one was decided cannot be learned from."
    if data.left_out:
        yield "Learners who opted out or were erased: their rows were not read."
    else:
        yield "No list of learners who opted out is configured (data.left_out)."
    if data.sample_learners is not None:
        yield f"All but {count(data.sample_learners)} learners, who were chosen by a hash."
    yield "Events at or after the moment of judgement: an answer never sees what came later."
    if log.spans:
        beside = f", but for {log.replayed.describe()}" if log.replayed else ""
        yield f"Everything outside of the spans {', '.join(log.spans)}{beside}."
    if not facts.config.evaluation.slices:
        yield "How groups of learners are mixed is unknown: evaluation.slices names no column."
