"""`mastery schema`: what it writes, and what it refuses to overwrite."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml
from tensorflow_metadata.proto.v0 import schema_pb2

from components.config import Config, load_config
from components.errors import MasteryError
from pipeline.schema import diff_schema, infer_schema, write_schema


@pytest.fixture
def config(tmp_path: Path) -> Config:
    learners = [f"l{number}" for number in range(60)]
    keys = {"learner_id": learners, "unit_id": ["u"] * 60}
    events = pl.DataFrame({**keys, "time": [1] * 60, "event_type": ["quiz", "video"] * 30})
    outcomes = pl.DataFrame({**keys, "as_of": [2] * 60, "mastery": ["yes", "yes", "no", "no"] * 15})
    events.write_csv(tmp_path / "events.csv")
    outcomes.write_csv(tmp_path / "outcomes.csv")
    content = {
        "name": "algebra",
        "data": {"events": "events.csv", "outcomes": "outcomes.csv", "min_class_examples": 1},
        "schema": "algebra.pbtxt",
        "label": {"column": "mastery", "classes": ["no", "yes"]},
        "steps": {"max_steps": 5, "features": {"event_type": {"type": "categorical"}}},
        "gates": [{"metric": "f1_macro", "min": 0.5}],
    }
    file = tmp_path / "algebra.yaml"
    file.write_text(yaml.safe_dump(content))
    return load_config(file)


def test_the_log_fits_the_schema_that_was_inferred_from_it(config: Config) -> None:
    line = write_schema(infer_schema(config), Path(config.schema_), force=False)
    assert line.startswith(f"Wrote {config.schema_} with 6 features.")
    assert diff_schema(config) == []


@pytest.mark.usefixtures("config")
def test_units_of_steps_are_open_as_units_are(tmp_path: Path) -> None:
    """A new unit in a later log is no anomaly."""
    content = yaml.safe_load((tmp_path / "algebra.yaml").read_text())
    content["steps"]["history"] = "learner"
    content["steps"]["features"] |= {
        "step_unit": {"type": "categorical"},
        "same_unit": {"type": "numeric"},
    }
    (tmp_path / "algebra.yaml").write_text(yaml.safe_dump(content))
    learner = load_config(tmp_path / "algebra.yaml")
    schema = infer_schema(learner)
    write_schema(schema, Path(learner.schema_), force=False)
    types = {feature.name: feature.type for feature in schema.feature}
    assert types["step_unit"] == schema_pb2.BYTES
    assert types["same_unit"] == schema_pb2.FLOAT
    assert {domain.name for domain in schema.string_domain} == {"event_type", "mastery"}

    for table in ("events", "outcomes"):
        rows = pl.read_csv(tmp_path / f"{table}.csv")
        rows.with_columns(unit_id=pl.lit("new")).write_csv(tmp_path / f"{table}.csv")
    assert diff_schema(learner) == []


def test_a_schema_is_overwritten_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "schema.pbtxt"
    path.write_text("curated by hand")
    with pytest.raises(MasteryError, match=r"already exists\. Choose another file with --out"):
        write_schema(schema_pb2.Schema(), path, force=False)
    assert path.read_text() == "curated by hand"
    write_schema(schema_pb2.Schema(), path, force=True)
    assert path.read_text() == ""
