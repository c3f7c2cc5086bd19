"""Draws sequences from the model of learners, thousands at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.errors import MasteryError
from components.simulator import learner_model as model
from components.simulator.learner_model import Floats, Integers

CHUNK = 5000  # learners drawn at once; part of the definition of a log: another size, another log
MOST_EVENTS = model.EVENTS_BEFORE[1] + model.EVENTS_AFTER[1]


@dataclass(frozen=True)
class Sequences:
    """`B` sequences, a learner in a unit each, of up to `T` events; steps past a sequence's last event are void."""

    learner: Integers  # [B], ascending
    attributes: dict[str, Integers]  # by column [B], index into the keys of `ATTRIBUTES[column]`
    unit: Integers  # [B], index into the keys of `CATALOGUE`
    label: Integers  # [B], class at `as_of`
    recorded: NDArray[np.bool_]  # [B], false for a cold start: none of its events is in the log
    before: Integers  # [B], number of events before `as_of`
    events: Integers  # [B], number of all events
    time: Floats  # [B, T], seconds since `FIRST_DAY`
    as_of: Floats  # [B], seconds since `FIRST_DAY`
    wait: Floats  # [B, T], seconds until the next event, or until `as_of` if that comes first
    event_type: Integers  # [B, T], index into `EVENT_TYPES`
    component: Integers  # [B, T], 0 to 3, the unit's easiest to hardest
    dwell: Floats  # [B, T], seconds; NaN where missing
    completed: Floats  # [B, T], 0 or 1; NaN where no exercise
    correct: Floats  # [B, T], 0 or 1; NaN where no answer, or missing
    speed: Floats  # [B, T], NaN where no video, or missing


@dataclass(frozen=True)
class _Walk:
    """How classes, and the events that depend on them, followed one another."""

    label: Integers  # [B]
    level: Integers  # [B, T], the hidden class at each event
    event_type: Integers  # [B, T]
    dwell: Floats  # [B, T]
    wait: Floats  # [B, T]


def check_request(learners: int, seed: int) -> None:
    """Raises MasteryError unless there are learners to draw, from a seed that numpy takes."""
    if learners < 1:
        raise MasteryError(f"Expected one learner or more, found {learners}.")
    if seed < 0:
        raise MasteryError(f"Expected a seed of 0 or more, found {seed}.")


def draw(seed: int, chunk: int) -> Sequences:
    """Draws the sequences of learners `chunk * CHUNK` up to `(chunk + 1) * CHUNK`; same arguments, same sequences."""
    rng = np.random.default_rng([seed, chunk])
    people = {
        name: _pick(np.array([*shares.values()]), rng.random(CHUNK))
        for name, shares in model.ATTRIBUTES.items()
    }
    recorded = rng.random(CHUNK) >= model.COLD_START
    learner, unit = _enrolments(rng)
    count = len(learner)
    before = rng.integers(*model.EVENTS_BEFORE, size=count, endpoint=True)
    ends_session = rng.random((count, MOST_EVENTS)) < model.BREAK
    ends_session[np.arange(count), before - 1] = True
    resume = _pause(rng, np.ones(count, dtype=bool))
    walk = _walk(rng, model.START[people["job_level"][learner]], before, ends_session, resume)

    sessions: Integers = (
        np.cumsum(ends_session, axis=1) - ends_session
    )  # finished before each event
    component = (rng.integers(len(model.DIFFICULTY), size=(count, 1)) + sessions) % len(
        model.DIFFICULTY
    )
    completed, correct, speed = _answers(rng, walk, component)
    start = np.floor(rng.random((count, 1)) * model.START_DAYS * 86400)
    time = start + np.cumsum(walk.wait, axis=1) - walk.wait
    as_of = time[np.arange(count), before - 1] + walk.wait[np.arange(count), before - 1]
    time += resume[:, None] * (np.arange(MOST_EVENTS) >= before[:, None])
    return Sequences(
        learner=learner + chunk * CHUNK,
        attributes={name: values[learner] for name, values in people.items()},
        unit=unit,
        label=walk.label,
        recorded=recorded[learner],
        before=before,
        events=before + rng.integers(*model.EVENTS_AFTER, size=count, endpoint=True),
        time=time,
        as_of=as_of,
        wait=walk.wait,
        event_type=walk.event_type,
        component=component,
        dwell=walk.dwell,
        completed=completed,
        correct=correct,
        speed=speed,
    )


def _enrolments(rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Returns learner and unit of every sequence: some learners take several units, none takes one twice."""
    units = _pick(model.UNITS_PER_LEARNER, rng.random(CHUNK)) + 1
    order = rng.permuted(np.tile(np.arange(len(model.CATALOGUE)), (CHUNK, 1)), axis=1)
    learner, place = np.nonzero(np.arange(order.shape[1]) < units[:, None])
    return learner, order[learner, place]


def _walk(
    rng: np.random.Generator,
    start: Floats,
    before: Integers,
    ends_session: NDArray[np.bool_],
    resume: Floats,
) -> _Walk:
    """Lets every learner live through `T` events from a class drawn from `start`, `[B, class]`."""
    shape = ends_session.shape
    chance_type, chance_rise, chance_fall = rng.random((3, *shape))
    stretch = np.exp(model.DWELL_SIGMA * rng.standard_normal(shape))
    unseen = ends_session & (rng.random(shape) < model.MISSING_DWELL)
    pause = _pause(rng, ends_session)
    chance_resume = rng.random(shape[0])
    level = _pick(start, rng.random(len(start)))
    since_previous = np.zeros(shape[0])
    label = level.copy()
    levels, event_type = np.empty(shape, np.int64), np.empty(shape, np.int64)
    dwell, wait = np.empty(shape), np.empty(shape)
    for step in range(shape[1]):
        kind = _pick(model.TYPE[level], chance_type[:, step])
        seconds = np.round(
            model.DWELL_MEDIAN[kind] * model.DWELL_FACTOR[level] * stretch[:, step], 1
        )
        gap = pause[:, step] + np.where(unseen[:, step], 0.0, seconds)
        levels[:, step], event_type[:, step], dwell[:, step], wait[:, step] = (
            level,
            kind,
            seconds,
            gap,
        )
        level = np.minimum(
            level + (chance_rise[:, step] < model.rises(kind, since_previous)),
            len(model.CLASSES) - 1,
        )
        level = np.maximum(level - (chance_fall[:, step] < model.falls(gap)), 0)
        judged = before == step + 1
        label = np.where(judged, level, label)
        level = np.maximum(level - (judged & (chance_resume < model.falls(resume))), 0)
        since_previous = gap + np.where(judged, resume, 0.0)
    return _Walk(label, levels, event_type, np.where(unseen, np.nan, dwell), wait)


def _answers(
    rng: np.random.Generator, walk: _Walk, component: Integers
) -> tuple[Floats, Floats, Floats]:
    """Draws what exercises, quizzes and videos leave behind: `completed`, `correct` and `speed`, each `[B, T]`."""
    shape = walk.level.shape
    completed = rng.random(shape) < model.COMPLETED[walk.level]
    exercise = walk.event_type == model.EXERCISE
    answered = (walk.event_type == model.QUIZ) | (exercise & completed)
    right = rng.random(shape) < model.KNOWS[walk.level, component]
    speed = model.SPEEDS[_pick(model.SPEED[walk.level], rng.random(shape))]
    kept = rng.random(shape) >= model.MISSING_CORRECT
    seen = (walk.event_type == model.VIDEO) & (rng.random(shape) >= model.MISSING_SPEED)
    return (
        np.where(exercise, completed, np.nan),
        np.where(answered & kept, right, np.nan),
        np.where(seen, speed, np.nan),
    )


def _pause(rng: np.random.Generator, long: NDArray[np.bool_]) -> Floats:
    """Draws whole seconds between two events: a rest where `long`, else a pause within a session."""
    median, sigma = (
        np.where(long, rest, pause) for rest, pause in zip(model.REST, model.PAUSE, strict=True)
    )
    seconds: Floats = np.ceil(median * np.exp(sigma * rng.standard_normal(long.shape)))
    return seconds


def _pick(shares: Floats, chance: Floats) -> Integers:
    """Returns, for each of `chance` in [0, 1), the index it falls on among `shares` (the last axis; sums to 1)."""
    edges = np.cumsum(shares, axis=-1)[..., :-1]
    index: Integers = np.sum(chance[..., None] >= edges, axis=-1)
    return index
