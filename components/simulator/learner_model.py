"""The model of learners: every number that the simulated log is drawn from.

A learner in a unit is a hidden Markov chain over the three mastery classes. Each event is drawn given the
class the learner is in at that moment; then the learner may rise a class (by learning, more after a break) and,
while time passes, fall one (by forgetting). The label is the class at `as_of`. That is Bayesian knowledge
tracing (Corbett and Anderson, 1994) with three levels instead of two, forgetting, and more than answers to see.
docs/simulator.md explains the choices.
"""

from __future__ import annotations

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
DIFFICULTY: Floats = np.array(
    [-0.6, -0.2, 0.2, 0.6]
)  # of a unit's first to last component, in logits

# Columns of outcomes that describe the learner. Only the job level has to do with mastery, and only a little:
# where a learner starts. Gender, age band and region have no effect, so gaps between them are sampling noise.
ATTRIBUTES: dict[str, dict[str | None, float]] = {
    "gender": {"female": 0.48, "male": 0.48, "nonbinary": 0.02, None: 0.02},
    "age_band": {"18-24": 0.16, "25-34": 0.32, "35-44": 0.26, "45-54": 0.17, "55+": 0.09},
    "region": {"africa": 0.15, "americas": 0.27, "asia_pacific": 0.26, "europe": 0.32},
    "job_level": {"junior": 0.35, "intermediate": 0.35, "senior": 0.20, "lead": 0.10},
}
START: Floats = np.array(  # [job level, class]: the class a learner starts a unit in
    [[0.48, 0.30, 0.22], [0.42, 0.32, 0.26], [0.36, 0.34, 0.30], [0.30, 0.36, 0.34]]
)

# What is seen, given the class.
TYPE: Floats = np.array(  # [class, event type]
    [[0.22, 0.36, 0.16, 0.20, 0.06], [0.22, 0.42, 0.08, 0.13, 0.15], [0.16, 0.42, 0.03, 0.07, 0.32]]
)
COMPLETED: Floats = np.array([0.45, 0.82, 0.98])  # [class]: an exercise is completed
SKILL: Floats = np.array(
    [-3.0, 0.0, 4.0]
)  # [class]: logit of knowing the answer, less the component's difficulty
GUESS, SLIP = 0.06, 0.02  # right without knowing, wrong in spite of knowing
KNOWS: Floats = GUESS + (1 - SLIP - GUESS) / (
    1 + np.exp(DIFFICULTY - SKILL[:, None])
)  # [class, component]: right
DWELL_MEDIAN: Floats = np.array([240.0, 120.0, 60.0, 150.0, 90.0])  # [event type], seconds
DWELL_FACTOR: Floats = np.array([1.7, 1.0, 0.6])  # [class]: of the median
DWELL_SIGMA = 0.35  # of the logarithm
SPEEDS: Floats = np.array([0.75, 1.0, 1.25, 1.5, 2.0])  # what the player offers
SPEED: Floats = np.array(  # [class, speed]
    [[0.22, 0.56, 0.14, 0.06, 0.02], [0.07, 0.43, 0.30, 0.14, 0.06], [0.03, 0.20, 0.30, 0.29, 0.18]]
)

# How the class changes.
RISE: Floats = np.array(
    [0.012, 0.022, 0.005, 0.012, 0.010]
)  # [event type]: rises one class after the event
SPACING = (
    4 * 3600.0
)  # seconds: an event that comes this long after the one before is spaced practice ...
SPACED_FACTOR = 1.6  # ... and teaches so much more
FORGETTING = 240 * 86400.0  # seconds: mean time until a learner who does nothing falls one class

# The shape of the log; none of it depends on the class.
UNITS_PER_LEARNER: Floats = np.array([0.72, 0.22, 0.06])  # one, two, three
EVENTS_BEFORE = (10, 32)  # fewest and most events before `as_of`, uniform
EVENTS_AFTER = (0, 6)  # events after `as_of`: they know more than the model may
BREAK = 0.16  # an event ends a session; the last one before `as_of` always does
PAUSE = (25.0, 0.8)  # within a session: median seconds and sigma of the logarithm
REST = (30 * 3600.0, 0.8)  # between sessions
COLD_START = 0.02  # learners of whom nothing was recorded
MISSING_CORRECT, MISSING_SPEED = 0.03, 0.10  # values lost, whatever they were
MISSING_DWELL = 0.4  # of events that end a session: nobody saw the page close
FIRST_DAY = np.datetime64("2025-01-06T06:00:00", "us")
START_DAYS = 180.0  # learners start a unit within so many days, uniform


def rises(event_type: Integers, since_previous: Floats) -> Floats:
    """Returns the probability of rising a class after an event that came `since_previous` seconds after another."""
    return RISE[event_type] * np.where(since_previous >= SPACING, SPACED_FACTOR, 1.0)


def falls(seconds: Floats) -> Floats:
    """Returns the probability of falling a class in so many seconds."""
    return -np.expm1(-seconds / FORGETTING)
