"""The executor against TFX's own, on every runner: the same vocabularies, scales and values.

Beyond that, its transformed examples are the same bytes on every runner.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.transform import executor as tfx_executor
from tfx.proto import transform_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.config import Beam
from components.node.settings import TransformSettings
from components.transform.component import PREPROCESSING_FN
from components.transform.executor import Executor
from components.transform.preprocessing import input_columns, preprocessing_fn
from tests.components.transform.analysis import sections
from tests.restless import retrying  # noqa: F401 - a fixture

SECTIONS = sections(
    {
        "event_type": {"type": "categorical", "vocabulary": 5},
        "dwell": {"type": "numeric", "log": True},
        "delay": {"type": "numeric", "scale": "buckets", "buckets": 4},
    },
    context={"region": {"type": "categorical", "vocabulary": 3}, "share": {"type": "numeric"}},
    min_steps=2,
)
TRACED = {"saved_model.pb", "fingerprint.pb"}  # names in them count up from run to run
TYPES: dict[str, int] = {
    "learner_id": schema_pb2.BYTES,  # not read by Transform
    "event_type": schema_pb2.BYTES,
    "dwell": schema_pb2.FLOAT,
    "delay": schema_pb2.FLOAT,
    "region": schema_pb2.BYTES,
    "share": schema_pb2.FLOAT,
    "unit_id": schema_pb2.BYTES,
    "num_steps": schema_pb2.INT,
    "mastery": schema_pb2.BYTES,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Examples of two splits in three shards each, and their schema."""
    root = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(3)
    for split, rows in (("train", 90), ("eval", 20), ("test", 10)):
        folder = root / "examples" / f"Split-{split}"
        folder.mkdir(parents=True)
        for shard in range(3):
            name = str(folder / f"data_tfrecord-{shard:05d}-of-00003.gz")
            with tf.io.TFRecordWriter(name, "GZIP") as writer:
                for _ in range(rows // 3):
                    writer.write(example(rng))

    schema = schema_pb2.Schema(represent_variable_length_as_ragged=True)
    for name, kind in TYPES.items():
        schema.feature.add(name=name, type=kind)
    (root / "schema").mkdir()
    (root / "schema/schema.pbtxt").write_text(text_format.MessageToString(schema))

    examples = standard_artifacts.Examples()
    examples.uri = str(root / "examples")
    examples.split_names = '["train", "eval", "test"]'
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    schema_artifact = standard_artifacts.Schema()
    schema_artifact.uri = str(root / "schema")
    return {"examples": [examples], "schema": [schema_artifact]}


def example(rng: np.random.Generator) -> bytes:
    steps = int(rng.integers(0, 9))
    features = {
        "learner_id": [rng.bytes(4)],
        "event_type": [word.encode() for word in rng.choice([*"abcdefgh"], steps)],
        "dwell": rng.exponential(60, steps),
        "delay": np.where(rng.random(steps) < 0.1, np.nan, rng.normal(0, 1e5, steps)),
        "region": [] if rng.random() < 0.2 else [rng.choice(["x", "y"]).encode()],
        "share": [] if rng.random() < 0.2 else [rng.random()],
        "unit_id": [rng.choice(["u", "v"]).encode()],
        "num_steps": [steps],
        "mastery": [rng.choice(["low", "mid", "high"]).encode()],
    }
    message = tf.train.Example()
    for name, values in features.items():
        kind = {1: "bytes_list", 2: "int64_list", 3: "float_list"}[TYPES[name]]
        getattr(message.features.feature[name], kind).value.extend(values)
    return bytes(message.SerializeToString())


def run(kind: Any, options: list[str], inputs: dict[str, list[Any]], root: Path) -> dict[str, Path]:
    """Runs an executor; returns the folders of its outputs."""
    artifacts = {
        "transform_graph": standard_artifacts.TransformGraph(),
        "transformed_examples": standard_artifacts.Examples(),
    }
    for key, artifact in artifacts.items():
        artifact.uri = str(root / key)
    splits = transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"])
    properties = {
        "preprocessing_fn": PREPROCESSING_FN,
        "splits_config": proto_utils.proto_to_json(splits),
        "disable_statistics": 1,
        "force_tf_compat_v1": 0,
        "custom_config": json.dumps({"config": json.dumps(SECTIONS)}),
    }
    context = kind.Context(beam_pipeline_args=options, tmp_dir=str(root / "tmp"))
    kind(context).Do(inputs, {key: [item] for key, item in artifacts.items()}, properties)
    assert artifacts["transformed_examples"].split_names == '["train", "eval"]'
    return {key: Path(artifact.uri) for key, artifact in artifacts.items()}


def workers(mode: str, number: int) -> Beam:
    """Returns a runner that treats its workers as if they were remote."""
    return Beam(
        args=[
            "--runner=FnApiRunner",
            "--sdk_container_image=none",
            f"--direct_running_mode={mode}",
            f"--direct_num_workers={number}",
        ]
    )


REMOTE = workers("in_memory", 1)


@pytest.fixture(scope="module")
def in_process(
    inputs: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    return run(Executor, Beam().node_options, inputs, tmp_path_factory.mktemp("in_process"))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(None, id="in process"),
        pytest.param(REMOTE, id="remote"),
        pytest.param(workers("multi_threading", 3), id="threads"),
        pytest.param(workers("multi_processing", 2), id="processes", marks=pytest.mark.slow),
    ],
)
def ours(
    request: pytest.FixtureRequest,
    inputs: dict[str, list[Any]],
    in_process: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    if request.param is None:
        return in_process
    return run(Executor, request.param.node_options, inputs, tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(
    inputs: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Outputs of TFX's executor on Beam's own runner."""
    root = tmp_path_factory.mktemp("theirs")
    return run(tfx_executor.Executor, REMOTE.node_options, inputs, root)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def examples_of(folder: Path) -> list[dict[str, Any]]:
    names = sorted(map(str, folder.glob("*.gz")))
    records = tf.data.TFRecordDataset(names, compression_type="GZIP").as_numpy_iterator()
    parsed = [tf.train.Example.FromString(record).features.feature for record in records]
    return [{name: str(parts[name]) for name in sorted(parts)} for parts in parsed]


def test_the_graph_is_in_the_files_that_tfx_writes(
    ours: dict[str, Path], theirs: dict[str, Path]
) -> None:
    graph, other = ours["transform_graph"], theirs["transform_graph"]
    assert files(graph) == files(other)
    for name in files(graph):
        if Path(name).name not in TRACED:
            assert (graph / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize(("split", "rows"), [("train", 90), ("eval", 18)])
def test_transformed_examples_are_those_of_tfx_in_every_bit(
    ours: dict[str, Path], theirs: dict[str, Path], split: str, rows: int
) -> None:
    name = f"Split-{split}"
    found = examples_of(ours["transformed_examples"] / name)
    assert len(found) == rows
    # TFX's are in the order in which the file system lists the files of examples.
    assert sorted(found, key=str) == sorted(
        examples_of(theirs["transformed_examples"] / name), key=str
    )


def test_each_file_of_examples_becomes_one_with_the_same_bytes_on_every_runner(
    ours: dict[str, Path], in_process: dict[str, Path]
) -> None:
    folder, expected = (root["transformed_examples"] for root in (ours, in_process))
    assert files(folder) == [
        f"Split-{split}/transformed_examples-{number:05d}-of-00003.gz"
        for split in ("eval", "train")
        for number in range(3)
    ]
    assert files(folder) == files(expected)
    for name in files(folder):
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name


@pytest.mark.parametrize("split", ["train", "eval"])
def test_transformed_examples_are_in_the_order_of_the_examples(
    inputs: dict[str, list[Any]], ours: dict[str, Path], split: str
) -> None:
    sources = sorted(Path(inputs["examples"][0].uri, f"Split-{split}").iterdir())
    targets = sorted((ours["transformed_examples"] / f"Split-{split}").iterdir())
    for source, target in zip(sources, targets, strict=True):
        asked, found = (
            [
                tf.train.Example.FromString(record)
                .features.feature["num_steps"]
                .int64_list.value[0]
                for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()
            ]
            for path in (source, target)
        )
        assert asked == found


@pytest.mark.usefixtures("retrying")  # tracing has to be alone in its process
def test_work_that_is_done_again_changes_nothing(
    inputs: dict[str, list[Any]], in_process: dict[str, Path], tmp_path: Path
) -> None:
    found = run(Executor, Beam().node_options, inputs, tmp_path)
    for key, folder in found.items():
        assert files(folder) == files(in_process[key])
        for name in files(folder):
            if Path(name).name not in TRACED:
                assert (folder / name).read_bytes() == (in_process[key] / name).read_bytes(), name


def test_the_graph_gives_what_the_graph_of_tfx_gives(
    ours: dict[str, Path], theirs: dict[str, Path]
) -> None:
    graphs = [tft.TFTransformOutput(str(root["transform_graph"])) for root in (ours, theirs)]
    assert graphs[0].transformed_feature_spec() == graphs[1].transformed_feature_spec()
    raw = {
        name: tf.ragged.constant([[], [value]], dtype, 1)
        for name, value, dtype in (
            ("event_type", "a", tf.string),
            ("dwell", 3.5, tf.float32),
            ("delay", -7.0, tf.float32),
            ("region", "new", tf.string),
            ("share", 0.25, tf.float32),
            ("unit_id", "u", tf.string),
            ("num_steps", 1, tf.int64),
            ("mastery", "mid", tf.string),
        )
    }
    mine, other = (graph.transform_features_layer()(raw) for graph in graphs)
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        assert tf.reduce_all(tf.equal(value, other[name])), name


def test_the_columns_read_are_those_that_tensorflow_transform_finds() -> None:
    kinds = {schema_pb2.BYTES: tf.string, schema_pb2.INT: tf.int64, schema_pb2.FLOAT: tf.float32}
    specs = {
        name: tf.RaggedTensorSpec([None, None], kinds[kind], ragged_rank=1)
        for name, kind in TYPES.items()
    }
    config = {"config": json.dumps(SECTIONS)}
    found = tft.get_transform_input_columns(lambda given: preprocessing_fn(given, config), specs)
    assert input_columns(TransformSettings.model_validate(SECTIONS)) == sorted(found)
