"""The served model says what each feature adds to its answer, beyond the average learner."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.components.trainer.test_served import ask, dense, serialized, with_horizon
from tests.components.trainer.tiny_log import tiny_log
from tests.components.transform.analysis import Columns

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROWS = 40
CLASSES = ["low", "mid", "high"]
FEATURES = ["event_type", "correct", "mean_dwell", "unit_id", "horizon"]
EXACT = 1e-3


@pytest.fixture(scope="module")
def log() -> Columns:
    return with_horizon(tiny_log(ROWS, seed=3))


def explained(served: Any, log: Columns, named: str = "") -> dict[str, np.ndarray]:
    rows = range(len(log["correct"]))
    examples = tf.constant([serialized(log, row) for row in rows])
    classes = tf.fill([len(rows)], named)
    return ask(served, "explain", examples=examples, explained_class=classes)


def test_attributions_add_up_to_the_difference_to_the_typical_answer(
    served: Any, log: Columns
) -> None:
    found = explained(served, log)

    places = found["probabilities"].argmax(axis=1)
    answers = found["probabilities"][np.arange(ROWS), places]
    assert found["explained_class"].tolist() == [CLASSES[place].encode() for place in places]
    total = found["attributions"].sum(axis=1)
    assert total == pytest.approx(answers - found["typical_answer"], abs=EXACT)
    is_cold = found["basis"] == b"prior"
    assert 0 < is_cold.sum() < ROWS
    assert np.abs(total[~is_cold]).max() > 0.01
    assert not found["attributions"][is_cold].any()
    assert not found["directions"][is_cold].any()
    assert np.array_equal(found["typical_answer"][is_cold], answers[is_cold])


def test_both_signatures_explain_the_same(served: Any, log: Columns) -> None:
    one = explained(served, log)
    classes = tf.fill([ROWS], "")
    other = ask(served, "explain_steps", **dense(log), explained_class=classes)

    assert set(one) == set(other)
    for name, values in one.items():
        if values.dtype == object:
            assert np.array_equal(values, other[name])
        else:
            assert values == pytest.approx(other[name], abs=1e-5)
    assert one["explained_features"].tolist() == [[name.encode() for name in FEATURES]] * ROWS
    assert one["step_attributions"].shape == (ROWS, 6, 3)
    assert one["step_attributions"].sum(axis=1) == pytest.approx(
        one["attributions"][:, :3], abs=1e-6
    )
