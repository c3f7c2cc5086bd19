"""The best reachable score on the simulated log: that of the Bayes-optimal answers.

`posterior` gives the exact probability of each class from the events before `as_of`, in the unit or
in all of the learner's; `best_answers` turns the probabilities into the answers with the highest
macro F1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.simulator import learner_model as model
from components.simulator.posterior import LearnerBeliefs, beliefs_of_learner, posterior
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
        learner: score of the best answers from the events of the learner in all units.
        newcomers: outcomes without events in their unit whose learner has some in others before.
        newcomers_by_unit: on these, the score of the best answers from the unit alone.
        newcomers_by_learner: the same from all units.
    """

    learners: int
    outcomes: int
    seed: int
    cold_start_share: float
    best: Score
    argmax: Score
    drawn: Score
    recorded: Score
    learner: Score
    newcomers: int
    newcomers_by_unit: Score
    newcomers_by_learner: Score

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
With steps.history: learner:   {self.learner}
  of newcomers to a unit:      {self.newcomers_by_learner}
  ... with history: unit:      {self.newcomers_by_unit}
Estimated on {self.outcomes:,} outcomes of {self.learners:,} simulated learners \
(seed {self.seed}), {self.cold_start_share:.1%} of them cold starts.
A simulated learner is a hidden Markov chain: the forward algorithm gives the exact probability of
each class from the events before `as_of` and the job level; a cold start gets the mean of its job
level. With history: learner they are summed over the learner's ability. Newcomers have events in
other units only: {self.newcomers:,} outcomes. The best answer is the class with the highest
(p - F1 / 2) / (true share + answered share).
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
    known = _Known(*(np.concatenate(parts) for parts in zip(*drawn, strict=True)))
    belief = known.by_unit()
    of_learner = known.by_learner()
    most_probable = belief.argmax(axis=1)
    newcomer = ~known.recorded & (known.other_events > 0)
    return Ceiling(
        learners=chunks * CHUNK,
        outcomes=len(known.label),
        seed=seed,
        cold_start_share=1 - float(known.recorded.mean()),
        best=score(belief, best_answers(belief)),
        argmax=score(belief, most_probable),
        drawn=score(np.eye(len(model.CLASSES))[known.label], most_probable),
        recorded=score(belief[known.recorded], most_probable[known.recorded]),
        learner=score(of_learner, best_answers(of_learner)),
        newcomers=int(newcomer.sum()),
        newcomers_by_unit=score(of_learner[newcomer], best_answers(belief[newcomer])),
        newcomers_by_learner=score(of_learner[newcomer], best_answers(of_learner[newcomer])),
    )


class _Known(NamedTuple):
    """What is known of sequences, see `Sequences` and `LearnerBeliefs`."""

    posterior: Floats
    label: Integers
    recorded: NDArray[np.bool_]
    job_level: Integers
    given_ability: Floats
    own: Floats
    others: Floats
    other_events: Integers

    def by_unit(self) -> Floats:
        """Returns the probability of each class with `history: unit`, `[B, class]`.

        The mean of the posteriors is the prior of sequences without events.
        """
        belief = self.posterior.copy()
        for level in np.unique(self.job_level):
            group = self.job_level == level
            belief[group & ~self.recorded] = belief[group & self.recorded].mean(axis=0)
        return belief

    def by_learner(self) -> Floats:
        """Returns the same with `history: learner`."""
        beliefs = LearnerBeliefs(self.given_ability, self.own, self.others, self.other_events)
        return beliefs.without_own_events(self.recorded, self.job_level).combine()


def _beliefs(sequences: Sequences) -> _Known:
    beliefs = beliefs_of_learner(sequences)
    return _Known(
        posterior(sequences),
        sequences.label,
        sequences.recorded,
        sequences.attributes["job_level"],
        beliefs.given_ability,
        beliefs.own,
        beliefs.others,
        beliefs.other_events,
    )


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
