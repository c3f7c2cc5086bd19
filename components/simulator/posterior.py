"""What the events of simulated learners say about their classes, exactly.

A sequence is a hidden Markov chain, whose forward algorithm gives the probability of its events and
of the class after them. Sequences of a learner are independent given the learner's ability, so all
of them together are a sum over abilities.

Lengths, times and components do not depend on the class, so they enter only through learning,
forgetting and difficulty. Values lost at random drop out of the product. The one approximation is
that dwell counts as continuous though it is rounded to a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from components.simulator import learner_model as model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.simulator.learner_model import Floats, Integers, Teaching
    from components.simulator.sequences import Sequences


# The columns of events that depend on the class, by their names in the log.
OBSERVED = ("event_type", "dwell_seconds", "exercise_completed", "correct", "playback_speed")


def posterior(
    sequences: Sequences, without: Collection[str] = (), teaching: Teaching = model.TEACHING
) -> Floats:
    """Returns `p(class at as_of | the unit's events before as_of, job level)`, `[B, class]`.

    It is computed as if the events of every sequence were recorded.

    Args:
        sequences: `B` of them.
        without: columns of `OBSERVED` that count as missing in every event.
        teaching: what events look like in each unit.
    """
    start = model.START[sequences.attributes["job_level"]][:, None]
    belief = start[:, 0]
    steps = model.EVENTS_BEFORE[1]
    for step, (_, moved) in enumerate(_forward(sequences, start, steps, without, teaching)):
        belief = np.where((step < sequences.before)[:, None], moved[:, 0], belief)
    return belief


@dataclass(frozen=True)
class LearnerBeliefs:
    """What is known of `B` sequences when the events of the learner's other units are known too.

    Attributes:
        given_ability: `p(class at as_of | the unit's events before as_of, ability)`,
            `[B, ability, class]`.
        own: `log p(the unit's events before as_of | ability)`, `[B, ability]`, up to a constant.
        others: the same for the learner's events in other units before `as_of`.
        other_events: how many those are, `[B]`.
    """

    given_ability: Floats
    own: Floats
    others: Floats
    other_events: Integers

    def combine(self) -> Floats:
        """Returns `p(class at as_of | the learner's events before as_of, job level)`."""
        weight = _shares(self.own + self.others)
        total: Floats = np.einsum("ba,bac->bc", weight, self.given_ability)
        return total

    def without_own_events(self, recorded: NDArray[np.bool_], job_level: Integers) -> Self:
        """Returns the beliefs if a sequence's own events are known only where `recorded`, `[B]`.

        The mean of what is known where they are is the prior where they are not, for each job level
        and ability.
        """
        given = self.given_ability.copy()
        weight = _shares(self.own)
        for level in np.unique(job_level):
            group = job_level == level
            known = group & recorded
            total = np.einsum("ba,bac->ac", weight[known], self.given_ability[known])
            given[group & ~recorded] = total / weight[known].sum(axis=0)[:, None]
        own = np.where(recorded[:, None], self.own, 0.0)
        return replace(self, given_ability=given, own=own)


def beliefs_of_learner(sequences: Sequences) -> LearnerBeliefs:
    """Returns what a learner's events before `as_of` say, in the unit and in others.

    Of other units all events before `as_of` count that were recorded, also those after the moment
    at which they were judged themselves. A sequence's own events count as recorded.
    """
    start = model.START_BY_ABILITY[sequences.attributes["job_level"]]
    steps = sequences.time.shape[1]
    belief = start
    evidence = np.zeros((len(start), steps + 1, len(model.ABILITIES)))  # of the first events
    for step, (seen, moved) in enumerate(_forward(sequences, start, steps)):
        belief = np.where((step < sequences.before)[:, None, None], moved, belief)
        evidence[:, step + 1] = evidence[:, step] + np.log(seen)

    others = np.zeros((len(start), len(model.ABILITIES)))
    other_events = np.zeros(len(start), np.int64)
    for row, other in _pairs(sequences.learner):
        happened = np.arange(steps) < (sequences.events * sequences.recorded)[other, None]
        before = sequences.time[other] < sequences.as_of[row, None]
        count = (happened & before).sum(axis=1)
        others[row] += evidence[other, count]
        other_events[row] += count
    own = evidence[np.arange(len(start)), sequences.before]
    return LearnerBeliefs(belief, own, others, other_events)


def _shares(logs: Floats) -> Floats:
    """Returns probabilities from their logarithms up to a constant per row, `[B, A]`."""
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _pairs(learner: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Yields rows of sequences and of another one of the same learner; each row once per item."""
    rows = np.arange(len(learner))
    most = np.bincount(learner - learner.min()).max()
    for distance in (*range(1 - most, 0), *range(1, most)):
        other = rows + distance
        row = rows[(other >= 0) & (other < len(learner))]
        row = row[learner[row] == learner[row + distance]]
        yield row, row + distance


def true_effects(sequences: Sequences, classes: Integers) -> Floats:
    """Returns by how much each column moves the exact probability of a class, `[B, OBSERVED]`.

    That is the probability given all events, minus the probability if the column were missing in
    every event: what reasons for an answer are compared with.

    Args:
        sequences: `B` of them.
        classes: the class of interest of each, by number, `[B]`.
    """
    rows = np.arange(len(classes))
    whole = posterior(sequences)[rows, classes]
    parts = [whole - posterior(sequences, without=[name])[rows, classes] for name in OBSERVED]
    return np.stack(parts, axis=1)


def _forward(
    sequences: Sequences,
    start: Floats,
    steps: int,
    without: Collection[str] = (),
    teaching: Teaching = model.TEACHING,
) -> Iterator[tuple[Floats, Floats]]:
    """Yields for each event how probable it was after those before it, and the next belief.

    Args:
        sequences: `B` of them.
        start: `A` different beliefs about the first class, `[B, A, class]`.
        steps: how many events to go through; from a sequence's last one on, what is yielded is
            arbitrary.
        without: columns of `OBSERVED` that count as missing.
        teaching: what events look like in each unit.

    Yields:
        `p(event | events before)`, `[B, A]`, up to a factor that all `A` share; and
        `p(class at the next event | events)`, `[B, A, class]`. After the last event before `as_of`
        it is the class at `as_of`.
    """
    likelihood = np.exp(_log_likelihood(sequences, steps, without, teaching))
    judged = sequences.before - 1
    resume = sequences.time[np.arange(len(start)), sequences.before] - sequences.as_of
    belief = start
    since_previous = np.zeros(len(start))
    for step in range(steps):
        weighted = belief * likelihood[:, step, None]
        seen = weighted.sum(axis=2)
        rise = model.rises(sequences.event_type[:, step], since_previous)
        gap = sequences.wait[:, step]
        moved = _fall(_rise(weighted / seen[..., None], rise), model.falls(gap))
        yield seen, moved

        pause = np.where(step == judged, resume, 0.0)  # `wait` ends at `as_of`
        belief = _fall(moved, model.falls(pause))
        since_previous = gap + pause


def _rise(belief: Floats, chance: Floats) -> Floats:
    """Moves the share `chance`, `[B]`, of every class but the last up by one."""
    moving = belief[..., :-1] * chance[:, None, None]
    none = np.zeros_like(belief[..., :1])
    moved: Floats = belief + np.concatenate([none, moving], 2) - np.concatenate([moving, none], 2)
    return moved


def _fall(belief: Floats, chance: Floats) -> Floats:
    """Moves the share `chance`, `[B]`, of every class but the first down by one."""
    return _rise(belief[..., ::-1], chance)[..., ::-1]


def _log_likelihood(
    sequences: Sequences, steps: int, without: Collection[str], teaching: Teaching
) -> Floats:
    """Returns `log p(event | class)` of the first events up to a constant, `[B, steps, class]`.

    Columns of `OBSERVED` in `without` count as missing.
    """
    unit = sequences.unit[:, None]
    kind = sequences.event_type[:, :steps]
    component = sequences.component[:, :steps]
    dwell = sequences.dwell[:, :steps]
    speed = sequences.speed[:, :steps]

    typical = teaching.dwell[unit, :, kind]
    deviation = (np.log(dwell)[..., None] - np.log(typical)) / model.DWELL_SIGMA
    completed = np.broadcast_to(teaching.completed[unit], deviation.shape)
    speed_index = np.searchsorted(model.SPEEDS, speed) % len(model.SPEEDS)  # NaN gets any
    of_speed = np.log(model.SPEED.T)[speed_index]
    terms = {
        "event_type": np.log(teaching.types)[unit, :, kind],
        "dwell_seconds": -0.5 * np.square(deviation),
        "exercise_completed": _log_bernoulli(sequences.completed[:, :steps], completed),
        "correct": _log_bernoulli(sequences.correct[:, :steps], teaching.knows[unit, :, component]),
        "playback_speed": np.where(np.isnan(speed)[..., None], 0.0, of_speed),
    }

    total = np.zeros_like(deviation)
    for name, term in terms.items():
        if name not in without:
            total += np.nan_to_num(term)  # a missing value says nothing about the class
    return total


def _log_bernoulli(value: Floats, chance: Floats) -> Floats:
    """Returns `log p(value)`, `[B, T, class]`; NaN if `value`, `[B, T]`, is missing."""
    return np.log(np.where(value[..., None] == 1, chance, 1 - chance)) + 0 * value[..., None]
