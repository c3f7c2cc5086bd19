"""Each kind of anomaly says what was expected and what was found, with counts."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.anomalies_pb2 import AnomalyInfo
from tensorflow_metadata.proto.v0.schema_pb2 import Feature, Schema
from tensorflow_metadata.proto.v0.statistics_pb2 import FeatureNameStatistics

from components.data_gate.anomaly_reasons import Column, expected_and_found

NUMBERS = """
type: FLOAT
num_stats {
  common_stats { num_non_missing: 90 tot_num_values: 200 min_num_values: 1 max_num_values: 4 }
  min: -3 max: 12
  histograms {
    num_nan: 5
    buckets { low_value: -3 high_value: 0 sample_count: 7 }
    buckets { low_value: 0 high_value: 12 sample_count: 193 }
  }
}
"""
TEXTS = """
type: STRING
string_stats {
  common_stats { num_non_missing: 100 tot_num_values: 100 }
  rank_histogram {
    buckets { label: "video" sample_count: 97 }
    buckets { label: "vidoe" sample_count: 3 }
  }
}
"""


def column(
    feature: str = "",
    statistics: str | None = NUMBERS,
    examples: int | None = 100,
    schema: str = "",
) -> Column:
    found = statistics and text_format.Parse(statistics, FeatureNameStatistics())
    return Column(
        text_format.Parse(schema, Schema()),
        text_format.Parse(feature, Feature()),
        found or None,
        examples,
    )


@pytest.mark.parametrize(
    ("kind", "subject", "expected", "found"),
    [
        (
            "FLOAT_TYPE_SMALL_FLOAT",
            column("float_domain { min: 0 }"),
            "numbers of at least 0",
            "-3 to 12, at most 7 of 200 values (3.5%) outside",
        ),
        (
            "FLOAT_TYPE_BIG_FLOAT",
            column("float_domain { max: 20 }"),
            "numbers of at most 20",
            "-3 to 12",
        ),
        (
            "INT_TYPE_BIG_INT",
            column("int_domain { min: 0 max: 9 }"),
            "numbers from 0 to 9",
            "-3 to 12, at most 200 of 200 values (100%) outside",
        ),
        (
            "FEATURE_TYPE_LOW_FRACTION_PRESENT",
            column("presence { min_fraction: 0.95 }"),
            "a value in at least 0.95 of the examples",
            "none in 10 of 100 examples (10%)",
        ),
        (
            "FEATURE_TYPE_LOW_NUMBER_PRESENT",
            column("presence { min_count: 95 }"),
            "a value in at least 95 examples",
            "none in 10 of 100 examples (10%)",
        ),
        (
            "FEATURE_TYPE_HIGH_NUMBER_VALUES",
            column("value_count { min: 1 max: 2 }"),
            "1 to 2 values in an example",
            "1 to 4",
        ),
        (
            "FEATURE_TYPE_LOW_NUMBER_VALUES",
            column("value_count { min: 2 }"),
            "2 to any number of values in an example",
            "1 to 4",
        ),
        (
            "INVALID_FEATURE_SHAPE",
            column("shape { dim { size: 2 } dim { size: 3 } }"),
            "6 values in every example",
            "1 to 4",
        ),
        ("FLOAT_TYPE_HAS_NAN", column(), "no NaN", "NaN in 5 of 200 values (2.5%)"),
        ("FLOAT_TYPE_HAS_INF", column(), "finite numbers", "-3 to 12"),
        (
            "SCHEMA_NEW_COLUMN",
            column(),
            "only columns that the schema has",
            "a new one, in 90 examples",
        ),
        (
            "SCHEMA_MISSING_COLUMN",
            column(statistics=None),
            "this column",
            "no value of it in any example (of 100)",
        ),
        (
            "DATASET_LOW_NUM_EXAMPLES",
            column(schema="dataset_constraints { min_examples_count: 500 }"),
            "at least 500 examples",
            "100",
        ),
        (
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
            column('string_domain { value: "video" }', TEXTS),
            "one of 'video'",
            "'vidoe' (3): 3 of 100 values (3%)",
        ),
        (
            "UNEXPECTED_DATA_TYPE",
            column("type: INT", TEXTS),
            "integers (INT)",
            "text, in 100 values",
        ),
    ],
)
def test_expected_and_found_are_in_words_with_counts(
    kind: str, subject: Column, expected: str, found: str
) -> None:
    reason = AnomalyInfo.Reason(type=kind, description="TFDV's own words")
    assert expected_and_found(reason, subject) == (expected, found)


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("ENUM_TYPE_UNEXPECTED_STRING_VALUES", column(statistics=None)),
        ("ENUM_TYPE_UNEXPECTED_STRING_VALUES", column('string_domain { value: "a" }', "type: INT")),
        ("UNEXPECTED_DATA_TYPE", column(statistics=None)),
        ("FLOAT_TYPE_SMALL_FLOAT", column(statistics=None)),
        ("FEATURE_TYPE_LOW_NUMBER_PRESENT", column(statistics="type: INT")),
        ("FEATURE_TYPE_LOW_NUMBER_VALUES", column(statistics=None)),
        ("FLOAT_TYPE_HAS_NAN", column(statistics=None)),
        ("FLOAT_TYPE_HAS_INF", column(statistics=None)),
        ("DATASET_LOW_NUM_EXAMPLES", column(examples=None)),
        ("SEMANTIC_DOMAIN_UPDATE", column()),
    ],
)
def test_without_statistics_and_for_rare_kinds_tfdv_s_words_are_kept(
    kind: str, subject: Column
) -> None:
    reason = AnomalyInfo.Reason(type=kind, description=" TFDV's own words ")
    assert expected_and_found(reason, subject) == ("what the schema says", "TFDV's own words")


def test_drift_is_described_by_tfdv() -> None:
    reason = AnomalyInfo.Reason(type="COMPARATOR_L_INFTY_HIGH", description="0.3 > 0.1")
    assert expected_and_found(reason, column()) == (
        "a distribution within the schema's drift or skew threshold",
        "0.3 > 0.1",
    )
