"""The statistics are those of TFDV, and on every runner the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    DatasetFeatureStatistics,
    DatasetFeatureStatisticsList,
)
from tfx.components.statistics_gen import executor as tfx_executor
from tfx.types import standard_artifacts

from components.config import Beam
from components.contracts.names import STATISTICS_FILE
from components.files.records import new_records
from components.statistics_gen.executor import Executor
from tests.restless import restless  # noqa: F401 - a fixture

SPLITS = {"train": 6000, "test": 40, "eval": 0}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three splits in three files each: more values than a sketch keeps, few, and none."""
    folder = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(4)
    for split, rows in SPLITS.items():
        for shard in range(3):
            name = f"data_tfrecord-{shard:05d}-of-00003.gz"
            with new_records(folder / f"Split-{split}" / name) as writer:
                for _ in range(shard * rows // 3, (shard + 1) * rows // 3):
                    writer.write(example(rng))

    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = '["train", "test", "eval"]'
    artifact.span = 3
    artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    artifact.set_string_custom_property("file_format", "tfrecords_gzip")
    return artifact


def example(rng: np.random.Generator) -> bytes:
    message = tf.train.Example()
    features = message.features.feature
    features["learner_id"].bytes_list.value.append(rng.bytes(3).hex().encode())
    steps = int(rng.integers(0, 6))
    features["dwell"].float_list.value.extend(rng.exponential(60, steps))
    words = rng.choice([b"quiz", b"video", b"forum"], steps).tolist()
    features["event_type"].bytes_list.value.extend(words)
    if rng.random() < 0.8:
        features["level"].int64_list.value.append(int(rng.integers(0, 9)))
    return bytes(message.SerializeToString())


def describe(kind: Any, beam: Beam, examples: Any, root: Path) -> dict[str, bytes]:
    """Runs an executor; returns the file of each split."""
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(root / "statistics")
    context = kind.Context(beam_pipeline_args=beam.node_options, tmp_dir=str(root / "tmp"))
    properties = {"exclude_splits": "[]"}
    kind(context).Do({"examples": [examples]}, {"statistics": [statistics]}, properties)
    assert (statistics.split_names, statistics.span) == (examples.split_names, 3)
    folder = Path(statistics.uri)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"Split-{split}" for split in SPLITS
    )
    return {split: (folder / f"Split-{split}" / STATISTICS_FILE).read_bytes() for split in SPLITS}


def parse(content: bytes) -> DatasetFeatureStatistics:
    [dataset] = DatasetFeatureStatisticsList.FromString(content).datasets
    dataset.features.sort(key=lambda feature: str(feature.path.step))
    return dataset


@pytest.fixture(scope="module")
def in_process(examples: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return describe(Executor, Beam(), examples, tmp_path_factory.mktemp("in_process"))


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["multi_threading", 3], id="threads"),
        pytest.param(["multi_processing", 2], id="processes", marks=pytest.mark.slow),
    ],
)
def test_workers_give_the_same_bytes(
    examples: Any, in_process: dict[str, bytes], args: list[Any], tmp_path: Path
) -> None:
    mode, number = args
    runner = Beam(
        args=[
            "--runner=FnApiRunner",
            "--sdk_container_image=none",
            f"--direct_running_mode={mode}",
            f"--direct_num_workers={number}",
        ]
    )
    assert describe(Executor, runner, examples, tmp_path) == in_process


@pytest.mark.usefixtures("restless")
def test_work_that_is_done_again_meanwhile_changes_nothing(
    examples: Any, in_process: dict[str, bytes], tmp_path: Path
) -> None:
    assert describe(Executor, Beam(), examples, tmp_path) == in_process


def test_statistics_are_those_of_tfdv(
    examples: Any, in_process: dict[str, bytes], tmp_path: Path
) -> None:
    theirs = describe(tfx_executor.Executor, Beam(), examples, tmp_path)
    for split, rows in SPLITS.items():
        found, expected = parse(in_process[split]), parse(theirs[split])
        assert found.num_examples == expected.num_examples == rows
        assert len(found.features) == len(expected.features) == (4 if rows else 0)
        for ours, other in zip(found.features, expected.features, strict=True):
            assert_close(ours, other, within=1e-9 if split == "test" else 0.05)


def assert_close(found: Any, expected: Any, within: float) -> None:
    """Compares messages: medians and bounds of buckets are estimates, all else is not."""
    assert {field.name for field, _ in found.ListFields()} == {
        field.name for field, _ in expected.ListFields()
    }
    for field, value in expected.ListFields():
        own = getattr(found, field.name)
        if field.name in ("quantiles", "histograms", "median"):
            if within < 1e-6:
                assert str(own) == str(value)
        elif field.message_type is None:
            is_number = isinstance(value, float)
            assert own == (pytest.approx(value, rel=1e-9) if is_number else value), field.name
        elif field.is_repeated:
            assert len(own) == len(value)
            for one, other in zip(own, value, strict=True):
                assert_close(one, other, within)
        else:
            assert_close(own, value, within)
    if expected.DESCRIPTOR.name == "NumericStatistics":
        assert found.median == pytest.approx(expected.median, rel=within, abs=within)
