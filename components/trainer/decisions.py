"""Points of decisions: thresholds of probability, each chosen on the eval split for its purpose.

Between two neighbouring probabilities of the split every threshold names the same learners, so all
that can be chosen is how many of the distinct probabilities are named, from the highest down. Each
choice is counted, and the best one is exact. The threshold that is kept lies halfway between the
lowest named probability and the next one below: a server that computes in other batches may differ
in the last bits of a probability, and still names the same learners of the split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.contracts.calibration import ChosenPoint
from components.contracts.decision_results import DecisionMetrics
from components.contracts.names import decision_output
from components.errors import TrainingError
from components.trainer.answer_parts import Fitted

if TYPE_CHECKING:
    from components.config.decisions import Decision
    from components.trainer.answer_parts import Answered, Evidence

Probabilities = NDArray[np.float32]


def fit_decisions(evidence: Evidence) -> Fitted | None:
    """Returns the points of all configured decisions; None without any.

    Raises:
        TrainingError: the eval split has no example of a class that a point is chosen for.
    """
    settings, answers = evidence.settings, evidence.answers
    if not settings.decisions:
        return None

    classes = settings.label.classes
    points = []
    for index, decision in enumerate(settings.decisions):
        class_id = classes.index(decision.class_)
        is_class = np.asarray(answers.labels == class_id)
        if not is_class.any() and decision.purpose in ("cost", "recall", "precision"):
            raise TrainingError(
                f"decisions[{index}], {decision.name}: expected examples of {decision.class_} in "
                f"the eval split, to choose a point by {decision.purpose}, found none of "
                f"{len(is_class):,}; give the split more learners, or set `threshold:`."
            )
        points.append(choose_point(decision, answers.answers[:, class_id], is_class))
    return Fitted(DecisionPoints(points, classes), {"decisions": points})


@dataclass(frozen=True)
class DecisionPoints:
    """The part of the served graph that says which decisions are taken.

    Attributes:
        points: of the decisions.
        classes: names of the classes, in the order of the probabilities.
    """

    points: Sequence[ChosenPoint]
    classes: Sequence[str]

    def outputs(self, answered: Answered) -> dict[str, tf.Tensor]:
        """Returns whether each decision is taken, bool [B], by the name of its output."""
        return {
            decision_output(point.name): tf.greater_equal(
                answered.answer[:, self.classes.index(point.class_)],
                tf.constant(point.threshold, tf.float32),
            )
            for point in self.points
        }


@dataclass(frozen=True)
class Choices:
    """What can be chosen: to name the learners of the first k distinct probabilities, k from 0 on.

    Attributes:
        probabilities: the K distinct ones, falling, float32.
        named: how many are named with each k, [K + 1].
        right: how many of them are of the class, [K + 1].
    """

    probabilities: Probabilities
    named: NDArray[np.int64]
    right: NDArray[np.int64]

    @classmethod
    def of(cls, probabilities: Probabilities, is_class: NDArray[np.bool_]) -> Choices:
        """Returns the choices for probabilities of a class [N], and who is of it [N].

        >>> choices = Choices.of(np.float32([0.5, 0.9, 0.5]), np.array([True, True, False]))
        >>> choices.named.tolist(), choices.right.tolist()
        ([0, 1, 3], [0, 1, 2])
        """
        rising, place, sizes = np.unique(probabilities, return_inverse=True, return_counts=True)
        true = np.bincount(place[is_class], minlength=len(rising))
        named, right = (np.append(0, np.cumsum(column[::-1])) for column in (sizes, true))
        return cls(rising[::-1], named, right)

    def threshold(self, k: int) -> np.float32:
        """Returns the threshold that names the first k: halfway to the next lower probability.

        To name all it is halfway to 0, to name nobody halfway to 1, or just above 1.
        """
        ends = [np.float32(1), *self.probabilities, np.float32(0)]
        above, below = ends[k], ends[k + 1]
        if k == 0 and below == 1:
            return np.float32(np.nextafter(np.float32(1), np.float32(2)))
        middle = np.float32((float(above) + float(below)) / 2)
        return middle if middle > below else np.float32(above)


def choose_point(
    decision: Decision, probabilities: Probabilities, is_class: NDArray[np.bool_]
) -> ChosenPoint:
    """Returns the best point of a decision.

    Of equally good points it is the one that names the fewest learners.

    Args:
        decision: what the point is for.
        probabilities: of the class, float32 [N].
        is_class: whether each example is of the class, [N].
    """
    choices = Choices.of(probabilities, is_class)
    note = None
    if decision.threshold is not None:
        threshold = np.float32(decision.threshold)
    else:
        k, note = _best(decision, choices)
        threshold = choices.threshold(k)

    taken = probabilities >= threshold
    return ChosenPoint(
        name=decision.name,
        class_=decision.class_,
        threshold=float(str(threshold)),  # the shortest digits that are this float32
        purpose=decision.purpose,
        aim=decision.aim,
        note=note,
        promised=DecisionMetrics.of(
            len(taken),
            of_class=int(is_class.sum()),
            named=int(taken.sum()),
            right=int(is_class[taken].sum()),
            cost=decision.cost,
        ),
    )


def _best(decision: Decision, choices: Choices) -> tuple[int, str | None]:
    """Returns how many of the distinct probabilities to name, and why the aim is not reached."""
    named, right = choices.named, choices.right
    examples, of_class = int(named[-1]), int(right[-1])

    if decision.cost is not None:
        missed, wrong = of_class - right, named - right
        costs = decision.cost.miss * missed + decision.cost.false_alarm * wrong
        return int(costs.argmin()), None

    if decision.recall is not None:
        # A quotient of whole numbers that equals the aim is rounded to the same float.
        return int(np.argmax(right / of_class >= decision.recall)), None

    if decision.capacity is not None:
        most = math.floor(Fraction(str(decision.capacity)) * examples / 100)
        k = int(np.searchsorted(named, most, side="right")) - 1
        if k == 0:
            return 0, (
                f"nobody is named: the {int(named[1]):,} most probable of {examples:,} examples "
                f"are equally probable, and the capacity is {most:,}"
            )
        return k, None

    assert decision.precision is not None  # the configuration was checked
    precision, note = right[1:] / named[1:], None
    reached = np.flatnonzero(precision >= decision.precision)
    if not len(reached):
        reached = np.flatnonzero(precision == precision.max())
        note = (
            f"no point has a precision of {decision.precision:g} on the eval split; this is the "
            f"one with the highest, {precision.max():.3f}"
        )
    found = right[1:][reached]
    return int(reached[found.argmax()]) + 1, note
