"""The exact posteriors, against sums over everything that can have happened."""

from __future__ import annotations

import itertools
import math
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.simulator import learner_model as model
from components.simulator.learner_model import Floats
from components.simulator.posterior import (
    OBSERVED,
    LearnerBeliefs,
    beliefs_of_learner,
    posterior,
    true_effects,
)
from components.simulator.sequences import Sequences

LEVELS = range(len(model.CLASSES))


def likelihood(event: dict[str, Any], level: int) -> float:
    """Returns p(row of the log | class) of one event, up to a factor that all classes share."""
    kind = model.EVENT_TYPES.index(event["event_type"])
    unit, name = event["knowledge_component"].split("/")
    result = float(model.TYPE[level, kind])
    if event["dwell_seconds"] is not None:
        median = model.DWELL_MEDIAN[kind] * model.DWELL_FACTOR[level]
        result *= math.exp(
            -(math.log(event["dwell_seconds"] / median) ** 2) / (2 * model.DWELL_SIGMA**2)
        )
    if event["exercise_completed"] is not None:
        result *= (
            model.COMPLETED[level] if event["exercise_completed"] else 1 - model.COMPLETED[level]
        )
    if event["correct"] is not None:
        logit = model.SKILL[level] - model.DIFFICULTY[model.CATALOGUE[unit].index(name)]
        right = model.GUESS + (1 - model.GUESS - model.SLIP) / (1 + math.exp(-logit))
        result *= right if event["correct"] else 1 - right
    if event["playback_speed"] is not None:
        result *= model.SPEED[level, list(model.SPEEDS).index(event["playback_speed"])]
    return result


def moves(rise: float, fall: float) -> Floats:
    """p(next class | class), `[class, class]`, by going through what can happen."""
    result = np.zeros((len(LEVELS), len(LEVELS)))
    for level, up, down in itertools.product(LEVELS, (0, 1), (0, 1)):
        chance = (rise if up else 1 - rise) * (fall if down else 1 - fall)
        result[level, max(min(level + up, LEVELS[-1]) - down, 0)] += chance
    return result


def enumerate_paths(events: list[dict[str, Any]], as_of: datetime, job_level: str) -> Floats:
    """The posterior by summing over every path that the class can have taken."""
    times = [event["time"] for event in events] + [as_of]
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)]
    paths = np.array(list(itertools.product(LEVELS, repeat=len(times))))
    weight = model.START[list(model.ATTRIBUTES["job_level"]).index(job_level)][paths[:, 0]].copy()
    for step, event in enumerate(events):
        weight *= np.array([likelihood(event, level) for level in LEVELS])[paths[:, step]]
        rise = model.RISE[model.EVENT_TYPES.index(event["event_type"])]
        if step and gaps[step - 1] >= model.SPACING:
            rise *= model.SPACED_FACTOR
        fall = 1 - math.exp(-gaps[step] / model.FORGETTING)
        weight *= moves(rise, fall)[paths[:, step], paths[:, step + 1]]
    total = np.bincount(paths[:, -1], weights=weight)
    return total / total.sum()


def sum_paths(
    events: list[dict[str, Any]], as_of: datetime, start: Floats, judged: datetime | None = None
) -> Floats:
    """`p(events, class at as_of)` up to a factor, `[class]`: the same sum, event by event.

    Args:
        events: what the log shows, in order.
        as_of: the moment after them.
        start: probability of the first class.
        judged: a moment before `as_of`: in the gap around it the class can fall before and after.
    """
    weight = start
    times = [event["time"] for event in events] + [as_of]
    previous = 0.0
    for event, (time, following) in zip(events, itertools.pairwise(times), strict=True):
        rise = model.RISE[model.EVENT_TYPES.index(event["event_type"])]
        rise *= model.SPACED_FACTOR if previous >= model.SPACING else 1.0
        parts = [time, following]
        if judged is not None and time < judged < following:
            parts = [time, judged, following]
        weight = weight * [likelihood(event, level) for level in LEVELS]
        for earlier, later in itertools.pairwise(parts):
            fall = 1 - math.exp(-(later - earlier).total_seconds() / model.FORGETTING)
            weight = weight @ moves(rise, fall)
            rise = 0.0
        previous = (following - time).total_seconds()
    return weight


@pytest.mark.parametrize("which", range(4))
def test_it_equals_the_sum_over_all_paths_of_what_the_log_shows(
    sequences: Sequences, events: pl.DataFrame, outcomes: pl.DataFrame, which: int
) -> None:
    shortest = np.nonzero(sequences.recorded & (sequences.before == model.EVENTS_BEFORE[0]))[0]
    row = int(shortest[which])
    outcome = outcomes.row(row, named=True)
    seen = events.filter(
        pl.col("learner_id") == outcome["learner_id"],
        pl.col("unit_id") == outcome["unit_id"],
        pl.col("time") < outcome["as_of"],
    ).sort("time")
    expected = enumerate_paths(seen.to_dicts(), outcome["as_of"], outcome["job_level"])
    np.testing.assert_allclose(posterior(sequences)[row], expected, rtol=1e-4, atol=1e-9)

    job_level = list(model.ATTRIBUTES["job_level"]).index(outcome["job_level"])
    summed = sum_paths(seen.to_dicts(), outcome["as_of"], model.START[job_level])
    np.testing.assert_allclose(summed / summed.sum(), expected, rtol=1e-9)


@pytest.mark.parametrize("column", [name for name in OBSERVED if name != "event_type"])
def test_leaving_a_column_out_is_as_if_the_log_did_not_show_it(
    sequences: Sequences, events: pl.DataFrame, outcomes: pl.DataFrame, column: str
) -> None:
    row = int(np.nonzero(sequences.recorded & (sequences.before == model.EVENTS_BEFORE[0]))[0][1])
    outcome = outcomes.row(row, named=True)
    seen = events.filter(
        pl.col("learner_id") == outcome["learner_id"],
        pl.col("unit_id") == outcome["unit_id"],
        pl.col("time") < outcome["as_of"],
    ).sort("time")
    hidden = seen.with_columns(pl.lit(None).alias(column)).to_dicts()

    expected = enumerate_paths(hidden, outcome["as_of"], outcome["job_level"])
    np.testing.assert_allclose(
        posterior(sequences, without=[column])[row], expected, rtol=1e-4, atol=1e-9
    )
    label = int(sequences.label[row])
    effects = true_effects(sequences, sequences.label)
    whole = posterior(sequences)[row, label]
    assert effects[row, OBSERVED.index(column)] == pytest.approx(whole - expected[label], abs=1e-4)


def test_on_average_evidence_speaks_for_what_is_true(sequences: Sequences) -> None:
    effects = true_effects(sequences, sequences.label)

    assert effects.shape == (len(sequences.label), len(OBSERVED))
    assert (effects.mean(axis=0) > 0).all()
    nothing = posterior(sequences, without=OBSERVED)
    # Without observations only the start, learning and forgetting are left.
    assert np.ptp(nothing[:, 2]) < np.ptp(posterior(sequences)[:, 2]) / 2


def test_classes_are_as_frequent_as_described(sequences: Sequences) -> None:
    belief = posterior(sequences)
    np.testing.assert_allclose(belief.sum(axis=1), 1)
    for level in LEVELS:
        bins = np.digitize(belief[:, level], [0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99])
        hits = np.bincount(bins, weights=sequences.label == level)
        expected = np.bincount(bins, weights=belief[:, level])
        variance = np.bincount(bins, weights=belief[:, level] * (1 - belief[:, level]))
        assert (np.abs(hits - expected) < 3.5 * np.sqrt(variance) + 1).all()


def test_abilities_are_a_third_each_and_start_is_their_mean() -> None:
    np.testing.assert_allclose(model.START_BY_ABILITY.sum(axis=2), 1)
    np.testing.assert_allclose(model.START_BY_ABILITY.mean(axis=1), model.START, atol=1e-12)
    low, _, high = model.START_BY_ABILITY.transpose(1, 0, 2)
    assert (low[:, 0] > 0.8).all()
    assert (high[:, 2] > 0.6).all()


def test_it_equals_the_sum_over_abilities_and_paths_in_all_units(
    sequences: Sequences, events: pl.DataFrame, outcomes: pl.DataFrame
) -> None:
    found = beliefs_of_learner(sequences)
    combined = found.combine()
    several = outcomes.with_row_index("row").filter(pl.len().over("learner_id") > 1).head(300)
    by_learner = events.partition_by("learner_id", as_dict=True)
    others_seen = seen_after_judgement = 0
    for outcome in several.iter_rows(named=True):
        if not sequences.recorded[outcome["row"]]:
            continue
        rows = by_learner[outcome["learner_id"],].filter(pl.col("time") < outcome["as_of"])
        seen = rows.sort("time").partition_by("unit_id", as_dict=True)
        own = seen.pop((outcome["unit_id"],)).to_dicts()

        total = np.zeros(len(LEVELS))
        job_level = list(model.ATTRIBUTES["job_level"]).index(outcome["job_level"])
        for start in model.START_BY_ABILITY[job_level]:
            weight = sum_paths(own, outcome["as_of"], start)
            for (unit,), elsewhere in seen.items():
                [judged] = several.filter(
                    pl.col("learner_id") == outcome["learner_id"], pl.col("unit_id") == unit
                )["as_of"]
                shown = elsewhere.to_dicts()
                weight = weight * sum_paths(shown, outcome["as_of"], start, judged).sum()
                seen_after_judgement += shown[-1]["time"] > judged
            total += weight
        row = outcome["row"]
        np.testing.assert_allclose(combined[row], total / total.sum(), rtol=1e-3, atol=1e-7)
        assert found.other_events[row] == sum(map(len, seen.values()))
        others_seen += bool(seen)
    assert others_seen > 100
    assert seen_after_judgement > 50


def test_of_newcomers_the_other_units_are_all_that_is_known(sequences: Sequences) -> None:
    found = beliefs_of_learner(sequences)
    job_level = sequences.attributes["job_level"]
    prior = found.without_own_events(sequences.recorded, job_level)
    newcomers = np.flatnonzero(~sequences.recorded & (found.other_events > 0))
    strangers = np.flatnonzero(~sequences.recorded & (found.other_events == 0))
    assert len(newcomers) > 20
    assert len(strangers) > 20
    assert (prior.own[~sequences.recorded] == 0).all()
    assert np.ptp(prior.combine()[strangers][job_level[strangers] == 0], axis=0).max() < 1e-12
    assert np.ptp(prior.combine()[newcomers][:, 0]) > 0.3

    # The prior of an ability is how often its learners are in each class.
    for ability in range(len(model.ABILITIES)):
        cell = (job_level == 0) & (sequences.ability == ability)
        rates = np.bincount(sequences.label[cell], minlength=3) / cell.sum()
        row = int(strangers[job_level[strangers] == 0][0])
        np.testing.assert_allclose(prior.given_ability[row, ability], rates, atol=0.08)


def test_with_other_units_classes_are_as_frequent_as_described(sequences: Sequences) -> None:
    found = beliefs_of_learner(sequences)
    job_level = sequences.attributes["job_level"]
    belief = found.without_own_events(sequences.recorded, job_level).combine()
    informed = found.other_events > 0
    np.testing.assert_allclose(belief.sum(axis=1), 1)
    for level in LEVELS:
        expected = belief[informed, level]
        hits = int((sequences.label[informed] == level).sum())
        variance = (expected * (1 - expected)).sum()
        assert abs(hits - expected.sum()) < 3.5 * np.sqrt(variance)


def test_beliefs_are_combined_as_bayes_says() -> None:
    given = np.array([[[0.9, 0.1], [0.2, 0.8]]])
    beliefs = LearnerBeliefs(given, np.log([[0.5, 0.5]]), np.log([[0.3, 0.1]]), np.array([4]))
    np.testing.assert_allclose(beliefs.combine(), [[0.725, 0.275]])
