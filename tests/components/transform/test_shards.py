"""Files that runners have transformed twice, at the same time, or by a worker they gave up."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from apache_beam.internal import pickler
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.files import records
from components.files.records import new_records, read_records
from components.node.settings import TransformSettings
from components.transform import shards
from components.transform.preprocessing import input_columns
from components.transform.shards import Shard, TransformShard, find_shards
from tests.components.transform.analysis import (
    analyse,
    apply,
    as_list,
    examples,
    raw_schema,
    sections,
)

SECTIONS = sections(
    {
        "event_type": {"type": "categorical", "vocabulary": 5},
        "dwell": {"type": "numeric", "log": True},
        "time_to_as_of": {"type": "numeric", "log": True},
    },
    context={"share": {"type": "numeric"}},
    summaries=True,
)
SHARED = {
    **SECTIONS,
    "steps": {
        "features": {
            "event_type": {"type": "categorical", "vocabulary": 5},
            "dwell": {"type": "numeric", "log": True},
            "time_since_previous": {"type": "numeric", "log": True},
        },
        "min_steps": 1,
        "shared": True,
    },
}
ROWS = 120


def rows(*, shared: bool) -> pa.RecordBatch:
    """Returns examples with one outcome each, or with several; words as bytes, as decoded."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(0, 12, ROWS).tolist()
    asked = [
        sorted(rng.integers(0, length + 1, 3).tolist()) if shared else [length]
        for length in lengths
    ]

    def outcomes(draw: Any) -> list[list[Any]]:
        return [draw(len(counts)).tolist() for counts in asked]

    batch = examples(
        {
            "event_type": [rng.choice([*"abcdefg"], length).tolist() for length in lengths],
            "dwell": [rng.exponential(60, length).tolist() for length in lengths],
            "time_since_previous" if shared else "time_to_as_of": [
                np.sort(rng.exponential(9e4, length))[::-1].tolist() for length in lengths
            ],
            "unit_id": outcomes(lambda count: rng.choice(["x", "y"], count)),
            "share": outcomes(lambda count: rng.random(count)),
            "num_steps": asked,
            "mastery": outcomes(lambda count: rng.choice(["low", "mid", "high"], count)),
        }
    )
    columns = [
        column.cast(pa.list_(pa.binary())) if column.type.value_type == "string" else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


@pytest.fixture(scope="module", params=[SECTIONS, SHARED], ids=["one outcome", "several outcomes"])
def learned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], pa.RecordBatch, tft.TFTransformOutput]:
    """The settings, the examples and the graph that was learned from them."""
    batch = rows(shared=request.param is SHARED)
    return request.param, batch, analyse(tmp_path_factory.mktemp("graph"), request.param, batch)


class Task:
    """One file to transform, and what a worker of a runner does with it."""

    def __init__(self, learned: Any, folder: Path) -> None:
        settings, self.batch, self.graph = learned
        self.source, self.drafts = folder / "source", folder / "drafts"
        self.drafts.mkdir()
        with new_records(self.source) as writer:
            for example in RecordBatchToExamplesEncoder().encode(self.batch):
                writer.write(example)
        self.function = TransformShard(
            raw_schema(self.batch),
            input_columns(TransformSettings.model_validate(settings)),
            self.graph.transformed_metadata.schema,
            str(self.drafts),
        )
        self.folder = folder

    def run(self, name: str = "target") -> bytes:
        target = self.folder / name
        function = pickler.loads(
            pickler.dumps(self.function)
        )  # each thread of a runner has its own
        function.setup()
        function.process(Shard(str(self.source), str(target)), self.graph.transform_savedmodel_dir)
        return target.read_bytes()


@pytest.fixture
def task(learned: Any, tmp_path: Path) -> Task:
    return Task(learned, tmp_path)


def test_a_file_is_transformed_to_the_same_bytes_again_and_at_the_same_time(task: Task) -> None:
    first = task.run()
    assert len(list(read_records(task.folder / "target"))) == ROWS
    with ThreadPoolExecutor(4) as pool:
        assert {*pool.map(lambda _: task.run(), range(8))} == {first}
    assert list(task.drafts.iterdir()) == []


def test_bounds_of_batches_change_no_value(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = task.run()
    for size in (1, 7, 64):
        monkeypatch.setattr(records, "BATCH_ROWS", size)
        assert task.run(f"rows-{size}") == whole
    monkeypatch.setattr(records, "BATCH_BYTES", 900)
    assert task.run("bytes") == whole


def test_values_are_those_of_the_graph(task: Task) -> None:
    task.run()
    spec = task.graph.transformed_feature_spec()
    found = tf.io.parse_example([*read_records(task.folder / "target")], spec)
    assert {name: as_list(value) for name, value in found.items()} == apply(task.graph, task.batch)


def test_a_worker_that_was_given_up_changes_nothing_after_the_end(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = task.run()

    def read(path: Path) -> Iterator[bytes]:
        yield from read_records(path)
        for folder in task.drafts.iterdir():  # the job has ended: its folder goes
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        task.drafts.rmdir()

    monkeypatch.setattr(shards, "read_records", read)
    with pytest.raises(FileNotFoundError):
        task.run()
    with pytest.raises(FileNotFoundError):
        task.run("never")
    assert (task.folder / "target").read_bytes() == before
    assert not (task.folder / "never").exists()


def test_an_error_leaves_no_part_of_a_file(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BATCH_ROWS", 50)

    def read(path: Path) -> Iterator[bytes]:
        yield from list(read_records(path))[:60]
        raise OSError("the disk is gone")

    monkeypatch.setattr(shards, "read_records", read)
    with pytest.raises(OSError, match="the disk is gone"):
        task.run()
    assert not (task.folder / "target").exists()
    assert list(task.drafts.iterdir()) == []


def test_files_are_numbered_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b-1", "a-2", ".hidden", "a-10"):
        (tmp_path / name).touch()
    found = find_shards(str(tmp_path), "there")
    assert [Path(shard.source).name for shard in found] == ["a-10", "a-2", "b-1"]
    assert found[2].target == "there/transformed_examples-00002-of-00003.gz"
