"""Counts outcomes in TFDV's statistics, which count examples: a shared one has many outcomes.

In an example with one outcome, a column without a value is left out. In lists of several outcomes
a missing value is `""` or NaN, or an integer fewer, and TFDV takes the column to be there.
"""

from __future__ import annotations

from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    CommonStatistics,
    DatasetFeatureStatistics,
    FeatureNameStatistics,
)

from components.contracts.anomalies import Anomaly
from components.contracts.names import LEARNER, NUM_STEPS
from components.data_gate.anomaly_reasons import describe_share


def count_outcomes(statistics: DatasetFeatureStatistics) -> int:
    """Returns the number of outcomes in a split: each has a `num_steps`."""
    counts = [
        _common(item).tot_num_values
        for item in statistics.features
        if item.path.step[0] == NUM_STEPS
    ]
    return int(counts[0]) if counts else int(statistics.num_examples)


def count_missing(item: FeatureNameStatistics, statistics: DatasetFeatureStatistics) -> int:
    """Returns how many outcomes of a split have no value of a column of outcomes."""
    present = int(_common(item).tot_num_values) - _count_unknown(item)
    return count_outcomes(statistics) - present


def _count_unknown(item: FeatureNameStatistics) -> int:
    """Returns how many values in lists mean "missing"."""
    histograms = item.num_stats.histograms
    words = item.string_stats.rank_histogram.buckets
    empty = sum(int(bucket.sample_count) for bucket in words if bucket.label == "")
    return empty + max((int(histogram.num_nan) for histogram in histograms), default=0)


def _common(item: FeatureNameStatistics) -> CommonStatistics:
    kind = item.WhichOneof("stats")
    common: CommonStatistics = getattr(item, kind).common_stats
    return common


def outcomes_without_values(
    split: str, schema: Schema, statistics: DatasetFeatureStatistics
) -> list[Anomaly]:
    """Returns columns that too few outcomes of shared examples have, by their `min_fraction`.

    Where every example has one outcome and leaves its missing values out, TFDV counts them itself.
    """
    observed = {item.path.step[0]: item for item in statistics.features}
    representations = schema.tensor_representation_group[""].tensor_representation
    outcomes = count_outcomes(statistics)
    has_several = outcomes > int(statistics.num_examples)

    found = []
    for feature in schema.feature:
        is_step = representations[feature.name].HasField("ragged_tensor")
        if feature.name not in observed or feature.name == LEARNER or is_step:
            continue
        if not has_several and not _count_unknown(observed[feature.name]):
            continue

        missing = count_missing(observed[feature.name], statistics)
        least = feature.presence.min_fraction
        if outcomes - missing < least * outcomes:
            anomaly = Anomaly(
                split=split,
                column=feature.name,
                stops=True,
                expected=f"a value in at least {least:.4g} of the outcomes",
                found=f"none in {describe_share(missing, outcomes, 'outcomes')}",
            )
            found.append(anomaly)
    return found
