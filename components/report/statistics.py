"""Reads what TFDV found in the splits: statistics and anomalies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.contracts.names import LEARNER, SPLITS
from components.report.facts import AnomalyFacts, Bars, FeatureFacts

STATISTICS_FILE = "FeatureStats.pb"
ANOMALIES_FILE = "SchemaDiff.pb"


def read_statistics(folder: Path) -> dict[str, Any]:
    """Returns TFDV's `DatasetFeatureStatistics` by split, of the splits that have some."""
    import tensorflow_data_validation as tfdv

    files = _find_splits(folder, STATISTICS_FILE)
    return {split: tfdv.load_stats_binary(str(file)).datasets[0] for split, file in files.items()}


def _find_splits(folder: Path, name: str) -> dict[str, Path]:
    """Returns the files of that name by split, in the usual order of splits."""
    files = {
        file.parent.name.removeprefix("Split-"): file for file in folder.glob(f"Split-*/{name}")
    }
    return {split: files[split] for split in sorted(files, key=(*SPLITS, *sorted(files)).index)}


def describe_features(dataset: Any, steps: frozenset[str], label: str) -> list[FeatureFacts]:
    """Returns the features of a split: those of steps first, then the rest; no keys, not the label.

    Args:
        dataset: TFDV's statistics of the split.
        steps: names of the features that have a value a step.
        label: name of the label.
    """
    facts = []
    for feature in dataset.features:
        name = feature.path.step[0]
        if name in (LEARNER, label):
            continue
        if feature.HasField("num_stats"):
            facts.append(_describe_number(name, feature.num_stats, name in steps))
        elif feature.HasField("string_stats"):
            facts.append(_describe_category(name, feature.string_stats, name in steps))
    return sorted(facts, key=lambda fact: (fact.name not in steps, fact.name))


def _describe_number(name: str, stats: Any, is_step: bool) -> FeatureFacts:
    values = stats.common_stats.tot_num_values
    histogram = next(
        (item for item in stats.histograms if item.type == item.STANDARD and item.buckets), None
    )
    unknown = stats.histograms[0].num_nan if stats.histograms else 0
    known = values > unknown
    return FeatureFacts(
        name=name,
        kind="number",
        missing=_share(unknown, values) if is_step else _missing_rows(stats.common_stats),
        mean=stats.mean if known else None,
        deviation=stats.std_dev if known else None,
        low=stats.min if known else None,
        median=stats.median if known else None,
        high=stats.max if known else None,
        zeros=_share(stats.num_zeros, values),
        histogram=_bars(histogram) if histogram else None,
    )


def _describe_category(name: str, stats: Any, is_step: bool) -> FeatureFacts:
    values = stats.common_stats.tot_num_values
    counts = {bucket.label: bucket.sample_count for bucket in stats.rank_histogram.buckets}
    empty = counts.pop("", 0)  # a missing step is an empty string
    return FeatureFacts(
        name=name,
        kind="category",
        missing=_share(empty, values) if is_step else _missing_rows(stats.common_stats),
        different=stats.unique - bool(empty),
        shares={value: count / values for value, count in counts.items()},
    )


def _missing_rows(common: Any) -> float | None:
    return _share(common.num_missing, common.num_missing + common.num_non_missing)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _bars(histogram: Any) -> Bars:
    buckets = histogram.buckets
    edges = [buckets[0].low_value, *(bucket.high_value for bucket in buckets)]
    return Bars(edges=edges, counts=[bucket.sample_count for bucket in buckets])


def read_anomalies(folder: Path, statistics: dict[str, Any]) -> list[AnomalyFacts] | None:
    """Returns what ExampleValidator holds against the splits; None where it left no verdict.

    Args:
        folder: of the artifact `anomalies`.
        statistics: TFDV's statistics by split, for the counts.
    """
    from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies

    from components.data_gate.tfdv_anomalies import describe_anomalies

    facts = []
    files = _find_splits(folder, ANOMALIES_FILE)
    for split, file in files.items():
        anomalies = Anomalies.FromString(file.read_bytes())
        found = describe_anomalies(anomalies, split=split, statistics=statistics.get(split))
        facts += [AnomalyFacts(split, item.column, item.expected, item.found) for item in found]
    return facts if files else None
