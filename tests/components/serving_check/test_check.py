"""A model passes if it answers what was evaluated; how answers are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.contracts.calibration import ChosenPoint
from components.serving_check.check import (
    Difference,
    check_serving,
    compare,
    describe,
    expected_answers,
    unusable,
    wrong_decisions,
)
from components.serving_check.questions import Question
from components.serving_check.replay import ServingError
from components.serving_check.standby import AnsweringProcess

SaveModel = Callable[..., Path]

# Messages by flaw of a model: found in its answers, or already in its graph.
IN_A_FRESH_PROCESS = r"(?s)failed in a fresh process without a GPU "
ANSWERS = {
    "signatures differ": (
        r"learner-\d+, unit unit-\d, as_of \d, predict_steps in a batch, "
        r"probabilities: expected \[0"
    ),
    "needs the label": IN_A_FRESH_PROCESS + r"\(exit code 1\), .*mastery",
    "forgets its weights": IN_A_FRESH_PROCESS + ".*Could not find variable",
    "leaks NaN": (
        r"(?s)found NaN or infinite ones in \d+ of 60 rows"
        r".*no events: expected basis prior, found sequence"
    ),
}
GRAPHS = {
    "has no basis": r"serving_default, output basis: expected string \[\?\], found no such tensor",
    "wants a GPU": "found CudnnRNNV3; export without cuDNN",
}


@pytest.mark.parametrize("flaw", ANSWERS)
def test_every_broken_model_is_found(
    save_model: SaveModel,
    predictions: pl.DataFrame,
    examples: list[bytes],
    flaw: str,
    process: AnsweringProcess,
) -> None:
    with pytest.raises(ServingError, match=ANSWERS[flaw]):
        check_serving(save_model(flaw), predictions, examples, 0, process)


def test_answers_that_depend_on_the_batch_are_found(
    save_model: SaveModel,
    predictions: pl.DataFrame,
    examples: list[bytes],
    process: AnsweringProcess,
) -> None:
    flawed = save_model("counts padding")
    served = tf.saved_model.load(str(flawed)).signatures["serving_default"](
        examples=tf.constant(examples)
    )
    probabilities = pl.Series(
        "probabilities", served["probabilities"].numpy().tolist(), pl.List(pl.Float32)
    )
    predicted = pl.Series("predicted_class", served["predicted_class"].numpy().astype(str))

    with pytest.raises(ServingError, match=r"serving_default alone, probabilities: expected \[0"):
        check_serving(
            flawed, predictions.with_columns(probabilities, predicted), examples, 0, process
        )


@pytest.mark.parametrize("flaw", GRAPHS)
def test_a_graph_that_breaks_the_contract_is_not_even_loaded(
    save_model: SaveModel,
    predictions: pl.DataFrame,
    examples: list[bytes],
    flaw: str,
    process: AnsweringProcess,
) -> None:
    with pytest.raises(ServingError, match=GRAPHS[flaw]):
        check_serving(save_model(flaw), predictions, examples, 0, process)


def test_a_folder_without_a_model_is_named(
    tmp_path: Path, predictions: pl.DataFrame, examples: list[bytes], process: AnsweringProcess
) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")

    with pytest.raises(
        ServingError, match="expected a SavedModel that a server can load, found none"
    ):
        check_serving(tmp_path, predictions, examples, 0, process)


CLASSES = ["low", "high"]
EVALUATED = pl.DataFrame(
    {
        "learner_id": ["ann", "ben", "cem"],
        "unit_id": ["u", "u", "v"],
        "as_of": [1, 2, 3],
        "probabilities": [[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]],
        "predicted_class": ["low", "high", "low"],
        "basis": ["sequence", "sequence", "prior"],
        "prediction": [0.5, -2000.0, 3.0],
    }
)
ALL = Question("serving_default in a batch", [], np.arange(3))


def _served(**changed: object) -> dict[str, np.ndarray]:
    answers = {
        "classes": np.array([CLASSES] * 3, dtype=object),
        "probabilities": np.float32([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]]),
        "predicted_class": np.array(["low", "high", "low"], dtype=object),
        "basis": np.array(["sequence", "sequence", "prior"], dtype=object),
    }
    return {
        **answers,
        **{name: np.array(value, answers[name].dtype) for name, value in changed.items()},
    }


def _differences(**changed: object) -> list[tuple[int, str]]:
    found = compare(ALL, expected_answers(EVALUATED, CLASSES), _served(**changed), CLASSES)
    return [(item.row, item.output) for item in found]


def test_rounding_is_no_difference() -> None:
    assert _differences() == []
    assert _differences(probabilities=[[0.700004, 0.299996], [0.2, 0.8], [0.5, 0.5]]) == []


@pytest.mark.parametrize("off", [2e-5, float("nan")])
def test_probabilities_beyond_the_tolerance_and_nan_are_differences(off: float) -> None:
    assert _differences(probabilities=[[0.7, 0.3], [0.2 + off, 0.8], [0.5, 0.5]]) == [
        (1, "probabilities")
    ]


def test_basis_classes_and_predicted_class_have_to_be_the_same() -> None:
    assert _differences(basis=["sequence", "prior", "prior"]) == [(1, "basis")]
    assert _differences(classes=[CLASSES, CLASSES, CLASSES[::-1]]) == [(2, "classes")]
    assert _differences(predicted_class=["low", "low", "low"]) == [(1, "predicted_class")]
    assert _differences(predicted_class=["low", "unknown", "low"]) == [(1, "predicted_class")]


def test_either_of_two_equally_probable_classes_is_right() -> None:
    assert _differences(predicted_class=["low", "high", "high"]) == []


DECIDED = EVALUATED.with_columns(decision_call=pl.Series([True, False, True]))


@pytest.mark.parametrize(
    ("low", "taken", "found"),
    [
        ([0.7, 0.2, 0.5], [True, False, True], []),
        ([0.7, 0.2, 0.5], [True, True, True], [(1, "decision_call")]),
        # At the threshold, a last bit of the probability decides.
        ([0.7, 0.2, 0.499999], [True, False, False], []),
    ],
)
def test_decisions_are_those_of_the_evaluation(
    low: list[float], taken: list[bool], found: list[tuple[int, str]]
) -> None:
    answers = _served(probabilities=[[value, 1 - value] for value in low])
    answers["decision_call"] = np.array(taken)
    differences = compare(ALL, expected_answers(DECIDED, CLASSES), answers, CLASSES)
    assert [(item.row, item.output) for item in differences] == found


def test_decisions_follow_from_their_own_probabilities_bit_by_bit() -> None:
    call = ChosenPoint(name="call", class_="low", threshold=0.5)
    answers = _served() | {"decision_call": np.array([True, False, True])}
    assert list(wrong_decisions("here", answers, CLASSES, [call])) == []
    above = call.model_copy(update={"threshold": 0.50000006})  # the next float32
    assert list(wrong_decisions("here", answers, CLASSES, [above])) == [
        "here, decision_call: expected False at a probability of 0.500000 and a threshold of "
        "0.500000, found True, in 1 of 3 rows"
    ]
    evaluated = expected_answers(EVALUATED, CLASSES)  # by an earlier version, without decisions
    assert list(wrong_decisions("the Evaluator", evaluated, CLASSES, [above])) == []


def test_rows_are_those_of_the_question() -> None:
    second = Question("predict_steps alone", [], np.array([1]))
    found = {
        name: values[[1]] for name, values in _served(basis=["sequence", "prior", "prior"]).items()
    }

    (difference,) = compare(second, expected_answers(EVALUATED, CLASSES), found, CLASSES)

    assert difference == Difference(1, "predict_steps alone", "basis", "sequence", "prior", np.inf)


def test_a_regression_is_compared_relative_to_its_size() -> None:
    expected = expected_answers(EVALUATED, [])
    served = {"prediction": np.float32([0.5, -2000.01, 3.1]), "basis": _served()["basis"]}

    assert [(item.row, item.output) for item in compare(ALL, expected, served, [])] == [
        (2, "prediction")
    ]
    assert list(unusable(ALL, served, [])) == []
    assert list(unusable(ALL, {**served, "prediction": np.float32([1, np.inf, 2])}, [])) == [
        "serving_default in a batch: expected finite numbers, "
        "found NaN or infinite ones in 1 of 3 rows"
    ]


def test_unusable_answers_are_found() -> None:
    assert list(unusable(ALL, _served(), CLASSES)) == []
    assert list(
        unusable(ALL, _served(probabilities=[[0.7, 0.3], [0.2, 0.9], [0.5, 0.5]]), CLASSES)
    ) == ["serving_default in a batch: expected probabilities that add up to 1, found 1.100000"]
    assert list(unusable(ALL, _served(predicted_class=["low", "low", "low"]), CLASSES)) == [
        "serving_default in a batch: expected the most probable class as predicted_class, "
        "found another"
    ]


def test_at_most_ten_differences_are_listed_the_worst_first() -> None:
    differences = [
        Difference(row % 3, "here", "prediction", "1", "2", size=row / 100) for row in range(20)
    ]

    lines = describe(differences, EVALUATED)

    assert len(lines) == 10
    assert lines[0] == "learner ben, unit u, as_of 2, here, prediction: expected 1, found 2"


SETS = [[True, False], [False, True], [True, True]]
SURE = EVALUATED.with_columns(
    pl.Series("prediction_set", SETS), pl.Series("unfamiliar", ["", "dwell", ""])
)


def _differences_of_sets(thresholds: list[float], **changed: object) -> list[tuple[int, str]]:
    texts = ["low", "high", "not sure"]
    answers = {
        **_served(),
        "prediction_set": np.array(SETS),
        "answer_text": np.array(texts, object),
        "unfamiliar": np.array(["", "dwell", ""], object),
    }
    served = {
        **answers,
        **{name: np.array(value, answers[name].dtype) for name, value in changed.items()},
    }
    found = compare(ALL, expected_answers(SURE, CLASSES), served, CLASSES, thresholds)
    return [(item.row, item.output) for item in found]


def test_sets_and_what_is_unfamiliar_have_to_be_the_same() -> None:
    assert _differences_of_sets([]) == []
    wider = [[True, True], [False, True], [True, True]]
    assert _differences_of_sets([], prediction_set=wider) == [(0, "prediction_set")]
    assert _differences_of_sets([], unfamiliar=["", "", ""]) == [(1, "unfamiliar")]


def test_a_class_at_a_threshold_may_be_on_either_side() -> None:
    wider = [[True, True], [False, True], [True, True]]
    assert _differences_of_sets([0.1, 0.300001], prediction_set=wider) == []
    assert _differences_of_sets([0.1, 0.31], prediction_set=wider) == [(0, "prediction_set")]


def test_intervals_are_compared_relative_to_their_size() -> None:
    ends = pl.Series("prediction_interval", [[0.0, 1.0], [-3e38, 3e38], [3.0, 3.2]])
    expected = expected_answers(EVALUATED.with_columns(ends), [])
    served = {
        "prediction": expected["prediction"],
        "basis": _served()["basis"],
        "prediction_interval": np.array([[0, 1], [-3e38, 3e38], [3.0, 3.3]]),
    }
    assert [(item.row, item.output) for item in compare(ALL, expected, served, [])] == [
        (2, "prediction_interval")
    ]
