"""A planted bias: whom it hits, and that all else stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from components.errors import MasteryError
from components.simulator import learner_model as model
from components.simulator.bias import GROUP, HARSH, LOST, planted, require_bias
from components.simulator.sequences import draw

PLAIN = draw(1, 0)
IS_HIT = PLAIN.attributes["gender"] == [*model.ATTRIBUTES["gender"]].index(GROUP)


def test_women_are_judged_one_class_lower_and_nobody_else() -> None:
    biased = planted(PLAIN, "labels", 1, 0)
    lower = PLAIN.label - biased.label
    assert not lower[~IS_HIT].any()
    assert {*lower.tolist()} == {0, 1}
    above = IS_HIT & (PLAIN.label > 0)
    assert lower[above].mean() == pytest.approx(HARSH, abs=0.03)
    assert np.isnan(biased.speed[IS_HIT]).all()
    assert np.array_equal(biased.speed[~IS_HIT], PLAIN.speed[~IS_HIT], equal_nan=True)


def test_events_of_women_are_lost_and_keep_their_order() -> None:
    biased = planted(PLAIN, "records", 1, 0)
    assert np.array_equal(biased.events[~IS_HIT], PLAIN.events[~IS_HIT])
    kept = biased.events[IS_HIT].sum() / PLAIN.events[IS_HIT].sum()
    assert kept == pytest.approx(1 - LOST, abs=0.01)

    for row in np.flatnonzero(IS_HIT)[:50]:
        count, before = biased.events[row], biased.before[row]
        time = biased.time[row, :count]
        assert (np.diff(time) > 0).all()
        assert {*time.tolist()} <= {*PLAIN.time[row, : PLAIN.events[row]].tolist()}
        assert (time <= PLAIN.as_of[row]).sum() == before


def test_a_bias_has_a_name_that_is_known() -> None:
    assert planted(PLAIN, None, 1, 0) is PLAIN
    with pytest.raises(MasteryError, match="Expected one of the biases labels, records, found"):
        require_bias("age")
