"""DataGate's list, from statistics and anomalies that TFDV itself computes."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_data_validation import StatsOptions, validate_statistics
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    DatasetFeatureStatistics,
    DatasetFeatureStatisticsList,
)

from components.contracts.anomalies import Anomaly
from components.data_gate.tfdv_anomalies import describe_anomalies, judge_split, stop_on
from components.errors import AnomalyError

SCHEMA = text_format.Parse(
    """
    feature { name: "event_type" type: BYTES domain: "event_type"
              presence { min_fraction: 1 min_count: 1 } }
    feature { name: "dwell" type: FLOAT presence { min_fraction: 1 }
              float_domain { min: 0 max: 100 disallow_inf: true } }
    feature { name: "speed" type: FLOAT }
    feature { name: "num_steps" type: INT int_domain { min: 0 } presence { min_fraction: 1 } }
    feature { name: "gender" type: BYTES string_domain { value: "f" value: "m" }
              presence { min_fraction: 0.5 min_count: 1 } value_count { min: 1 max: 1 }
              drift_comparator { infinity_norm { threshold: 0.1 } } }
    string_domain { name: "event_type" value: "video" value: "quiz" }
    """,
    Schema(),
)
TEXT, NUMBER, INTEGER = (
    pa.large_list(kind) for kind in (pa.large_binary(), pa.float32(), pa.int64())
)
EXAMPLES = 100
CLEAN = {
    "event_type": pa.array([[b"video", b"quiz"]] * EXAMPLES, TEXT),
    "dwell": pa.array([[1.0, 2.0]] * EXAMPLES, NUMBER),
    "speed": pa.array([[1.0, 2.0]] * EXAMPLES, NUMBER),
    "num_steps": pa.array([[2]] * EXAMPLES, INTEGER),
    "gender": pa.array([[b"f"], [b"m"]] * (EXAMPLES // 2), TEXT),
}


def _statistics(**columns: pa.Array | None) -> DatasetFeatureStatisticsList:
    """Statistics of clean examples with some columns replaced, or left out with None."""
    changed = {name: column for name, column in {**CLEAN, **columns}.items() if column is not None}
    batch = pa.RecordBatch.from_pydict(changed)
    return generate_statistics_in_memory(batch, StatsOptions(schema=SCHEMA))


def _judged(split: str = "train", **columns: pa.Array | None) -> list[str]:
    statistics = _statistics(**columns)
    anomalies = judge_split(split, validate_statistics(statistics, SCHEMA), statistics.datasets[0])
    assert all(anomaly.stops for anomaly in anomalies)
    return [str(anomaly) for anomaly in anomalies]


def test_clean_examples_have_no_anomalies() -> None:
    assert _judged() == []


def test_a_new_value_is_named_and_counted() -> None:
    column = pa.array(
        [[b"video", b"forum"]] * 3 + [[b"quizz", b"quiz"]] * 2 + [[b"video", b"quiz"]] * 95, TEXT
    )

    assert _judged(event_type=column) == [
        "train, event_type: expected one of 'video', 'quiz'; found 'forum' (3), 'quizz' (2): 5 of "
        "200 values (2.5%)."
    ]


def test_the_allowed_share_of_new_values_is_reported() -> None:
    schema = Schema()
    schema.CopyFrom(SCHEMA)
    schema.feature[0].distribution_constraints.min_domain_mass = 0.99
    column = pa.array([[b"video", b"quizz"]] * 3 + [[b"video", b"quiz"]] * 97, TEXT)
    statistics = _statistics(event_type=column)

    (anomaly,) = judge_split(
        "train", validate_statistics(statistics, schema), statistics.datasets[0]
    )

    assert anomaly.expected == "one of 'video', 'quiz' in at least 99% of the values"


def test_only_some_of_many_new_values_are_listed() -> None:
    column = pa.array([[f"page {number}".encode()] for number in range(EXAMPLES)], TEXT)

    (line,) = _judged(event_type=column)

    assert line.count("'page ") == 8
    assert line.endswith("and 92 more: 100 of 100 values (100%).")


def test_a_wrong_type_is_one_line_though_tfdv_has_two_reasons() -> None:
    assert _judged(dwell=pa.array([[b"long"]] * EXAMPLES, TEXT)) == [
        "train, dwell: expected numbers (FLOAT); found text, in 100 values."
    ]
    assert _judged(num_steps=pa.array([[1.5]] * EXAMPLES, NUMBER)) == [
        "train, num_steps: expected integers (INT); found numbers (FLOAT), in 100 values."
    ]


def test_a_missing_column() -> None:
    assert _judged(dwell=None) == [
        "train, dwell: expected this column; found no value of it in any example (of 100)."
    ]


def test_a_new_column() -> None:
    assert _judged(mood=pa.array([[1.0], None] * 50, NUMBER)) == [
        "train, mood: expected only columns that the schema has; found a new one, in 50 examples."
    ]


def test_values_out_of_range() -> None:
    column = pa.array([[50.0]] * 97 + [[-1.0], [1e6], [50.0]], NUMBER)

    (line,) = _judged(dwell=column)

    assert line.startswith(
        "train, dwell: expected numbers from 0 to 100; found -1 to 1e+06, at most "
    )
    (at_most,) = re.findall(r"at most (\d+) of 100 values", line)
    assert 2 <= int(at_most) <= 20  # two are; TFDV keeps deciles


def test_a_range_open_above() -> None:
    (line,) = _judged(num_steps=pa.array([[-2]] + [[2]] * 99, INTEGER))

    assert line.startswith(
        "train, num_steps: expected numbers of at least 0; found -2 to 2, at most "
    )


def test_too_many_missing() -> None:
    assert _judged(gender=pa.array([[b"f"]] * 10 + [None] * 90, TEXT)) == [
        "train, gender: expected a value in at least 0.5 of the examples; found none in 90 of 100 "
        "examples (90%)."
    ]


def test_several_reasons_make_one_line() -> None:
    assert _judged(gender=pa.array([[b"f", b"x"]] * 20 + [None] * 80, TEXT)) == [
        "train, gender: expected 1 to 1 values in an example, and a value in at least 0.5 of the "
        "examples, "
        "and one of 'f', 'm'; found 2 to 2, and none in 80 of 100 examples (80%), and 'x' (20): 20 "
        "of 40 values (50%)."
    ]


def test_infinite_numbers() -> None:
    with pytest.warns(RuntimeWarning, match="invalid value"):  # TFDV's own mean of infinite numbers
        (line,) = _judged(dwell=pa.array([[float("inf")], [1.0]] * 50, NUMBER))

    assert "finite numbers" in line
    assert "1 to inf" in line


def test_text_that_is_not_utf8() -> None:
    assert _judged(event_type=pa.array([[b"\xff\xfe"]] * EXAMPLES, TEXT)) == [
        "train, event_type: expected text in UTF-8; found other bytes, among 100 values."
    ]


def test_a_column_of_nan_only_stops_the_train_split() -> None:
    nothing = pa.array([[float("nan")] * 2] * EXAMPLES, NUMBER)

    assert _judged("train", speed=nothing) == [
        "train, speed: expected numbers; found NaN only, in 200 values."
    ]
    assert _judged("test", speed=nothing) == []


def test_drift_beyond_the_schemas_comparator() -> None:
    now, before = _statistics(gender=pa.array([[b"f"]] * EXAMPLES, TEXT)), _statistics()
    anomalies = validate_statistics(now, SCHEMA, previous_statistics=before)

    (anomaly,) = describe_anomalies(anomalies, split="train", statistics=now.datasets[0])

    assert anomaly.column == "gender"
    assert "drift or skew threshold" in anomaly.expected
    assert "0.5" in anomaly.found
    assert "0.1" in anomaly.found


def test_a_split_without_examples() -> None:
    empty = generate_statistics_in_memory(
        pa.RecordBatch.from_pydict(CLEAN).slice(0, 0), StatsOptions(schema=SCHEMA)
    )
    anomalies = validate_statistics(empty, SCHEMA)

    assert [str(item) for item in judge_split("eval", anomalies, DatasetFeatureStatistics())] == [
        "eval, (examples): expected examples; found none."
    ]


def test_too_few_examples_for_the_schema() -> None:
    schema = Schema()
    schema.CopyFrom(SCHEMA)
    schema.dataset_constraints.min_examples_count = 1000
    statistics = _statistics()
    anomalies = validate_statistics(statistics, schema)

    assert [str(item) for item in judge_split("eval", anomalies, statistics.datasets[0])] == [
        "eval, (examples): expected at least 1,000 examples; found 100."
    ]


def test_without_statistics_tfdv_describes_the_anomaly() -> None:
    anomalies = validate_statistics(
        _statistics(dwell=pa.array([[b"long"]] * EXAMPLES, TEXT)), SCHEMA
    )

    (anomaly,) = describe_anomalies(anomalies)

    assert "Expected data of type: FLOAT but got STRING" in anomaly.found


def test_a_warning_does_not_stop_the_run() -> None:
    anomalies = Anomalies()
    anomalies.anomaly_info["dwell"].severity = AnomalyInfo.WARNING
    anomalies.anomaly_info["dwell"].description = "odd"

    (anomaly,) = describe_anomalies(anomalies, split="train")

    assert not anomaly.stops
    stop_on([anomaly])


def test_the_error_lists_every_column_and_says_what_to_do() -> None:
    anomalies = [
        Anomaly(split="train", column="dwell", stops=True, expected="numbers", found="text"),
        Anomaly(split="test", column="gender", stops=True, expected="f", found="x"),
    ]

    with pytest.raises(AnomalyError) as raised:
        stop_on(anomalies)

    first, *lines, last = str(raised.value).splitlines()
    assert first == "The examples do not fit the schema; nothing was trained:"
    assert lines == [
        "  - train, dwell: expected numbers; found text.",
        "  - test, gender: expected f; found x.",
    ]
    assert "mastery schema diff" in last
