"""What is wrong with explanations is found, and nothing is where nothing is wrong."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from components.serving_check.explained import explanation_problems
from components.serving_check.questions import Question

Answer = dict[str, np.ndarray[Any, Any]]
TOGETHER = Question("explain in a batch", [], np.array([0, 2, 5]))
ALONE = Question("explain alone", [], np.array([5]))


def answer() -> Answer:
    """Three learners, two features of steps and one of the context; the last is a cold start."""
    steps = np.zeros((3, 4, 2), np.float32)
    steps[0, :2] = [[0.1, 0.05], [0.2, 0.0]]
    steps[1, 3] = [-0.1, -0.2]
    context = np.array([[0.05], [0.0], [0.0]], np.float32)
    attributions = np.concatenate([steps.sum(axis=1), context], axis=1)
    return {
        "classes": np.array([["low", "high"]] * 3, object),
        "probabilities": np.array([[0.2, 0.8], [0.7, 0.3], [0.4, 0.6]], np.float32),
        "explained_class": np.array(["high", "low", "high"], object),
        "basis": np.array(["sequence", "sequence", "prior"], object),
        "typical_answer": np.array([0.4, 1.0, 0.6], np.float32),
        "attributions": attributions.astype(np.float32),
        "step_attributions": steps,
    }


def rows(found: Answer, *places: int) -> Answer:
    return {name: values[list(places)] for name, values in found.items()}


def problems(together: Answer, alone: Answer | None = None) -> str:
    answers = [together, rows(together, 2) if alone is None else alone]
    return "\n".join(explanation_problems([TOGETHER, ALONE], answers))


def test_nothing_is_wrong() -> None:
    assert not problems(answer())


def test_a_regression_has_no_class() -> None:
    found = answer()
    for name in ("classes", "probabilities", "explained_class"):
        del found[name]
    found["prediction"] = np.array([0.8, 0.7, 0.6], np.float32)
    assert not problems(found)


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [
        ("typical_answer", (0,), "add up .* off by 0.01 in 1 of 3 rows"),
        ("step_attributions", (1, 0, 1), "attributions of steps that add up"),
        ("attributions", (0, 2), "attributions that add up"),
    ],
)
def test_sums_that_are_off_are_found(name: str, place: tuple[int, ...], message: str) -> None:
    found = answer()
    found[name][place] += 0.01
    text = problems(found, rows(answer(), 2))
    assert re.search(message, text)


def test_not_a_number_is_found() -> None:
    found = answer()
    found["attributions"][1, 0] = np.nan
    assert "off by inf in 1 of 3 rows" in problems(found)


def test_a_cold_start_has_no_reasons() -> None:
    found = answer()
    found["attributions"][2, :2] = [0.1, -0.1]
    found["step_attributions"][2, 0] = [0.1, -0.1]
    assert "expected no attributions with basis prior" in problems(found)


def test_a_batch_that_changes_attributions_is_found() -> None:
    other = rows(answer(), 2)
    other["attributions"][0, :2] = [0.1, -0.1]
    text = problems(answer(), other)
    assert "explain alone: expected attributions as of explain in a batch" in text
