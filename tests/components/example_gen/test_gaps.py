"""Dwell times that the log does not have: gaps to the next event, as far as an outcome sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import load_config
from components.config.root import Config
from components.contracts.names import AS_OF, DWELL, LEARNER, ORDER, TIME, UNIT
from components.errors import ConfigError, LogError
from components.event_log.log import check_log, read_log
from components.event_log.log_spec import LogSpec
from components.event_log.point_in_time import find_windows, with_gaps
from components.example_gen.encoding import join_batches

CAP = 100.0
START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE_EVENTS = st.tuples(
    st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 12),
    st.none() | st.sampled_from([0.0, 7.5]),
)  # fmt: skip
OUTCOMES = st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 13))


@cache
def config(*settings: str) -> Config:
    return load_config("configs/sample.yaml", [f"data.dwell_cap_seconds={CAP}", *settings])


def at(place: int) -> datetime:
    return START + timedelta(seconds=30 * place)


def join(events: list[Any], outcomes: list[Any], history: str) -> list[list[float | None]]:
    """Returns the dwell times that each outcome sees."""
    spec = LogSpec.of(config(f"steps.history={history}"))
    seen = pl.DataFrame(
        [(learner, unit, at(place), dwell, row)
         for row, (learner, unit, place, dwell) in enumerate(events)],
        schema={LEARNER: pl.String, UNIT: pl.String, TIME: pl.Datetime("us", "UTC"),
                DWELL: pl.Float32, ORDER: pl.Int64},
        orient="row",
    )  # fmt: skip
    asked = pl.DataFrame(
        [(learner, unit, at(place)) for learner, unit, place in outcomes],
        schema={LEARNER: pl.String, UNIT: pl.String, AS_OF: pl.Datetime("us", "UTC")},
        orient="row",
    )
    windows = find_windows(with_gaps(seen, spec), asked, 50, spec.sequence_keys)
    joined = pl.concat(join_batches(windows, asked, [DWELL]))
    return joined[DWELL].to_list()


def read_by_hand(events: list[Any], outcomes: list[Any], history: str) -> list[list[float | None]]:
    result = []
    for learner, unit, moment in outcomes:
        of_learner = sorted(
            (place, row, its_unit, dwell)
            for row, (who, its_unit, place, dwell) in enumerate(events)
            if who == learner
        )
        known = [event for event in of_learner if event[0] < moment]
        dwells = []
        for number, (place, _, its_unit, dwell) in enumerate(known):
            if history == "unit" and its_unit != unit:
                continue
            if dwell is None and number + 1 < len(known):
                dwell = min(CAP, 30.0 * (known[number + 1][0] - place))
            dwells.append(dwell)
        result.append(dwells)
    return result


@settings(deadline=None)
@given(
    st.lists(MINUTE_EVENTS, max_size=25),
    st.lists(OUTCOMES, min_size=1, max_size=8),
    st.sampled_from(["unit", "learner"]),
)
def test_a_gap_is_known_once_the_next_event_is(
    events: list[Any], outcomes: list[Any], history: str
) -> None:
    assert join(events, outcomes, history) == read_by_hand(events, outcomes, history)


def test_the_next_event_may_be_in_another_unit() -> None:
    events = [("a", "x", 0, None), ("a", "y", 2, None), ("a", "x", 3, None)]
    assert join(events, [("a", "x", 4)], "unit") == [[60.0, None]]


def test_the_last_event_before_as_of_stays_open() -> None:
    events = [("a", "x", 0, None), ("a", "x", 3, None)]
    assert join(events, [("a", "x", 3), ("a", "x", 4)], "unit") == [[None], [90.0, None]]


def write_log(folder: Any, times: list[str], dwell: bool) -> list[str]:
    learners = [f"learner-{number}" for number in range(60)]
    header = "learner_id,unit_id,time,event_type" + (",dwell_seconds" if dwell else "")
    rows = [
        f"{learner},x,{time},video" + ("," if dwell else "")
        for learner in learners
        for time in times
    ]
    (folder / "events.csv").write_text("\n".join([header, *rows]) + "\n")
    asked = [
        f"{learner},x,{times[-1]},{'partial' if number % 2 else 'proficient'}"
        for number, learner in enumerate(learners)
    ]
    (folder / "outcomes.csv").write_text("\n".join(["learner_id,unit_id,as_of,mastery", *asked]))
    return [
        f"data.events={folder / 'events.csv'}",
        f"data.outcomes={folder / 'outcomes.csv'}",
        "label={column: mastery, classes: [partial, proficient]}",
        "steps.features={event_type: {type: categorical}, dwell_seconds: {type: numeric}}",
        "context={}", "prior={}", "evaluation={}", "fairness={}", "reasons={}", "explain={}",
        "ci={}", "decisions=[]", "gates=[{metric: f1_macro, min: 0.5}]",
        "data.min_class_examples=1",
    ]  # fmt: skip


@pytest.mark.parametrize("has_column", [True, False])
def test_a_log_without_dwell_times_gets_them(tmp_path: Any, has_column: bool) -> None:
    times = ["2026-03-01T10:00:00Z", "2026-03-01T10:00:40Z", "2026-03-01T12:00:00Z"]
    log = read_log(config(*write_log(tmp_path, times, has_column)), splits=False, keys_only=False)
    (row, *_) = pl.concat(join_batches(log.part.windows, log.part.outcomes, [DWELL]))[DWELL]
    assert np.array_equal(row.to_numpy(), [40.0, np.nan], equal_nan=True)


def test_a_clock_of_the_logs_own_has_no_seconds(tmp_path: Any) -> None:
    log = config(*write_log(tmp_path, ["1", "2", "5"], dwell=False))
    with pytest.raises(LogError, match="dwell_cap_seconds: expected timestamps in time"):
        check_log(log)


def test_shared_steps_cannot_have_gaps() -> None:
    features = "steps.features={dwell_seconds: {type: numeric}}"
    with pytest.raises(ConfigError, match=r"steps\.shared: expected steps that are the same"):
        config("steps.shared=true", features, "reasons={}")
    shared = config("steps.shared=true", features, "reasons={}", "data.dwell_cap_seconds=null")
    assert shared.data.dwell_cap_seconds is None
