"""The node on real artifacts: model with warm-up requests, blessing, and nothing when it fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.config import Config
from components.serving_check.component import make_serving_check
from components.serving_check.executor import Executor
from components.serving_check.replay import ServingError

CONFIG = '{"check_examples": 40, "warmup_requests": 5}'


@pytest.fixture
def inputs(
    tmp_path: Path, model: Path, predictions: pl.DataFrame, examples: list[bytes]
) -> dict[str, list[Any]]:
    """Artifacts as ExampleGen, Trainer and Evaluator leave them."""
    data, trained, evaluation = (
        standard_artifacts.Examples(),
        standard_artifacts.Model(),
        standard_artifacts.ModelEvaluation(),
    )
    data.uri, data.splits = str(tmp_path / "examples"), ["train", "eval", "test"]
    trained.uri, evaluation.uri = str(model.parent), str(tmp_path / "evaluation")
    split = tmp_path / "examples" / "Split-test"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
        for example in examples:
            writer.write(example)
    Path(evaluation.uri).mkdir()
    predictions.write_parquet(tmp_path / "evaluation" / "predictions.parquet")
    return {"examples": [data], "trained_model": [trained], "evaluation": [evaluation]}


@pytest.fixture
def outputs(tmp_path: Path) -> dict[str, list[Any]]:
    """Artifacts to fill, in folders that are there already, as TFX makes them."""
    model, blessing = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
    model.uri, blessing.uri = str(tmp_path / "checked"), str(tmp_path / "blessing")
    Path(model.uri).mkdir()
    Path(blessing.uri).mkdir()
    return {"model": [model], "blessing": [blessing]}


def test_a_good_model_is_handed_on_with_warm_up_requests_and_a_blessing(
    inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], model: Path
) -> None:
    Executor().Do(inputs, outputs, {"config": CONFIG})

    checked = Path(outputs["model"][0].uri, "Format-Serving")
    requests = checked / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(requests))
    ]
    specs = [log.predict_log.request.model_spec for log in logs]
    assert [spec.signature_name for spec in specs] == ["serving_default", "predict_steps"] * 2 + [
        "serving_default"
    ]
    assert {spec.name for spec in specs} == {"small"}
    assert b"learner-" not in requests.read_bytes()
    names = {path.relative_to(checked) for path in checked.rglob("*")} - {
        requests.relative_to(checked)
    }
    assert names == {path.relative_to(model) for path in model.rglob("*")}
    assert outputs["blessing"][0].get_int_custom_property("blessed") == 1
    assert Path(outputs["blessing"][0].uri, "INFRA_BLESSED").is_file()


def test_every_export_gets_the_warm_up_requests(
    tmp_path: Path, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], model: Path
) -> None:
    trained = tmp_path / "trained" / "Format-Serving"
    shutil.copytree(model, trained)
    card = json.loads((trained / "assets.extra" / "mastery.json").read_text())
    card["exports"] = {"portable": ".", "gpu": "gpu"}
    (trained / "assets.extra" / "mastery.json").write_text(json.dumps(card))
    shutil.copytree(trained, trained / "gpu")
    inputs["trained_model"][0].uri = str(trained.parent)

    Executor().Do(inputs, outputs, {"config": CONFIG})

    checked = Path(outputs["model"][0].uri, "Format-Serving")
    written = [
        folder / "assets.extra" / "tf_serving_warmup_requests"
        for folder in (checked, checked / "gpu")
    ]
    assert written[0].read_bytes() == written[1].read_bytes() != b""


def test_an_export_that_writes_files_is_not_pushed(
    tmp_path: Path, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], model: Path
) -> None:
    trained = tmp_path / "trained" / "Format-Serving"
    shutil.copytree(model, trained)
    card = json.loads((trained / "assets.extra" / "mastery.json").read_text())
    card["exports"] = {"portable": ".", "gpu": "gpu"}
    (trained / "assets.extra" / "mastery.json").write_text(json.dumps(card))
    writer = tf.Module()
    writer.serve = tf.function(
        lambda x: [tf.io.write_file("/nowhere/file", "x"), {"y": tf.identity(x)}][1],
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(writer, str(trained / "gpu"), {"serving_default": writer.serve})
    inputs["trained_model"][0].uri = str(trained.parent)

    with pytest.raises(ServingError, match="operation WriteFile in function"):
        Executor().Do(inputs, outputs, {"config": CONFIG})


def test_examples_that_were_not_evaluated_are_an_error(
    inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], examples: list[bytes]
) -> None:
    split = Path(inputs["examples"][0].uri, "Split-test")
    shutil.rmtree(split)
    split.mkdir()
    with tf.io.TFRecordWriter(str(split / "data"), "") as writer:
        writer.write(examples[1])

    with pytest.raises(
        ServingError, match="The split test has 1 of the 40 examples to replay; evaluation and"
    ):
        Executor().Do(inputs, outputs, {"config": CONFIG})

    assert list(Path(outputs["model"][0].uri).iterdir()) == []
    assert list(Path(outputs["blessing"][0].uri).iterdir()) == []


def test_another_push_folder_does_not_rerun_the_node() -> None:
    def properties(**push: object) -> dict[str, Any]:
        features = {"correct": {"type": "numeric"}}
        config = Config.model_validate(
            {
                "name": "small",
                "data": {"events": "e.parquet", "outcomes": "o.parquet"},
                "schema": "small.pbtxt",
                "label": {"column": "mastery", "classes": ["low", "high"]},
                "steps": {"features": features},
                "gates": [{"metric": "accuracy", "min": 0.5}],
                "push": push,
            }
        )
        node = make_serving_check(
            config,
            examples=Channel(type=standard_artifacts.Examples),
            model=Channel(type=standard_artifacts.Model),
            evaluation=Channel(type=standard_artifacts.ModelEvaluation),
        )
        assert node.id == "ServingCheck"
        return dict(node.exec_properties)

    assert properties(directory="here") == properties(directory="there")
    assert properties(check_examples=7) != properties()
