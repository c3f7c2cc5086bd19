"""Compares learners who were named with those who were held out, as the lot has divided them.

The difference is taken within strata and averaged over them, each with the weight
`named * held out / learners`: a regression of the outcome on the arm with a constant for each
stratum. Nobody is moved to another arm by what was done later (intention to treat). Learners are
the unit of chance: the variance adds up what each learner contributes in all of his or her cases
(clustered, each residual divided by the root of one minus its leverage), and the interval is
Student's with Welch's degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_LEARNERS = 10  # of an arm; fewer say too little of learners who are not among them
POWER = 0.8
_CONFIDENCE = 0.95
_NOTHING = 1e-12  # a variance below this is a rest of rounding


@dataclass(frozen=True)
class Trial:
    """Cases: learners who would have been named, each with what came true later.

    Attributes:
        outcome: 1 for a good outcome and 0 for another one, or a number, [N].
        named: whether the lot let the learner be named, [N].
        stratum: within which the lot was drawn, as whole numbers, [N].
        learner: whose case it is, as whole numbers, [N].
    """

    outcome: Floats
    named: NDArray[np.bool_]
    stratum: NDArray[np.int64]
    learner: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> Trial:
        """Returns some of the cases, [N] of bool."""
        return Trial(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def comparable(self) -> Trial:
        """Returns the cases of strata in which both arms have an outcome."""
        in_both = np.intersect1d(self.stratum[self.named], self.stratum[~self.named])
        return self.where(np.isin(self.stratum, in_both))

    def learners(self, *, named: bool) -> int:
        """Returns how many learners an arm has."""
        return len(np.unique(self.learner[self.named == named]))


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval.

    Attributes:
        value: the number.
        error: its standard error.
        low: lower end of the interval.
        high: upper end.
    """

    value: float
    error: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def difference(trial: Trial) -> Estimate | None:
    """Returns the outcome of those who were named minus that of those who were held out.

    Returns:
        None with fewer than `MIN_LEARNERS` comparable learners in an arm.
    """
    cases = trial.comparable()
    if not _has_enough(cases):
        return None
    arm = _centred(cases.named.astype(np.float64), cases.stratum)
    return _slope(cases, arm, arm, is_share=_is_share(cases.outcome))


def effect_of_doing(trial: Trial, done: Floats) -> Estimate | None:
    """Returns the effect of doing something about those for whom being named led to it.

    It is the difference of outcomes divided by the difference in what was done (instrumental
    variables), and holds if being named changes outcomes through what is done alone.

    Args:
        trial: all cases.
        done: 1 where it was done, else 0, [N].

    Returns:
        None with fewer than `MIN_LEARNERS` comparable learners in an arm, or if being named changed
        what was done by less than two of its standard errors: a quotient by almost nothing.
    """
    both = replace(trial, outcome=done)
    taken_up = difference(both)
    if taken_up is None or taken_up.value <= 2 * taken_up.error:
        return None
    in_both = np.isin(trial.stratum, both.comparable().stratum)
    cases = trial.where(in_both)
    arm = _centred(cases.named.astype(np.float64), cases.stratum)
    return _slope(cases, arm, _centred(done[in_both], cases.stratum), is_share=False)


def smallest_visible(estimate: Estimate) -> float:
    """Returns the effect that a trial of this size finds four times in five."""
    return (_normal(1 - (1 - _CONFIDENCE) / 2) + _normal(POWER)) * estimate.error


def cases_needed(estimate: Estimate, cases: int, effect: float) -> int:
    """Returns how many cases, in all, find an effect four times in five.

    Args:
        estimate: of the trial so far.
        cases: that it has.
        effect: to be found; above 0.
    """
    return math.ceil(cases * (smallest_visible(estimate) / effect) ** 2)


def _has_enough(cases: Trial) -> bool:
    return min(cases.learners(named=True), cases.learners(named=False)) >= MIN_LEARNERS


def _is_share(outcome: Floats) -> bool:
    return bool(np.isin(outcome, (0.0, 1.0)).all())


def _centred(values: Floats, stratum: NDArray[np.int64]) -> Floats:
    """Returns what differs from the mean of the stratum, [N]."""
    _, place = np.unique(stratum, return_inverse=True)
    means = np.bincount(place, weights=values) / np.bincount(place)
    centred: Floats = values - means[place]
    return centred


def _slope(cases: Trial, arm: Floats, done: Floats, *, is_share: bool) -> Estimate:
    """Returns how the outcome changes with `done`, as far as the arm changed it.

    Args:
        cases: comparable ones.
        arm: who was named, centred within strata, [N].
        done: what was done, centred; the arm itself for the difference between arms, [N].
        is_share: whether the slope is a difference of shares.
    """
    outcome = _centred(cases.outcome, cases.stratum)
    scale = float(arm @ done)
    value = float(arm @ outcome) / scale

    _, place, sizes = np.unique(cases.stratum, return_inverse=True, return_counts=True)
    leverage = 1 / sizes[place] + arm**2 / float(arm @ arm)
    residual = (outcome - value * done) / np.sqrt(np.maximum(1 - leverage, 1 / len(arm)))
    contributions = arm * residual / scale
    by_arm = [_by_learner(contributions * chosen, cases) for chosen in (cases.named, ~cases.named)]
    counts = [cases.learners(named=True), cases.learners(named=False)]
    variances = [float(part @ part) for part in by_arm]
    reach = _student(1 - (1 - _CONFIDENCE) / 2, _welch(variances, counts))
    whole = by_arm[0] + by_arm[1]  # a learner may have been named once and held out later
    error = math.sqrt(float(whole @ whole))
    if not is_share:
        return Estimate(value, error, value - reach * error, value + reach * error)

    shares = [float(arm[chosen] @ cases.outcome[chosen] / arm[chosen].sum())
              for chosen in (cases.named, ~cases.named)]  # fmt: skip
    ends = [
        _wilson(share, variance, count, reach)
        for share, variance, count in zip(shares, variances, counts, strict=True)
    ]
    together = error / math.sqrt(sum(variances)) if sum(variances) > _NOTHING else 1.0
    return _newcombe(value, shares, ends, reach, together)


def _by_learner(contributions: Floats, cases: Trial) -> Floats:
    """Returns the sum of each learner's contributions, [L]."""
    _, learner = np.unique(cases.learner, return_inverse=True)
    return np.bincount(learner, weights=contributions).astype(np.float64)


def _welch(variances: list[float], counts: list[int]) -> float:
    """Returns the degrees of freedom of a difference of two means."""
    if sum(variances) <= _NOTHING:
        return float(min(counts) - 1)
    parts = zip(variances, counts, strict=True)
    return sum(variances) ** 2 / sum(variance**2 / (count - 1) for variance, count in parts)


def _wilson(share: float, variance: float, count: int, reach: float) -> tuple[float, float]:
    """Returns Wilson's interval of a share for as many independent cases as would vary so."""
    cases, spread = float(count), share * (1 - share)
    if variance > _NOTHING and spread > _NOTHING:
        cases = min(spread / variance, 2 * cases)
    centre = (share + reach**2 / (2 * cases)) / (1 + reach**2 / cases)
    half = reach * math.sqrt(max(spread, 0.0) / cases + reach**2 / (4 * cases**2))
    half /= 1 + reach**2 / cases
    return min(centre - half, share), max(centre + half, share)


def _newcombe(
    value: float,
    shares: list[float],
    ends: list[tuple[float, float]],
    reach: float,
    together: float,
) -> Estimate:
    """Returns the interval of a difference of two shares from those of both (Newcombe, 1998).

    Unlike the plain one it holds where few outcomes of an arm are good, or nearly all of them.

    Args:
        value: the difference.
        shares: of those who were named, and of those who were held out.
        ends: of their intervals.
        reach: standard errors on each side.
        together: by how much the error changes because learners are in both arms; 1 if none is.
    """
    (named, held_out), ((low_1, high_1), (low_0, high_0)) = shares, ends
    down = together * math.hypot(named - low_1, high_0 - held_out)
    up = together * math.hypot(high_1 - named, held_out - low_0)
    return Estimate(value, (down + up) / (2 * reach), value - down, value + up)


def _student(probability: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def _normal(probability: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(probability))
