"""Pairs of answers, from the prediction log, and whom they were about, from the events."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from components.config import Config
from serving.predict import questions_from_log
from serving.prediction_log.frames import Row
from serving.prediction_log.log_store import open_store
from serving.rollout.pairs import Asked, find_asked, read_pairs

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
START = datetime(2026, 3, 1, tzinfo=UTC)


def row(name: str, version: int, minutes: int, chosen: str = "low", *, shadow: bool = False) -> Row:
    answer = {"classes": ["low", "high"], "probabilities": [0.6, 0.4], "predicted_class": chosen}
    at = NOON + timedelta(minutes=minutes)
    return Row(
        f"{name}-{version}-{minutes}", at, "small", version, None, name * 64, answer, 0.1, shadow
    )


def test_questions_that_both_have_answered_are_pairs(tmp_path: Path) -> None:
    rows = [
        row("a", 1, 0), row("a", 2, 1, "high", shadow=True),
        row("b", 2, 2), row("b", 1, 3, shadow=True),  # the canary answered
        row("c", 1, 4), row("d", 2, 5),  # one each
        row("a", 1, 9, "high"), row("a", 2, 9, shadow=True),  # asked again
        row("e", 1, 6)._replace(answer={"double": 2.0}), row("e", 2, 6),
    ]  # fmt: skip
    with closing(open_store(str(tmp_path))) as store:
        store.add("a", rows)
        pairs = read_pairs(store, 1, 2)
        assert read_pairs(store, 1, 3) == []
    assert [pair.input_hash[0] for pair in pairs] == ["a", "b"]
    assert [pair.at for pair in pairs] == [NOON + timedelta(minutes=at) for at in (1, 3)]
    assert [pair.champion.predicted_class for pair in pairs] == ["low", "low"]
    assert [pair.challenger.predicted_class for pair in pairs] == ["high", "low"]
    assert pairs[0].challenger.probabilities == {"low": 0.6, "high": 0.4}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Nine learners in two units with an outcome each; the model reads events alone."""
    events = pl.DataFrame(
        {
            "learner_id": [f"l{number % 9}" for number in range(180)],
            "unit_id": [f"unit-{number % 2}" for number in range(180)],
            "time": [START + timedelta(hours=number) for number in range(180)],
            "event_type": ["quiz" if number % 3 else "video" for number in range(180)],
            "seconds": [float(number) for number in range(180)],
        }
    )
    events.write_parquet(tmp_path / "events.parquet")
    outcomes = pl.DataFrame(
        {
            "learner_id": [f"l{number % 9}" for number in range(18)],
            "unit_id": [f"unit-{number % 2}" for number in range(18)],
            "as_of": [START + timedelta(days=6)] * 18,
            "mastery": [["low", "high"][number % 2] for number in range(18)],
        }
    )
    outcomes.write_parquet(tmp_path / "outcomes.parquet")
    return Config.model_validate(
        {
            "name": "small",
            "data": {
                "events": str(tmp_path / "events.parquet"),
                "outcomes": str(tmp_path / "outcomes.parquet"),
                "max_cold_start_share": 0.9,
            },
            "schema": "none.pbtxt",
            "label": {"column": "mastery", "classes": ["low", "high"]},
            "steps": {
                "max_steps": 4,
                "features": {"event_type": {"type": "categorical"}, "seconds": {"type": "numeric"}},
            },
            "gates": [{"metric": "accuracy", "min": 0}],
        }
    )


def digests(examples: list[bytes]) -> list[str]:
    return [sha256(example).hexdigest() for example in examples]


def test_the_inputs_of_outcomes_say_whom_a_question_was_about(config: Config) -> None:
    asked = find_asked(config)
    made = questions_from_log(config, config.data.events, config.data.outcome_files)
    truth = pl.read_parquet(config.data.outcome_files[0])
    for digest, learner, label in zip(
        digests(made.examples), made.keys["learner_id"], truth["mastery"], strict=True
    ):
        assert asked[digest] == Asked(learner, label)


def test_an_input_of_several_learners_is_about_none_of_them(config: Config) -> None:
    events = pl.read_parquet(config.data.events[0])
    events.filter(pl.col("learner_id") > "l4").write_parquet(config.data.events[0])
    asked = find_asked(config)  # cold starts: the same empty input
    assert {known.learner for known in asked.values()} == {"l5", "l6", "l7", "l8"}


def test_what_was_asked_at_other_moments_has_the_next_outcome(config: Config) -> None:
    moment = (START + timedelta(days=5)).isoformat()
    late = (START + timedelta(days=9)).isoformat()
    asked = find_asked(config, moments=[moment, late])
    labels = {
        (learner, unit): label
        for learner, unit, label in pl.read_parquet(config.data.outcome_files[0])
        .select("learner_id", "unit_id", "mastery")
        .iter_rows()
    }
    for as_of, is_known in ((moment, True), (late, False)):
        made = questions_from_log(config, config.data.events, as_of=as_of)
        keys = made.keys.select("learner_id", "unit_id").iter_rows()
        for digest, (learner, unit) in zip(digests(made.examples), keys, strict=True):
            label = labels[learner, unit] if is_known else None
            assert asked[digest] == Asked(learner, label)
