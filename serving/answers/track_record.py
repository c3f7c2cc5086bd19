"""What a version got right and wrong since it answers, with how far chance reaches.

Learners are the unit of chance: another year brings other learners, each with all of his or her
outcomes. A ratio of sums, such as recall, varies by what each learner adds to its numerator beyond
the ratio times what he or she adds to its denominator (the linearised variance of a ratio, as in
surveys of clusters). For a proportion this gives the number of independent outcomes that would
vary as much, and Wilson's interval for that number: it stays within 0 and 1, and is honest where
all outcomes so far were right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.evaluator.draws import MIN_LEARNERS
from serving.answers.feedback import wilson_interval
from serving.answers.outcome_sums import BINS, cells_of

if TYPE_CHECKING:
    from serving.answers.tables import OutcomeSum

Z = 1.959963984540054  # of a 95% interval
_NOTHING = 1e-12  # a variance below this is a rest of rounding

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """A number, and its 95% interval.

    Attributes:
        value: None where its denominator is 0.
        low: lower end; None with fewer than `MIN_LEARNERS` learners, or if they do not differ.
        high: upper end, likewise.
        cases: outcomes that it is about.
        learners: of these outcomes.
    """

    value: float | None
    low: float | None
    high: float | None
    cases: int
    learners: int


@dataclass(frozen=True)
class CalibrationBin:
    """Outcomes to which the lowest class was given a similar probability.

    Attributes:
        said: the mean of that probability.
        happened: the share that turned out to be of the class.
        outcomes: how many.
    """

    said: float
    happened: float
    outcomes: int


@dataclass(frozen=True)
class TrackRecord:
    """Sums over outcomes, and what they say.

    Attributes:
        classes: of the version, lowest first; empty for a regression.
        totals: sums of cells, [K].
        products: sums over learners of products of two cells, [K, K].
        learners: how many have a case of each cell, [K].
        confusion: outcomes by true and answered class, [C, C].
        bins: by the probability of the lowest class: outcomes, of them true ones, and the sum of
            the probabilities, [BINS, 3].
    """

    classes: Sequence[str]
    totals: Floats
    products: Floats
    learners: Floats
    confusion: Floats
    bins: Floats

    @classmethod
    def of(cls, classes: Sequence[str], rows: Sequence[OutcomeSum]) -> TrackRecord:
        """Returns the sum of rows of one version and month, of different groups."""
        size, places = len(cells_of(classes)), len(classes)
        products = np.zeros((size, size))
        upper = np.triu_indices(size)
        products[upper] = _added((row.products for row in rows), len(upper[0]))
        return cls(
            classes=classes,
            totals=_added((row.totals for row in rows), size),
            products=products + products.T - np.diag(np.diag(products)),
            learners=_added((row.learners for row in rows), size),
            confusion=_added((row.confusion for row in rows), places**2).reshape(places, places),
            bins=_added((row.calibration for row in rows), 3 * BINS if classes else 0).reshape(
                -1, 3
            ),
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(cells_of(self.classes))}

    @property
    def outcomes(self) -> int:
        """How many outcomes had an answer before."""
        return int(self.totals[0])

    # Of a classification

    @property
    def accuracy(self) -> Measured:
        """The share of answers that were right."""
        return self._share("right", "outcomes")

    @property
    def recall(self) -> Measured:
        """Of those who turned out to be of the lowest class, the share that was told so."""
        return self._share("low_told", "low")

    @property
    def precision(self) -> Measured:
        """Of those who were told to be of the lowest class, the share that was."""
        return self._share("low_told", "told")

    @property
    def rule_recall(self) -> Measured:
        """The recall of the rule "no visit in 7 days", on the same outcomes."""
        return self._share("low_warned", "low")

    @property
    def rule_precision(self) -> Measured:
        """The precision of that rule."""
        return self._share("low_warned", "warned")

    @property
    def recall_gain(self) -> Measured:
        """The version's recall minus the rule's, paired by learner."""
        return self._difference(("low_told", "low"), ("low_warned", "low"))

    @property
    def precision_gain(self) -> Measured:
        """The version's precision minus the rule's, paired by learner."""
        return self._difference(("low_told", "told"), ("low_warned", "warned"))

    @property
    def calibration(self) -> list[CalibrationBin]:
        """What was said of the lowest class against what happened, in bins that have outcomes."""
        return [
            CalibrationBin(said=said / count, happened=true / count, outcomes=int(count))
            for count, true, said in self.bins
            if count
        ]

    # Of a regression

    @property
    def mean_absolute_error(self) -> Measured:
        """How far predictions were off."""
        return self._mean("absolute_error")

    @property
    def bias(self) -> Measured:
        """How much higher predictions were than what came true."""
        return self._mean("error")

    @property
    def root_mean_squared_error(self) -> Measured:
        """The same as the mean absolute error, with large errors counting more."""
        squared = self._mean("squared_error")
        roots = [
            None if value is None else math.sqrt(max(0.0, value))
            for value in (squared.value, squared.low, squared.high)
        ]
        return Measured(roots[0], roots[1], roots[2], squared.cases, squared.learners)

    def _share(self, top: str, bottom: str) -> Measured:
        cases, learners = self._count(bottom), self._count_learners(bottom)
        if not cases:
            return Measured(None, None, None, cases, learners)
        share = self.totals[self._places[top]] / cases
        if learners < MIN_LEARNERS:
            return Measured(share, None, None, cases, learners)

        variance = self._variance(self._gradient(top, bottom), learners)
        independent = float(learners)
        if variance > _NOTHING:
            independent = min(share * (1 - share) / variance, cases)
        low, high = wilson_interval(share * independent, independent)
        return Measured(share, low, high, cases, learners)

    def _mean(self, top: str) -> Measured:
        cases, learners = self._count("outcomes"), self._count_learners("outcomes")
        if not cases:
            return Measured(None, None, None, cases, learners)
        mean = self.totals[self._places[top]] / cases
        variance = self._variance(self._gradient(top, "outcomes"), learners)
        return _around(mean, variance, cases, learners)

    def _difference(self, ours: tuple[str, str], theirs: tuple[str, str]) -> Measured:
        bases = (ours[1], theirs[1])
        cases = min(map(self._count, bases))
        learners = min(map(self._count_learners, bases))
        if not cases:
            return Measured(None, None, None, cases, learners)
        shares = [
            self.totals[self._places[top]] / self._count(bottom) for top, bottom in (ours, theirs)
        ]
        gradient = self._gradient(*ours) - self._gradient(*theirs)
        variance = self._variance(gradient, learners)
        return _around(shares[0] - shares[1], variance, cases, learners)

    def _count(self, cell: str) -> int:
        return int(self.totals[self._places[cell]])

    def _count_learners(self, cell: str) -> int:
        return int(self.learners[self._places[cell]])

    def _gradient(self, top: str, bottom: str) -> Floats:
        """Returns how a ratio changes with each cell, [K]."""
        count = self.totals[self._places[bottom]]
        gradient = np.zeros(len(self.totals))
        gradient[self._places[top]] += 1 / count
        gradient[self._places[bottom]] -= self.totals[self._places[top]] / count**2
        return gradient

    def _variance(self, gradient: Floats, learners: int) -> float:
        """Returns the variance of a function of the sums, where learners are drawn."""
        if learners < 2:
            return 0.0
        return float(gradient @ self.products @ gradient) * learners / (learners - 1)


def _around(value: float, variance: float, cases: int, learners: int) -> Measured:
    if learners < MIN_LEARNERS or variance <= _NOTHING:
        return Measured(value, None, None, cases, learners)
    reach = Z * math.sqrt(variance)
    return Measured(value, value - reach, value + reach, cases, learners)


def _added(rows: Iterable[Sequence[float]], size: int) -> Floats:
    """Returns the sum of rows of equal length, [size]."""
    found = [*rows]
    return np.asarray(found, np.float64).sum(axis=0) if found else np.zeros(size)
