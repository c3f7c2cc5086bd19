"""The data contract: what an example holds, whatever the format of the log; and the join."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

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
    ORDER,
    SAME_UNIT,
    STEP_UNIT,
    TIME,
    TIME_SINCE_PREVIOUS,
    TIME_TO_AS_OF,
    UNIT,
)
from components.errors import LogError
from components.event_log.point_in_time import find_windows
from components.example_gen.encoding import join_batches
from components.example_gen.examples import examples_from_log, join

Configure = Callable[..., Config]


def features(serialized: bytes) -> dict[str, tuple[str, list[Any]]]:
    """Returns the features of an example: the kind and the values of each."""
    parsed = tf.train.Example.FromString(serialized).features.feature
    kinds = {name: feature.WhichOneof("kind") for name, feature in parsed.items()}
    return {
        name: (kind.split("_")[0], list(getattr(parsed[name], kind).value))
        for name, kind in kinds.items()
    }


def test_an_example_is_as_the_contract_says(log: Path, configure: Configure) -> None:
    start = datetime(2024, 3, 1)  # noqa: DTZ001
    pl.DataFrame(
        {
            "learner_id": ["anna"] * 6,
            "unit_id": ["u", "u", "u", "other", "u", "u"],
            "time": [start + timedelta(minutes=minutes) for minutes in (0, 30, 10, 5, 60, 20)],
            "event_type": ["first", "quiz", None, "other", "at as_of", "vidéo"],
            "dwell": [9.0, None, 2.5, 9.0, 9.0, -1.0],
            "correct": [True, True, False, True, True, True],
        }
    ).write_parquet(log / "events.parquet")
    pl.DataFrame(
        {
            "learner_id": ["anna"],
            "unit_id": ["u"],
            "as_of": [start + timedelta(hours=1)],
            "mastery": ["low"],
            "region": ["north, south"],
            "year": [2020],
            "height": pl.Series([None], dtype=pl.Float64),
        }
    ).write_parquet(log / "outcomes.parquet")
    config = configure()
    config = config.model_copy(update={"steps": config.steps.model_copy(update={"max_steps": 3})})

    ((dwell, example),) = (
        (item.pop("dwell"), item) for item in map(features, examples_from_log(config))
    )
    assert example == {
        "learner_id": ("bytes", [b"anna"]),
        "unit_id": ("bytes", [b"u"]),
        "as_of": ("int64", [1_709_254_800_000_000]),
        "num_steps": ("int64", [3]),
        "mastery": ("bytes", [b"low"]),
        "region": ("bytes", [b"north, south"]),
        "year": ("int64", [2020]),  # and no `height`, which is missing
        "event_type": ("bytes", [b"", "vidéo".encode(), b"quiz"]),
        "correct": ("float", [0.0, 1.0, 1.0]),
        "time_since_previous": ("float", [600.0, 600.0, 600.0]),
        "time_to_as_of": ("float", [3000.0, 2400.0, 1800.0]),
    }
    assert dwell[1][:2] == [2.5, -1.0]
    assert math.isnan(dwell[1][2])


def test_a_cold_start_has_empty_lists(
    log: Path, configure: Configure, events: pl.DataFrame
) -> None:
    events.filter(pl.col("learner_id") != "l3").write_parquet(log / "events.parquet")
    cold = [
        item
        for item in map(features, examples_from_log(configure()))
        if item["num_steps"][1] == [0]
    ]
    assert len(cold) == 4
    assert all(
        item["event_type"] == ("bytes", []) and item["time_to_as_of"] == ("float", [])
        for item in cold
    )


@pytest.mark.usefixtures("log")
def test_tensorflow_and_tfx_parse_them(configure: Configure) -> None:
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    examples = list(examples_from_log(configure()))
    parsed = tf.io.parse_example(
        examples,
        {
            "num_steps": tf.io.FixedLenFeature([], tf.int64),
            "dwell": tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64),
            "learner_id": tf.io.FixedLenFeature([], tf.string),
        },
    )
    assert parsed["dwell"].row_lengths().numpy().tolist() == parsed["num_steps"].numpy().tolist()
    batch = ExamplesToRecordBatchDecoder().DecodeBatch(examples)
    assert [row[0] for row in batch["learner_id"].to_pylist()] == parsed[
        "learner_id"
    ].numpy().tolist()


def test_regression_labels_are_floats(
    log: Path, configure: Configure, outcomes: pl.DataFrame
) -> None:
    outcomes.with_columns(mastery=pl.col("year") / 4).write_parquet(log / "outcomes.parquet")
    config = Config.model_validate(
        {
            **configure().model_dump(by_alias=True),
            "label": {"column": "mastery", "task": "regression"},
            "gates": [{"metric": "mse", "max": 1}],
        }
    )
    kinds = {features(example)["mastery"][0] for example in examples_from_log(config)}
    assert kinds == {"float"}


@pytest.mark.parametrize("format_", ["csv", "jsonl", "csv.gz", "several files"])
def test_the_same_log_in_another_format_gives_the_same_bytes(
    format_: str, log: Path, configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    expected = list(examples_from_log(configure()))
    paths = {}
    for table, frame in (("events", events), ("outcomes", outcomes)):
        path = log / f"{table}.{format_}"
        if format_ == "csv":
            frame.write_csv(path)
        elif format_ == "jsonl":
            frame.write_ndjson(path)
        elif format_ == "csv.gz":
            frame.write_csv(path, compression="gzip")
        else:
            path = log / f"many {table}"
            path.mkdir()
            frame[:100].write_csv(path / "1.csv")
            frame[100:150].write_parquet(path / "2.parquet")
            frame[150:].write_ndjson(path / "3.ndjson")
        paths[table] = str(path)
    assert list(examples_from_log(configure(**paths))) == expected


def test_columns_are_of_one_type_over_all_files(
    log: Path, configure: Configure, outcomes: pl.DataFrame
) -> None:
    folder = log / "files"
    folder.mkdir()
    empty = {"region": pl.lit(None, dtype=pl.Int8)}
    outcomes[:80].with_columns(**empty, height=pl.lit(2)).write_parquet(folder / "1.parquet")
    outcomes[80:160].with_columns(**empty, year=pl.lit("044"), height=pl.lit(None)).write_csv(
        folder / "2.csv"
    )
    outcomes[160:].with_columns(**empty, height=pl.lit(0.5)).write_ndjson(folder / "3.jsonl")
    examples = [features(example) for example in examples_from_log(configure(outcomes=str(folder)))]

    assert {(item["year"][0], *item["year"][1]) for item in examples} == {
        ("bytes", year) for year in (b"2020", b"2021", b"2022", b"044")
    }
    assert {item["height"][1][0] for item in examples if "height" in item} == {2.0, 0.5}
    assert not any("region" in item for item in examples)


def test_the_zone_of_the_log_does_not_matter(
    log: Path, configure: Configure, events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    expected = list(examples_from_log(configure(timezone="Europe/Zurich")))
    zone = {"events": "America/New_York", "outcomes": "Asia/Tokyo"}
    for table, frame, column in (("events", events, "time"), ("outcomes", outcomes, "as_of")):
        moved = (
            pl.col(column).dt.replace_time_zone("Europe/Zurich").dt.convert_time_zone(zone[table])
        )
        frame.with_columns(moved).write_parquet(log / f"{table}.parquet")
    assert list(examples_from_log(configure(timezone="UTC"))) == expected


def test_the_order_of_outcomes_does_not_matter(
    log: Path, configure: Configure, outcomes: pl.DataFrame
) -> None:
    expected = list(examples_from_log(configure()))
    outcomes.sample(fraction=1, shuffle=True, seed=1).write_parquet(log / "outcomes.parquet")
    assert list(examples_from_log(configure())) == expected


def test_a_bad_log_is_refused_before_the_first_example(log: Path, configure: Configure) -> None:
    (log / "events.parquet").unlink()
    with pytest.raises(LogError, match="expected a file or folder of events"):
        examples_from_log(configure())


FEATURES = ["kind", "value", TIME_SINCE_PREVIOUS, TIME_TO_AS_OF, STEP_UNIT, SAME_UNIT]

HISTORIES = {"unit": (LEARNER, UNIT), "learner": (LEARNER,)}  # what makes a sequence


EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


IDS = st.sampled_from(["a", "b", ""])


EVENT = st.tuples(
    IDS, IDS, st.integers(0, 6), st.none() | st.sampled_from("xyz"), st.none() | st.integers(-5, 5)
)


OUTCOME = st.tuples(IDS, IDS, st.integers(-1, 7))


def as_clock(clock: str, number: int) -> object:
    """Returns the time that a number stands for: itself, so many halves, or so many minutes."""
    return {"integer": number, "float": number / 2, "timestamp": EPOCH + timedelta(minutes=number)}[
        clock
    ]


def tables(clock: str, events: list[Any], outcomes: list[Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    dtype = {"integer": pl.Int64(), "float": pl.Float64(), "timestamp": pl.Datetime("us", "UTC")}[
        clock
    ]
    seen = pl.DataFrame(
        [
            (learner, unit, as_clock(clock, time), kind, value)
            for learner, unit, time, kind, value in events
        ],
        schema={
            LEARNER: pl.String,
            UNIT: pl.String,
            TIME: dtype,
            "kind": pl.String,
            "value": pl.Float32,
        },
        orient="row",
    ).with_columns(pl.int_range(pl.len()).alias(ORDER))
    asked = pl.DataFrame(
        [(learner, unit, as_clock(clock, as_of)) for learner, unit, as_of in outcomes],
        schema={LEARNER: pl.String, UNIT: pl.String, AS_OF: dtype},
        orient="row",
    )
    return seen, asked


def obvious_join(
    clock: str, events: list[Any], outcomes: list[Any], max_steps: int, history: str
) -> list[dict[str, list[Any]]]:
    shared = len(HISTORIES[history])  # so many of the first columns of both tables
    scale = {"integer": 1.0, "float": 0.5, "timestamp": 60.0}[clock]
    joined = []
    for learner, unit, as_of in outcomes:
        sequence = sorted(
            (event for event in events if event[:shared] == (learner, unit)[:shared]),
            key=lambda event: event[2],
        )
        since = [0.0, *(scale * (after[2] - before[2]) for before, after in pairwise(sequence))]
        seen = [
            (event, gap) for event, gap in zip(sequence, since, strict=False) if event[2] < as_of
        ][-max_steps:]
        joined.append(
            {
                "kind": [event[3] for event, _ in seen],
                "value": [event[4] for event, _ in seen],
                TIME_SINCE_PREVIOUS: [gap for _, gap in seen],
                TIME_TO_AS_OF: [scale * (as_of - event[2]) for event, _ in seen],
                STEP_UNIT: [event[1] for event, _ in seen],
                SAME_UNIT: [float(event[1] == unit) for event, _ in seen],
            }
        )
    return joined


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["integer", "float", "timestamp"]),
    st.lists(EVENT, max_size=40),
    st.lists(OUTCOME, min_size=1, max_size=15),
    st.integers(1, 6),
    st.sampled_from([*HISTORIES]),
    st.data(),
)
def test_equals_an_obvious_join(
    clock: str,
    events: list[Any],
    outcomes: list[Any],
    max_steps: int,
    history: str,
    data: st.DataObject,
) -> None:
    seen, asked = tables(clock, events, outcomes)
    shuffled = seen[
        data.draw(st.permutations(range(seen.height)))
    ]  # shards and partitions arrive in any order
    joined = join(shuffled, asked, FEATURES, max_steps, HISTORIES[history])
    expected = obvious_join(clock, events, outcomes, max_steps, history)

    assert joined.select(asked.columns).equals(asked)
    assert joined.select(FEATURES).to_dicts() == expected
    assert joined[NUM_STEPS].to_list() == [len(row["kind"]) for row in expected]


@settings(deadline=None)
@given(st.lists(EVENT, max_size=40), st.lists(OUTCOME, min_size=1, max_size=15), st.integers(1, 10))
def test_the_size_of_batches_does_not_matter(
    events: list[Any], outcomes: list[Any], steps: int
) -> None:
    seen, asked = tables("integer", events, outcomes)
    windows = find_windows(seen, asked, max_steps=5)
    batches = list(join_batches(windows, asked, FEATURES, steps))
    assert pl.concat(batches).equals(join(seen, asked, FEATURES, max_steps=5))
    assert all(batch[NUM_STEPS].sum() < steps + 5 for batch in batches)


def test_an_event_at_as_of_is_not_seen() -> None:
    seen, asked = tables(
        "timestamp", [("a", "b", 3, "x", 1), ("a", "b", 4, "y", 2)], [("a", "b", 4)]
    )
    (row,) = join(seen, asked, FEATURES[:4], 10).select(FEATURES[:4]).to_dicts()
    assert row == {"kind": ["x"], "value": [1.0], TIME_SINCE_PREVIOUS: [0.0], TIME_TO_AS_OF: [60.0]}


def test_events_after_as_of_change_nothing() -> None:
    events = [("a", "b", time, "x", time) for time in range(5)]
    seen, asked = tables("integer", events, [("a", "b", 3)])
    later, _ = tables("integer", [*events, ("a", "b", 3, "z", 9), ("a", "b", 6, "z", 9)], [])
    assert join(seen, asked, FEATURES, 10).equals(join(later, asked, FEATURES, 10))


def test_far_apart_times_keep_their_microseconds() -> None:
    asked = pl.DataFrame({LEARNER: ["a"], UNIT: ["b"], AS_OF: [EPOCH + timedelta(microseconds=1)]})
    seen = pl.DataFrame(
        {
            LEARNER: ["a", "a"],
            UNIT: ["b", "b"],
            TIME: [datetime(1900, 1, 1, tzinfo=UTC), EPOCH],
            ORDER: [0, 1],
        }
    )
    (row,) = join(seen, asked, [TIME_TO_AS_OF], 10).to_dicts()
    assert row[TIME_TO_AS_OF][1] == pytest.approx(1e-6)
    assert math.isclose(
        row[TIME_TO_AS_OF][0],
        (EPOCH - datetime(1900, 1, 1, tzinfo=UTC)).total_seconds(),
        rel_tol=1e-7,
    )
