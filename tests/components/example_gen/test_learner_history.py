"""`steps.history: learner`: a sequence is what the learner did in any unit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tensorflow as tf

from components.config import Config
from components.contracts.names import SPLITS
from components.errors import LogError
from components.event_log import shuffle
from components.event_log.log import check_log, read_questions
from components.event_log.log_spec import LogSpec
from components.event_log.sources import find_files
from components.example_gen.examples import examples_from_log
from components.example_gen.job import Job
from components.example_gen.workers import run_job

Configure = Callable[..., Config]

START = datetime(2024, 3, 1)  # noqa: DTZ001
STEPS = {"step_unit": {"type": "categorical"}, "same_unit": {"type": "numeric"}}


@pytest.fixture
def configure_learner(configure: Configure) -> Configure:
    """Returns `configure` with the learner as history, and the unit of each step."""

    def build(**data: Any) -> Config:
        given = configure(**data).model_dump(by_alias=True)
        given["steps"]["history"] = "learner"
        given["steps"]["features"] |= STEPS
        return Config.model_validate(given)

    return build


def features(serialized: bytes) -> dict[str, list[Any]]:
    parsed = tf.train.Example.FromString(serialized).features.feature
    return {
        name: list(getattr(feature, feature.WhichOneof("kind")).value)
        for name, feature in parsed.items()
    }


def write_anna(log: Path, events: list[tuple[str, int]], units: list[str]) -> None:
    """Writes a log of one learner: unit and minute of events, and a question per unit at 10."""
    pl.DataFrame(
        {
            "learner_id": ["anna"] * len(events),
            "unit_id": [unit for unit, _ in events],
            "time": [START + timedelta(minutes=minute) for _, minute in events],
            "event_type": [f"{unit}@{minute}" for unit, minute in events],
            "dwell": [1.0] * len(events),
            "correct": [True] * len(events),
        }
    ).write_parquet(log / "events.parquet")
    pl.DataFrame(
        {
            "learner_id": ["anna"] * len(units),
            "unit_id": units,
            "as_of": [START + timedelta(minutes=10)] * len(units),
            "mastery": ["low"] * len(units),
            "region": ["north"] * len(units),
            "year": [2020] * len(units),
            "height": [1.5] * len(units),
        }
    ).write_parquet(log / "outcomes.parquet")


def test_an_outcome_sees_every_unit_before_as_of_and_nothing_at_it(
    log: Path, configure_learner: Configure
) -> None:
    write_anna(
        log, [("b", 9), ("a", 3), ("c", 10), ("b", 3), ("a", 10), ("c", 1), ("a", 12)], ["a", "b"]
    )
    for_a, for_b = map(features, examples_from_log(configure_learner()))
    # At minute 3 the log has `a` before `b`; `max_steps` is 4.
    seen = [b"c", b"a", b"b", b"b"]
    assert for_a["unit_id"] == [b"a"]
    assert for_a["step_unit"] == for_b["step_unit"] == seen
    assert for_a["event_type"] == [b"c@1", b"a@3", b"b@3", b"b@9"]
    assert for_a["same_unit"] == [0.0, 1.0, 0.0, 0.0]
    assert for_b["same_unit"] == [0.0, 0.0, 1.0, 1.0]
    assert for_a["time_since_previous"] == [0.0, 120.0, 0.0, 360.0]
    assert for_a["time_to_as_of"] == [540.0, 420.0, 420.0, 60.0]


def test_a_unit_without_events_is_no_cold_start(log: Path, configure_learner: Configure) -> None:
    write_anna(log, [("a", 3), ("a", 11)], ["new"])
    [example] = map(features, examples_from_log(configure_learner()))
    assert (example["num_steps"], example["same_unit"]) == ([1], [0.0])


def test_a_learner_without_earlier_events_is_a_cold_start(
    log: Path, configure_learner: Configure
) -> None:
    write_anna(log, [("a", 10), ("b", 11)], ["a", "b"])
    pl.concat(
        [
            pl.read_parquet(log / "events.parquet"),
            pl.read_parquet(log / "events.parquet").with_columns(
                learner_id=pl.lit("ben"), time=pl.lit(START).cast(pl.Datetime("us"))
            ),
        ]
    ).write_parquet(log / "events.parquet")
    with_ben = pl.read_parquet(log / "outcomes.parquet")
    pl.concat([with_ben, with_ben.with_columns(learner_id=pl.lit("ben"))]).write_parquet(
        log / "outcomes.parquet"
    )
    steps = {
        example["learner_id"][0]: (example["num_steps"], example["step_unit"])
        for example in map(features, examples_from_log(configure_learner()))
    }
    assert steps == {b"anna": ([0], []), b"ben": ([2], [b"a", b"b"])}


@pytest.mark.usefixtures("log")
def test_without_the_new_steps_only_the_sequences_are_longer(
    configure: Configure, configure_learner: Configure
) -> None:
    """What the log says of an outcome itself does not depend on the history."""
    unit, learner = (
        [features(example) for example in examples_from_log(config)]
        for config in (configure(), configure_learner())
    )
    assert [example["learner_id"] for example in unit] == [
        example["learner_id"] for example in learner
    ]
    for one, other in zip(unit, learner, strict=True):
        assert one["mastery"] == other["mastery"]
        assert one["num_steps"] <= other["num_steps"]
        ours = [place for place, same in enumerate(other["same_unit"]) if same]
        last = len(ours)
        assert [other["event_type"][place] for place in ours] == (
            one["event_type"][-last:] if last else []
        )


def test_parts_shards_and_threads_change_nothing(
    log: Path, configure_learner: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure_learner()
    expected = sorted(examples_from_log(config))
    files = {
        table: find_files(table, [str(log / f"{table}.parquet")]).files
        for table in ("events", "outcomes")
    }
    summary = check_log(config)
    monkeypatch.setattr(shuffle, "VALUES_PER_PART", 240)
    assert check_log(config) == summary

    for workers in (1, 3):
        folders = {split: str(log / f"{workers}" / split) for split in SPLITS}
        scratch = log / f"{workers}" / "scratch"
        scratch.mkdir(parents=True)
        job = Job.of(files, LogSpec.of(config), folders, str(scratch))
        assert job.parts.shards == 3
        assert job.parts.ranges > 3
        run_job(job, workers)
        written = [str(path) for folder in folders.values() for path in Path(folder).iterdir()]
        assert sorted(tf.data.TFRecordDataset(written, "GZIP").as_numpy_iterator()) == expected


def test_one_moment_asks_about_each_unit_with_all_events_of_the_learner(
    log: Path, configure_learner: Configure
) -> None:
    write_anna(log, [("a", 3), ("b", 4), ("a", 5)], ["a"])
    part = read_questions(
        configure_learner(), [str(log / "events.parquet")], as_of="2024-03-01T00:04:30"
    )
    assert part.outcomes["unit_id"].to_list() == ["a", "b"]
    assert part.windows.num_steps.tolist() == [2, 2]


def test_events_of_units_without_outcomes_are_used_and_those_of_other_learners_are_not(
    log: Path, configure: Configure, configure_learner: Configure
) -> None:
    events = pl.read_parquet(log / "events.parquet").with_columns(
        unit_id=pl.when(pl.col("learner_id") == "l3").then(pl.lit("x")).otherwise("unit_id")
    )
    events.write_parquet(log / "events.parquet")
    outcomes = pl.read_parquet(log / "outcomes.parquet")
    outcomes.filter(pl.col("learner_id") != "l5").write_parquet(log / "outcomes.parquet")
    assert check_log(configure()).warnings == [
        "events whose learner and unit have no outcome (not used): 20, "
        "such as learner 'l3', unit 'x'"
    ]
    assert check_log(configure_learner()).warnings == [
        "events whose learner has no outcome (not used): 10, such as learner 'l5'"
    ]


def test_too_many_cold_starts_are_those_of_learners(
    log: Path, configure_learner: Configure
) -> None:
    events = pl.read_parquet(log / "events.parquet")
    events.filter(pl.col("learner_id") < "l3").write_parquet(log / "events.parquet")
    with pytest.raises(LogError, match="with no event of their learner before as_of"):
        check_log(configure_learner())


@pytest.mark.parametrize("shared", [False, True])
def test_units_that_are_held_out_are_in_no_step_of_the_splits_before(
    log: Path, configure_learner: Configure, shared: bool
) -> None:
    row = pl.int_range(pl.len())
    number = (row + row // 60) % 12  # each of the sixty learners has several
    for table in ("events", "outcomes"):
        rows = pl.read_parquet(log / f"{table}.parquet")
        units = rows.with_columns(unit_id=pl.format("u{}", number), part=number % 3)
        units.write_parquet(log / f"{table}.parquet")
    splits = {"by": "unit", "folds": 3, "fold": 2, "column": "part", "train": 2}
    config = configure_learner(splits=splits)
    if shared:
        plain = {name: config.steps.features[name] for name in ("event_type", "step_unit")}
        update = {"shared": True, "features": plain}
        config = config.model_copy(update={"steps": config.steps.model_copy(update=update)})
    folders = {split: str(log / split) for split in SPLITS}
    (log / "scratch").mkdir()
    files = {
        table: find_files(table, [str(log / f"{table}.parquet")]).files
        for table in ("events", "outcomes")
    }
    run_job(Job.of(files, LogSpec.of(config), folders, str(log / "scratch")), 1)

    units, seen = {}, {}
    for split, folder in folders.items():
        paths = [str(path) for path in Path(folder).iterdir()]
        examples = [
            features(record)
            for record in tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator()
        ]
        units[split] = {unit for example in examples for unit in example["unit_id"]}
        seen[split] = {unit for example in examples for unit in example["step_unit"]}
        assert "part" not in examples[0]
    assert units["test"] == {b"u2", b"u5", b"u8", b"u11"}
    assert len(units["train"] | units["eval"] | units["test"]) == 12
    assert sum(map(len, units.values())) == 12
    assert seen == {
        "train": units["train"],
        "eval": units["train"] | units["eval"],
        "test": units["train"] | units["eval"] | units["test"],
    }
