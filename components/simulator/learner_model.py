"""The generative model of learners: every number that the simulated log is drawn from.

A learner in a unit is a hidden Markov chain over the three mastery classes. Each event is drawn
given the learner's class at that moment. Then the learner may rise a class (learning, which is more
likely after a break) and, while time passes, fall one (forgetting). The label is the class at
`as_of`. This is Bayesian knowledge tracing (Corbett and Anderson, 1994) with three levels instead
of two, forgetting, and more observations than answers. What a learner's units have in common is an
ability, on which the first class depends. docs/simulator.md explains the choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CLASSES = ("not_mastered", "partial", "proficient")
EVENT_TYPES = ("video", "exercise", "forum", "reading", "quiz")
VIDEO, EXERCISE, FORUM, READING, QUIZ = range(len(EVENT_TYPES))

# Units and their knowledge components, easiest first.
CATALOGUE = {
    "data-protection": ("principles", "consent", "data-subjects", "breaches"),
    "fire-safety": ("hazards", "alarms", "extinguishers", "evacuation"),
    "negotiation": ("preparation", "anchoring", "concessions", "closing"),
    "python-basics": ("variables", "loops", "functions", "classes"),
    "sql-basics": ("select", "filters", "joins", "windows"),
}
# Of a unit's first to last component, in logits.
DIFFICULTY: Floats = np.array([-0.6, -0.2, 0.2, 0.6])

# Columns of outcomes that describe the learner, with the share of each value. Only the job level
# has an effect: on the class a learner starts in. Gender, age band and region have none, so gaps
# between them are sampling noise.
ATTRIBUTES: dict[str, dict[str | None, float]] = {
    "gender": {"female": 0.48, "male": 0.48, "nonbinary": 0.02, None: 0.02},
    "age_band": {"18-24": 0.16, "25-34": 0.32, "35-44": 0.26, "45-54": 0.17, "55+": 0.09},
    "region": {"africa": 0.15, "americas": 0.27, "asia_pacific": 0.26, "europe": 0.32},
    "job_level": {"junior": 0.35, "intermediate": 0.35, "senior": 0.20, "lead": 0.10},
}
START: Floats = np.array(  # [job level, class]: probability of the first class in a unit
    [[0.48, 0.30, 0.22], [0.42, 0.32, 0.26], [0.36, 0.34, 0.30], [0.30, 0.36, 0.34]]
)

# What carries over from unit to unit. A learner has one ability: low, middle or high, each in a
# third of the learners of every job level. With the chance `ABILITY_COUNTS` it decides where in
# `START` the learner's first class is: in the lowest, middle or highest third of the distribution.
# Otherwise the class is drawn from all of `START`. So `START` is the mean over abilities, and one
# unit alone looks as if there were none.
ABILITIES = ("low", "middle", "high")
ABILITY_COUNTS = 0.9


def _start_by_ability() -> Floats:
    """Returns the probability of the first class, `[job level, ability, class]`."""
    edges = np.pad(np.cumsum(START, axis=1), ((0, 0), (1, 0)))
    thirds = np.arange(len(ABILITIES))[:, None] / len(ABILITIES)
    low = np.maximum(edges[:, None, :-1], thirds)
    high = np.minimum(edges[:, None, 1:], thirds + 1 / len(ABILITIES))
    within = np.maximum(high - low, 0.0) * len(ABILITIES)
    mixed: Floats = ABILITY_COUNTS * within + (1 - ABILITY_COUNTS) * START[:, None]
    return mixed


START_BY_ABILITY: Floats = _start_by_ability()

# Observations, given the class.
TYPE: Floats = np.array(  # [class, event type]
    [[0.22, 0.36, 0.16, 0.20, 0.06], [0.22, 0.42, 0.08, 0.13, 0.15], [0.16, 0.42, 0.03, 0.07, 0.32]]
)
COMPLETED: Floats = np.array([0.45, 0.82, 0.98])  # [class]: an exercise is completed
# [class]: logit of knowing the answer to a component of difficulty 0.
SKILL: Floats = np.array([-3.0, 0.0, 4.0])
GUESS = 0.06  # right without knowing
SLIP = 0.02  # wrong in spite of knowing
_ODDS_AGAINST: Floats = np.exp(DIFFICULTY - SKILL[:, None])


def knows(guess: float) -> Floats:
    """Returns the probability of a right answer, `[class, component]`.

    Args:
        guess: the probability of being right without knowing.
    """
    chance: Floats = guess + (1 - SLIP - guess) / (1 + _ODDS_AGAINST)
    return chance


KNOWS: Floats = knows(GUESS)
DWELL_MEDIAN: Floats = np.array([240.0, 120.0, 60.0, 150.0, 90.0])  # [event type], seconds
DWELL_FACTOR: Floats = np.array([1.7, 1.0, 0.6])  # [class]: of the median
DWELL_SIGMA = 0.35  # of the logarithm
SPEEDS: Floats = np.array([0.75, 1.0, 1.25, 1.5, 2.0])  # that the player offers
SPEED: Floats = np.array(  # [class, speed]
    [[0.22, 0.56, 0.14, 0.06, 0.02], [0.07, 0.43, 0.30, 0.14, 0.06], [0.03, 0.20, 0.30, 0.29, 0.18]]
)

# Changes of the class.
RISE: Floats = np.array([0.012, 0.022, 0.005, 0.012, 0.010])  # [event type]: rises after the event
SPACING = 4 * 3600.0  # seconds since the previous event from which an event is spaced practice
SPACED_FACTOR = 1.6  # by which spaced practice makes a rise more likely
FORGETTING = 240 * 86400.0  # seconds: mean time until an inactive learner falls one class

# The shape of the log; none of it depends on the class.
UNITS_PER_LEARNER: Floats = np.array([0.72, 0.22, 0.06])  # one, two, three
EVENTS_BEFORE = (10, 32)  # fewest and most events before `as_of`, uniform
EVENTS_AFTER = (0, 6)  # events after `as_of`, which a model must not see
BREAK = 0.16  # an event ends a session; the last one before `as_of` always does
PAUSE = (25.0, 0.8)  # within a session: median seconds and sigma of the logarithm
REST = (30 * 3600.0, 0.8)  # between sessions
COLD_START = 0.02  # sequences without recorded events
MISSING_CORRECT = 0.03  # answers lost at random
MISSING_SPEED = 0.10  # speeds lost at random
MISSING_DWELL = 0.4  # dwell lost at the end of a session: the page was not seen to close
FIRST_DAY = np.datetime64("2025-01-06T06:00:00", "us")
START_DAYS = 180.0  # learners start a unit within this many days, uniform


@dataclass(frozen=True)
class Teaching:
    """What a platform teaches, and what events look like in each of its `U` units."""

    catalogue: Mapping[str, tuple[str, ...]]  # the components of each unit
    types: Floats  # [U, class, event type]
    dwell: Floats  # [U, class, event type], median seconds
    completed: Floats  # [U, class]: an exercise is completed
    knows: Floats  # [U, class, component]: an answer is right


def _same_in_all_units(of_unit: Floats) -> Floats:
    return np.tile(of_unit, (len(CATALOGUE), *[1] * of_unit.ndim))


TEACHING = Teaching(
    catalogue=CATALOGUE,
    types=_same_in_all_units(TYPE),
    dwell=_same_in_all_units(DWELL_FACTOR[:, None] * DWELL_MEDIAN),
    completed=_same_in_all_units(COMPLETED),
    knows=_same_in_all_units(KNOWS),
)


def rises(event_type: Integers, since_previous: Floats) -> Floats:
    """Returns the probability of rising a class after an event.

    Args:
        event_type: index into `EVENT_TYPES`.
        since_previous: seconds since the previous event.
    """
    return RISE[event_type] * np.where(since_previous >= SPACING, SPACED_FACTOR, 1.0)


def falls(seconds: Floats) -> Floats:
    """Returns the probability of falling a class within some seconds."""
    return -np.expm1(-seconds / FORGETTING)
