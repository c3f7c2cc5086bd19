"""Beam may split and merge rows as it likes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_model_analysis.metrics.metric_types import StandardMetricInputs

from components.evaluator.tfma_metrics import ClassificationCombineFn, RegressionCombineFn

RANDOM = np.random.default_rng(2)
LABELS = RANDOM.integers(0, 3, 40)
PROBABILITIES = RANDOM.dirichlet([1, 1, 1], 40).astype(np.float32)
NUMBERS = RANDOM.normal(size=40)

# Sizes of blocks and the accumulator (of three) that each goes to, and an order of the rows.
splits = st.tuples(
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2)), max_size=8),
    st.permutations(range(40)),
)


def _combine(combine_fn: Any, labels: Any, outputs: dict[str, Any], split: Any) -> dict[str, Any]:
    blocks, order = split
    accumulators = [combine_fn.create_accumulator() for _ in range(3)]
    start = 0
    for size, target in [*blocks, (40, 0)]:
        rows = [*order][start : start + size]
        start += size
        model = {name: values[rows] for name, values in outputs.items()}
        element = {"labels": labels[rows], "predictions": {"m": model}}
        accumulators[target] = combine_fn.add_input(
            accumulators[target], StandardMetricInputs(element)
        )
    merged = combine_fn.merge_accumulators(
        [combine_fn.compact(accumulator) for accumulator in accumulators]
    )
    return {
        str(key): np.asarray(value).tolist()
        for key, value in combine_fn.extract_output(merged).items()
    }


WHOLE = ([], range(40))


@settings(max_examples=50)
@given(splits)
def test_any_split_of_the_rows_gives_the_very_same_metrics(split: Any) -> None:
    outputs = {
        "predicted_class": PROBABILITIES.argmax(axis=1),
        "probabilities": PROBABILITIES,
        "prediction_set": PROBABILITIES > 0.3,
    }
    combine_fn = ClassificationCombineFn("m")
    assert _combine(combine_fn, LABELS, outputs, split) == _combine(
        combine_fn, LABELS, outputs, WHOLE
    )


@settings(max_examples=50)
@given(splits)
def test_any_split_of_the_rows_gives_the_very_same_regression_metrics(split: Any) -> None:
    ends = np.stack([NUMBERS[::-1] - 1, NUMBERS[::-1] + np.abs(NUMBERS)], axis=1)
    outputs = {"prediction": NUMBERS[::-1], "prediction_interval": ends}
    combine_fn = RegressionCombineFn("m")
    assert _combine(combine_fn, NUMBERS, outputs, split) == _combine(
        combine_fn, NUMBERS, outputs, WHOLE
    )
