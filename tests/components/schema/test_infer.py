"""A first schema from statistics of a small log, and what another log changes in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from tensorflow_metadata.proto.v0 import schema_pb2

from components.config import Config, load_config
from components.monitoring.thresholds import Threshold, thresholds_of
from components.schema.infer import infer_schema, schema_changes, statistics_of, to_text

CONFIG = {
    "name": "algebra",
    "data": {"events": "events.csv", "outcomes": "outcomes.csv"},
    "schema": "algebra.pbtxt",
    "label": {"column": "mastery", "classes": ["no", "yes"]},
    "steps": {
        "max_steps": 5,
        "features": {"event_type": {"type": "categorical"}, "correct": {"type": "numeric"}},
    },
    "gates": [{"metric": "f1_macro", "min": 0.5}],
}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "algebra.yaml"
    file.write_text(yaml.safe_dump(CONFIG))
    return load_config(file)


def batch(label: str = "yes", correct: Callable[[int], Any] = float) -> pa.RecordBatch:
    """Sixty examples with 0, 1 or 2 steps."""
    rows = range(60)
    columns = {
        "learner_id": [[f"learner {row}".encode()] for row in rows],
        "num_steps": [[row % 3] for row in rows],
        "mastery": [[b"no" if row % 2 else label.encode()] for row in rows],
        "event_type": [[b"video", b"quiz"][: row % 3] for row in rows],
        "correct": [[correct(1)] * (row % 3) for row in rows],
    }
    return pa.RecordBatch.from_pydict(columns)


def feature(schema: schema_pb2.Schema, name: str) -> schema_pb2.Feature:
    [found] = [item for item in schema.feature if item.name == name]
    return found


def test_steps_are_ragged_keys_are_open_and_the_rest_has_domains(config: Config) -> None:
    schema = infer_schema(statistics_of([batch()]), config)
    tensors = schema.tensor_representation_group[""].tensor_representation
    kinds = {name: tensors[name].WhichOneof("kind") for name in tensors}
    assert kinds == {
        "correct": "ragged_tensor",
        "event_type": "ragged_tensor",
        "learner_id": "varlen_sparse_tensor",
        "mastery": "varlen_sparse_tensor",
        "num_steps": "varlen_sparse_tensor",
    }
    assert tensors["correct"].ragged_tensor.feature_path.step == ["correct"]
    domains = {domain.name: sorted(domain.value) for domain in schema.string_domain}
    assert domains == {"mastery": ["no", "yes"], "event_type": ["", "quiz", "video"]}
    assert not feature(schema, "learner_id").HasField("domain")
    assert feature(schema, "mastery").presence.min_fraction == 1
    assert feature(schema, "event_type").presence.min_fraction == 0
    assert feature(schema, "num_steps").int_domain.max == 5


def test_the_same_log_changes_nothing(config: Config) -> None:
    statistics = statistics_of([batch()])
    assert schema_changes(infer_schema(statistics, config), statistics) == []


def test_anomalies_and_the_changes_of_the_schema_are_reported(config: Config) -> None:
    schema = infer_schema(statistics_of([batch()]), config)
    lines = schema_changes(
        schema, statistics_of([batch(label="maybe", correct=lambda _: b"right")])
    )
    assert any(line.startswith("log, mastery: expected") and "maybe" in line for line in lines)
    assert any(line.startswith("log, correct: expected numbers") for line in lines)
    assert any(line.startswith("+") and "maybe" in line for line in lines)


def test_text_comes_back_as_the_same_schema(config: Config) -> None:
    from google.protobuf import text_format

    schema = infer_schema(statistics_of([batch()]), config)
    assert text_format.Parse(to_text(schema), schema_pb2.Schema()) == schema


def test_a_column_of_another_type_gets_that_type(config: Config) -> None:
    schema = infer_schema(statistics_of([batch()]), config)
    feature(schema, "correct").float_domain.max = 1.0
    lines = schema_changes(schema, statistics_of([batch(correct=lambda _: b"right")]))
    assert "log, correct: expected numbers (FLOAT); found text, in 60 values." in lines
    assert "-  type: FLOAT" in lines
    assert "+  type: BYTES" in lines
    assert not any("DEPRECATED" in line for line in lines)
    assert feature(schema, "correct").type == schema_pb2.FLOAT


def test_inputs_the_label_and_units_may_move_as_far_as_the_schema_says(config: Config) -> None:
    schema = infer_schema(statistics_of([batch()]), config)
    allowed = thresholds_of(schema)
    assert thresholds_of(schema, "skew") == allowed
    words, numbers = Threshold(infinity_norm=0.1), Threshold(jensen_shannon=0.01)
    assert allowed == {
        "event_type": words, "mastery": words, "correct": numbers, "num_steps": numbers,
    }  # fmt: skip
    # They are about two sets of statistics, so DataGate finds nothing in one.
    assert schema_changes(schema, statistics_of([batch()])) == []
