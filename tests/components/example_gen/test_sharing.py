"""Shared examples against what they are said to be: all outcomes, once, each with its own past."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import Config
from components.contracts.names import (
    AS_OF,
    LEARNER,
    NUM_STEPS,
    SPLIT,
    SPLITS,
    TIME_SINCE_PREVIOUS,
    UNIT,
)
from components.event_log import shuffle
from components.event_log.log_spec import LogSpec
from components.event_log.point_in_time import find_windows
from components.event_log.sources import find_files
from components.example_gen.encoding import join_batches
from components.example_gen.examples import examples_as_written, examples_from_log
from components.example_gen.job import Job
from components.example_gen.sharing import share_sequences
from components.example_gen.workers import run_job
from tests.components.example_gen.test_examples import EVENT, OUTCOME, features, tables

Configure = Callable[..., Config]
FEATURES = ["kind", "value", TIME_SINCE_PREVIOUS]
SEQUENCE_KEYS = {"unit": (LEARNER, UNIT), "learner": (LEARNER,)}


def share(events: list[Any], outcomes: list[Any], max_steps: int, history: str) -> pl.DataFrame:
    """Returns the rows of the shared examples of outcomes of one split."""
    keys = SEQUENCE_KEYS[history]
    seen, asked = tables("integer", events, outcomes)
    asked = asked.with_columns(pl.lit("train").alias(SPLIT)).sort(LEARNER, UNIT, AS_OF)
    windows, rows = share_sequences(
        find_windows(seen, asked, max_steps, keys), asked, keys, max_steps
    )
    return pl.concat(join_batches(windows, rows, FEATURES))


def past_of(events: list[Any], outcome: tuple[str, str, int], history: str) -> list[dict[str, Any]]:
    """Returns all steps before an outcome, in order."""
    learner, unit, as_of = outcome
    own = [
        event
        for event in events
        if event[0] == learner and (history == "learner" or event[1] == unit)
    ]
    own.sort(key=lambda event: event[2])
    times = [event[2] for event in own]
    gaps = [0, *np.diff(times).tolist()]
    return [
        {"kind": event[3], "value": event[4], TIME_SINCE_PREVIOUS: gap}
        for event, gap in zip(own, gaps, strict=False)
        if event[2] < as_of
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(EVENT, max_size=60),
    st.lists(OUTCOME, min_size=1, max_size=25),
    st.integers(1, 7),
    st.sampled_from(["unit", "learner"]),
)
def test_every_outcome_is_there_once_and_sees_its_own_past(
    events: list[Any], outcomes: list[Any], max_steps: int, history: str
) -> None:
    found: Counter[tuple[str, str, int]] = Counter()
    for row in share(events, outcomes, max_steps, history).to_dicts():
        steps = [
            dict(zip(FEATURES, values, strict=True))
            for values in zip(*(row[name] for name in FEATURES), strict=True)
        ]
        assert len(steps) == max(row[NUM_STEPS]) <= max_steps
        assert row[NUM_STEPS] == sorted(row[NUM_STEPS])
        for unit, as_of, seen in zip(row[UNIT], row[AS_OF], row[NUM_STEPS], strict=True):
            outcome = (row[LEARNER], unit, as_of)
            found[outcome] += 1
            past = past_of(events, outcome, history)
            assert steps[:seen] == past[len(past) - seen :]  # its last events, nothing later
            assert seen >= min(len(past), max_steps // 2 + 1)  # the most of `min_steps`
    assert found == Counter(outcomes)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.just("a"), st.just("u"), st.integers(0, 50), st.just("x"), st.just(1))),
    st.lists(st.integers(0, 51), min_size=1),
    st.integers(1, 9),
)
def test_chunks_overlap_by_half(events: list[Any], moments: list[int], max_steps: int) -> None:
    """No more is read than each event twice, or thrice for an odd `max_steps`."""
    rows = share(events, [("a", "u", moment) for moment in moments], max_steps, "unit")
    stride = math.ceil(max_steps / 2)
    longest = max(len(past_of(events, ("a", "u", moment), "unit")) for moment in moments)
    assert rows.height <= 1 + math.ceil(max(0, longest - max_steps) / stride)
    assert sum(max(counts) for counts in rows[NUM_STEPS]) <= 2 * longest


def sharing(configure: Configure, **steps: Any) -> Config:
    """Returns the configuration of the tests of ExampleGen with shared sequences."""
    content = configure().model_dump(mode="json", by_alias=True, exclude_unset=True)
    del content["steps"]["features"]["time_to_as_of"]
    content["steps"] |= {"shared": True, **steps}
    return Config.model_validate(content)


def run(config: Config, folder: Path) -> dict[str, list[bytes]]:
    """Runs the job of ExampleGen; returns the examples by split."""
    (folder / "scratch").mkdir(parents=True)
    files = {
        table: find_files(table, getattr(config.data, table)).files
        for table in ("events", "outcomes")
    }
    folders = {split: str(folder / split) for split in SPLITS}
    run_job(Job.of(files, LogSpec.of(config), folders, str(folder / "scratch")), 1)
    return {
        split: list(
            tf.data.TFRecordDataset(
                sorted(map(str, Path(path).iterdir())), "GZIP"
            ).as_numpy_iterator()
        )
        for split, path in folders.items()
    }


@pytest.mark.parametrize("history", ["unit", "learner"])
def test_only_the_test_split_has_an_example_per_outcome(
    history: str, log: Path, configure: Configure
) -> None:
    config = sharing(configure, history=history)
    alone = Config.model_validate(
        {**config.model_dump(mode="json", by_alias=True), "steps": {
            **config.steps.model_dump(mode="json"), "shared": False}}
    )  # fmt: skip
    shared, expected = run(config, log / "shared"), run(alone, log / "alone")

    assert shared["test"] == expected["test"]
    for split in ("train", "eval"):
        assert len(shared[split]) < len(expected[split])
        assert outcomes_of(shared[split]) == outcomes_of(expected[split])


def outcomes_of(examples: list[bytes]) -> Counter[tuple[bytes, ...]]:
    """Returns learner, unit, moment and label of each outcome."""
    found: Counter[tuple[bytes, ...]] = Counter()
    for example in map(features, examples):
        columns = [example[name][1] for name in (UNIT, AS_OF, "mastery")]
        found.update((*example[LEARNER][1], *row) for row in zip(*columns, strict=True))
    return found


def test_missing_values_keep_their_place_in_a_list(
    log: Path, configure: Configure, outcomes: pl.DataFrame
) -> None:
    known = {
        (learner, unit, str(moment)): (region, height)
        for learner, unit, moment, region, height in outcomes.select(
            "learner_id", "unit_id", pl.col("as_of").dt.epoch("us"), "region", "height"
        ).iter_rows()
    }
    missing = 0
    for example in map(features, run(sharing(configure), log / "shared")["train"]):
        learner = example[LEARNER][1][0].decode()
        columns = [example[name][1] for name in (UNIT, AS_OF, "region", "height")]
        assert example["year"][0] == "int64"
        for unit, moment, region, height in zip(*columns, strict=True):
            expected = known[learner, unit.decode(), str(moment)]
            assert region.decode() == (expected[0] or "")
            assert math.isnan(height) if expected[1] is None else height == expected[1]
            missing += (expected[0] is None) + (expected[1] is None)
    assert missing > 10


def test_a_missing_integer_is_left_out(
    log: Path, configure: Configure, outcomes: pl.DataFrame
) -> None:
    year = pl.when(pl.int_range(pl.len()) % 5 > 0).then("year")
    outcomes.with_columns(year=year).write_parquet(log / "outcomes.parquet")
    examples = [*map(features, run(sharing(configure), log / "shared")["train"])]
    assert {example["year"][0] for example in examples} == {"int64"}
    assert any(len(example["year"][1]) < len(example[AS_OF][1]) for example in examples)


def test_neither_parts_nor_the_order_of_rows_change_a_byte(
    log: Path, configure: Configure, outcomes: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sharing(configure, history="learner")
    whole = run(config, log / "whole")
    outcomes.sample(fraction=1, shuffle=True, seed=1).write_parquet(log / "outcomes.parquet")
    monkeypatch.setattr(shuffle, "VALUES_PER_PART", 240)
    assert run(config, log / "parts") == whole


def test_a_schema_is_inferred_from_what_is_written(log: Path, configure: Configure) -> None:
    config = sharing(configure)
    written = run(config, log / "shared")
    found = list(examples_as_written(config))
    shared = {*written["train"], *written["eval"]}
    assert shared < {*found}  # those of the test split are shared too
    assert len(found) < sum(map(len, written.values())) < len(list(examples_from_log(config)))
