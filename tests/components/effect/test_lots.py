"""Lots: shares that are exact up to one learner, chances that are the same for everybody."""

from __future__ import annotations

import doctest
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.effect import lots
from components.effect.lots import Lot, draw_lots, held_out_of, whole_percents

SHARES = st.integers(1, 50).map(lambda percents: Fraction(percents, 100))


def tickets(count: int, strata: int = 1, period: str = "2026-03-02") -> list[Lot]:
    return [
        Lot(f"learner-{place}", "algebra", period, f"algebra {place % strata}")
        for place in range(count)
    ]


def test_the_examples_hold() -> None:
    assert doctest.testmod(lots).failed == 0


@pytest.mark.parametrize("share", [0.005, 0.501, -0.01])
def test_a_share_is_of_whole_percents(share: float) -> None:
    with pytest.raises(ValueError, match="expected whole percents"):
        whole_percents(share)


@given(SHARES, st.integers(0, 2000), st.text(max_size=5))
def test_a_share_is_exact_up_to_one(share: Fraction, places: int, seed: str) -> None:
    held_out = held_out_of(places, share, "algebra", seed)
    assert abs(held_out - share * places) < 1
    assert held_out_of(places + 1, share, "algebra", seed) - held_out in (0, 1)
    block = share.denominator
    assert held_out_of(7 * block, share, "algebra", seed) == 7 * share.numerator


@given(SHARES, st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_every_stratum_has_its_share_whenever_its_learners_come(
    share: Fraction, batches: list[int]
) -> None:
    strata = 3
    taken: dict[str, int] = {}
    held_out: dict[str, int] = {}
    for number, count in enumerate(batches):
        batch = tickets(count, strata, period=str(number))
        for lot, is_held_out in zip(batch, draw_lots(batch, taken, share, "s"), strict=True):
            taken[lot.stratum] = taken.get(lot.stratum, 0) + 1
            held_out[lot.stratum] = held_out.get(lot.stratum, 0) + is_held_out
    for stratum, count in taken.items():
        assert abs(held_out[stratum] - share * count) < 1


def test_the_order_of_learners_does_not_matter_and_the_seed_does() -> None:
    drawn = tickets(200, 2)
    share = Fraction(1, 10)
    first = draw_lots(drawn, {}, share, "one")
    again = draw_lots(drawn[::-1], {}, share, "one")[::-1]
    other = draw_lots(drawn, {}, share, "two")
    later = draw_lots(tickets(200, 2, period="2026-04-02"), {}, share, "one")

    assert first == again
    assert sum(first) == sum(other) == sum(later) == 20
    assert first != other
    assert first != later  # whoever was held out once is not always


def test_everybody_has_the_same_chance() -> None:
    share, learners, draws = Fraction(3, 20), 23, 2000
    drawn = tickets(learners)
    counts = sum(
        np.array(draw_lots(drawn, {drawn[0].stratum: 4}, share, str(seed)), int)
        for seed in range(draws)
    )
    spread = np.sqrt(0.15 * 0.85 / draws)
    assert np.abs(np.asarray(counts) / draws - 0.15).max() < 4 * spread
