"""Summaries of sequences, compared with plain loops over the steps that an outcome sees."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.summaries import DAY, DAYS, RECENT, TICKS
from components.config.training import Categorical, Feature, Numeric, Steps
from components.contracts.names import SUMMARIES
from components.transform.summaries import SummaryPlan, squashed, summarise
from tests.components.transform.analysis import analyse, apply, examples, sections

WORDS = ["video", "quiz"]
FEATURES: dict[str, Feature] = {
    "kind": Categorical(type="categorical", vocabulary=2),
    "skill": Categorical(type="categorical"),
    "correct": Numeric(type="numeric"),
    "seconds": Numeric(type="numeric", clip=(0.0, 1000.0), log=True),
    "time_to_as_of": Numeric(type="numeric", log=True),
    "step_unit": Categorical(type="categorical"),
}
CONTEXT: dict[str, Feature] = {"unit_id": Categorical(type="categorical")}
PLAN = SummaryPlan(Steps(history="learner", features=FEATURES), CONTEXT, {"kind": WORDS})

Step = tuple[int, int, float, float, float, int]  # in the order of FEATURES


def summaries(
    plan: SummaryPlan, sequences: list[list[Step]], rows: list[int], seen: list[int], unit: int = 1
) -> dict[str, Any]:
    steps = {}
    for place, (name, feature) in enumerate(FEATURES.items()):
        dtype = tf.int64 if isinstance(feature, Categorical) else tf.float32
        values = [[step[place] for step in sequence] for sequence in sequences]
        steps[name] = tf.RaggedTensor.from_row_lengths(
            tf.constant([item for row in values for item in row], dtype), [*map(len, values)]
        )
    found = summarise(
        plan, steps, tf.constant(rows, tf.int64), tf.constant(seen, tf.int64),
        tf.fill([len(rows)], tf.constant(unit, tf.int64)),
    )  # fmt: skip
    assert found.dtype == tf.float32
    return dict(zip(plan.names, found.numpy().T, strict=True))


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def by_hand(steps: list[Step], unit: int = 1) -> dict[str, float]:
    """Returns the summaries of all of some steps, in the words of the documentation."""
    columns = [list(column) for column in zip(*steps, strict=True)] or [[] for _ in FEATURES]
    kinds, skills, correct, seconds, left, units = columns
    found: dict[str, float] = {"num_steps": len(steps)}
    found["same_unit.count"] = units.count(unit)
    found["same_unit.recent"] = units[-RECENT:].count(unit)
    for place, word in enumerate(WORDS):
        found[f"kind.{word}.count"] = kinds.count(place + 1)
        found[f"kind.{word}.recent"] = kinds[-RECENT:].count(place + 1)
    for name, words in (("skill", skills), ("step_unit", units)):
        found[f"{name}.different"] = len({*words} - {0})
        found[f"{name}.repeats"] = words.count(words[-1]) if words and words[-1] else 0

    def clip(value: float) -> float:
        return min(max(value, 0.0), 1000.0)

    for name, raw, plain, scaled in (
        ("correct", correct, float, float),
        ("seconds", seconds, clip, lambda value: math.log1p(clip(value))),
    ):
        known = [value for value in raw if math.isfinite(value)]
        recent = [value for value in raw[-RECENT:] if math.isfinite(value)]
        own = [v for v, u in zip(raw, units, strict=True) if u == unit and math.isfinite(v)]
        found[f"{name}.last"] = scaled(raw[-1]) if raw and math.isfinite(raw[-1]) else math.nan
        found[f"{name}.mean"] = _mean([scaled(value) for value in known])
        found[f"{name}.recent"] = _mean([scaled(value) for value in recent])
        found[f"{name}.sum"] = math.fsum(plain(value) for value in known)
        found[f"{name}.missing"] = 1 - len(known) / len(raw) if raw else math.nan
        found[f"{name}.same_unit.last"] = scaled(own[-1]) if own else math.nan
        found[f"{name}.same_unit.mean"] = _mean([scaled(value) for value in own])

    gaps = [a - b for a, b in pairwise(left)]
    found["time_to_as_of.last"] = left[-1] if left else math.inf
    found["time_to_as_of.first"] = left[0] if left else math.inf
    found["time_to_as_of.longest_gap"] = max(gaps, default=0.0) if left else math.nan
    for ticks in TICKS:
        found[f"time_to_as_of.events_{ticks}"] = sum(value <= ticks for value in left)
    for days in DAYS:
        within = [value for value in left if value <= days * DAY]
        found[f"time_to_as_of.events_{days}d"] = len(within)
        if days > 1:
            active = {math.ceil(value / DAY) for value in within}
            found[f"time_to_as_of.days_{days}d"] = len(active)
    return found


NUMBERS = st.one_of(st.floats(-1e4, 1e6, width=32), st.sampled_from([math.nan, 0.0, 1.0, math.inf]))
TIMES = st.one_of(st.integers(1, 10), st.integers(1, 40 * 86_400))


@st.composite
def sequences(draw: st.DrawFn) -> list[Step]:
    left = sorted(draw(st.lists(TIMES, max_size=12)), reverse=True)
    return [
        (
            draw(st.integers(0, 3)), draw(st.integers(0, 4)), draw(NUMBERS), draw(NUMBERS),
            float(np.float32(value)), draw(st.integers(0, 3)),
        )
        for value in left
    ]  # fmt: skip


@settings(deadline=None, max_examples=15)
@given(st.lists(sequences(), min_size=1, max_size=4), st.data())
def test_summaries_are_those_of_the_steps_seen(logs: list[list[Step]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(logs) - 1), min_size=1, max_size=6))
    seen = [data.draw(st.integers(0, len(logs[row]))) for row in rows]
    found = summaries(PLAN, logs, rows, seen)
    for place, (row, count) in enumerate(zip(rows, seen, strict=True)):
        expected = by_hand(logs[row][:count])
        assert {*found} == {*expected}
        for name, value in expected.items():
            assert found[name][place] == pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True), name


@settings(deadline=None, max_examples=8)
@given(st.lists(sequences(), min_size=2, max_size=12))
def test_no_bit_depends_on_the_batch(logs: list[list[Step]]) -> None:
    together = summaries(PLAN, logs, [*range(len(logs))], [*map(len, logs)])
    for place, log in enumerate(logs):
        alone = summaries(PLAN, [log], [0], [len(log)])
        for name, values in together.items():
            assert values[place].tobytes() == alone[name][0].tobytes(), name


def test_no_bit_depends_on_the_batch_for_long_sequences() -> None:
    random = np.random.default_rng(3)
    logs = [
        [
            (1, 2, float(value), float(value), float(count - place), int(value > 0))
            for place, value in enumerate(random.standard_normal(count).astype(np.float32))
        ]
        for count in (3, 64, 1000, 77, 257, 8, 500)
    ]
    together = summaries(PLAN, logs, [*range(len(logs))], [*map(len, logs)])
    for place, log in enumerate(logs):
        alone = summaries(PLAN, [log], [0], [len(log)])
        for name, values in together.items():
            assert values[place].tobytes() == alone[name][0].tobytes(), name


def test_later_steps_change_nothing() -> None:
    log: list[Step] = [(1, 2, 1.0, 30.0, 50.0 - place, 1) for place in range(10)]
    other = [*log[:4], *[(2, 3, math.nan, 1e9, 1.0, 2)] * 6]
    whole, changed = summaries(PLAN, [log], [0], [4]), summaries(PLAN, [other], [0], [4])
    for name, values in whole.items():
        assert values.tobytes() == changed[name].tobytes(), name


def test_long_tails_are_squashed_and_infinity_is_missing() -> None:
    values = np.zeros((2, len(PLAN.names)), np.float32)
    values[0, PLAN.names.index("num_steps")] = math.e - 1
    values[0, PLAN.names.index("correct.mean")] = 5.0
    values[1, PLAN.names.index("time_to_as_of.last")] = math.inf
    found = dict(zip(PLAN.names, squashed(PLAN, tf.constant(values)).numpy().T, strict=True))
    assert found["num_steps"][0] == pytest.approx(1.0)
    assert found["correct.mean"][0] == 5.0
    assert math.isnan(found["time_to_as_of.last"][1])


def test_transform_scales_them_and_serves_them_one_by_one(tmp_path: Path) -> None:
    features = {
        "kind": {"type": "categorical", "vocabulary": 2},
        "skill": {"type": "categorical"},
        "seconds": {"type": "numeric", "log": True},
    }
    columns = {
        "kind": [["quiz", "video", "quiz"], ["quiz"], [], ["forum", "forum"]],
        "skill": [["a", "b", "a"], [""], [], ["b", "b"]],
        "seconds": [[1.0, math.nan, 30.0], [5.0], [], [math.nan, math.nan]],
        "unit_id": [["u"], ["u"], ["v"], []],
        "num_steps": [[3], [1], [0], [2]],
        "mastery": [["low"], ["high"], ["high"], ["mid"]],
    }
    output = analyse(tmp_path / "with", sections(features, summaries=True), examples(columns))
    found = np.array(apply(output, examples(columns))[SUMMARIES], np.float32)

    names = ["num_steps", "kind.1.count", "kind.1.recent", "kind.2.count", "kind.2.recent"]
    names += ["skill.different", "skill.repeats"]
    names += [f"seconds.{kind}" for kind in ("last", "mean", "recent", "sum", "missing")]
    assert found.shape == (4, len(names))
    for name, values in (
        ("num_steps", np.log1p([3.0, 1.0, 0.0, 2.0])),
        ("skill.different", np.log1p([2.0, 0.0, 0.0, 1.0])),
        ("skill.repeats", np.log1p([2.0, 0.0, 0.0, 2.0])),
        ("seconds.sum", np.log1p([31.0, 5.0, 0.0, 0.0])),
        ("seconds.missing", np.array([1 / 3, 0.0, np.nan, 1.0])),
    ):
        expected = (values - np.nanmean(values)) / np.nanstd(values)
        assert found[:, names.index(name)] == pytest.approx(np.nan_to_num(expected), abs=1e-6), name

    for row in range(4):
        batch = examples(columns).slice(row, 1)
        assert np.array(apply(output, batch)[SUMMARIES], np.float32).tobytes() == (
            found[row : row + 1].tobytes()
        )

    assert SUMMARIES not in apply(
        analyse(tmp_path / "without", sections(features), examples(columns)), examples(columns)
    )
