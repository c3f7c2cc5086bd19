"""What is in the splits: TFDV's statistics and anomalies, and how far apart two splits are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.contracts.names import ANOMALIES_FILE, LEARNER, SPLITS, STATISTICS_FILE
from components.report.charts import Bars

if TYPE_CHECKING:
    from components.contracts.anomalies import Anomaly

# In standard deviations; the bound of D. B. Rubin, Health Services & Outcomes Research Methodology
# 2, 2001.
FAR_MEAN = 0.25
FAR_SHARE = 0.1


@dataclass(frozen=True)
class FeatureFacts:
    """What TFDV found in one feature of a split, a number or a category.

    An attribute that does not apply to the feature is None or empty.

    Attributes:
        name: its name.
        kind: what its values are.
        missing: share of outcomes without the feature; of a feature of steps, share of steps
            without a value.
        mean: mean of the numbers.
        deviation: their standard deviation.
        low: the smallest number.
        median: their median.
        high: the largest number.
        zeros: share of zeros.
        histogram: histogram of the numbers.
        different: how many different values a category has.
        shares: shares of a category's values among all values, most frequent first.
    """

    name: str
    kind: Literal["number", "category"]
    missing: float | None
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    median: float | None = None
    high: float | None = None
    zeros: float | None = None
    histogram: Bars | None = None
    different: int = 0
    shares: dict[str, float] = field(default_factory=dict)


def read_statistics(folder: Path) -> dict[str, Any]:
    """Returns TFDV's `DatasetFeatureStatistics` by split, of the splits that have some."""
    import tensorflow_data_validation as tfdv

    files = _find_splits(folder, STATISTICS_FILE)
    return {split: tfdv.load_stats_binary(str(file)).datasets[0] for split, file in files.items()}


def _find_splits(folder: Path, name: str) -> dict[str, Path]:
    """Returns the files called `name` by split, in the usual order of splits."""
    files = {
        file.parent.name.removeprefix("Split-"): file for file in folder.glob(f"Split-*/{name}")
    }
    order = (*SPLITS, *sorted(files))
    return {split: files[split] for split in sorted(files, key=order.index)}


def describe_features(dataset: Any, steps: frozenset[str], label: str) -> list[FeatureFacts]:
    """Returns the features of a split, without learner and label: first of steps, then the others.

    Args:
        dataset: TFDV's statistics of the split.
        steps: names of the features that have one value per step.
        label: name of the label.
    """
    from components.data_gate.outcomes import count_missing, count_outcomes

    facts = []
    for feature in dataset.features:
        name = feature.path.step[0]
        if name in (LEARNER, label):
            continue

        is_step = name in steps
        missing = None
        if not is_step:
            missing = _share(count_missing(feature, dataset), count_outcomes(dataset))
        if feature.HasField("num_stats"):
            facts.append(_describe_number(name, feature.num_stats, missing, is_step=is_step))
        elif feature.HasField("string_stats"):
            facts.append(_describe_category(name, feature.string_stats, missing, is_step=is_step))
    return sorted(facts, key=lambda fact: (fact.name not in steps, fact.name))


def _describe_number(
    name: str, stats: Any, missing: float | None, *, is_step: bool
) -> FeatureFacts:
    values = stats.common_stats.tot_num_values
    unknown = stats.histograms[0].num_nan if stats.histograms else 0
    missing = _share(unknown, values) if is_step else missing
    zeros = _share(stats.num_zeros, values if is_step else values - unknown)

    drawn = (item for item in stats.histograms if item.type == item.STANDARD and item.buckets)
    histogram = next(drawn, None)
    bars = None if histogram is None else _bars(histogram)

    if values <= unknown:
        return FeatureFacts(name, "number", missing, zeros=zeros, histogram=bars)
    return FeatureFacts(
        name=name,
        kind="number",
        missing=missing,
        mean=stats.mean,
        deviation=stats.std_dev,
        low=stats.min,
        median=stats.median,
        high=stats.max,
        zeros=zeros,
        histogram=bars,
    )


def _describe_category(
    name: str, stats: Any, missing: float | None, *, is_step: bool
) -> FeatureFacts:
    values = stats.common_stats.tot_num_values
    counts = {bucket.label: bucket.sample_count for bucket in stats.rank_histogram.buckets}
    empty = counts.pop("", 0)  # in a list, a missing value is an empty string
    whole = values if is_step else values - empty

    return FeatureFacts(
        name=name,
        kind="category",
        missing=_share(empty, values) if is_step else missing,
        different=stats.unique - bool(empty),
        shares={value: count / whole for value, count in counts.items()},
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _bars(histogram: Any) -> Bars:
    buckets = histogram.buckets
    edges = [buckets[0].low_value, *(bucket.high_value for bucket in buckets)]
    return Bars(edges=edges, counts=[bucket.sample_count for bucket in buckets])


def read_anomalies(folder: Path, statistics: dict[str, Any]) -> list[Anomaly] | None:
    """Returns the anomalies that ExampleValidator found; None if it did not check the splits.

    Args:
        folder: folder of the artifact `anomalies`.
        statistics: TFDV's statistics by split, for the counts.
    """
    from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies

    from components.data_gate.tfdv_anomalies import describe_anomalies

    files = _find_splits(folder, ANOMALIES_FILE)
    if not files:
        return None

    found: list[Anomaly] = []
    for split, file in files.items():
        anomalies = Anomalies.FromString(file.read_bytes())
        found += describe_anomalies(anomalies, split=split, statistics=statistics.get(split))
    return found


@dataclass(frozen=True)
class Drift:
    """How a feature differs in another split.

    Attributes:
        mean: change of the mean, in standard deviations of the train split; None for a category.
        share: the largest change of a value's share; None for a number.
        missing: change of the share that is missing.
    """

    mean: float | None
    share: float | None
    missing: float

    @property
    def is_far(self) -> bool:
        """Whether it is large enough to be marked in the report."""
        is_shifted = abs(self.mean or 0) >= FAR_MEAN
        is_mixed_differently = (self.share or 0) >= FAR_SHARE
        return is_shifted or is_mixed_differently or self.misses_differently

    @property
    def misses_differently(self) -> bool:
        """Whether clearly more or less is missing."""
        return abs(self.missing) >= FAR_SHARE


def measure_drift(train: FeatureFacts, other: FeatureFacts) -> Drift:
    """Compares a feature's values in the train split and in another one.

    TFDV's Jensen-Shannon divergence is not used: it finds splits of one log far apart if values are
    missing or tails are long.
    """
    names = {*train.shares, *other.shares}
    changes = [abs(other.shares.get(name, 0.0) - train.shares.get(name, 0.0)) for name in names]
    return Drift(
        mean=_shift(train, other),
        share=max(changes, default=None),
        missing=(other.missing or 0.0) - (train.missing or 0.0),
    )


def _shift(train: FeatureFacts, other: FeatureFacts) -> float | None:
    if train.mean is None or other.mean is None:
        return None
    if train.mean == other.mean:
        return 0.0
    change = other.mean - train.mean
    return change / train.deviation if train.deviation else math.copysign(math.inf, change)
