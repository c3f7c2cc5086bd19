"""Distances: on the same numbers, those of TensorFlow Data Validation."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from numpy.typing import NDArray
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.monitoring.distances import infinity_norm, jensen_shannon

SCHEMA = """
feature { name: "words" type: BYTES drift_comparator { infinity_norm { threshold: 0.5 } } }
feature {
  name: "numbers" type: FLOAT
  drift_comparator { jensen_shannon_divergence { threshold: 0.5 } }
}
"""
Counts = NDArray[np.integer]


def statistics(counts: Counts) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Statistics of a column of words and of one of numbers, with these counts by bucket."""
    found = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = found.datasets.add(num_examples=int(counts.sum()))
    words = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    words.path.step.append("words")
    words.string_stats.common_stats.num_non_missing = int(counts.sum())
    numbers = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
    numbers.path.step.append("numbers")
    numbers.num_stats.common_stats.num_non_missing = int(counts.sum())
    histogram = numbers.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    for place, count in enumerate(counts.tolist()):
        words.string_stats.rank_histogram.buckets.add(label=f"word {place}", sample_count=count)
        histogram.buckets.add(low_value=place, high_value=place + 1, sample_count=count)
    return found


def of_tfdv(first: Counts, second: Counts) -> dict[str, float]:
    schema = text_format.Parse(SCHEMA, schema_pb2.Schema())
    found = tfdv.validate_statistics(
        statistics(second), schema, previous_statistics=statistics(first)
    )
    return {
        item.path.step[0]: measured.value
        for item in found.drift_skew_info
        for measured in item.drift_measurements
    }


@pytest.mark.parametrize("seed", range(8))
def test_distances_are_those_of_tfdv(seed: int) -> None:
    draw = np.random.default_rng(seed)
    buckets = int(draw.integers(2, 12))
    # Some buckets are empty on one side, some on both.
    first, second = draw.integers(-3, 50, (2, buckets)).clip(0)
    first[0], second[-1] = 7, 5
    expected = of_tfdv(first, second)
    shares = first / first.sum(), second / second.sum()
    assert float(infinity_norm(*shares)) == pytest.approx(expected["words"], abs=1e-12)
    assert float(jensen_shannon(*shares)) == pytest.approx(expected["numbers"], abs=1e-12)


def test_distances_of_many_draws_at_once_are_those_of_each() -> None:
    first, second = np.random.default_rng(1).dirichlet(np.ones(4), (2, 5)).transpose(0, 2, 1)
    for distance in (infinity_norm, jensen_shannon):
        together = distance(first, second)
        alone = [float(distance(first[:, place], second[:, place])) for place in range(5)]
        np.testing.assert_allclose(together, alone)
        np.testing.assert_allclose(distance(first, first), 0, atol=1e-15)
