"""The best reachable score on the simulated log: that of the Bayes-optimal answers.

The forward algorithm gives the exact probability of each class from the events before `as_of`;
`best_answers` turns the probabilities into the answers with the highest macro F1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.simulator import learner_model as model
from components.simulator.sequences import CHUNK, Sequences, check_request, draw

if TYPE_CHECKING:
    from components.simulator.learner_model import Floats, Integers


@dataclass(frozen=True)
class Score:
    """Macro F1 of some answers, its standard error, and the recall of each class."""

    f1_macro: float
    standard_error: float
    recall: tuple[float, ...]

    def __str__(self) -> str:
        """Returns macro F1 and its standard error."""
        return f"{self.f1_macro:.4f} (standard error {self.standard_error:.4f})"


@dataclass(frozen=True)
class Ceiling:
    """The score of the best answers on fresh learners.

    Attributes:
        learners: number of learners.
        outcomes: number of their outcomes.
        seed: seed of the random numbers.
        cold_start_share: share of outcomes without events.
        best: score of the answers that maximise macro F1.
        argmax: score of the most probable class.
        drawn: score of the most probable class, counted on drawn labels; it checks the other two.
        recorded: score of the most probable class, without cold starts.
    """

    learners: int
    outcomes: int
    seed: int
    cold_start_share: float
    best: Score
    argmax: Score
    drawn: Score
    recorded: Score

    def describe(self) -> str:
        """Returns the ceiling, and how it was estimated, as text for a terminal."""
        recalls = [
            f"{name} {value:.3f}"
            for name, value in zip(model.CLASSES, self.best.recall, strict=True)
        ]
        return f"""\
Best reachable macro F1: {self.best}
  its recall of each class:    {", ".join(recalls)}
  the most probable class:     {self.argmax}
  ... on the labels drawn:     {self.drawn}
  ... without cold starts:     {self.recorded}
Estimated on {self.outcomes:,} outcomes of {self.learners:,} simulated learners \
(seed {self.seed}), {self.cold_start_share:.1%} of them cold starts.
A simulated learner is a hidden Markov chain: the forward algorithm gives the exact probability of
each class from the events before `as_of` and the job level; a cold start gets the mean of its job
level. The best answer is the class with the highest (p - F1 / 2) / (true share + answered share).
A model that is above this by more than chance has seen the future. More in docs/simulator.md."""


def explain(seed: int = 0, learners: int = 8 * CHUNK) -> Ceiling:
    """Estimates the ceiling on fresh learners; it does not depend on the size of a log.

    Args:
        seed: which learners to draw; another seed moves the figures by about their standard error.
        learners: how many to draw, rounded up to whole chunks.

    Raises:
        MasteryError: `learners` is below 1 or `seed` below 0.
    """
    check_request(learners, seed)
    chunks = -(-learners // CHUNK)
    drawn = [_beliefs(draw(seed, chunk)) for chunk in range(chunks)]
    belief, label, recorded, job_level = (
        np.concatenate(parts) for parts in zip(*drawn, strict=True)
    )

    # The mean of the posteriors is the prior of learners without events.
    for level in np.unique(job_level):
        group = job_level == level
        belief[group & ~recorded] = belief[group & recorded].mean(axis=0)

    most_probable = belief.argmax(axis=1)
    return Ceiling(
        learners=chunks * CHUNK,
        outcomes=len(label),
        seed=seed,
        cold_start_share=1 - float(recorded.mean()),
        best=score(belief, best_answers(belief)),
        argmax=score(belief, most_probable),
        drawn=score(np.eye(len(model.CLASSES))[label], most_probable),
        recorded=score(belief[recorded], most_probable[recorded]),
    )


def _beliefs(sequences: Sequences) -> tuple[Floats, Integers, NDArray[np.bool_], Integers]:
    """Returns posterior, label, whether events were recorded, and job level of sequences."""
    job_level = sequences.attributes["job_level"]
    return posterior(sequences), sequences.label, sequences.recorded, job_level


def best_answers(belief: Floats) -> Integers:
    """Returns the answers, `[B]`, that maximise expected macro F1.

    Moving one example into class c changes the sum of 2 TP / (true + answered) over the classes in
    proportion to (2 p(c) - F1(c)) / (true(c) + answered(c)), so at the optimum every example is in
    the class where that is highest. This fixed point is reached from the most probable class in a
    few rounds. (Narasimhan et al., Consistent multiclass algorithms for complex performance
    measures, 2015, treat metrics of this kind.)

    Args:
        belief: probability of each class, `[B, class]`.
    """
    classes = np.arange(belief.shape[1])
    answers: Integers = belief.argmax(axis=1)
    for _ in range(50):
        answered = answers[:, None] == classes
        total = belief.sum(axis=0) + answered.sum(axis=0)
        f1 = 2 * (belief * answered).sum(axis=0) / total
        better = ((2 * belief - f1) / total).argmax(axis=1)
        if np.array_equal(better, answers):
            break
        answers = better
    return answers


def score(truth: Floats, answers: Integers) -> Score:
    """Scores answers.

    With exact probabilities the counts of the confusion matrix are expected counts, which vary less
    than drawn ones. The standard error is that of the delta method over examples.

    Args:
        truth: probabilities of the classes, or labels as 0 and 1, `[B, class]`.
        answers: classes, `[B]`.
    """
    answered = np.eye(truth.shape[1])[answers]
    share = truth.T @ answered / len(truth)  # [true, answered]
    total = share.sum(axis=1) + share.sum(axis=0)
    f1 = 2 * share.diagonal() / total
    recall = share.diagonal() / share.sum(axis=1)

    # The derivative of macro F1 by every cell of `share`.
    slope = (np.diag(2 / total) - (f1 / total)[:, None] - f1 / total) / len(f1)
    influence = np.einsum("bi,ij,bj->b", truth, slope, answered)
    standard_error = influence.std() / np.sqrt(len(truth))
    return Score(float(f1.mean()), float(standard_error), tuple(recall.tolist()))


def posterior(sequences: Sequences) -> Floats:
    """Returns `p(class at as_of | events before as_of, job level)`, `[B, class]`.

    It is computed as if the events of every sequence were recorded. Lengths, times and components
    do not depend on the class, so they enter only through learning, forgetting and difficulty.
    Values lost at random drop out of the product. The one approximation is that dwell counts as
    continuous though it is rounded to a tenth of a second.
    """
    likelihood = np.exp(_log_likelihood(sequences))
    belief = model.START[sequences.attributes["job_level"]]
    since_previous = np.zeros(len(belief))
    for step in range(model.EVENTS_BEFORE[1]):
        seen = belief * likelihood[:, step]
        seen /= seen.sum(axis=1, keepdims=True)

        gap = sequences.wait[:, step]
        rise = model.rises(sequences.event_type[:, step], since_previous)
        moved = _raise_class(seen, rise)
        moved = _raise_class(moved[:, ::-1], model.falls(gap))[:, ::-1]

        happened = (step < sequences.before)[:, None]
        belief = np.where(happened, moved, belief)
        since_previous = gap
    return belief


def _raise_class(belief: Floats, chance: Floats) -> Floats:
    """Moves the share `chance`, `[B]`, of every class but the last up by one."""
    moving = belief[:, :-1] * chance[:, None]
    return belief + np.pad(moving, ((0, 0), (1, 0))) - np.pad(moving, ((0, 0), (0, 1)))


def _log_likelihood(sequences: Sequences) -> Floats:
    """Returns `log p(event | class)` up to a constant per event, `[B, T, class]`.

    Only the steps that can be before `as_of` are included.
    """
    steps = slice(model.EVENTS_BEFORE[1])
    kind = sequences.event_type[:, steps]
    component = sequences.component[:, steps]
    dwell = sequences.dwell[:, steps]
    speed = sequences.speed[:, steps]

    typical = model.DWELL_MEDIAN[kind][..., None] * model.DWELL_FACTOR
    deviation = (np.log(dwell)[..., None] - np.log(typical)) / model.DWELL_SIGMA
    completed = np.broadcast_to(model.COMPLETED, deviation.shape)
    speed_index = np.searchsorted(model.SPEEDS, speed) % len(model.SPEEDS)  # NaN gets any
    of_speed = np.log(model.SPEED.T)[speed_index]
    terms = [
        -0.5 * np.square(deviation),
        _log_bernoulli(sequences.completed[:, steps], completed),
        _log_bernoulli(sequences.correct[:, steps], model.KNOWS.T[component]),
        np.where(np.isnan(speed)[..., None], 0.0, of_speed),
    ]

    total = np.log(model.TYPE.T)[kind]
    for term in terms:
        total += np.nan_to_num(term)  # a missing value carries no information about the class
    return total


def _log_bernoulli(value: Floats, chance: Floats) -> Floats:
    """Returns `log p(value)`, `[B, T, class]`; NaN if `value`, `[B, T]`, is missing."""
    return np.log(np.where(value[..., None] == 1, chance, 1 - chance)) + 0 * value[..., None]
