"""How well anything can do on the simulated log: the score of the Bayes-optimal answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.simulator import learner_model as model
from components.simulator.learner_model import Floats, Integers
from components.simulator.sequences import CHUNK, Sequences, check_request, draw


@dataclass(frozen=True)
class Score:
    """Macro F1 of a way to answer, its standard error, and the recall of each class."""

    f1_macro: float
    standard_error: float
    recall: tuple[float, ...]


@dataclass(frozen=True)
class Ceiling:
    """What the best answers reach on fresh learners."""

    learners: int
    outcomes: int
    seed: int
    cold_start_share: float
    best: Score  # the answers that maximise macro F1
    argmax: Score  # the most probable class
    drawn: Score  # the most probable class, counted on the labels drawn: a check of the two above
    recorded: Score  # the most probable class, cold starts left out

    def describe(self) -> str:
        """Returns the ceiling, and how it was found, as text for a terminal."""
        recalls = ", ".join(
            f"{name} {value:.3f}"
            for name, value in zip(model.CLASSES, self.best.recall, strict=True)
        )
        return "\n".join(
            [
                f"Best reachable macro F1: {_plus_minus(self.best)}",
                f"  its recall of each class:    {recalls}",
                f"  the most probable class:     {_plus_minus(self.argmax)}",
                f"  ... on the labels drawn:     {_plus_minus(self.drawn)}",
                f"  ... without cold starts:     {_plus_minus(self.recorded)}",
                f"Estimated on {self.outcomes:,} outcomes of {self.learners:,} simulated learners (seed {self.seed}), "
                f"{self.cold_start_share:.1%} of them cold starts.",
                "A simulated learner is a hidden Markov chain: the forward algorithm gives the exact probability of",
                "each class from the events before `as_of` and the job level, and a cold start its job level's mean.",
                "The best answer is the class with the highest (p - F1 / 2) / (true share + answered share).",
                "A model above this by more than chance has seen what it must not see. More in docs/simulator.md.",
            ]
        )


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
    for level in np.unique(
        job_level
    ):  # the mean of the posteriors is the prior of those nobody has seen
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


def best_answers(belief: Floats) -> Integers:
    """Returns the answers, `[B]`, that maximise macro F1 where `belief`, `[B, class]`, is the truth's probability.

    Moving one example into class c changes the sum of 2 TP / (true + answered) over the classes in proportion to
    (2 p(c) - F1(c)) / (true(c) + answered(c)), so at the optimum every example is where that is highest: a fixed
    point, reached from the most probable class in a few rounds. (Narasimhan et al., Consistent multiclass
    algorithms for complex performance measures, 2015, treat metrics of this kind.)
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
    """Scores `answers`, `[B]`, against `truth`, `[B, class]`: probabilities of the classes, or labels as 0 and 1.

    With exact probabilities the counts of the confusion matrix are expected counts, which vary less than drawn
    ones. The standard error is the delta method's, over examples.
    """
    answered = np.eye(truth.shape[1])[answers]
    share = truth.T @ answered / len(truth)  # [true, answered]
    total = share.sum(axis=1) + share.sum(axis=0)
    f1 = 2 * share.diagonal() / total
    slope = (np.diag(2 / total) - (f1 / total)[:, None] - f1 / total) / len(
        f1
    )  # of macro F1 in every cell
    influence = np.einsum("bi,ij,bj->b", truth, slope, answered)
    recall = share.diagonal() / share.sum(axis=1)
    return Score(
        float(f1.mean()), float(influence.std() / np.sqrt(len(truth))), tuple(recall.tolist())
    )


def _beliefs(sequences: Sequences) -> tuple[Floats, Integers, NDArray[np.bool_], Integers]:
    return (
        posterior(sequences),
        sequences.label,
        sequences.recorded,
        sequences.attributes["job_level"],
    )


def _plus_minus(score: Score) -> str:
    return f"{score.f1_macro:.4f} (standard error {score.standard_error:.4f})"


def posterior(sequences: Sequences) -> Floats:
    """Returns `p(class at as_of | events before as_of, job level)`, `[B, class]`, as if every sequence were recorded.

    Lengths, times and components do not depend on the class, so they enter only through learning, forgetting and
    difficulty. Values lost at random drop out of the product. The one approximation is that dwell counts as
    continuous though it is rounded to a tenth of a second.
    """
    likelihood = np.exp(_log_likelihood(sequences))
    belief = model.START[sequences.attributes["job_level"]]
    since_previous = np.zeros(len(belief))
    for step in range(model.EVENTS_BEFORE[1]):
        seen = belief * likelihood[:, step]
        seen /= seen.sum(axis=1, keepdims=True)
        gap = sequences.wait[:, step]
        moved = _rise(seen, model.rises(sequences.event_type[:, step], since_previous))
        moved = _rise(moved[:, ::-1], model.falls(gap))[:, ::-1]
        belief = np.where((step < sequences.before)[:, None], moved, belief)
        since_previous = gap
    return belief


def _rise(belief: Floats, chance: Floats) -> Floats:
    """Moves the share `chance`, `[B]`, of every class but the last up by one."""
    moving = belief[:, :-1] * chance[:, None]
    return belief + np.pad(moving, ((0, 0), (1, 0))) - np.pad(moving, ((0, 0), (0, 1)))


def _log_likelihood(sequences: Sequences) -> Floats:
    """Returns `log p(event | class)` up to a constant per event, `[B, T, class]`, steps before `as_of` only."""
    steps = slice(model.EVENTS_BEFORE[1])
    kind, completed = sequences.event_type[:, steps], sequences.completed[:, steps]
    correct, speed, dwell = (
        sequences.correct[:, steps],
        sequences.speed[:, steps],
        sequences.dwell[:, steps],
    )
    typical = model.DWELL_MEDIAN[kind][..., None] * model.DWELL_FACTOR
    deviation = (np.log(dwell)[..., None] - np.log(typical)) / model.DWELL_SIGMA
    terms = (
        -0.5 * np.square(deviation),
        _log_bernoulli(completed, np.broadcast_to(model.COMPLETED, deviation.shape)),
        _log_bernoulli(correct, model.KNOWS.T[sequences.component[:, steps]]),
        np.where(
            np.isnan(speed)[..., None],
            0.0,
            np.log(model.SPEED.T)[np.searchsorted(model.SPEEDS, speed) % 5],
        ),
    )
    total = np.log(model.TYPE.T)[kind]
    for term in terms:
        total += np.nan_to_num(term)  # a missing value says nothing
    return total


def _log_bernoulli(value: Floats, chance: Floats) -> Floats:
    """Returns `log p(value)`, `[B, T, class]`; NaN where `value`, `[B, T]`, is missing."""
    return np.log(np.where(value[..., None] == 1, chance, 1 - chance)) + 0 * value[..., None]
