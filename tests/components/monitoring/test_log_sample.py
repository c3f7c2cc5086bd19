"""Examples become columns of values with their learners, whether outcomes share them or not."""

from __future__ import annotations

import math

import polars as pl

from components.example_gen.encoding import encode
from components.files.records import new_records
from components.monitoring.log_sample import LogSample, examples_of_split, read_sample

COLUMNS = {"event_type": "categorical", "dwell": "numeric", "unit_id": "categorical",
           "age": "numeric", "num_steps": "numeric"}  # fmt: skip
STEPS = ["event_type", "dwell"]


def read(rows: pl.DataFrame, *, min_steps: int = 1, most: int = 100) -> LogSample:
    examples = encode(rows, rows.columns)
    return read_sample(examples, COLUMNS, steps=STEPS, min_steps=min_steps, seed="1", most=most)


def values(sample: LogSample, name: str) -> list[tuple[str, object]]:
    """The values of a column with their learners; None for missing numbers."""
    column = sample.columns[name]
    plain = [
        None if isinstance(value, float) and math.isnan(value) else value
        for value in column.values.to_list()
    ]
    return sorted(
        zip((sample.learners[int(owner)] for owner in column.owners), plain, strict=True),
        key=repr,
    )


ALONE = pl.DataFrame({
    "learner_id": ["ann", "ann", "ben", "cy"],
    "unit_id": ["sets", "groups", "sets", "sets"],
    "num_steps": [2, 1, 1, 0],
    "age": [30, 30, None, 41],
    "event_type": [["quiz", "video"], ["quiz"], [""], []],
    "dwell": [[1.5, None], [2.5], [4.0], []],
}, schema_overrides={"dwell": pl.List(pl.Float32), "event_type": pl.List(pl.String)})  # fmt: skip


def test_values_have_their_learners_and_missing_ones_are_counted() -> None:
    sample = read(ALONE)
    assert sample.learners.to_list() == ["ann", "ben"]
    assert (sample.outcomes, sample.few_events) == (3, 1)
    assert values(sample, "event_type") == [
        ("ann", "quiz"), ("ann", "quiz"), ("ann", "video"), ("ben", ""),
    ]  # fmt: skip
    assert values(sample, "dwell") == [("ann", 1.5), ("ann", 2.5), ("ann", None), ("ben", 4.0)]
    assert values(sample, "age") == [("ann", 30.0), ("ann", 30.0), ("ben", None)]
    assert values(sample, "unit_id") == [("ann", "groups"), ("ann", "sets"), ("ben", "sets")]


def test_learners_with_enough_events_in_any_outcome_count() -> None:
    sample = read(ALONE, min_steps=2)
    assert sample.learners.to_list() == ["ann"]
    assert (sample.outcomes, sample.few_events) == (2, 2)
    assert len(sample.columns["event_type"].values) == 3


def test_shared_examples_have_each_event_once_and_all_outcomes() -> None:
    rows = pl.DataFrame({
        "learner_id": ["ann", "ben"],
        "unit_id": [["sets", "groups"], ["sets"]],
        "num_steps": [[1, 3], [0]],
        "age": [[30.0, None], [20.0]],
        "event_type": [["quiz", "video", "quiz"], []],
        "dwell": [[1.0, 2.0, 3.0], []],
    }, schema_overrides={"dwell": pl.List(pl.Float32)})  # fmt: skip
    sample = read(rows)
    assert sample.learners.to_list() == ["ann"]
    assert (sample.outcomes, sample.few_events) == (2, 1)
    assert len(values(sample, "event_type")) == 3
    assert values(sample, "unit_id") == [("ann", "groups"), ("ann", "sets")]
    assert values(sample, "age") == [("ann", 30.0), ("ann", None)]
    assert values(sample, "num_steps") == [("ann", 1.0), ("ann", 3.0)]


def test_of_many_learners_whole_ones_are_drawn_by_their_ids() -> None:
    many = pl.DataFrame({
        "learner_id": [f"l{number // 2}" for number in range(4000)],
        "num_steps": [1] * 4000,
        "event_type": [["quiz"]] * 4000,
    })  # fmt: skip
    sample = read(many, most=600)
    assert 250 <= len(sample.learners) <= 600
    assert sample.outcomes == 2 * len(sample.learners)
    assert sample.learners.to_list() == read(many.reverse(), most=600).learners.to_list()
    assert len(sample.columns["dwell"].values) == 0  # a column that no example has


def test_no_examples_are_no_learners() -> None:
    sample = read_sample([], COLUMNS, steps=STEPS, min_steps=1, seed="1")
    assert (len(sample.learners), sample.outcomes) == (0, 0)


def test_a_split_is_read_as_it_was_written(tmp_path) -> None:
    examples = encode(ALONE, ALONE.columns)
    (tmp_path / "split").mkdir()
    with new_records(tmp_path / "split" / "data_tfrecord-00000-of-00001.gz", tmp_path) as writer:
        for example in examples:
            writer.write(example)
    assert list(examples_of_split(tmp_path / "split")) == examples
