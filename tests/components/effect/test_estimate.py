"""What a trial says: intervals that hold the truth, on learners of the simulator's model."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from components.effect.estimate import (
    MIN_LEARNERS,
    Trial,
    cases_needed,
    difference,
    effect_of_doing,
    smallest_visible,
)
from components.effect.lots import Lot, draw_lots
from components.simulator import sequences as simulated
from components.simulator.posterior import posterior
from components.simulator.sequences import draw

LEARNERS = 500
DRAWS = 200
CALLING = 0.12  # a call makes a good outcome more probable by so much


@pytest.fixture(scope="module")
def population() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What the simulator's model says of learners who would be named, and their units.

    The probability of the lowest class is exact, so outcomes that are drawn from it are true ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "CHUNK", 2000)
        learners = draw(5, 0)
        lowest = posterior(learners)[:, 0]
    named = lowest >= 0.2
    return lowest[named], np.asarray(learners.unit)[named]


def a_trial(
    population: tuple[NDArray[np.float64], NDArray[np.int64]],
    seed: int,
    effect: float,
    share: Fraction = Fraction(1, 5),
) -> Trial:
    """Draws learners, lots as the product draws them, and good outcomes: more if named."""
    chance = np.random.default_rng(seed)
    chosen = chance.choice(len(population[0]), LEARNERS)
    lowest, unit = (values[chosen] for values in population)
    strata = [f"{place} {min(int(one * 5), 4)}" for place, one in zip(unit, lowest, strict=True)]
    lots = [Lot(str(place), "", "", stratum) for place, stratum in enumerate(strata)]
    named = ~np.array(draw_lots(lots, {}, share, str(seed)))
    is_good = chance.random(LEARNERS) < 1 - lowest + effect * named
    numbers = np.unique(strata, return_inverse=True)[1]
    return Trial(is_good.astype(float), named, numbers, np.arange(LEARNERS))


def test_the_simulator_has_units(
    population: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    assert len(population[0]) > 200
    assert len(np.unique(population[1])) > 1


@pytest.mark.parametrize("share", [Fraction(1, 10), Fraction(1, 5), Fraction(1, 2)])
def test_the_interval_covers_a_known_effect(
    population: tuple[NDArray[np.float64], NDArray[np.int64]], share: Fraction
) -> None:
    found = [difference(a_trial(population, seed, CALLING, share)) for seed in range(DRAWS)]
    covered = [one is not None and one.low <= CALLING <= one.high for one in found]
    assert sum(covered) >= 0.93 * DRAWS
    values = np.array([one.value for one in found if one is not None])
    assert abs(values.mean() - CALLING) < 4 * values.std() / np.sqrt(DRAWS)  # without bias


@pytest.mark.parametrize("share", [Fraction(1, 10), Fraction(1, 2)])
def test_no_effect_is_found_where_there_is_none(
    population: tuple[NDArray[np.float64], NDArray[np.int64]], share: Fraction
) -> None:
    found = [difference(a_trial(population, seed, 0.0, share)) for seed in range(DRAWS)]
    assert sum(one is not None and one.is_clear for one in found) <= 0.07 * DRAWS


def test_learners_with_several_cases_are_not_several_learners() -> None:
    chance = np.random.default_rng(1)
    clear = 0
    for _ in range(DRAWS):
        luck = np.repeat(chance.random(60) < 0.5, 8)  # all cases of a learner come out alike
        named = np.repeat(chance.permutation(60) < 40, 8)
        trial = Trial(luck.astype(float), named, np.zeros(480, int), np.repeat(np.arange(60), 8))
        found = difference(trial)
        assert found is not None
        clear += found.is_clear
    assert clear <= 0.07 * DRAWS


def test_learners_who_were_in_both_arms_are_compared_with_themselves() -> None:
    """Levels of learners are no noise where everybody was named in some periods."""
    chance = np.random.default_rng(8)
    covered, clear = 0, 0
    for _ in range(DRAWS):
        level = np.repeat(chance.beta(0.5, 0.5, 50), 8) * 0.8
        named = chance.permuted(np.tile(np.arange(8) % 2 == 0, (50, 1)), axis=1).ravel()
        outcome = (chance.random(400) < level + 0.15 * named).astype(float)
        trial = Trial(outcome, named, np.zeros(400, int), np.repeat(np.arange(50), 8))
        found = difference(trial)
        assert found is not None
        covered += found.low <= 0.15 <= found.high
        clear += found.is_clear
    assert covered >= 0.92 * DRAWS
    assert clear > 0.8 * DRAWS


def test_a_difference_is_the_one_within_strata() -> None:
    """Strata of other levels and sizes: by hand, weights are named * held out / learners."""
    chance = np.random.default_rng(2)
    strata = np.repeat([0, 1, 2], [40, 60, 100])
    named = np.concatenate([np.arange(size) % 4 != 0 for size in (40, 60, 100)])
    outcome = chance.normal(strata * 10.0, 1.0) + named
    found = difference(Trial(outcome, named, strata, np.arange(200)))

    parts, weights = [], []
    for stratum in range(3):
        here = strata == stratum
        parts.append(outcome[here & named].mean() - outcome[here & ~named].mean())
        weights.append((here & named).sum() * (here & ~named).sum() / here.sum())
    assert found is not None
    assert found.value == pytest.approx(np.average(parts, weights=weights))
    assert found.low < 1 < found.high
    assert found.high - found.low < 1  # levels of strata are no noise


def test_a_mean_is_covered_too() -> None:
    chance = np.random.default_rng(3)
    covered = 0
    for _ in range(DRAWS):
        named = np.arange(120) % 6 != 0
        outcome = chance.gamma(2.0, 10.0, 120) + 3.0 * named
        found = difference(Trial(outcome, named, np.zeros(120, int), np.arange(120)))
        assert found is not None
        covered += found.low <= 3 <= found.high
    assert covered >= 0.9 * DRAWS  # skewed, and twenty held out


def test_the_effect_of_doing_is_larger_than_that_of_naming() -> None:
    """Half of the named are called, and one in ten of those held out all the same."""
    chance = np.random.default_rng(4)
    covered, clear = 0, 0
    for _ in range(DRAWS):
        named = np.arange(600) % 2 == 0
        called = chance.random(600) < np.where(named, 0.5, 0.1)
        outcome = (chance.random(600) < 0.4 + 0.3 * called).astype(float)
        trial = Trial(outcome, named, np.arange(600) % 3, np.arange(600))
        found = effect_of_doing(trial, called.astype(float))
        assert found is not None
        covered += found.low <= 0.3 <= found.high
        whole = difference(trial)
        assert whole is not None
        clear += found.value > whole.value
    assert covered >= 0.93 * DRAWS
    assert clear > 0.9 * DRAWS
    assert effect_of_doing(trial, np.zeros(600)) is None  # naming changed nothing that was done


def test_few_learners_have_no_interval() -> None:
    named = np.arange(40) % 4 != 0
    outcome = (np.arange(40) % 3 == 0).astype(float)
    trial = Trial(outcome, named, np.zeros(40, int), np.arange(40))
    assert trial.learners(named=False) == MIN_LEARNERS
    assert difference(trial) is not None
    assert difference(trial.where(np.arange(40) != 0)) is None
    apart = replace(trial, stratum=named.astype(int))  # no stratum has both arms
    assert difference(apart) is None


@pytest.mark.parametrize("outcomes", [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0)])
def test_outcomes_that_are_all_alike_are_not_known_exactly(outcomes: tuple[float, float]) -> None:
    named = np.arange(60) % 3 != 0
    outcome = np.where(named, *outcomes)
    found = difference(Trial(outcome, named, np.zeros(60, int), np.arange(60)))
    assert found is not None
    assert found.value == pytest.approx(outcomes[0] - outcomes[1])
    assert 0.1 < found.high - found.low < 0.4


def test_as_many_cases_as_needed_find_the_effect_four_times_in_five() -> None:
    half = Fraction(1, 2)
    population = np.full(100, 0.5), np.zeros(100, int)
    first = difference(a_trial(population, 0, 0.0, half))
    assert first is not None
    effect = smallest_visible(first)
    assert cases_needed(first, LEARNERS, effect) == LEARNERS
    assert cases_needed(first, LEARNERS, effect / 2) == 4 * LEARNERS
    found = [difference(a_trial(population, seed, effect, half)) for seed in range(DRAWS)]
    assert 0.7 < sum(one is not None and one.is_clear for one in found) / DRAWS < 0.9
