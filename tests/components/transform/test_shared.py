"""Outcomes that share an example are transformed as if each had its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow_transform as tft

from tests.components.transform.analysis import analyse, apply, examples, one_by_one, sections

FEATURES: dict[str, Any] = {
    "kind": {"type": "categorical"},
    "plain": {"type": "numeric", "scale": "none"},
}
CONTEXT: dict[str, Any] = {
    "unit_id": {"type": "categorical", "vocabulary": 2},
    "level": {"type": "categorical"},
    "age": {"type": "numeric"},
    "third": {"type": "numeric", "scale": "buckets", "buckets": 3},
}
OTHERS = {
    "context": CONTEXT,
    "prior": {"group_by": ["learner_id", "unit_id", "age", "level"], "smoothing": 2.0},
    "min_steps": 2,
}
NAN = float("nan")

SHARED: dict[str, list[list[Any]]] = {
    "learner_id": [["anna"], ["ben"], ["cleo"]],
    "kind": [["quiz", "video", "quiz"], ["", "video"], []],
    "plain": [[1.0, NAN, 3.0], [4.0, 5.0], []],
    "num_steps": [[0, 2, 2, 3], [1, 2], [0]],
    "unit_id": [["a", "a", "b", "c"], ["a", "b"], ["b"]],
    "level": [["low", "", "low", "high"], ["high", ""], ["low"]],
    "age": [[1.0, 2.0, NAN, 4.0], [NAN, 6.0], [7.0]],
    "third": [[1.0, NAN, 3.0, 4.0], [5.0, 6.0], [NAN]],
    "mastery": [["low", "mid", "high", "high"], ["mid", "low"], ["high"]],
}
ALONE = one_by_one(SHARED, FEATURES)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tft.TFTransformOutput:
    """Learned from shared examples."""
    return learned(tmp_path_factory.mktemp("shared"), SHARED, shared=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tft.TFTransformOutput:
    """Learned from the same outcomes, one by one."""
    return learned(tmp_path_factory.mktemp("alone"), ALONE, shared=False)


def learned(folder: Path, columns: Any, *, shared: bool) -> tft.TFTransformOutput:
    settings = sections(FEATURES, **OTHERS)
    settings["steps"]["shared"] = shared
    return analyse(folder, settings, examples(columns))


def by_outcome(transformed: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: values for name, values in transformed.items() if "step_" not in name}


def test_outcomes_are_transformed_as_if_each_had_its_example(
    shared: tft.TFTransformOutput, alone: tft.TFTransformOutput
) -> None:
    found = by_outcome(apply(shared, examples(SHARED)))
    expected = by_outcome(apply(alone, examples(ALONE)))
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert [len(row) for row in found[name]] == [4, 2, 1], name
        flat = [value for row in found[name] for value in row]
        assert flat == values, name  # bit for bit, the prior and its groups too


def test_steps_are_there_once(shared: tft.TFTransformOutput) -> None:
    steps = apply(shared, examples(SHARED))
    assert steps["step_kind"] == [[2, 1, 2], [0, 1], []]
    assert steps["step_plain"] == [[1.0, 0.0, 3.0], [4.0, 5.0], []]
    assert steps["missing_step_plain"] == [[0.0, 1.0, 0.0], [0.0, 0.0], []]


def test_a_request_with_one_outcome_may_lack_columns(
    shared: tft.TFTransformOutput, alone: tft.TFTransformOutput
) -> None:
    found = by_outcome(apply(shared, examples(ALONE)))
    expected = by_outcome(apply(alone, examples(ALONE)))
    assert found == {name: [[value] for value in values] for name, values in expected.items()}
