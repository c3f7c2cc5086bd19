from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.components.transform.analysis import analyse, apply, examples, sections

FEATURES: dict[str, Any] = {"dwell": {"type": "numeric"}}
CLASSES = ["low", "mid", "high"]


def log(
    units: list[str | None], steps: list[int], labels: list[Any], region: list[str] | None = None
) -> pa.RecordBatch:
    columns = {
        "unit_id": [[] if unit is None else [unit] for unit in units],
        "dwell": [[1.0] * count for count in steps],
        "num_steps": [[count] for count in steps],
        "mastery": [[label] for label in labels],
    }
    return examples({**columns, **({"region": [[item] for item in region]} if region else {})})


def mixed(rows: np.ndarray, wider: np.ndarray, smoothing: float) -> np.ndarray:
    return (rows.sum(axis=0) + smoothing * wider) / (len(rows) + smoothing)


def expected_prior(
    groups: np.ndarray, cold: np.ndarray, labels: np.ndarray, group: str, smoothing: float
) -> np.ndarray:
    """The definition, with numpy."""
    overall = labels.mean(axis=0)
    own = groups == group
    if not own.any():
        return mixed(labels[cold], overall, smoothing)
    return mixed(labels[own & cold], mixed(labels[own], overall, smoothing), smoothing)


@pytest.mark.parametrize("smoothing", [0.5, 20.0])
def test_a_prior_is_the_smoothed_mean_of_the_group(tmp_path: Path, smoothing: float) -> None:
    units = ["a"] * 6 + ["b"] * 3 + [None]
    steps = [0, 0, 3, 3, 3, 1, 2, 2, 2, 1]
    names = ["low", "low", "high", "mid", "high", "low", "low", "mid", "high", "low"]
    prior = {"group_by": ["unit_id"], "smoothing": smoothing}
    output = analyse(
        tmp_path, sections(FEATURES, prior=prior, min_steps=2), log(units, steps, names)
    )
    asked = log(["a", "b", None, "unseen"], [1, 1, 1, 1], ["low"] * 4).drop_columns(["mastery"])
    found = apply(output, asked)["prior"]
    labels = np.array([[name == item for item in CLASSES] for name in names], float)
    groups, cold = np.array([unit or "" for unit in units]), np.array(steps) < 2
    for group, row in zip(["a", "b", "", "unseen"], found, strict=True):
        assert row == pytest.approx(
            expected_prior(groups, cold, labels, group, smoothing), abs=1e-6
        )
        assert sum(row) == pytest.approx(1.0)


def test_a_regression_has_a_prior_even_without_groups(tmp_path: Path) -> None:
    prior: dict[str, Any] = {"group_by": [], "smoothing": 0.0}
    label = {"column": "mastery", "task": "regression"}
    output = analyse(
        tmp_path,
        sections(FEATURES, prior=prior, label=label),
        log(["a", "b", "c"], [1, 1, 1], [1.0, 2.0, 6.0]),
    )
    transformed = apply(output, log(["a", "z"], [0, 1], [1.0, 4.0]))
    assert transformed["prior"] == [[3.0], [3.0]]
    assert transformed["label"] == [1.0, 4.0]


@pytest.mark.parametrize("separator", ["", "\x1f", ":", "1:", "\n"])
def test_columns_of_a_group_do_not_run_together(separator: str, tmp_path: Path) -> None:
    prior = {"group_by": ["unit_id", "region"], "smoothing": 0.0}
    units, regions = [f"a{separator}b", "a"], ["c", f"b{separator}c"]
    train = log(units, [1, 1], ["low", "high"], region=regions)
    output = analyse(tmp_path, sections(FEATURES, prior=prior), train)
    assert apply(output, train)["prior"] == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
