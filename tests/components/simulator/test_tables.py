from __future__ import annotations

import polars as pl
import pytest

from components.simulator import learner_model as model
from components.simulator.sequences import Sequences
from components.simulator.simulate import EVENTS, OUTCOMES, events_table, outcomes_table


@pytest.fixture(scope="module")
def joined(events: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    return events.join(outcomes, on=["learner_id", "unit_id"], how="left")


def test_columns_have_their_types_and_keys_no_nulls(
    events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    assert events.columns == EVENTS.names
    assert outcomes.columns == OUTCOMES.names
    assert events.schema["time"] == outcomes.schema["as_of"] == pl.Datetime("us", "UTC")
    assert events.schema["dwell_seconds"] == events.schema["playback_speed"] == pl.Float32
    assert (events.schema["exercise_completed"], events.schema["correct"]) == (pl.Boolean, pl.Int8)
    may_be_null = {"dwell_seconds", "exercise_completed", "correct", "playback_speed"}
    for name in set(events.columns) - may_be_null:
        assert events[name].null_count() == 0, name
    assert {name for name in outcomes.columns if outcomes[name].null_count()} == {"gender"}


def test_values_are_of_the_model(events: pl.DataFrame, outcomes: pl.DataFrame) -> None:
    assert set(events["event_type"]) == set(model.EVENT_TYPES)
    assert set(outcomes["mastery"]) == set(model.CLASSES)
    assert set(events["playback_speed"].drop_nulls()) == set(model.SPEEDS)
    components = {f"{unit}/{name}" for unit, names in model.CATALOGUE.items() for name in names}
    assert set(events["knowledge_component"]) == components
    assert (events["knowledge_component"].str.split("/").list.first() == events["unit_id"]).all()
    for name, shares in model.ATTRIBUTES.items():
        assert set(outcomes[name]) == set(shares)
    assert events["dwell_seconds"].min() > 0  # type: ignore[operator]


def test_what_is_null_is_what_cannot_be_known(events: pl.DataFrame) -> None:
    kind = pl.col("event_type")
    completed, correct = pl.col("exercise_completed"), pl.col("correct")
    assert (events.select(completed.is_null() == (kind != "exercise")).to_series()).all()
    assert events.filter((kind != "video") & pl.col("playback_speed").is_not_null()).is_empty()
    answered = (kind == "quiz") | completed.fill_null(value=False)
    assert events.filter(~answered & correct.is_not_null()).is_empty()
    lost = events.filter(answered)["correct"].is_null().mean()
    assert lost == pytest.approx(model.MISSING_CORRECT, abs=0.005)
    unseen = events.filter(kind == "video")["playback_speed"].is_null().mean()
    assert unseen == pytest.approx(model.MISSING_SPEED, abs=0.01)
    assert 0.02 < events["dwell_seconds"].is_null().mean() < 0.15  # type: ignore[operator]


def test_events_are_in_the_order_of_time_whoever_they_are_of(events: pl.DataFrame) -> None:
    assert events["time"].is_sorted()
    assert not events["learner_id"].is_sorted()


def test_some_events_are_after_as_of_and_none_at_it(joined: pl.DataFrame) -> None:
    assert joined["as_of"].null_count() == 0
    assert (joined["time"] != joined["as_of"]).all()
    late = (joined["time"] > joined["as_of"]).mean()
    assert 0.1 < late < 0.2  # type: ignore[operator]


def test_a_cold_start_has_no_event_and_all_others_have_some_before_as_of(
    joined: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    seen = joined.filter(pl.col("time") < pl.col("as_of")).group_by("learner_id", "unit_id").len()
    assert seen["len"].min() == model.EVENTS_BEFORE[0]
    assert seen["len"].max() == model.EVENTS_BEFORE[1]
    cold = outcomes.join(seen, on=["learner_id", "unit_id"], how="anti")
    assert cold.height / outcomes.height == pytest.approx(model.COLD_START, abs=0.008)
    assert cold.join(joined, on="learner_id", how="semi").is_empty()


def test_learners_beyond_the_number_asked_for_are_left_out(
    sequences: Sequences, outcomes: pl.DataFrame
) -> None:
    few = pl.DataFrame(pl.from_arrow(outcomes_table(sequences, 50)))
    assert few["learner_id"].n_unique() == 50
    assert few.equals(outcomes.head(few.height))
    shown = pl.DataFrame(pl.from_arrow(events_table(sequences, 50)))
    assert set(shown["learner_id"]) <= set(few["learner_id"])
