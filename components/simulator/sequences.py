"""Draws sequences of events from the model of learners, thousands at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.errors import MasteryError
from components.simulator import learner_model as model

if TYPE_CHECKING:
    from components.simulator.learner_model import Floats, Integers, Teaching

CHUNK = 5000  # learners drawn at once; another size would change the log
MOST_EVENTS = model.EVENTS_BEFORE[1] + model.EVENTS_AFTER[1]


@dataclass(frozen=True)
class Sequences:
    """`B` sequences, each of a learner in a unit, of up to `T` events.

    Steps after a sequence's last event hold arbitrary values.
    """

    learner: Integers  # [B], ascending
    ability: Integers  # [B], index into `ABILITIES`: the learner's, which the log does not show
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
    """The classes over time, and the events that depend on them."""

    ability: Integers  # [B]
    label: Integers  # [B]
    level: Integers  # [B, T], the hidden class at each event
    event_type: Integers  # [B, T]
    dwell: Floats  # [B, T]
    wait: Floats  # [B, T]


def check_request(learners: int, seed: int) -> None:
    """Checks how many learners to draw, and the seed.

    Raises:
        MasteryError: there are no learners to draw, or the seed is negative.
    """
    if learners < 1:
        raise MasteryError(f"Expected one learner or more, found {learners}.")
    if seed < 0:
        raise MasteryError(f"Expected a seed of 0 or more, found {seed}.")


def draw(
    seed: int, chunk: int, teaching: Teaching = model.TEACHING, stream: tuple[int, ...] = ()
) -> Sequences:
    """Draws the sequences of learners `chunk * CHUNK` up to `(chunk + 1) * CHUNK`.

    The same arguments give the same sequences.

    Args:
        seed: of the log.
        chunk: which learners.
        teaching: what events look like in each unit.
        stream: of random numbers; with another one, learners of the same numbers are other people.
    """
    rng = np.random.default_rng([seed, chunk, *stream])
    people = {
        name: _pick(np.array([*shares.values()]), rng.random(CHUNK))
        for name, shares in model.ATTRIBUTES.items()
    }
    recorded = rng.random(CHUNK) >= model.COLD_START
    learner, unit = _enrolments(rng)

    # What a learner's units have to do with each other has a stream of its own, so that the first
    # unit of each learner is what it would be without.
    common = np.random.default_rng([seed, chunk, 1, *stream])
    beginners = _Beginners(learner, people["job_level"][learner], common.random(CHUNK))
    recorded = np.where(
        beginners.is_first, recorded[learner], common.random(len(learner)) >= model.COLD_START
    )

    count = len(learner)
    before = rng.integers(*model.EVENTS_BEFORE, size=count, endpoint=True)
    last = (np.arange(count), before - 1)  # the last event before `as_of`
    ends_session = rng.random((count, MOST_EVENTS)) < model.BREAK
    ends_session[last] = True
    resume = _pause(rng, np.ones(count, dtype=bool))
    walk = _walk(rng, beginners, teaching, unit, before, ends_session, resume)

    # Each session practises the next component of the unit.
    finished: Integers = np.cumsum(ends_session, axis=1) - ends_session
    first = rng.integers(len(model.DIFFICULTY), size=(count, 1))
    component = (first + finished) % len(model.DIFFICULTY)
    completed, correct, speed = _answers(rng, walk, teaching, unit, component)

    start = np.floor(rng.random((count, 1)) * model.START_DAYS * 86400)
    time = start + np.cumsum(walk.wait, axis=1) - walk.wait
    as_of = time[last] + walk.wait[last]
    time += resume[:, None] * (np.arange(MOST_EVENTS) >= before[:, None])
    return Sequences(
        learner=learner + chunk * CHUNK,
        ability=walk.ability,
        attributes={name: values[learner] for name, values in people.items()},
        unit=unit,
        label=walk.label,
        recorded=recorded,
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
    """Returns learner and unit of every sequence: some learners take several different units."""
    units = _pick(model.UNITS_PER_LEARNER, rng.random(CHUNK)) + 1
    order = rng.permuted(np.tile(np.arange(len(model.CATALOGUE)), (CHUNK, 1)), axis=1)
    learner, place = np.nonzero(np.arange(order.shape[1]) < units[:, None])
    return learner, order[learner, place]


@dataclass(frozen=True)
class _Beginners:
    """Who begins which sequence: what the first classes depend on."""

    learner: Integers  # [B], ascending from 0
    job_level: Integers  # [B]
    ability_chance: Floats  # [learners], uniform

    @property
    def is_first(self) -> NDArray[np.bool_]:
        """Which sequences are the first of their learner, `[B]`."""
        first: NDArray[np.bool_] = np.diff(self.learner, prepend=-1) > 0
        return first

    def first_classes(self, chance: Floats) -> tuple[Integers, Integers]:
        """Draws the first class and the learner's ability of every sequence, each `[B]`.

        The class of a learner's first sequence is drawn from `START`, then the ability given that
        class, then the classes of the other sequences given the ability. That is the same as to
        draw the ability first; but a learner of one unit takes no notice of it.

        Args:
            chance: a uniform random number for each class.
        """
        first, others = self.is_first, ~self.is_first
        level = _pick(model.START[self.job_level], chance)
        joint = model.START_BY_ABILITY[self.job_level[first], :, level[first]]
        ability = _pick(joint / joint.sum(axis=1, keepdims=True), self.ability_chance)[self.learner]

        start = model.START_BY_ABILITY[self.job_level[others], ability[others]]
        level[others] = _pick(start, chance[others])
        return level, ability


def _walk(
    rng: np.random.Generator,
    beginners: _Beginners,
    teaching: Teaching,
    unit: Integers,
    before: Integers,
    ends_session: NDArray[np.bool_],
    resume: Floats,
) -> _Walk:
    """Draws the classes and events of every sequence over `T` events.

    Args:
        rng: the source of randomness.
        beginners: the learners of the sequences.
        teaching: what events look like in each unit.
        unit: of each sequence, `[B]`.
        before: number of events before `as_of`, `[B]`.
        ends_session: whether an event ends a session, `[B, T]`.
        resume: seconds from `as_of` to the next event, `[B]`.
    """
    shape = ends_session.shape
    chance_type, chance_rise, chance_fall = rng.random((3, *shape))
    stretch = np.exp(model.DWELL_SIGMA * rng.standard_normal(shape))
    unseen = ends_session & (rng.random(shape) < model.MISSING_DWELL)
    pause = _pause(rng, ends_session)
    chance_resume = rng.random(shape[0])

    level, ability = beginners.first_classes(rng.random(shape[:1]))
    label = level.copy()
    since_previous = np.zeros(shape[0])
    levels = np.empty(shape, np.int64)
    event_type = np.empty(shape, np.int64)
    dwell = np.empty(shape)
    wait = np.empty(shape)
    for step in range(shape[1]):
        kind = _pick(teaching.types[unit, level], chance_type[:, step])
        median = teaching.dwell[unit, level, kind]
        seconds = np.round(median * stretch[:, step], 1)
        gap = pause[:, step] + np.where(unseen[:, step], 0.0, seconds)
        levels[:, step] = level
        event_type[:, step] = kind
        dwell[:, step] = seconds
        wait[:, step] = gap

        rises = chance_rise[:, step] < model.rises(kind, since_previous)
        level = np.minimum(level + rises, len(model.CLASSES) - 1)
        falls = chance_fall[:, step] < model.falls(gap)
        level = np.maximum(level - falls, 0)

        judged = before == step + 1
        label = np.where(judged, level, label)
        falls_later = judged & (chance_resume < model.falls(resume))
        level = np.maximum(level - falls_later, 0)
        since_previous = gap + np.where(judged, resume, 0.0)
    return _Walk(ability, label, levels, event_type, np.where(unseen, np.nan, dwell), wait)


def _answers(
    rng: np.random.Generator,
    walk: _Walk,
    teaching: Teaching,
    unit: Integers,
    component: Integers,
) -> tuple[Floats, Floats, Floats]:
    """Draws `completed`, `correct` and `speed` of exercises, quizzes and videos, each `[B, T]`.

    Args:
        rng: the source of randomness.
        walk: the classes and events.
        teaching: what events look like in each unit.
        unit: of each sequence, `[B]`.
        component: of each event, `[B, T]`.
    """
    shape = walk.level.shape
    of = unit[:, None]
    completed = rng.random(shape) < teaching.completed[of, walk.level]
    exercise = walk.event_type == model.EXERCISE
    answered = (walk.event_type == model.QUIZ) | (exercise & completed)
    right = rng.random(shape) < teaching.knows[of, walk.level, component]
    speed = model.SPEEDS[_pick(model.SPEED[walk.level], rng.random(shape))]
    kept = rng.random(shape) >= model.MISSING_CORRECT
    seen = (walk.event_type == model.VIDEO) & (rng.random(shape) >= model.MISSING_SPEED)
    return (
        np.where(exercise, completed, np.nan),
        np.where(answered & kept, right, np.nan),
        np.where(seen, speed, np.nan),
    )


def _pause(rng: np.random.Generator, long: NDArray[np.bool_]) -> Floats:
    """Draws whole seconds between two events: a rest if `long`, else a pause within a session."""
    median = np.where(long, model.REST[0], model.PAUSE[0])
    sigma = np.where(long, model.REST[1], model.PAUSE[1])
    seconds: Floats = np.ceil(median * np.exp(sigma * rng.standard_normal(long.shape)))
    return seconds


def _pick(shares: Floats, chance: Floats) -> Integers:
    """Returns for each of `chance` in [0, 1) the index where it falls among `shares`.

    Args:
        shares: of each index; the last axis sums to 1.
        chance: uniform random numbers.
    """
    edges = np.cumsum(shares, axis=-1)[..., :-1]
    index: Integers = np.sum(chance[..., None] >= edges, axis=-1)
    return index
