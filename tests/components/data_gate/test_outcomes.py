"""Missing values of outcomes that share examples, in statistics that TFDV itself computes."""

from __future__ import annotations

import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_data_validation import StatsOptions, validate_statistics
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics

from components.data_gate.outcomes import count_missing, count_outcomes
from components.data_gate.tfdv_anomalies import judge_split
from components.report.split_statistics import describe_features

SCHEMA = text_format.Parse(
    """
    feature { name: "learner_id" type: BYTES presence { min_fraction: 1 } }
    feature { name: "num_steps" type: INT presence { min_fraction: 1 } }
    feature { name: "level" type: BYTES presence { min_fraction: 0.9 min_count: 1 } }
    feature { name: "age" type: FLOAT presence { min_fraction: 0.5 min_count: 1 } }
    feature { name: "year" type: INT presence { min_fraction: 1 } }
    feature { name: "dwell" type: FLOAT presence { min_count: 1 } }
    tensor_representation_group {
      key: ""
      value { tensor_representation { key: "dwell" value {
        ragged_tensor { feature_path { step: "dwell" } } } } }
    }
    """,
    Schema(),
)
NAN = float("nan")
TEXT, NUMBER, INTEGER = (
    pa.large_list(kind) for kind in (pa.large_binary(), pa.float32(), pa.int64())
)
SHARED = {
    "learner_id": pa.array([[b"anna"], [b"ben"]] * 10, TEXT),
    "num_steps": pa.array([[0, 1, 2], [1]] * 10, INTEGER),
    "level": pa.array([[b"low", b"", b"high"], [b"low"]] * 10, TEXT),
    "age": pa.array([[1.0, NAN, 0.0], [NAN]] * 10, NUMBER),
    "year": pa.array([[2024, 2025], [2026]] * 10, INTEGER),  # one is missing
    "dwell": pa.array([[NAN, 2.0], [3.0]] * 10, NUMBER),
}
ALONE = {
    "learner_id": pa.array([[b"anna"]] * 4, TEXT),
    "num_steps": pa.array([[0], [1], [2], [1]], INTEGER),
    "level": pa.array([[b"low"], None, [b"high"], [b"low"]], TEXT),
    "age": pa.array([[1.0], None, [0.0], None], NUMBER),
    "year": pa.array([[2024], [2025], None, [2026]], INTEGER),
    "dwell": pa.array([[], [2.0], [2.0, NAN], [3.0]], NUMBER),
}


def statistics(columns: dict[str, pa.Array]) -> DatasetFeatureStatistics:
    batch = pa.RecordBatch.from_pydict(columns)
    return generate_statistics_in_memory(batch, StatsOptions(schema=SCHEMA)).datasets[0]


@pytest.mark.parametrize(("columns", "times"), [(SHARED, 10), (ALONE, 1)])
def test_outcomes_are_counted_alike_shared_or_alone(
    columns: dict[str, pa.Array], times: int
) -> None:
    dataset = statistics(columns)
    assert count_outcomes(dataset) == 4 * times
    features = {item.path.step[0]: item for item in dataset.features}
    missing = {name: count_missing(features[name], dataset) for name in ("level", "age", "year")}
    assert missing == {"level": times, "age": 2 * times, "year": times}


def test_the_report_says_the_same_of_shared_outcomes_and_of_others() -> None:
    shared, alone = (
        {fact.name: fact for fact in describe_features(statistics(item), frozenset(), "none")}
        for item in (SHARED, ALONE)
    )
    for name in ("level", "age", "year"):
        for fact in ("missing", "zeros", "shares", "mean", "different", "low", "high"):
            assert getattr(shared[name], fact) == pytest.approx(getattr(alone[name], fact))


def test_the_gate_judges_the_share_of_outcomes() -> None:
    batch = pa.RecordBatch.from_pydict(SHARED)
    counted = generate_statistics_in_memory(batch, StatsOptions(schema=SCHEMA))
    found = judge_split("train", validate_statistics(counted, SCHEMA), counted.datasets[0])
    assert [str(anomaly) for anomaly in found if anomaly.stops] == [
        "train, level: expected a value in at least 0.9 of the outcomes; "
        "found none in 10 of 40 outcomes (25%).",
        "train, year: expected a value in at least 1 of the outcomes; "
        "found none in 10 of 40 outcomes (25%).",
    ]


def test_the_gate_sees_missing_values_in_lists_of_one_outcome() -> None:
    columns = {name: ALONE[name] for name in ("learner_id", "num_steps", "dwell")}
    columns["level"] = pa.array([[b"low"], [b""], [b"high"], [b"low"]], TEXT)
    columns["age"] = pa.array([[1.0], [NAN], [NAN], [NAN]], NUMBER)
    counted = generate_statistics_in_memory(
        pa.RecordBatch.from_pydict(columns), StatsOptions(schema=SCHEMA)
    )
    schema = Schema(feature=[item for item in SCHEMA.feature if item.name != "year"])
    schema.tensor_representation_group[""].CopyFrom(SCHEMA.tensor_representation_group[""])
    found = judge_split("train", validate_statistics(counted, schema), counted.datasets[0])
    assert [str(anomaly) for anomaly in found if anomaly.stops] == [
        "train, level: expected a value in at least 0.9 of the outcomes; "
        "found none in 1 of 4 outcomes (25%).",
        "train, age: expected a value in at least 0.5 of the outcomes; "
        "found none in 3 of 4 outcomes (75%).",
    ]
