from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.simulator import learner_model as model
from components.simulator.ceiling import posterior
from components.simulator.learner_model import Floats
from components.simulator.sequences import Sequences

LEVELS = range(len(model.CLASSES))


def likelihood(event: dict[str, Any], level: int) -> float:
    """p(row of the log | class), spelled out for one event; the density of dwell without what all classes share."""
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


def enumerate_paths(events: list[dict[str, Any]], as_of: Any, job_level: str) -> Floats:
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


def test_classes_come_as_often_as_it_says(sequences: Sequences) -> None:
    belief = posterior(sequences)
    np.testing.assert_allclose(belief.sum(axis=1), 1)
    for level in LEVELS:
        bins = np.digitize(belief[:, level], [0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99])
        hits = np.bincount(bins, weights=sequences.label == level)
        expected = np.bincount(bins, weights=belief[:, level])
        variance = np.bincount(bins, weights=belief[:, level] * (1 - belief[:, level]))
        assert (np.abs(hits - expected) < 3.5 * np.sqrt(variance) + 1).all()
