"""Points of decisions: the best of all thresholds, and the same in the served graph."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve
from tfx.components.trainer.fn_args_utils import FnArgs

from components.config.decisions import Decision
from components.contracts.calibration import Calibration, ChosenPoint
from components.contracts.names import EXAMPLES, NUM_STEPS, PROBABILITIES, decision_output
from components.errors import TrainingError
from components.trainer.answer_parts import Answered, Evidence
from components.trainer.decisions import DecisionPoints, choose_point, fit_decisions
from tests.components.trainer.test_calibration_split import open_split
from tests.components.trainer.test_served import serialized
from tests.components.trainer.tiny_log import SETTINGS, fit, tiny_log

# Few distinct values, so that ties are common; their neighbours, so that float32 is exhausted.
GRID = np.float32([0, 1e-7, 0.1, 0.3, 0.5, np.nextafter(np.float32(0.5), 1), 0.9, 1])
answers = st.lists(st.tuples(st.sampled_from(GRID.tolist()), st.booleans()), min_size=1)


def decision(**purpose: Any) -> Decision:
    return Decision.model_validate({"name": "call", "class": "low", **purpose})


def columns(rows: list[tuple[float, bool]]) -> tuple[Any, Any]:
    probabilities, is_class = zip(*rows, strict=True)
    return np.array(probabilities, np.float32), np.array(is_class, bool)


def thresholds(probabilities: Any) -> list[Any]:
    """Returns every threshold that names other learners than its neighbours, nobody included."""
    return [*np.unique(probabilities), np.nextafter(np.float32(1), np.float32(2))]


def counts(probabilities: Any, is_class: Any, threshold: Any) -> tuple[int, int]:
    taken = probabilities >= threshold
    return int(taken.sum()), int((taken & is_class).sum())


def named_and_right(point: ChosenPoint) -> tuple[int, int]:
    assert point.promised is not None
    return point.promised.named, point.promised.right


@given(rows=answers, miss=st.integers(1, 9), false_alarm=st.integers(1, 9))
def test_no_threshold_costs_less(
    rows: list[tuple[float, bool]], miss: int, false_alarm: int
) -> None:
    probabilities, is_class = columns(rows)
    point = choose_point(
        decision(cost={"miss": miss, "false_alarm": false_alarm}), probabilities, is_class
    )

    def cost(named: int, right: int) -> int:
        return miss * (int(is_class.sum()) - right) + false_alarm * (named - right)

    all_counts = [counts(probabilities, is_class, value) for value in thresholds(probabilities)]
    least = min(cost(*found) for found in all_counts)
    fewest = min(found for found in all_counts if cost(*found) == least)
    assert named_and_right(point) == fewest
    assert point.promised is not None
    assert point.promised.cost == pytest.approx(least / len(rows))


@given(rows=answers, recall=st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9, 1.0]))
def test_no_higher_threshold_has_the_recall(rows: list[tuple[float, bool]], recall: float) -> None:
    probabilities, is_class = columns([*rows, (0.3, True)])
    point = choose_point(decision(recall=recall), probabilities, is_class)

    enough = [
        found
        for value in thresholds(probabilities)
        if (found := counts(probabilities, is_class, value))[1] / is_class.sum() >= recall
    ]
    assert named_and_right(point) == min(enough)
    assert point.note is None


@given(rows=answers, precision=st.sampled_from([0.2, 0.5, 0.6, 0.75, 1.0]))
def test_no_threshold_with_the_precision_finds_more(
    rows: list[tuple[float, bool]], precision: float
) -> None:
    probabilities, is_class = columns([*rows, (0.3, True)])
    point = choose_point(decision(precision=precision), probabilities, is_class)

    some = [counts(probabilities, is_class, value) for value in np.unique(probabilities)]
    enough = [(named, right) for named, right in some if right / named >= precision]
    if enough:
        assert named_and_right(point) == min(enough, key=lambda found: (-found[1], found[0]))
        assert point.note is None
    else:
        best = max(right / named for named, right in some)
        named, right = named_and_right(point)
        assert right / named == best
        assert point.note is not None
        assert f"the highest, {best:.3f}" in point.note


@given(rows=answers, capacity=st.sampled_from([0.5, 7, 20, 33.3, 50, 100]))
def test_as_many_are_named_as_there_is_capacity_for(
    rows: list[tuple[float, bool]], capacity: float
) -> None:
    probabilities, is_class = columns(rows)
    point = choose_point(decision(capacity=capacity), probabilities, is_class)

    all_counts = [counts(probabilities, is_class, value) for value in thresholds(probabilities)]
    fits = [found for found in all_counts if found[0] <= capacity * len(rows) / 100]
    assert named_and_right(point) == max(fits)
    assert (point.note is not None) == (max(fits)[0] == 0)


@given(rows=answers)
def test_promises_are_points_of_scikit_learns_curve(rows: list[tuple[float, bool]]) -> None:
    probabilities, is_class = columns([*rows, (0.3, True)])
    point = choose_point(decision(recall=0.7), probabilities, is_class)
    precisions, recalls, values = precision_recall_curve(is_class, probabilities)

    # The highest of its thresholds with that recall; the curve's recall falls along its thresholds.
    place = np.flatnonzero(recalls[:-1] >= 0.7)[-1]
    assert point.promised is not None
    assert point.promised.precision == pytest.approx(precisions[place])
    assert point.promised.recall == pytest.approx(recalls[place])
    assert point.threshold <= values[place]


@given(rows=answers, recall=st.sampled_from([0.2, 0.9]), nobody=st.booleans())
def test_the_graph_and_the_record_name_whom_the_count_named(
    rows: list[tuple[float, bool]], recall: float, nobody: bool
) -> None:
    probabilities, is_class = columns([*rows, (0.3, True)])
    if nobody:
        purpose: dict[str, Any] = {"cost": {"miss": 1e-6, "false_alarm": 1}}
        is_class = is_class & False
    else:
        purpose = {"recall": recall}
    point = choose_point(decision(**purpose), probabilities, is_class)
    assert point.promised is not None

    part = DecisionPoints([ChosenPoint.model_validate_json(point.model_dump_json())], ["low", "x"])
    answer = tf.constant(np.column_stack([probabilities, 1 - probabilities]))
    features: dict[str, tf.Tensor] = {}
    found = part.outputs(Answered(answer, tf.zeros(len(answer), tf.bool), features, answer))
    named = found[decision_output("call")].numpy()
    assert named.dtype == bool
    assert int(named.sum()) == point.promised.named
    assert int((named & is_class).sum()) == point.promised.right


def test_the_threshold_is_halfway_to_the_next_learner() -> None:
    probabilities, is_class = np.float32([0.2, 0.6, 0.7]), np.array([False, True, True])

    assert choose_point(decision(recall=1), probabilities, is_class).threshold == 0.4
    assert choose_point(decision(capacity=100), probabilities, is_class).threshold == 0.1
    nobody = choose_point(decision(capacity=1), probabilities, is_class)
    assert nobody.threshold == 0.85
    given_one = choose_point(decision(threshold=0.6), probabilities, is_class)
    assert given_one.threshold == 0.6
    assert named_and_right(given_one) == (2, 2)  # 0.6 is more than 0.6 in float32, and equal there


DECISIONS = [
    {"name": "call", "class": "low", "cost": {"miss": 5, "false_alarm": 1}},
    {"name": "find", "class": "mid", "recall": 0.9},
    {"name": "few", "class": "low", "capacity": 20},
    {"name": "given", "class": "high", "threshold": 0.3},
]


@pytest.fixture(scope="module")
def decided(inputs: FnArgs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {**SETTINGS, "decisions": DECISIONS, "training": {"epochs": 1, "batch_size": 16}}
    return fit(inputs, tmp_path_factory.mktemp("decided"), settings) / "model"


def test_the_served_model_decides_every_eval_example_as_it_was_counted(decided: Path) -> None:
    log = tiny_log(60, seed=2)  # the eval split
    labels = np.array([row[0] for row in log["mastery"]])
    model = tf.saved_model.load(str(decided))
    predict = model.signatures["serving_default"]
    whole = predict(**{EXAMPLES: tf.constant([serialized(log, row) for row in range(60)])})
    alone = [predict(**{EXAMPLES: tf.constant([serialized(log, row)])}) for row in range(60)]

    points = Calibration.read(decided).decisions
    assert [point.name for point in points] == ["call", "find", "few", "given"]
    for point in points:
        output = decision_output(point.name)
        named = whole[output].numpy()
        assert point.promised is not None
        assert point.promised.examples == 60
        assert int(named.sum()) == point.promised.named
        assert int((named & (labels == point.class_)).sum()) == point.promised.right
        assert [bool(found[output].numpy()[0]) for found in alone] == named.tolist()

        probabilities = whole[PROBABILITIES].numpy()
        of_class = probabilities[:, SETTINGS["label"]["classes"].index(point.class_)]
        assert ((of_class >= np.float32(point.threshold)) == named).all()


def test_both_signatures_decide(decided: Path) -> None:
    signatures = tf.saved_model.load(str(decided)).signatures
    for name, item in itertools.product(("serving_default", "predict_steps"), DECISIONS):
        output = signatures[name].structured_outputs[decision_output(item["name"])]
        assert output.dtype == tf.bool
        assert output.shape.as_list() == [None]


def test_a_class_without_examples_is_one_clear_error(inputs: FnArgs, tmp_path: Path) -> None:
    split = open_split(inputs, tmp_path)
    asked = [{"name": "call", "class": "low", "recall": 1}]
    settings = split.settings.model_copy(
        update={"decisions": [Decision.model_validate(item) for item in asked]}
    )
    nobody = type("Answers", (), {"labels": np.array([1, 2]), "answers": np.zeros((2, 3))})()

    with pytest.raises(TrainingError, match=r"decisions\[0\], call: expected examples of low in"):
        fit_decisions(Evidence(settings, split, nobody))


def test_there_are_no_points_without_decisions(inputs: FnArgs, tmp_path: Path) -> None:
    split = open_split(inputs, tmp_path)

    assert fit_decisions(Evidence(split.settings, split, None)) is None  # type: ignore[arg-type]
    assert NUM_STEPS in split.inputs.names
