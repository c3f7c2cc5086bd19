from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.components.transform.analysis import analyse, apply, examples, sections

FEATURES: dict[str, Any] = {"dwell": {"type": "numeric"}}
CLASSES = ["low", "mid", "high"]


def log(
    units: list[str | None], steps: list[int], labels: list[Any], **others: list[str]
) -> pa.RecordBatch:
    columns = {
        "unit_id": [[] if unit is None else [unit] for unit in units],
        "dwell": [[1.0] * count for count in steps],
        "num_steps": [[count] for count in steps],
        "mastery": [[label] for label in labels],
    }
    return examples({**columns, **{name: [[item] for item in others[name]] for name in others}})


def mixed(rows: np.ndarray, wider: np.ndarray, smoothing: float) -> np.ndarray:
    return (rows.sum(axis=0) + smoothing * wider) / (len(rows) + smoothing)


def expected_prior(
    groups: Sequence[tuple[str, ...]],
    cold: np.ndarray,
    labels: np.ndarray,
    group: tuple[str, ...],
    smoothing: float,
) -> np.ndarray:
    """The definition, with numpy, one level inside the other."""

    def members(group: tuple[str, ...]) -> np.ndarray:
        return np.array([other[len(other) - len(group) :] == group for other in groups])

    def mean(group: tuple[str, ...]) -> np.ndarray:
        own = labels[members(group)]
        return mixed(own, mean(group[1:]), smoothing) if group else own.mean(axis=0)

    while not members(group).any():
        group = group[1:]
    return mixed(labels[members(group) & cold], mean(group), smoothing)


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
    groups, cold = [(unit or "",) for unit in units], np.array(steps) < 2
    for group, row in zip(["a", "b", "", "unseen"], found, strict=True):
        assert row == pytest.approx(
            expected_prior(groups, cold, labels, (group,), smoothing), abs=1e-6
        )
        assert sum(row) == pytest.approx(1.0)


def test_a_group_never_seen_gets_the_prior_of_the_narrowest_one_known(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    columns = {name: rng.choice(list("abcd"), 80).tolist() for name in ("unit_id", "day", "region")}
    steps, names = rng.integers(0, 3, 80), rng.choice(CLASSES, 80).tolist()
    prior = {"group_by": ["unit_id", "day", "region"], "smoothing": 3.0}
    train = log(steps=steps.tolist(), labels=names, units=columns.pop("unit_id"), **columns)
    output = analyse(tmp_path, sections(FEATURES, prior=prior), train.slice(0, 50), train.slice(50))

    asked = [*product("adz", "bcz", "az")]
    units, days, regions = (list(column) for column in zip(*asked, strict=True))
    found = apply(
        output, log(units, [1] * len(asked), ["low"] * len(asked), day=days, region=regions)
    )["prior"]

    labels = np.array([[name == item for item in CLASSES] for name in names], float)
    rows = zip(*(train.column(name).to_pylist() for name in prior["group_by"]), strict=True)
    groups = [tuple(value for (value,) in row) for row in rows]
    for group, row in zip(asked, found, strict=True):
        expected = expected_prior(groups, steps < 1, labels, group, 3.0)
        assert row == pytest.approx(expected, abs=1e-6)
    known = {group[start:] for group in groups for start in range(3)}
    narrowest = [
        next((start for start in range(3) if group[start:] in known), 3) for group in asked
    ]
    assert {*narrowest} == {0, 1, 2, 3}


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
